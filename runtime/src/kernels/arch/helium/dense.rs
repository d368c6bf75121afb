//! Dense convolutions: selects the kernel for a row, checks that it may compute the row, and prepares its input.

mod kernels;

use crate::graph::RECORD_BYTES;
use crate::kernels::arch::{checked, dsp, reference};
use crate::kernels::path::helium::Dense;
use crate::kernels::row::{Segment, scratch_bytes};
use crate::kernels::{Output, Quantization, path, record};
use kernels::{Job, function, widen};

/// See [`crate::kernels::dense::dense_row`].
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    mut out: Output<'_>,
) {
    let fast = dense_fast(segments, weights, records, &quantization, scratch, &mut out).is_some();
    let done = fast
        || dsp::dense_general(segments, weights, records, &quantization, scratch, &mut out)
            .is_some();
    if !done {
        reference::dense(segments, weights, records, quantization, scratch, out);
    }
}

/// Computes a row. Returns `None` and writes nothing if no fast kernel supports the row or if the check fails.
#[inline(always)]
fn dense_fast(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: &Quantization,
    scratch: &mut [i8],
    out: &mut Output<'_>,
) -> Option<()> {
    let mut job = Job::EMPTY;
    let mut plan = Plan::EMPTY;
    prepare(
        (&mut job, &mut plan),
        segments,
        weights,
        records,
        quantization,
        out,
    )?;
    let room = scratch.len() >= scratch_bytes(plan.block / 4);
    if !room || !scratch.as_ptr().addr().is_multiple_of(4) {
        return None;
    }
    taken!(Fast);
    run(&mut job, &plan, weights, records, scratch, out);
    Some(())
}

/// What [`prepare`] found out about a row.
#[derive(Clone, Copy)]
struct Plan {
    kernel: Dense,
    /// The first run of the first pixel.
    run: *const i8,
    /// Number of bytes of the weights of four channels.
    block: usize,
    /// Number of groups of four channels.
    groups: usize,
}

impl Plan {
    const EMPTY: Self = Self {
        kernel: Dense::Words,
        run: core::ptr::null(),
        block: 0,
        groups: 0,
    };
}

/// Selects the kernel, checks that it may compute the row, and sets the fields of the job that are the same for all
/// channels. Not inlined, so that the kernels do not run on top of its stack frame.
#[inline(never)]
fn prepare(
    (job, plan): (&mut Job, &mut Plan),
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: &Quantization,
    out: &Output<'_>,
) -> Option<()> {
    let kernel = path::helium::dense(segments, quantization, out).ok()?;
    let checked::Dense { length, groups } = checked::dense(segments, weights, records, out)?;
    let aligned = |s: &Segment<'_>| s.row.as_ptr().addr().is_multiple_of(4) && s.step % 4 == 0;
    let gathers = matches!(kernel, Dense::Planes8And8 | Dense::Planes24);
    if gathers && !segments.iter().all(aligned) || !weights.as_ptr().addr().is_multiple_of(4) {
        return None;
    }
    let first = segments.first()?;
    job.step = first.step;
    job.out_step = 4 * out.pixel_step;
    job.plane = out.channel_step;
    job.zero_point = quantization.zero_point;
    job.least = u32::from_ne_bytes([quantization.act_min as u8; 4]);
    walk(job, kernel, segments);
    if !gathers {
        for (j, place) in job.places.iter_mut().enumerate() {
            // Below 256: the kernel was selected only for such distances.
            let pixels = [0, 1, 2, 3].map(|x| (x * out.pixel_step + j) as u8);
            *place = u32::from_le_bytes(pixels);
        }
    }
    *plan = Plan {
        kernel,
        run: first.row.as_ptr(),
        block: 4 * length,
        groups,
    };
    Some(())
}

