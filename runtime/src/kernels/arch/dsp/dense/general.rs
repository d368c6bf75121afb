//! The general kernel: a row of any shape, so that no shape is left to the reference kernel.
//!
//! Up to three segments of fours, each with a length and a step of its own; outputs any number of bytes apart; any
//! shift and any smallest value. It reads all that from a job at every pixel, which costs about forty instructions
//! besides the products.

use super::{Proof, widen};
use crate::graph::RECORD_BYTES;
use crate::kernels::row::Segment;
use crate::kernels::row::record4;
use crate::kernels::{Output, Quantization};

/// A segment of the next pixel.
#[repr(C)]
#[derive(Clone, Copy)]
struct Run {
    start: *const i8,
    /// Fours of bytes; 0 behind the last segment.
    fours: usize,
    /// From the run's end to the next pixel's.
    skip: isize,
}

impl Run {
    const END: Self = Self {
        start: core::ptr::null(),
        fours: 0,
        skip: 0,
    };
}

/// What [`general`] needs of a row and four channels.
#[repr(C)]
struct Job {
    runs: [Run; 4],
    /// As pairs of halfwords.
    weights: *const u32,
    bias: [i32; 4],
    multipliers: [i32; 4],
    zero_point: i32,
    shift: u32,
    /// The smallest activation, in all bytes.
    least: u32,
    out: *mut i8,
    channel_step: usize,
    pixel_step: usize,
    /// Pixels left.
    pixels: usize,
}

adjacent!(Job: zero_point + 4 = shift, out + 4 = channel_step, pixel_step + 4 = pixels);
adjacent!(Run: start + 4 = fours);
// The first run is where the job is.
const _: () = assert!(core::mem::offset_of!(Job, runs) == 0);

/// One row of four output channels, at least one pixel of at least one segment.
// SAFETY (of a call): the job's runs can be read for all of its pixels and are word-aligned, as many weights are
// there, and all outputs are writable.
#[unsafe(naked)]
unsafe extern "C" fn general(job: *mut Job) {
    naked_asm_of!(
        Job {
            weights,
            bias,
            multipliers,
            zero_point,
            least,
            out,
            pixel_step,
            pixels
        },
        [
            // The job stays on the stack.
            "push {{r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}}",
            "3: ldr r1, [sp]",
            "add r2, r1, #{bias}",
            "ldm r2, {{r4, r5, r6, r7}}",
            "ldr r12, [r1, #{weights}]",
            "ldrd r3, lr, [r1]",
            "2: ldr r0, [r3], #4",
            four!("r0"),
            "subs lr, lr, #1",
            "bne 2b",
            // The next segment.
            "ldr r2, [r1, #{skip}]",
            "add r3, r3, r2",
            "str r3, [r1], #{run}",
            "ldrd r3, lr, [r1]",
            "cmp lr, #0",
            "bne 2b",
            "ldr r1, [sp]",
            "add r2, r1, #{multipliers}",
            "ldm r2, {{r8, r9, r10, r11}}",
            "ldrd r0, r2, [r1, #{zero_point}]",
            "lsl r4, r4, r2",
            "lsl r5, r5, r2",
            "lsl r6, r6, r2",
            "lsl r7, r7, r2",
            "smmlar r4, r4, r8, r0",
            "smmlar r5, r5, r9, r0",
            "smmlar r6, r6, r10, r0",
            "smmlar r7, r7, r11, r0",
            "ssat r4, #8, r4",
            "ssat r5, #8, r5",
            "ssat r6, #8, r6",
            "ssat r7, #8, r7",
            "bfi r4, r5, #8, #8",
            "bfi r4, r6, #16, #8",
            "bfi r4, r7, #24, #8",
            "ldr r2, [r1, #{least}]",
            "ssub8 r5, r4, r2",
            "sel r4, r4, r2",
            "ldrd r2, r5, [r1, #{out}]",
            "strb r4, [r2]",
            "lsr r4, r4, #8",
            "strb r4, [r2, r5]",
            "lsr r4, r4, #8",
            "strb r4, [r2, r5, lsl #1]",
            "lsr r4, r4, #8",
            "add r5, r5, r5, lsl #1",
            "strb r4, [r2, r5]",
            "ldrd r5, r6, [r1, #{pixel_step}]",
            "add r2, r2, r5",
            "str r2, [r1, #{out}]",
            "subs r6, r6, #1",
            "str r6, [r1, #{pixels}]",
            "bne 3b",
            "pop {{r0, r4, r5, r6, r7, r8, r9, r10, r11, pc}}",
        ],
        skip = core::mem::offset_of!(Run, skip),
        run = size_of::<Run>(),
    )
}

/// A row by the general kernel, proof included: for other instruction sets. `None`, with nothing written, for what
/// cannot be proved.
#[cfg(arm_mve)]
#[inline(never)]
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: &Quantization,
    scratch: &mut [i8],
    out: &mut Output<'_>,
) -> Option<()> {
    let proof = super::prove(segments, weights, records, scratch, out)?;
    row(proof, segments, weights, records, quantization, out)
}

/// A row by the general kernel. `None`, with nothing written, for more than three segments.
#[cfg_attr(arm_mve, inline(always))]
#[cfg_attr(not(arm_mve), inline(never))]
pub fn row(
    proof: Proof<'_>,
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: &Quantization,
    out: &mut Output<'_>,
) -> Option<()> {
    let Proof {
        length,
        groups,
        words,
    } = proof;
    let pairs = words.get_mut(..2 * length)?;
    let mut job = Job {
        runs: [Run::END; 4],
        weights: pairs.as_ptr(),
        bias: [0; 4],
        multipliers: [0; 4],
        zero_point: quantization.zero_point,
        shift: quantization.shift,
        least: u32::from_ne_bytes([quantization.act_min as u8; 4]),
        out: out.bytes.as_mut_ptr(),
        channel_step: out.channel_step,
        pixel_step: out.pixel_step,
        pixels: 0,
    };
    // Behind the last is the end.
    if segments.len() >= job.runs.len() {
        return None;
    }
    taken!(General);
    for group in 0..groups {
        let (Some(weights), Some(records)) = (
            weights.get(group * 4 * length..),
            records.as_chunks::<{ 4 * RECORD_BYTES }>().0.get(group),
        ) else {
            break;
        };
        widen(weights, pairs);
        // The kernel leaves its job behind the row's last pixel.
        for (run, s) in job.runs.iter_mut().zip(segments) {
            *run = Run {
                start: s.row.as_ptr(),
                fours: s.len / 4,
                skip: s.step as isize - s.len as isize,
            };
        }
        (job.bias, job.multipliers) = record4(records);
        let start = 4 * group * out.channel_step;
        job.out = out.bytes.as_mut_ptr().wrapping_add(start);
        job.pixels = out.pixels;
        // SAFETY: every segment has its run for each pixel and is aligned, none is empty, and behind the last is
        // the end; the weights of their bytes were widened; `out` reaches to the last channel of the last pixel.
        unsafe { general(&mut job) };
    }
    Some(())
}
