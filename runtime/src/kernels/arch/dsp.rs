//! Armv7E-M and Armv8-M DSP (Cortex-M4, M7, M33): two multiply-accumulates an instruction.
//!
//! SXTB16 widens bytes 0 and 2 of a word (1 and 3 after a rotation) to halfwords, SMLAD multiplies
//! two pairs of halfwords and adds both products, SMLABB and its like one pair. An int8 product is below
//! 2^14 and the checked model bounds every sum, so no accumulator can overflow. SMMLAR requantizes: the
//! rounded upper half of a product, plus the zero point.
//!
//! Whole rows are loops in assembly: what a row needs is prepared once, and registers are too few to
//! leave to a compiler. What a loop is not made for (odd shapes, unaligned rows, shifted accumulators)
//! the portable twin computes.
//! `asm!` because the intrinsics are not stable; `build.rs` makes sure the target has the extension.
#![allow(unsafe_code)]

use core::arch::asm;

use super::{dense_scratch_words, portable};
use crate::kernels::dense::{Four, Segment};
use crate::kernels::depthwise::Channel;
use crate::kernels::image_conv::{CodeRow, Table};
use crate::kernels::{Output, Quantization};

/// A register operation that multiplies two operands and adds a third.
macro_rules! multiply {
    ($name:ident, $code:literal) => {
        #[inline(always)]
        fn $name(a: u32, b: u32, acc: i32) -> i32 {
            let sum;
            // SAFETY: arithmetic on registers only. The sticky Q flag may be set; nothing reads it.
            unsafe {
                asm!($code, lateout(reg) sum, in(reg) a, in(reg) b, in(reg) acc,
                    options(pure, nomem, nostack));
            }
            sum
        }
    };
}

multiply!(smlad, "smlad {}, {}, {}, {}");

/// Bytes 0 and 2, sign-extended to halfwords.
#[inline(always)]
fn even(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only.
    unsafe { asm!("sxtb16 {}, {}", out(reg) pair, in(reg) word, options(pure, nomem, nostack)) };
    pair
}

/// Bytes 1 and 3, sign-extended to halfwords.
#[inline(always)]
fn odd(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only.
    unsafe {
        asm!("sxtb16 {}, {}, ror #8", out(reg) pair, in(reg) word, options(pure, nomem, nostack));
    }
    pair
}

/// The inner loop of a dense kernel: `lr` times eight activations (r3) against four channels' weights
/// (r12), into r4…r7.
macro_rules! eights {
    () => {
        concat!(
            "2: ldrd r0, r1, [r3], #8\n",
            four_by_four!("r0"),
            four_by_four!("r1"),
            "subs lr, lr, #1\n",
            "bne 2b\n",
        )
    };
}

/// Four activations against four channels' weights.
macro_rules! four_by_four {
    ($x:literal) => {
        concat!(
            "sxtb16 r2, ",
            $x,
            "\n",
            "sxtb16 ",
            $x,
            ", ",
            $x,
            ", ror #8\n",
            "ldm r12!, {{r8, r9, r10, r11}}\n",
            "smlad r4, r2, r8, r4\n",
            "smlad r4, ",
            $x,
            ", r9, r4\n",
            "smlad r5, r2, r10, r5\n",
            "smlad r5, ",
            $x,
            ", r11, r5\n",
            "ldm r12!, {{r8, r9, r10, r11}}\n",
            "smlad r6, r2, r8, r6\n",
            "smlad r6, ",
            $x,
            ", r9, r6\n",
            "smlad r7, r2, r10, r7\n",
            "smlad r7, ",
            $x,
            ", r11, r7\n",
        )
    };
}

