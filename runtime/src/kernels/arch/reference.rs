//! The reference kernels, in portable Rust. Every instruction set is tested against them. They also compute the rows
//! that an instruction set has no kernel for.

use crate::graph::RECORD_BYTES;
use crate::kernels::row::Segment;
use crate::kernels::row::record4;
use crate::kernels::row::{CodeRow, Table};
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization, record};

/// See [`crate::kernels::dense::dense_row`].
#[inline(never)]
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    _scratch: &mut [i8],
    mut out: Output<'_>,
) {
    taken!(Reference);
    let block = 4 * segments.iter().map(|s| s.len).sum::<usize>();
    let groups = weights
        .chunks_exact(block.max(1))
        .zip(records.chunks_exact(4 * RECORD_BYTES));
    // Four channels at a time over the whole row, so that their weights stay in the cache.
    for (group, (weights, records)) in groups.enumerate() {
        let (bias, multipliers) = record4(records);
        let Some(mut out) = out.channels_from(4 * group) else {
            return;
        };
        for x in 0..out.pixels {
            let mut acc = bias;
            let mut weights = weights;
            for s in segments {
                let (part, rest) = weights.split_at_checked(4 * s.len).unwrap_or_default();
                let run = s.row.get(x * s.step..x * s.step + s.len);
                dot4(run.unwrap_or_default(), part, &mut acc);
                weights = rest;
            }
            out.put4(x, quantization.activation4(acc, multipliers));
        }
    }
}

/// Adds the dot products of `run` with the weights of four channels, `[k/4][j][k%4]`.
#[inline(always)]
fn dot4(run: &[i8], weights: &[u8], acc: &mut [i32; 4]) {
    for (x, w) in run
        .as_chunks::<4>()
        .0
        .iter()
        .zip(weights.as_chunks::<16>().0)
    {
        for (acc, w) in acc.iter_mut().zip(w.as_chunks::<4>().0) {
            for (&x, &w) in x.iter().zip(w) {
                *acc = acc.wrapping_add(i32::from(x) * i32::from(w as i8));
            }
        }
    }
}

/// See [`crate::kernels::depthwise::depthwise_row`].
#[inline(never)]
pub fn depthwise(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    taken!(Reference);
    let plane = plane_bytes(out.pixels);
    for (group, weights) in weights.as_chunks::<36>().0.iter().enumerate() {
        for j in 0..4 {
            let at = 4 * group + j;
            let planes = rows.map(|row| row.get(at * plane..(at + 1) * plane));
            let ([Some(a), Some(b), Some(c)], Some(out)) = (planes, out.channels_from(at)) else {
                return;
            };
            let (bias, multiplier) = record(records, at);
            let [a, b, c] = [a, b, c].map(|plane| plane.get(PLANE_START - 1..).unwrap_or_default());
            let columns = a.windows(3).zip(b.windows(3)).zip(c.windows(3));
            let weights = weights.as_chunks::<4>().0.as_chunks::<3>().0;
            for (x, ((a, b), c)) in (0..out.pixels).zip(columns) {
                let mut acc = bias;
                for (columns, weights) in [a, b, c].into_iter().zip(weights) {
                    for (&x, w) in columns.iter().zip(weights) {
                        acc = acc.wrapping_add(i32::from(x) * i32::from(w[j] as i8));
                    }
                }
                if let Some(byte) = out.bytes.get_mut(x * out.pixel_step) {
                    *byte = quantization.activation(acc, multiplier);
                }
            }
        }
    }
}

/// A row of the first convolution: the first four channels of `out`.
#[inline(never)]
pub fn image4(
    codes: [&CodeRow; 3],
    table: &Table,
    bias: [i32; 4],
    multipliers: [i32; 4],
    quantization: Quantization,
    out: &mut Output<'_>,
) {
    taken!(Reference);
    let [a, b, c] = codes.map(CodeRow::codes);
    let [above, at, below] = table;
    for (x, ((&a, &b), &c)) in (0..out.pixels).zip(a.iter().zip(b).zip(c)) {
        let mut acc = bias;
        for (table, code) in [(above, a), (at, b), (below, c)] {
            let entry = table.get(usize::from(code)).unwrap_or(&[0; 8]);
            for (acc, term) in acc.iter_mut().zip(entry.as_chunks::<2>().0) {
                let term = i16::from_le_bytes(term.map(|byte| byte as u8));
                *acc = acc.wrapping_add(255 * i32::from(term));
            }
        }
        out.put4(x, quantization.activation4(acc, multipliers));
    }
}

/// A row of the mask, from pixels of eight channels; eight pixels a byte. Bit x is set if the accumulator of pixel x is
/// not negative.
#[inline]
pub fn mask_row(pixels: &[[[i8; 8]; 8]], weights: &[i8; 8], bias: i32, out: &mut [u8]) {
    taken!(Reference);
    for (byte, pixels) in out.iter_mut().zip(pixels) {
        *byte = 0;
        for (x, pixel) in pixels.iter().enumerate() {
            let acc = pixel.iter().zip(weights).fold(bias, |acc, (&x, &w)| {
                acc.wrapping_add(i32::from(x) * i32::from(w))
            });
            *byte |= u8::from(acc >= 0) << x;
        }
    }
}
