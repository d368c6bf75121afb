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
use crate::kernels::dense::Segment;
use crate::kernels::depthwise::plane_bytes;
use crate::kernels::image_conv::{CodeRow, Table};
use crate::kernels::{Output, Quantization, record4};
use crate::model::RECORD_BYTES;

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

/// One row of four output channels. `block` is biases, widened weights and constants; `run` is the first segment's, `count`
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

/// See [`crate::kernels::dense::dense_row`].
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    mut out: Output<'_>,
) {
    if dense_fast(segments, weights, records, quantization, scratch, &mut out).is_none() {
        portable::dense(segments, weights, records, quantization, scratch, out);
    }
}

/// `None`, with nothing written, for what the assembly is not made for.
#[inline(never)]
fn dense_fast(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    out: &mut Output<'_>,
) -> Option<()> {
    let Quantization {
        shift,
        zero_point,
        act_min,
    } = quantization;
    let planes = out.pixel_step == 1;
    let kernel = match (segments, planes) {
        ([_], false) => dense1_words,
        ([_, _], true) => dense2_planes,
        ([_, _, _], true) => dense3_planes,
        _ => return None,
    };
    // The smallest value is free where it is int8's, and cheap in words of four channels.
    let simple = if planes {
        act_min == -128
    } else {
        out.channel_step == 1
    };
    let last = out.pixels.checked_sub(1)?;
    let first = segments.first()?;
    let step = first.step;
    let good = |s: &Segment<'_>| {
        let whole = s.len > 0 && s.len.is_multiple_of(8) && step.is_multiple_of(4);
        let aligned = s.row.as_ptr().addr().is_multiple_of(4);
        whole && aligned && s.step == step && s.row.len() >= last * step + s.len
    };
    if !simple || shift != 0 || !segments.iter().all(good) {
        return None;
    }
    let length = segments.iter().map(|s| s.len).sum::<usize>();
    let channels = 4 * (weights.len() / (4 * length)).min(records.len() / (4 * RECORD_BYTES));
    let reach = last * out.pixel_step + channels.checked_sub(1)? * out.channel_step;
    if out.bytes.len() <= reach {
        return None;
    }
    // SAFETY: any bytes are words.
    let (unaligned, words, _) = unsafe { scratch.align_to_mut::<u32>() };
    let words = words.get_mut(..dense_scratch_words(length))?;
    if !unaligned.is_empty() {
        return None;
    }
    let (bias, rest) = words.split_first_chunk_mut::<4>()?;
    let (pairs, rest) = rest.split_at_mut_checked(2 * length)?;
    let constants = rest.first_chunk_mut::<7>()?;
    let least = i32::from_le_bytes([act_min as u8; 4]);
    let [store0, store1] = if planes {
        [out.channel_step as i32, 3 * out.channel_step as i32]
    } else {
        [out.pixel_step as i32, least]
    };

    // Addresses alone: the kernel walks from one segment to the next by their differences.
    let start = |s: &Segment<'_>| s.row.as_ptr().expose_provenance() as isize;
    let (mut counts, mut gaps) = ([0; 3], [0; 3]);
    let nexts = segments.iter().skip(1).map(start);
    let nexts = nexts.chain([start(first) + step as isize]);
    for (((count, gap), s), next) in counts.iter_mut().zip(&mut gaps).zip(segments).zip(nexts) {
        *count = s.len / 8;
        *gap = next - (start(s) + s.len as isize);
    }
    let groups = weights
        .chunks_exact(4 * length)
        .zip(records.chunks_exact(4 * RECORD_BYTES));
    for (group, (weights, records)) in groups.enumerate() {
        let (biases, [m0, m1, m2, m3]) = record4(records);
        *bias = biases.map(|bias| bias as u32);
        *constants = [zero_point, store0, store1, m0, m1, m2, m3].map(|word| word as u32);
        widen(weights, pairs);
        let start = out
            .bytes
            .as_mut_ptr()
            .wrapping_add(4 * group * out.channel_step);
        // SAFETY: every segment was checked to have its run for each pixel and to be aligned; the block is
        // as long as the counts say; `out` reaches to the last channel of the last pixel; `end` is only
        // compared.
        unsafe {
            kernel(
                bias.as_ptr(),
                counts[0],
                start,
                start.wrapping_add(out.pixels * out.pixel_step),
                first.row.as_ptr(),
                gaps[0],
                counts[1],
                gaps[1],
                counts[2],
                gaps[2],
            );
        }
    }
    Some(())
}