/// Sets how the kernel moves from one segment to the next: by the differences of their addresses.
#[inline(always)]
fn walk(job: &mut Job, kernel: Dense, segments: &[Segment<'_>]) {
    let start = |s: &Segment<'_>| s.row.as_ptr().expose_provenance();
    let blocks = !matches!(kernel, Dense::Planes8And8 | Dense::Planes24);
    for (count, s) in job.counts.iter_mut().zip(segments) {
        *count = s.len / 16;
    }
    for (gap, pair) in job.gaps.iter_mut().zip(segments.windows(2)) {
        if let [a, b] = pair {
            let skipped = if blocks { a.len } else { 0 };
            *gap = start(b).wrapping_sub(start(a) + skipped) as isize;
        }
    }
    if let ([a, b, ..], false) = (segments, blocks) {
        let (a, b) = (start(a), start(b));
        // The words to gather: the remaining words of two segments, relative to the run; or the words of two whole
        // segments, as addresses one pixel before the run.
        let before = match kernel {
            Dense::Planes24 => a.wrapping_sub(16),
            _ => 8,
        };
        job.places = [a, a + 4, b, b + 4].map(|at| at.wrapping_sub(before) as u32);
    }
}

/// Computes a prepared row.
#[inline(always)]
fn run(
    job: &mut Job,
    plan: &Plan,
    weights: &[u8],
    records: &[u8],
    scratch: &mut [i8],
    out: &mut Output<'_>,
) {
    let kernel = function(plan.kernel);
    // How far the kernel has advanced the places that are addresses.
    let mut left = 0usize;
    job.extra = scratch.as_ptr().cast();
    for group in 0..plan.groups {
        let weights = weights.get(group * plan.block..).unwrap_or_default();
        let records = records.get(group * 4 * RECORD_BYTES..).unwrap_or_default();
        job.weights = weights.as_ptr();
        // One by one, because arrays of four would take stack.
        for (j, (bias, multiplier)) in job.bias.iter_mut().zip(&mut job.multipliers).enumerate() {
            (*bias, *multiplier) = record(records, j);
        }
        put_together(plan.kernel, weights, scratch);
        let mut pixel = 0;
        job.turns = out.pixels / 4;
        loop {
            let skipped = pixel * job.step;
            job.run = plan.run.wrapping_add(skipped);
            let start = pixel * out.pixel_step + 4 * group * out.channel_step;
            job.out = out.bytes.as_mut_ptr().wrapping_add(start);
            if plan.kernel == Dense::Planes8And8 {
                for place in &mut job.places {
                    *place = place.wrapping_add(skipped.wrapping_sub(left) as u32);
                }
                left = skipped + 4 * job.turns * job.step;
            }
            // SAFETY: the check showed that every segment has a run for each pixel, that the weights are complete and
            // aligned, and that `out` contains the last channel of the last pixel. Each turn computes four of these pixels.
            unsafe { kernel(job) };
            if pixel > 0 || out.pixels.is_multiple_of(4) {
                break;
            }
            // The remaining pixels are computed by one more turn, which ends with the last pixel.
            pixel = out.pixels - 4;
            job.turns = 1;
        }
    }
}

/// Prepares the weights of kernels that do not read them in the order of the image. The scratch for sums of 8 products has
/// at least 64 bytes, the scratch for sums of 72 products more than 128.
#[inline(never)]
fn put_together(kernel: Dense, weights: &[u8], scratch: &mut [i8]) {
    match kernel {
        Dense::Words8 => widen(weights, scratch.get_mut(..64).unwrap_or_default()),
        Dense::Planes24 => {
            let scratch = scratch.get_mut(..128).unwrap_or_default();
            let (rests, last) = scratch.split_at_mut_checked(64).unwrap_or_default();
            let words = |at: core::ops::Range<usize>| {
                weights.get(at).unwrap_or_default().as_chunks::<4>().0
            };
            let from = words(64..96).iter().chain(words(160..192));
            for (to, from) in rests.as_chunks_mut::<4>().0.iter_mut().zip(from) {
                *to = from.map(|byte| byte as i8);
            }
            widen(weights.get(256..288).unwrap_or_default(), last);
        }
        _ => {}
    }
}