/// One row of four output channels. `block` is what [`fill`] wrote; `run` is the first segment's, `count`
/// and `count1`, `count2` how many times eight bytes a pixel reads of each segment, `gap0` … how far it is
/// from a segment's end to what is read next. `out` goes up to `end`.
///
/// A function of its own in assembly: the loop takes all fourteen registers, and what a pixel needs
/// besides lies on the stack where the calling convention puts it.
macro_rules! dense {
    ($name:ident, [$($next:literal),*], $last:literal, [$($store:literal),*]) => {
        // SAFETY (of a call): the block has the words for the counts; all runs of all pixels and `block`
        // are readable and word-aligned, all outputs are writable, `end` is reached from `out`.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(
            block: *const u32,
            count: usize,
            out: *mut i8,
            end: *mut i8,
            run: *const i8,
            gap0: isize,
            count1: usize,
            gap1: isize,
            count2: usize,
            gap2: isize,
        ) {
            // On the stack: block, count, out, end, nine registers, then the arguments from `run` on.
            core::arch::naked_asm!(
                "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
                "push {{r0, r1, r2, r3}}",
                "ldr r3, [sp, #52]",
                "3: ldrd r12, lr, [sp]",
                "ldm r12!, {{r4, r5, r6, r7}}",
                eights!(),
                $(
                    concat!("ldrd r2, lr, [sp, #", $next, "]"),
                    "add r3, r3, r2",
                    eights!(),
                )*
                concat!("ldr r2, [sp, #", $last, "]"),
                "add r3, r3, r2",
                // Zero point, two constants of the store, multipliers.
                "ldm r12, {{r0, r1, r2, r8, r9, r10, r11}}",
                "smmlar r4, r4, r8, r0",
                "smmlar r5, r5, r9, r0",
                "smmlar r6, r6, r10, r0",
                "smmlar r7, r7, r11, r0",
                "ldrd r12, lr, [sp, #8]",
                "ssat r4, #8, r4",
                "ssat r5, #8, r5",
                "ssat r6, #8, r6",
                "ssat r7, #8, r7",
                $($store,)*
                "str r12, [sp, #8]",
                "cmp r12, lr",
                "bne 3b",
                "add sp, sp, #16",
                "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
            )
        }
    };
}

// Words of four channels: the smallest value in all bytes, and bytes from pixel to pixel.
dense!(
    dense1_words,
    [],
    "56",
    [
        "bfi r4, r5, #8, #8",
        "bfi r4, r6, #16, #8",
        "bfi r4, r7, #24, #8",
        "ssub8 r5, r4, r2",
        "sel r4, r4, r2",
        "str r4, [r12]",
        "add r12, r12, r1"
    ]
);
// Planes: bytes from one to the next, and three times that.
dense!(
    dense2_planes,
    ["56"],
    "64",
    [
        "strb r5, [r12, r1]",
        "strb r6, [r12, r1, lsl #1]",
        "strb r7, [r12, r2]",
        "strb r4, [r12], #1"
    ]
);
dense!(
    dense3_planes,
    ["56", "64"],
    "72",
    [
        "strb r5, [r12, r1]",
        "strb r6, [r12, r1, lsl #1]",
        "strb r7, [r12, r2]",
        "strb r4, [r12], #1"
    ]
);

