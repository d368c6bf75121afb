//! The reference for every instruction set.

use crate::kernels::Output;
use crate::kernels::dense::{Four, Segment};
use crate::kernels::depthwise::{Channel, PLANE_START};

/// Four output channels of every pixel of a row: the first four of `out`.
#[inline(always)]
pub fn dense4<const S: usize>(
    segments: &[Segment<'_>; S],
    four: &Four<'_>,
    _scratch: &mut [i8],
    out: &mut Output<'_>,
) {
    let mut weights = four.weights;
    let parts = segments.map(|s| {
        let (part, rest) = weights.split_at_checked(4 * s.len).unwrap_or((&[], &[]));
        weights = rest;
        part
    });
    let mut rows = segments.map(|s| s.row);
    for x in 0..out.pixels {
        let mut acc = four.bias;
        for ((row, part), s) in rows.iter_mut().zip(parts).zip(segments) {
            dot4(row.get(..s.len).unwrap_or(&[]), part, &mut acc);
            *row = row.get(s.step..).unwrap_or(&[]);
        }
        out.put4(x, four.quantization.activation4(acc, four.multipliers));
    }
}

/// Adds the dot products of `run` with four channels' weights, `[k/4][j][k%4]`.
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

/// One channel of a depthwise convolution: three planes in, the first channel of `out`.
#[inline(always)]
pub fn depthwise(planes: [&[i8]; 3], channel: &Channel, out: &mut Output<'_>) {
    depthwise_from(0, planes, channel, out);
}

/// As [`depthwise`], from pixel `first` on.
#[inline(always)]
pub fn depthwise_from(first: usize, planes: [&[i8]; 3], channel: &Channel, out: &mut Output<'_>) {
    let [a, b, c] = planes.map(|plane| {
        plane
            .get(PLANE_START - 1 + first..)
            .unwrap_or(&[])
            .windows(3)
    });
    for (x, ((a, b), c)) in (first..out.pixels).zip(a.zip(b).zip(c)) {
        let mut acc = channel.bias;
        for (columns, weights) in [a, b, c].into_iter().zip(&channel.weights) {
            for (&x, &w) in columns.iter().zip(weights) {
                acc = acc.wrapping_add(i32::from(x) * i32::from(w));
            }
        }
        let value = channel.quantization.activation(acc, channel.multiplier);
        if let Some(byte) = out.bytes.get_mut(x * out.pixel_step) {
            *byte = value;
        }
    }
}

/// acc + 255·(sum of the three), for four i16 each, whose sums fit 16 bits.
#[inline(always)]
pub fn add_scaled4(terms: [[[u8; 2]; 4]; 3], acc: [i32; 4]) -> [i32; 4] {
    let [p, q, r] = terms.map(|term| term.map(i16::from_le_bytes));
    let mut out = acc;
    for (((out, p), q), r) in out.iter_mut().zip(p).zip(q).zip(r) {
        *out = out.wrapping_add(255 * i32::from(p.wrapping_add(q).wrapping_add(r)));
    }
    out
}

/// The larger of each of four values and `least`.
#[inline(always)]
pub fn max4(values: [i8; 4], least: i8) -> [i8; 4] {
    values.map(|v| v.max(least))
}
