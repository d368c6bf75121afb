//! Kernels for x86-64: AVX-512 with VNNI and VBMI if the processor has them, otherwise AVX2, otherwise the reference
//! kernels.
//!
//! The set is selected at run time, so that one program runs on every host. A vector of AVX2 holds many output channels of
//! a dense convolution, a vector of AVX-512 many pixels.
#![allow(unsafe_code)]

use std::sync::LazyLock;

use super::{checked, reference};
use crate::kernels::row::Segment;
use crate::kernels::row::{CodeRow, Table};
use crate::kernels::{Output, Quantization};

pub mod avx2;
pub mod avx512;
mod tile;

/// Whether this processor supports [`avx512`].
pub fn has_avx512() -> bool {
    // One query instead of six, because it is made for every row.
    static HAS: LazyLock<bool> = LazyLock::new(|| {
        std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vbmi")
            && std::is_x86_feature_detected!("avx512vnni")
    });
    *HAS
}

/// Whether this processor supports [`avx2`].
pub fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2")
}

/// See [`crate::kernels::dense::dense_row`].
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    out: Output<'_>,
) {
    match checked::dense(segments, weights, records, &out) {
        // SAFETY: the processor was asked, and the slices were checked.
        Some(job) if avx512::takes_dense(segments, quantization, &out) && has_avx512() => unsafe {
            avx512::dense(job, segments, weights, records, quantization, out);
        },
        // SAFETY: as above.
        Some(job) if has_avx2() => unsafe {
            avx2::dense(job, segments, weights, records, quantization, out);
        },
        _ => reference::dense(segments, weights, records, quantization, scratch, out),
    }
}

/// See [`crate::kernels::depthwise::depthwise_row`].
pub fn depthwise(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: Output<'_>,
) {
    match checked::depthwise(rows, weights, records, &out) {
        // SAFETY: the processor was asked, and the slices were checked.
        Some(channels) if avx512::takes_depthwise(quantization, &out) && has_avx512() => unsafe {
            avx512::depthwise(channels, rows, weights, records, quantization, out);
        },
        // SAFETY: as above.
        Some(channels) if has_avx2() => unsafe {
            avx2::depthwise(channels, rows, weights, records, quantization, out);
        },
        _ => reference::depthwise(rows, weights, records, quantization, out),
    }
}

/// A row of the first convolution: the first four channels of `out`.
pub fn image4(
    codes: [&CodeRow; 3],
    table: &Table,
    bias: [i32; 4],
    multipliers: [i32; 4],
    quantization: Quantization,
    out: &mut Output<'_>,
) {
    let planes = out.pixel_step == 1
        && (1..=codes[0].codes().len()).contains(&out.pixels)
        && out.bytes.len() >= 3 * out.channel_step + out.pixels;
    if planes && avx512::takes_image(quantization) && has_avx512() {
        // SAFETY: the processor was asked; four planes of at most a code row's pixels are there.
        unsafe { avx512::image4(codes, table, bias, multipliers, quantization, out) }
    } else if planes && has_avx2() {
        // SAFETY: as above.
        unsafe { avx2::image4(codes, table, bias, multipliers, quantization, out) }
    } else {
        reference::image4(codes, table, bias, multipliers, quantization, out);
    }
}

/// A row of the mask, from pixels of eight channels; eight pixels a byte.
pub fn mask_row(pixels: &[[[i8; 8]; 8]], weights: &[i8; 8], bias: i32, out: &mut [u8]) {
    if has_avx2() {
        // SAFETY: the processor was asked.
        unsafe { avx2::mask_row(pixels, weights, bias, out) }
    } else {
        reference::mask_row(pixels, weights, bias, out);
    }
}

/// A row of a maximum pool of 8 channels or a multiple of 16. For others it writes nothing and returns `false`.
pub fn max_row(rows: [&[i8]; 2], channels: usize, out: &mut [i8]) -> bool {
    if !has_avx2() {
        return false;
    }
    // SAFETY: the processor was asked.
    unsafe { avx2::max_row(rows, channels, out) }
}

/// The sets that this processor supports, each for all shapes, with their names, for tests.
#[cfg(any(test, feature = "differential"))]
pub fn sets() -> impl Iterator<Item = (&'static str, super::set::Set)> {
    use super::set::Set;

    let avx512 = Set {
        dense: |segments, weights, records, q, scratch, out| match checked::dense(
            segments, weights, records, &out,
        ) {
            // SAFETY: the processor was asked below, and the slices were checked.
            Some(job) if avx512::takes_dense(segments, q, &out) => unsafe {
                avx512::dense(job, segments, weights, records, q, out)
            },
            _ => reference::dense(segments, weights, records, q, scratch, out),
        },
        depthwise: |rows, weights, records, q, out| match checked::depthwise(
            rows, weights, records, &out,
        ) {
            // SAFETY: as above.
            Some(channels) if avx512::takes_depthwise(q, &out) => unsafe {
                avx512::depthwise(channels, rows, weights, records, q, out);
            },
            _ => reference::depthwise(rows, weights, records, q, out),
        },
        image4,
        mask_row,
        max4: super::max4::max4,
    };
    let avx2 = Set {
        dense: |segments, weights, records, q, scratch, out| match checked::dense(
            segments, weights, records, &out,
        ) {
            // SAFETY: as above.
            Some(job) => unsafe { avx2::dense(job, segments, weights, records, q, out) },
            None => reference::dense(segments, weights, records, q, scratch, out),
        },
        depthwise: |rows, weights, records, q, out| match checked::depthwise(
            rows, weights, records, &out,
        ) {
            // SAFETY: as above.
            Some(channels) => unsafe {
                avx2::depthwise(channels, rows, weights, records, q, out);
            },
            None => reference::depthwise(rows, weights, records, q, out),
        },
        ..avx512
    };
    let sets = [
        ("AVX-512", has_avx512(), avx512),
        ("AVX2", has_avx2(), avx2),
    ];
    let here = sets.into_iter().filter(|(_, here, _)| *here);
    here.map(|(name, _, set)| (name, set))
}