/// Four output channels of every pixel of a row: the first four of `out`.
#[inline(always)]
pub fn dense4<const S: usize>(
    segments: &[Segment<'_>; S],
    four: &Four<'_>,
    scratch: &mut [i8],
    out: &mut Output<'_>,
) {
    if dense4_fast(segments, four, scratch, out).is_none() {
        portable::dense4(segments, four, scratch, out);
    }
}

/// `None`, with nothing written, for what the assembly is not made for.
#[inline(always)]
fn dense4_fast<const S: usize>(
    segments: &[Segment<'_>; S],
    four: &Four<'_>,
    scratch: &mut [i8],
    out: &mut Output<'_>,
) -> Option<()> {
    let step = segments.first()?.step;
    let last = out.pixels.checked_sub(1)?;
    let good = |s: &Segment<'_>| {
        let whole = s.len > 0 && s.len.is_multiple_of(8) && step.is_multiple_of(4);
        let aligned = s.row.as_ptr().addr().is_multiple_of(4);
        whole && aligned && s.step == step && s.row.len() >= last * step + s.len
    };
    if !segments.iter().all(good) || four.quantization.shift != 0 {
        return None;
    }
    let planes = out.pixel_step == 1;
    let reach = if planes {
        (four.quantization.act_min == -128).then_some(3 * out.channel_step)?
    } else {
        (out.channel_step == 1).then_some(3)?
    };
    if out.bytes.len() <= last * out.pixel_step + reach {
        return None;
    }
    let kernel = match (S, planes) {
        (1, false) => dense1_words,
        (2, true) => dense2_planes,
        (3, true) => dense3_planes,
        _ => return None,
    };
    let constants = if planes {
        [out.channel_step as u32, 3 * out.channel_step as u32]
    } else {
        let least = four.quantization.act_min as u8;
        [out.pixel_step as u32, u32::from_le_bytes([least; 4])]
    };
    let length = segments.iter().map(|s| s.len).sum();
    let block = fill(scratch, four, length, constants)?;

    // Addresses alone: the kernel walks from one segment to the next by their differences.
    let start = |s: &Segment<'_>| s.row.as_ptr().expose_provenance() as isize;
    let run = segments.first()?;
    let mut counts = [0; 3];
    let mut gaps = [0; 3];
    let nexts = segments.iter().skip(1).map(start);
    let nexts = nexts.chain([start(run) + step as isize]);
    for (((count, gap), s), next) in counts.iter_mut().zip(&mut gaps).zip(segments).zip(nexts) {
        *count = s.len / 8;
        *gap = next - (start(s) + s.len as isize);
    }
    let bytes = out.bytes.as_mut_ptr();
    // SAFETY: every segment was checked to have its run for each pixel and to be aligned, the block is
    // the counts' and aligned, `out` reaches to the last pixel's fourth channel; `end` is only compared.
    unsafe {
        kernel(
            block,
            counts[0],
            bytes,
            bytes.wrapping_add(out.pixels * out.pixel_step),
            run.row.as_ptr(),
            gaps[0],
            counts[1],
            gaps[1],
            counts[2],
            gaps[2],
        );
    }
    Some(())
}

/// Prepares four channels for a row: biases, weights as pairs of halfwords, then zero point, `constants`
/// and multipliers. `None` when `scratch` is too short or not aligned.
fn fill(
    scratch: &mut [i8],
    four: &Four<'_>,
    length: usize,
    constants: [u32; 2],
) -> Option<*const u32> {
    let (weights, _) = four.weights.as_chunks::<4>();
    let weights = weights.get(..length)?;
    let (words, _) = scratch.as_chunks_mut::<4>();
    let words = words.get_mut(..dense_scratch_words(length))?;
    let block = words.as_ptr().cast::<u32>();
    if !block.is_aligned() {
        return None;
    }
    let zero_point = four.quantization.zero_point as u32;
    let (head, rest) = words.split_first_chunk_mut::<4>()?;
    let (pairs, tail) = rest.split_at_mut_checked(2 * length)?;
    for (word, bias) in head.iter_mut().zip(four.bias) {
        *word = bias.to_le_bytes().map(|byte| byte as i8);
    }
    for (pair, weights) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(weights) {
        let word = u32::from_le_bytes(*weights);
        *pair = [even(word), odd(word)].map(|half| half.to_le_bytes().map(|byte| byte as i8));
    }
    let [a, b] = constants;
    let [m, n, o, p] = four.multipliers.map(|m| m as u32);
    for (word, value) in tail.iter_mut().zip([zero_point, a, b, m, n, o, p]) {
        *word = value.to_le_bytes().map(|byte| byte as i8);
    }
    Some(block)
}

/// What [`depthwise_fours`] needs of a channel and a row; it reads it by position.
#[repr(C)]
struct Row {
    /// For each column the weights of the first two rows.
    upper: [u32; 3],
    bias: i32,
    /// The input rows, each from its end.
    rows: [*const i8; 3],
    /// The third row's weights: first and third, then the second.
    outer: u32,
    middle: i32,
    multiplier: i32,
    zero_point: i32,
    /// Bytes from an output to the next, and three times that.
    step: usize,
    step3: usize,
}

/// The next four columns of the first two rows, each a pair: r9, r8, r7, r6.
macro_rules! columns {
    () => {
        concat!(
            "ldrd r6, r10, [r0, #16]\n",
            "ldr r6, [r6, r2]\n",
            "ldr r10, [r10, r2]\n",
            "sxtb16 r7, r6\n",
            "sxtb16 r6, r6, ror #8\n",
            "sxtb16 r8, r10\n",
            "sxtb16 r10, r10, ror #8\n",
            "pkhbt r9, r7, r8, lsl #16\n",
            "pkhtb r7, r8, r7, asr #16\n",
            "pkhbt r8, r6, r10, lsl #16\n",
            "pkhtb r6, r10, r6, asr #16\n",
        )
    };
}

/// One row of one channel, four outputs at a time, each as soon as its last column is there. `from` is
/// minus the bytes of the columns to come, counted from the word before the first.
///
/// Three outputs share a column's first two rows as one pair of halfwords; four outputs need 19 instead
/// of 36 multiplications.
// SAFETY (of a call): each row has the word before and the columns' words, as many outputs are writable.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_fours(row: *const Row, out: *mut i8, from: isize) {
    // r3, r4: pairs of the two columns before; r5: their third row.
    core::arch::naked_asm!(
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        columns!(),
        "ldr r10, [r0, #24]",
        "ldr r10, [r10, r2]",
        "sxtb16 r12, r10",
        "sxtb16 r10, r10, ror #8",
        "pkhtb r5, r10, r12, asr #16",
        "mov r3, r7",
        "mov r4, r6",
        "adds r2, r2, #4",
        "2:",
        columns!(),
        "ldm r0, {{r10, r11, r12, lr}}",
        "smlad r3, r3, r10, lr",
        "smlad r3, r4, r11, r3",
        "smlad r3, r9, r12, r3",
        "smlad r4, r4, r10, lr",
        "smlad r4, r9, r11, r4",
        "smlad r4, r8, r12, r4",
        "smlad r9, r9, r10, lr",
        "smlad r9, r8, r11, r9",
        "smlad r9, r7, r12, r9",
        "smlad r8, r8, r10, lr",
        "smlad r8, r7, r11, r8",
        "smlad r8, r6, r12, r8",
        // The third row.
        "ldrd r10, r11, [r0, #24]",
        "ldr r10, [r10, r2]",
        "ldr lr, [r0, #32]",
        "sxtb16 r12, r10",
        "sxtb16 r10, r10, ror #8",
        "smlabb r3, r5, r11, r3",
        "smlatb r3, r5, lr, r3",
        "smlabt r3, r12, r11, r3",
        "smlatb r4, r5, r11, r4",
        "smlabb r4, r12, lr, r4",
        "smlabt r4, r10, r11, r4",
        "smlad r9, r12, r11, r9",
        "smlabb r9, r10, lr, r9",
        "smlad r8, r10, r11, r8",
        "smlatb r8, r12, lr, r8",
        "pkhtb r5, r10, r12, asr #16",
        "ldrd r10, r11, [r0, #36]",
        "smmlar r3, r3, r10, r11",
        "smmlar r4, r4, r10, r11",
        "smmlar r9, r9, r10, r11",
        "smmlar r8, r8, r10, r11",
        "ldrd r10, r11, [r0, #44]",
        "ssat r3, #8, r3",
        "ssat r4, #8, r4",
        "ssat r9, #8, r9",
        "ssat r8, #8, r8",
        "strb r3, [r1]",
        "strb r4, [r1, r10]",
        "strb r9, [r1, r10, lsl #1]",
        "strb r8, [r1, r11]",
        "add r1, r1, r10, lsl #2",
        "mov r3, r7",
        "mov r4, r6",
        "adds r2, r2, #4",
        "bne 2b",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
    )
}

