//! Rows with a fast kernel: selects it and calls it for all channels.

use super::{Proof, general, kernels, prove, widen};
use crate::graph::RECORD_BYTES;
use crate::kernels::arch::reference;
use crate::kernels::row::Segment;
use crate::kernels::row::record4;
use crate::kernels::{Output, Quantization, path};

/// See [`crate::kernels::dense::dense_row`].
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    mut out: Output<'_>,
) {
    let kernel = path::dsp::dense(segments, &quantization, &out);
    let done = match prove(segments, weights, records, scratch, &out) {
        None => None,
        Some(proof) => match kernel {
            Ok(kernel) => row(
                kernel,
                proof,
                segments,
                weights,
                records,
                &quantization,
                &mut out,
            ),
            Err(_) => general::row(proof, segments, weights, records, &quantization, &mut out),
        },
    };
    if done.is_none() {
        reference::dense(segments, weights, records, quantization, scratch, out);
    }
}

/// Computes a row with a fast kernel. Returns `None` and writes nothing if the kernel does not support its segments.
#[inline(always)]
fn row(
    kernel: path::dsp::Dense,
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
    let (bias, rest) = words.split_first_chunk_mut::<4>()?;
    let (pairs, rest) = rest.split_at_mut_checked(2 * length)?;
    let constants = rest.first_chunk_mut::<7>()?;
    let store = if out.pixel_step == 1 {
        [out.channel_step, 3 * out.channel_step].map(|step| step as u32)
    } else {
        let least = u32::from_ne_bytes([quantization.act_min as u8; 4]);
        [out.pixel_step as u32, least]
    };
    let walk = Walk::of(segments, kernel)?;
    taken!(Fast);
    let kernel = kernels::function(kernel);
    for group in 0..groups {
        let (Some(weights), Some(records)) = (
            weights.get(group * 4 * length..),
            records.as_chunks::<{ 4 * RECORD_BYTES }>().0.get(group),
        ) else {
            break;
        };
        let (biases, multipliers) = record4(records);
        *bias = biases.map(|bias| bias as u32);
        let [m0, m1, m2, m3] = multipliers.map(|multiplier| multiplier as u32);
        let zero_point = quantization.zero_point as u32;
        *constants = [zero_point, store[0], store[1], m0, m1, m2, m3];
        widen(weights, pairs);
        let start = out
            .bytes
            .as_mut_ptr()
            .wrapping_add(4 * group * out.channel_step);
        let end = start.wrapping_add(out.pixels * out.pixel_step);
        let Walk { run, counts, gaps } = walk;
        // SAFETY: every segment is aligned and has a run for each pixel. The block has the length that the counts say.
        // `out` contains the last channel of the last pixel. `end` is only compared, not accessed.
        unsafe {
            kernel(
                bias.as_ptr(),
                counts[0],
                start,
                end,
                run,
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

/// How a kernel moves from one segment to the next, and from one pixel to the next. It adds the difference between the
/// address of the next run and the end of the last one.
#[derive(Clone, Copy)]
struct Walk {
    /// The first run of the first pixel.
    run: *const i8,
    /// Turns of the inner loop for each segment.
    counts: [usize; 3],
    /// From the end of each segment to the next segment; from the end of the last one to the next pixel.
    gaps: [isize; 3],
}

impl Walk {
    #[inline(always)]
    fn of(segments: &[Segment<'_>], kernel: path::dsp::Dense) -> Option<Self> {
        let first = segments.first()?;
        let start = |s: &Segment<'_>| s.row.as_ptr().expose_provenance() as isize;
        let mut walk = Self {
            run: first.row.as_ptr(),
            counts: [0; 3],
            gaps: [0; 3],
        };
        let nexts = segments.iter().skip(1).map(start);
        let nexts = nexts.chain([start(first) + first.step as isize]);
        let steps = walk.counts.iter_mut().zip(&mut walk.gaps);
        for (((count, gap), s), next) in steps.zip(segments).zip(nexts) {
            *count = kernel.turns(s.len)?;
            *gap = next - (start(s) + s.len as isize);
        }
        Some(walk)
    }
}
