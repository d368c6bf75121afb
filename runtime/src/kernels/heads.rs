//! The two outputs of the network: the mask, and the embedding with the class logits.

use super::arch;
use super::requantize::{Quantization, requantize};
use super::row::record;
use crate::dies::CLASS_COUNT;

/// The number of channels that the fast kernels of the mask head support.
pub const MASK_CHANNELS: usize = 8;

/// One row of the mask from an input row without padding. A bit is set if accumulator + bias ≥ 0.
#[inline]
pub fn mask_row(row: &[i8], channels: usize, weights: &[u8], records: &[u8], out: &mut [u8]) {
    let (bias, _) = record(records, 0);
    if let (MASK_CHANNELS, Some(weights)) = (channels, weights.first_chunk()) {
        let weights = weights.map(|w: u8| w as i8);
        let eights = row.as_chunks::<8>().0.as_chunks::<8>().0;
        return arch::mask_row(eights, &weights, bias, out);
    }
    let channels = channels.max(1);
    for (byte, eight) in out.iter_mut().zip(row.chunks_exact(8 * channels)) {
        *byte = 0;
        for (x, pixel) in eight.chunks_exact(channels).enumerate() {
            let acc = pixel.iter().zip(weights).fold(bias, |acc, (&x, &w)| {
                acc.wrapping_add(i32::from(x) * i32::from(w as i8))
            });
            *byte |= u8::from(acc >= 0) << x;
        }
    }
}

/// Adds a row without padding to the sums of the channels.
#[inline]
pub fn add_row(row: &[i8], channels: usize, sums: &mut [i32]) {
    for pixel in row.chunks_exact(channels.max(1)) {
        for (sum, &x) in sums.iter_mut().zip(pixel) {
            *sum = sum.wrapping_add(i32::from(x));
        }
    }
}

/// The embedding from the sums over all pixels, requantized with record 0.
pub fn embed(sums: &[i32], records: &[u8], quantization: Quantization, out: &mut [i8]) {
    let (bias, multiplier) = record(records, 0);
    for (value, &sum) in out.iter_mut().zip(sums) {
        *value = quantization.activation(sum.wrapping_add(bias), multiplier);
    }
}

/// The class logits in units of 2⁻¹⁶, requantized with the records after the first.
pub fn logits(embedding: &[i8], weights: &[u8], records: &[u8], shift: u32) -> [i32; CLASS_COUNT] {
    let mut out = [0; CLASS_COUNT];
    let rows = weights.chunks_exact(embedding.len().max(1));
    for (class, (logit, weights)) in out.iter_mut().zip(rows).enumerate() {
        let (bias, multiplier) = record(records, class + 1);
        let acc = embedding.iter().zip(weights).fold(bias, |acc, (&x, &w)| {
            acc.wrapping_add(i32::from(x) * i32::from(w as i8))
        });
        *logit = requantize(acc, multiplier, shift);
    }
    out
}