/// One channel of a depthwise convolution: three planes in, the first channel of `out`.
#[inline(always)]
pub fn depthwise(planes: [&[i8]; 3], channel: &Channel, out: &mut Output<'_>) {
    let done = depthwise_fast(planes, channel, out);
    if done < out.pixels {
        portable::depthwise_from(done, planes, channel, out);
    }
}

/// The pixels it has done, from the first.
#[inline(always)]
fn depthwise_fast(planes: [&[i8]; 3], channel: &Channel, out: &mut Output<'_>) -> usize {
    let Quantization {
        shift,
        zero_point,
        act_min,
    } = channel.quantization;
    let done = out.pixels & !3;
    let long = planes.iter().all(|plane| plane.len() >= done + 4);
    let room = done > 0 && out.bytes.len() > (done - 1) * out.pixel_step;
    if !long || !room || shift != 0 || act_min != -128 {
        return 0;
    }
    let [a, b, c] = channel.weights;
    let pair = |low: i8, high: i8| u32::from(low as u16) | u32::from(high as u16) << 16;
    let row = Row {
        upper: [pair(a[0], b[0]), pair(a[1], b[1]), pair(a[2], b[2])],
        bias: channel.bias,
        rows: planes.map(|plane| plane.as_ptr().wrapping_add(done + 4)),
        outer: pair(c[0], c[2]),
        middle: i32::from(c[1]),
        multiplier: channel.multiplier,
        zero_point,
        step: out.pixel_step,
        step3: 3 * out.pixel_step,
    };
    // SAFETY: the rows' words end at their pointers and were checked to be there, as were the outputs.
    unsafe { depthwise_fours(&row, out.bytes.as_mut_ptr(), -(done as isize) - 4) };
    done
}