/// Widens words of four weights, an even number of them, to pairs of halfwords: bytes 0 and 2, 1 and 3.
#[inline(always)]
fn widen(weights: &[u8], pairs: &mut [u32]) {
    let count = (weights.len() / 8).min(pairs.len() / 4);
    if count == 0 {
        return;
    }
    // SAFETY: reads 8·count bytes, of which LDR needs no alignment, and writes 4·count words.
    unsafe {
        asm!(
            "2: ldr {b}, [{w}], #4",
            "ldr {d}, [{w}], #4",
            "sxtb16 {a}, {b}",
            "sxtb16 {b}, {b}, ror #8",
            "sxtb16 {c}, {d}",
            "sxtb16 {d}, {d}, ror #8",
            "strd {a}, {b}, [{p}], #8",
            "strd {c}, {d}, [{p}], #8",
            "subs {n}, {n}, #1",
            "bne 2b",
            w = inout(reg) weights.as_ptr() => _,
            p = inout(reg) pairs.as_mut_ptr() => _,
            n = inout(reg) count => _,
            a = out(reg) _,
            b = out(reg) _,
            c = out(reg) _,
            d = out(reg) _,
            options(nostack),
        );
    }
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
    middle: u32,
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

/// See [`crate::kernels::depthwise::depthwise_row`].
pub fn depthwise(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    if depthwise_fast(rows, weights, records, quantization, &mut out).is_none() {
        portable::depthwise(rows, weights, records, quantization, out);
    }
}

/// `None`, with nothing written, for what the assembly is not made for.
#[inline(never)]
fn depthwise_fast(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: &mut Output<'_>,
) -> Option<()> {
    let Quantization {
        shift,
        zero_point,
        act_min,
    } = quantization;
    let (groups, _) = weights.as_chunks::<36>();
    let (records, _) = records.as_chunks::<{ 4 * RECORD_BYTES }>();
    let channels = 4 * groups.len().min(records.len());
    let plane = plane_bytes(out.pixels);
    let long = rows.iter().all(|row| row.len() >= channels * plane);
    let reach =
        out.pixels.checked_sub(1)? * out.pixel_step + channels.checked_sub(1)? * out.channel_step;
    if shift != 0 || act_min != -128 || !long || out.bytes.len() <= reach {
        return None;
    }
    // Whole fours, and what is left of a last one.
    let (fours, rest) = (out.pixels & !3, out.pixels & 3);
    let mut starts = rows.map(<[i8]>::as_ptr);
    let mut start = out.bytes.as_mut_ptr();
    for (weights, records) in groups.iter().zip(records) {
        let (biases, multipliers) = record4(records);
        let (taps, _) = weights.as_chunks::<4>();
        for (j, (bias, multiplier)) in biases.into_iter().zip(multipliers).enumerate() {
            let tap = |k: usize| taps.get(k).map_or(0, |tap| u32::from(tap[j] as i8 as u16));
            let mut row = Row {
                upper: [0, 1, 2].map(|k| tap(k) | tap(k + 3) << 16),
                bias,
                rows: starts.map(|start| start.wrapping_add(fours + 4)),
                outer: tap(6) | tap(8) << 16,
                middle: tap(7),
                multiplier,
                zero_point,
                step: out.pixel_step,
                step3: 3 * out.pixel_step,
            };
            // SAFETY: a plane has its pixels' words and one before, the last of them whole, and was
            // checked to be there for every channel, as were the outputs. A last four is cut.
            unsafe {
                if fours > 0 {
                    depthwise_fours(&row, start, -(fours as isize) - 4);
                }
                if rest > 0 {
                    let mut four = [0; 4];
                    row.rows = starts.map(|start| start.wrapping_add(fours + 8));
                    (row.step, row.step3) = (1, 3);
                    depthwise_fours(&row, four.as_mut_ptr(), -8);
                    for (x, value) in four.into_iter().take(rest).enumerate() {
                        start.add((fours + x) * out.pixel_step).write(value);
                    }
                }
            }
            starts = starts.map(|start| start.wrapping_add(plane));
            start = start.wrapping_add(out.channel_step);
        }
    }
    Some(())
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
