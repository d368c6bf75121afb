//! Dense convolutions: rows of four output channels as loops in assembly.
//!
//! Weights are widened to pairs of halfwords once a row and then streamed with LDM: four activations
//! cost 13 instructions for 16 products. Biases lie before the weights and the constants of requantization
//! behind them, so that the same pointer runs through all three.

use core::arch::asm;

use crate::graph::RECORD_BYTES;
use crate::kernels::arch::{dense_scratch_words, portable};
use crate::kernels::dense::Segment;
use crate::kernels::{Output, Quantization, record4};

/// Four activations, in the named register, against four channels' weights (r12), into r4…r7.
macro_rules! four {
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

/// The next eight activations (r3).
macro_rules! eight {
    () => {
        concat!("ldrd r0, r1, [r3], #8\n", four!("r0"), four!("r1"))
    };
}

/// `lr` times what is in between.
macro_rules! times {
    ($($eight:expr),*) => {
        concat!("2:\n", $($eight,)* "subs lr, lr, #1\n", "bne 2b\n")
    };
}

/// On to the next segment: the gap at this place of the stack.
macro_rules! gap {
    ($at:literal) => {
        concat!("ldr r2, [sp, #", $at, "]\n", "add r3, r3, r2\n")
    };
    ($at:literal, then count) => {
        concat!("ldrd r2, lr, [sp, #", $at, "]\n", "add r3, r3, r2\n")
    };
}

/// Four activations to words of four channels, whose constants are the bytes from pixel to pixel, and the
/// smallest value in all bytes.
macro_rules! put_word {
    ($out:literal) => {
        concat!(
            "bfi r4, r5, #8, #8\n",
            "bfi r4, r6, #16, #8\n",
            "bfi r4, r7, #24, #8\n",
            "ssub8 r5, r4, r2\n",
            "sel r4, r4, r2\n",
            "str r4, [",
            $out,
            "]\n",
            "add ",
            $out,
            ", ",
            $out,
            ", r1\n",
        )
    };
}

/// Four activations to planes; the constants are the bytes from one to the next, and three times that.
macro_rules! put_planes {
    ($out:literal) => {
        concat!(
            "strb r5, [",
            $out,
            ", r1]\n",
            "strb r6, [",
            $out,
            ", r1, lsl #1]\n",
            "strb r7, [",
            $out,
            ", r2]\n",
            "strb r4, [",
            $out,
            "], #1\n",
        )
    };
}

/// One row of four output channels; see [`kernel`].
type Kernel = unsafe extern "C" fn(
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
);

/// One row of four output channels. `block`: four biases, the widened weights, the zero point, two
/// constants of the store, four multipliers. `run` is the first segment's; `count` and `count1`, `count2`
/// are how many units a pixel reads of each segment, `gap0` … how far it is from a segment's end to what
/// is read next. `out` goes up to `end`.
///
/// A function of its own in assembly: the loop takes all fourteen registers, and what a pixel needs
/// besides lies on the stack where the calling convention puts it.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, counted, [$($body:expr),*], $put:ident) => {
        kernel!($(#[$doc])* $name, [
            "3: ldrd r12, lr, [sp]",
            $($body),*
        ], [
            "ldrd r12, lr, [sp, #8]",
            $put!("r12"),
            "str r12, [sp, #8]",
            "cmp r12, lr"
        ]);
    };
    // Without a count there is a register for the output.
    ($(#[$doc:meta])* $name:ident, unrolled, [$($body:expr),*], $put:ident) => {
        kernel!($(#[$doc])* $name, [
            "mov lr, r2",
            "3: ldr r12, [sp]",
            $($body),*
        ], [
            $put!("lr"),
            "ldr r2, [sp, #12]",
            "cmp lr, r2"
        ]);
    };
    ($(#[$doc:meta])* $name:ident, [$start:literal, $($body:expr),*], [$($put:expr),*]) => {
        $(#[$doc])*
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
                processor!(),
                "push {{r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
                "push {{r0, r1, r2, r3}}",
                "ldr r3, [sp, #52]",
                $start,
                $($body,)*
                "ldm r12, {{r0, r1, r2, r8, r9, r10, r11}}",
                "smmlar r4, r4, r8, r0",
                "smmlar r5, r5, r9, r0",
                "smmlar r6, r6, r10, r0",
                "smmlar r7, r7, r11, r0",
                "ssat r4, #8, r4",
                "ssat r5, #8, r5",
                "ssat r6, #8, r6",
                "ssat r7, #8, r7",
                $($put,)*
                "bne 3b",
                "add sp, sp, #16",
                "pop {{r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
            )
        }
    };
}