/// What [`image_pixels`] needs of four channels; it reads it by position.
#[repr(C)]
struct Image {
    /// What a lit weight counts: 255.
    lit: i32,
    bias: [i32; 4],
    multipliers: [i32; 4],
    zero_point: i32,
    /// Bytes from a plane to the next, and three times that.
    step: usize,
    step3: usize,
    /// The third row's codes.
    codes: *const u8,
}

/// One row of four channels. `codes` are of the first and the second row, `table` is the second row's,
/// between the other two.
// SAFETY (of a call): there are `count` codes a row, all below 64, three aligned tables of 64 entries of
// eight bytes, and as many writable outputs in four planes.
#[unsafe(naked)]
unsafe extern "C" fn image_pixels(
    image: *const Image,
    codes0: *const u8,
    codes1: *const u8,
    out: *mut i8,
    table: *const [i8; 8],
    count: usize,
) {
    core::arch::naked_asm!(
        "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
        "mov r5, r3",
        "ldr r3, [r0, #48]",
        "ldrd r4, lr, [sp, #36]",
        "2: ldrb r6, [r1], #1",
        "ldrb r8, [r2], #1",
        "ldrb r10, [r3], #1",
        "add r6, r4, r6, lsl #3",
        "add r8, r4, r8, lsl #3",
        "add r10, r4, r10, lsl #3",
        "ldrd r6, r7, [r6, #-512]",
        "ldrd r8, r9, [r8]",
        "ldrd r10, r11, [r10, #512]",
        "sadd16 r6, r6, r8",
        "sadd16 r7, r7, r9",
        "sadd16 r6, r6, r10",
        "sadd16 r7, r7, r11",
        "ldm r0, {{r8, r9, r10, r11, r12}}",
        "smlabb r9, r6, r8, r9",
        "smlatb r10, r6, r8, r10",
        "smlabb r11, r7, r8, r11",
        "smlatb r12, r7, r8, r12",
        "ldrd r6, r7, [r0, #20]",
        "ldr r8, [r0, #36]",
        "smmlar r9, r9, r6, r8",
        "smmlar r10, r10, r7, r8",
        "ldrd r6, r7, [r0, #28]",
        "smmlar r11, r11, r6, r8",
        "smmlar r12, r12, r7, r8",
        "ldrd r6, r7, [r0, #40]",
        "ssat r9, #8, r9",
        "ssat r10, #8, r10",
        "ssat r11, #8, r11",
        "ssat r12, #8, r12",
        "strb r10, [r5, r6]",
        "strb r11, [r5, r6, lsl #1]",
        "strb r12, [r5, r7]",
        "strb r9, [r5], #1",
        "subs lr, lr, #1",
        "bne 2b",
        "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
    )
}

