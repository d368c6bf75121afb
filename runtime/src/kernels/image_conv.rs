//! The first convolution, by table: a pixel has three states, so three neighbours have few.
//!
//! For each row of the 3×3 window, the states of its three pixels (2 bits each; 3 outside the image)
//! index a table of the sums those pixels add to every output channel. Three look-ups replace 27
//! multiplications a channel.

use super::{Quantization, record};
use crate::wafer::{IMAGE_SIZE, PALETTE};

/// State of a pixel outside the image: all colours dark.
pub const OUTSIDE: u8 = 3;
/// States of one image row with a pixel outside at either end.
pub type StateRow = [u8; IMAGE_SIZE + 2];

/// Bytes of the table for `channels` output channels: `[ky][left | middle << 2 | right << 4][co]`,
/// i16 little endian.
pub const fn table_bytes(channels: usize) -> usize {
    3 * 64 * channels * 2
}

/// Fills the table from weights `[ky][kx][ci][co]`.
pub fn fill_table(weights: &[u8], channels: usize, table: &mut [i8]) {
    let channels = channels.max(1);
    for (at, entry) in table.chunks_exact_mut(2).enumerate() {
        let (row, co) = (at / channels, at % channels);
        let (ky, states) = (row / 64, row % 64);
        let mut sum = 0i16;
        for kx in 0..3 {
            let Some(colour) = PALETTE.get(states >> (2 * kx) & 3) else { continue };
            for (ci, &level) in colour.iter().enumerate() {
                let at = ((ky * 3 + kx) * 3 + ci) * channels + co;
                let weight = weights.get(at).map_or(0, |&w| w as i8);
                sum += i16::from(weight) * i16::from(level != 0);
            }
        }
        let [low, high] = sum.to_le_bytes();
        entry.copy_from_slice(&[low as i8, high as i8]);
    }
}

/// One row: the states of three image rows; `out` without its border.
/// An accumulator is bias + 255 · (sum of lit weights): the image's scale is 1/255.
#[inline]
pub fn image_conv_row(
    states: [&StateRow; 3],
    table: &[i8],
    records: &[u8],
    quantization: Quantization,
    channels: usize,
    out: &mut [i8],
) {
    let entry = 2 * channels;
    let third = 64 * entry;
    // The window's three states, shifted along with each pixel.
    let mut codes = states.map(|row| usize::from(row[0] & 3) << 2 | usize::from(row[1] & 3) << 4);
    for (x, pixel) in out.chunks_exact_mut(channels.max(1)).enumerate() {
        for (code, row) in codes.iter_mut().zip(states) {
            let right = row.get(x + 2).copied().unwrap_or(OUTSIDE);
            *code = *code >> 2 | usize::from(right & 3) << 4;
        }
        let [a, b, c] = [0, 1, 2].map(|ky| {
            let at = ky * third + codes[ky] * entry;
            table.get(at..at + entry).unwrap_or(&[]).as_chunks::<2>().0
        });
        for (ch, (value, ((a, b), c))) in pixel.iter_mut().zip(a.iter().zip(b).zip(c)).enumerate() {
            let (bias, multiplier) = record(records, ch);
            let lit = [a, b, c].map(|e| i32::from(i16::from_le_bytes([e[0] as u8, e[1] as u8])));
            let acc = bias.wrapping_add(255 * (lit[0] + lit[1] + lit[2]));
            *value = quantization.activation(acc, multiplier);
        }
    }
}
