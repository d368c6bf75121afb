//! The reference for every instruction set.

use crate::kernels::dense::{Four, Segment};
use crate::kernels::depthwise::{Channel, PLANE_START};
use crate::kernels::image_conv::{CodeRow, Table};
use crate::kernels::{Output, Quantization};

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

/// Eight pixels of eight channels: bit x is set when pixel x's accumulator is not negative.
#[inline(always)]
pub fn mask8(pixels: &[[i8; 8]; 8], weights: &[i8; 8], bias: i32) -> u8 {
    let mut bits = 0;
    for (x, pixel) in pixels.iter().enumerate() {
        let acc = pixel.iter().zip(weights).fold(bias, |acc, (&x, &w)| {
            acc.wrapping_add(i32::from(x) * i32::from(w))
        });
        bits |= u8::from(acc >= 0) << x;
    }
    bits
}

/// The larger of each two values.
#[inline(always)]
pub fn max4(a: [i8; 4], b: [i8; 4]) -> [i8; 4] {
    let mut out = a;
    for (a, b) in out.iter_mut().zip(b) {
        *a = b.max(*a);
    }
    out
}