/// Four output channels of the first convolution for every pixel of a row: the first four of `out`.
#[inline(always)]
pub fn image4(
    codes: [&CodeRow; 3],
    table: &Table,
    bias: [i32; 4],
    multipliers: [i32; 4],
    quantization: Quantization,
    out: &mut Output<'_>,
) {
    let [a, b, c] = codes.map(CodeRow::codes);
    let [_, middle, _] = table;
    let planes = out.pixel_step == 1 && quantization.act_min == -128 && quantization.shift == 0;
    let room =
        (1..=a.len()).contains(&out.pixels) && out.bytes.len() >= 3 * out.channel_step + out.pixels;
    if !planes || !room || !table.as_ptr().cast::<u32>().is_aligned() {
        return portable::image4(codes, table, bias, multipliers, quantization, out);
    }
    let image = Image {
        lit: 255,
        bias,
        multipliers,
        zero_point: quantization.zero_point,
        step: out.channel_step,
        step3: 3 * out.channel_step,
        codes: c.as_ptr(),
    };
    // SAFETY: a row of codes has at least `pixels`, each below 64 by construction; the middle table lies
    // between the other two of an aligned `table`; `out` reaches to its fourth plane's last pixel.
    unsafe {
        let middle = table.as_ptr().cast::<[i8; 8]>().add(middle.len());
        let out = (out.bytes.as_mut_ptr(), out.pixels);
        image_pixels(&image, a.as_ptr(), b.as_ptr(), out.0, middle, out.1);
    }
}

/// Eight pixels of eight channels: bit x is set when pixel x's accumulator is not negative.
#[inline(always)]
pub fn mask8(pixels: &[[i8; 8]; 8], weights: &[i8; 8], bias: i32) -> u8 {
    let words = |eight: &[i8; 8]| {
        let [a, b, c, d, e, f, g, h] = eight.map(|x| x as u8);
        [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes)
    };
    let [v, w] = words(weights);
    let [v0, v1, w0, w1] = [even(v), odd(v), even(w), odd(w)];
    // Signs, the last pixel's first.
    let mut negative = 0;
    for pixel in pixels.iter().rev() {
        let [x, y] = words(pixel);
        let acc = smlad(odd(x), v1, smlad(even(x), v0, bias));
        let acc = smlad(odd(y), w1, smlad(even(y), w0, acc));
        negative = negative << 1 | acc as u32 >> 31;
    }
    !negative as u8
}

/// The larger of each two values.
#[inline(always)]
pub fn max4(a: [i8; 4], b: [i8; 4]) -> [i8; 4] {
    let [a, b] = [a, b].map(|four| u32::from_le_bytes(four.map(|v| v as u8)));
    let out: u32;
    // SAFETY: arithmetic on registers only; SSUB8 sets the GE flags that SEL reads.
    unsafe {
        asm!("ssub8 {o}, {a}, {b}", "sel {o}, {a}, {b}", o = out(reg) out, a = in(reg) a,
            b = in(reg) b, options(pure, nomem, nostack));
    }
    out.to_le_bytes().map(|v| v as i8)
}