/// Loads the biases.
macro_rules! bias {
    () => {
        "ldm r12!, {{r4, r5, r6, r7}}"
    };
}

kernel!(
    /// One segment of 8, which is all of a pixel.
    words_8, unrolled, [bias!(), eight!()], put_word
);
kernel!(
    /// One segment of 16, which is all of a pixel.
    words_16, unrolled, [bias!(), eight!(), eight!()], put_word
);
kernel!(
    /// One segment of eights, which is all of a pixel.
    words, counted, [bias!(), times!(eight!())], put_word
);
kernel!(
    /// Two segments of 8.
    planes_8_8, unrolled,
    [bias!(), eight!(), gap!("56"), eight!(), gap!("64")],
    put_planes
);
kernel!(
    /// Two segments of 16.
    planes_16_16, unrolled,
    [bias!(), eight!(), eight!(), gap!("56"), eight!(), eight!(), gap!("64")],
    put_planes
);
kernel!(
    /// Two segments of eights.
    planes_2, counted,
    [bias!(), times!(eight!()), gap!("56", then count), times!(eight!()), gap!("64")],
    put_planes
);
kernel!(
    /// Three segments of 24s.
    planes_3, counted,
    [
        bias!(),
        times!(eight!(), eight!(), eight!()),
        gap!("56", then count),
        times!(eight!(), eight!(), eight!()),
        gap!("64", then count),
        times!(eight!(), eight!(), eight!()),
        gap!("72")
    ],
    put_planes
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
    let planar = out.pixel_step == 1;
    let (kernel, unit): (Kernel, usize) = match (segments, planar) {
        ([a], false) if a.step != a.len => return None,
        ([Segment { len: 8, .. }], false) => (words_8, 8),
        ([Segment { len: 16, .. }], false) => (words_16, 8),
        ([_], false) => (words, 8),
        ([Segment { len: 8, .. }, Segment { len: 8, .. }], true) => (planes_8_8, 8),
        ([Segment { len: 16, .. }, Segment { len: 16, .. }], true) => (planes_16_16, 8),
        ([_, _], true) => (planes_2, 8),
        ([_, _, _], true) => (planes_3, 24),
        _ => return None,
    };
    // The smallest value is free where it is int8's, and cheap in words of four channels.
    let simple = if planar {
        act_min == -128
    } else {
        out.channel_step == 1
    };
    let last = out.pixels.checked_sub(1)?;
    let first = segments.first()?;
    let step = first.step;
    let good = |s: &Segment<'_>| {
        let whole = s.len > 0 && s.len.is_multiple_of(unit) && step.is_multiple_of(4);
        let aligned = s.row.as_ptr().addr().is_multiple_of(4);
        whole && aligned && s.step == step && s.row.len() >= last * step + s.len
    };
    if !simple || shift != 0 || !segments.iter().all(good) {
        return None;
    }
    let length = segments.iter().map(|s| s.len).sum::<usize>();
    // Segments have bytes, but the compiler cannot see it.
    let group = (4 * length).max(1);
    let channels = 4 * (weights.len() / group).min(records.len() / (4 * RECORD_BYTES));
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
    let [store0, store1] = if planar {
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
        *count = s.len / unit;
        *gap = next - (start(s) + s.len as isize);
    }
    let mut weights = weights.chunks_exact(group);
    for (group, records) in records.chunks_exact(4 * RECORD_BYTES).enumerate() {
        let Some(weights) = weights.next() else { break };
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
