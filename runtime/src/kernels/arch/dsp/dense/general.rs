//! The general kernel: it computes a row of any shape, so that the reference kernel does not have to.
//!
//! It supports up to three segments, each with its own length (a multiple of 4) and step; any distance between outputs;
//! any shift; and any smallest activation. It loads all of these for every pixel, which costs about forty instructions a
//! pixel and group of channels.

use super::{Proof, widen};
use crate::graph::RECORD_BYTES;
use crate::kernels::row::Segment;
use crate::kernels::row::record4;
use crate::kernels::{Output, Quantization};

/// One segment of the next pixel.
#[repr(C)]
#[derive(Clone, Copy)]
struct Run {
    start: *const i8,
    /// Length in words; 0 marks the end of the list of segments.
    fours: usize,
    /// Distance from the end of the run to the run of the next pixel.
    skip: isize,
}

impl Run {
    const END: Self = Self {
        start: core::ptr::null(),
        fours: 0,
        skip: 0,
    };
}

/// The input of [`general`]: four channels of one row.
#[repr(C)]
struct Job {
    runs: [Run; 4],
    /// The weights, as pairs of halfwords.
    weights: *const u32,
    bias: [i32; 4],
    multipliers: [i32; 4],
    zero_point: i32,
    shift: u32,
    /// The smallest activation, in each of the four bytes.
    least: u32,
    out: *mut i8,
    channel_step: usize,
    pixel_step: usize,
    /// Number of remaining pixels.
    pixels: usize,
}

adjacent!(Job: zero_point + 4 = shift, out + 4 = channel_step, pixel_step + 4 = pixels);
adjacent!(Run: start + 4 = fours);
// The kernel reads the first run at the address of the job.
const _: () = assert!(core::mem::offset_of!(Job, runs) == 0);

/// Computes a row of four output channels: at least one pixel and one segment.
// SAFETY (of a call): the runs can be read for all pixels and are aligned to words; the weights of all their bytes can be
// read; all outputs are writable.
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
            // The address of the job stays on the stack.
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

/// Checks a row and computes it with the general kernel. Returns `None` and writes nothing if the check fails. For Helium.
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

/// Computes a row with the general kernel. Returns `None` and writes nothing if there are more than three segments.
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
    // The last entry must stay the end of the list.
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
        // The kernel advances these fields, so they are set again for each group.
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
        // SAFETY: every segment is aligned, not empty, and has a run for each pixel. The list of segments has an end. The
        // weights of all bytes were widened. `out` contains the last channel of the last pixel.
        unsafe { general(&mut job) };
    }
    Some(())
}
