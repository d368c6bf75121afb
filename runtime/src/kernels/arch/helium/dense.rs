//! Dense convolutions: which kernel computes a row, the proof that it may, and what it wants prepared.

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

/// `None`, with nothing written, for what no kernel here is made for and for what cannot be proved.
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

/// How a row is computed.
#[derive(Clone, Copy)]
struct Plan {
    kernel: Dense,
    /// The first segment of the first pixel.
    run: *const i8,
    /// Bytes of weights of four channels.
    block: usize,
    /// Fours of channels.
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

/// Chooses the kernel, proves that what it touches is there, and fills what is the same for all channels. By itself,
/// so that it takes no stack below the kernels.
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
            // Below 256, as the choice has made sure.
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

/// How a kernel walks from one segment to the next: by the differences of their addresses.
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
        // The words of two rests, counted from the run; or of two whole segments, from a pixel before.
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
    // Where the kernel has left the places that are addresses.
    let mut left = 0usize;
    job.extra = scratch.as_ptr().cast();
    for group in 0..plan.groups {
        let weights = weights.get(group * plan.block..).unwrap_or_default();
        let records = records.get(group * 4 * RECORD_BYTES..).unwrap_or_default();
        job.weights = weights.as_ptr();
        // One by one: an array of four is in the way on a small stack.
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
            // SAFETY: every segment was checked to have its run for each pixel, the weights to be there and
            // aligned, and `out` to reach the last channel of the last pixel; a turn's pixels are four of
            // those.
            unsafe { kernel(job) };
            if pixel > 0 || out.pixels.is_multiple_of(4) {
                break;
            }
            // A last turn where pixels are left, so that it ends with the last; it begins behind the first.
            pixel = out.pixels - 4;
            job.turns = 1;
        }
    }
}

/// Prepares weights that are not read as they lie in the image. Scratch for sums of 8 has room for 64 bytes,
/// for sums of 72 for more than 128.
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
