//! The first convolution, by table: a pixel has three states, so three neighbours have few.
//!
//! For each row of the 3×3 window, the states of its three pixels (2 bits each; 3 outside the image)
//! index a table of the sums those pixels add to every output channel. Three look-ups replace 27
//! multiplications a channel.

use super::arch::add_scaled4;
use super::{Output, Quantization, record4};
use crate::model::RECORD_BYTES;
use crate::wafer::{IMAGE_SIZE, PALETTE};

/// State of a pixel outside the image: all colours dark.
pub const OUTSIDE: u8 = 3;
/// States of one image row with a pixel outside at either end.
pub type StateRow = [u8; IMAGE_SIZE + 2];

/// Bytes of the table for `channels` output channels: `[g][ky][left | middle << 2 | right << 4][j]`,
/// i16 little endian.
pub const fn table_bytes(channels: usize) -> usize {
    3 * 64 * channels * 2
}

/// Fills the table from weights `[ky][kx][ci][co]`.
pub fn fill_table(weights: &[u8], channels: usize, table: &mut [i8]) {
    for (at, entry) in table.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let (states, co) = (at / 4 % 64, at / (4 * 64 * 3) * 4 + at % 4);
        let ky = at / (4 * 64) % 3;
        let mut sum = 0i16;
        for kx in 0..3 {
            let Some(colour) = PALETTE.get(states >> (2 * kx) & 3) else {
                continue;
            };
            for (ci, &level) in colour.iter().enumerate() {
                let at = ((ky * 3 + kx) * 3 + ci) * channels + co;
                let weight = weights.get(at).map_or(0, |&w| w as i8);
                sum += i16::from(weight) * i16::from(level != 0);
            }
        }
        *entry = sum.to_le_bytes().map(|byte| byte as i8);
    }
}

/// One row: the states of three image rows.
/// An accumulator is bias + 255 · (sum of lit weights): the image's scale is 1/255.
#[inline]
pub fn image_conv_row(
    states: [&StateRow; 3],
    table: &[i8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    let entries = table
        .as_chunks::<8>()
        .0
        .as_chunks::<64>()
        .0
        .as_chunks::<3>()
        .0;
    let groups = entries.iter().zip(records.chunks_exact(4 * RECORD_BYTES));
    for (group, (table, records)) in groups.enumerate() {
        let (bias, multipliers) = record4(records);
        // The window's three states, shifted along with each pixel.
        let mut codes = states.map(|row| usize::from(row[0]) << 2 | usize::from(row[1]) << 4);
        let Some(mut out) = out.channels_from(4 * group) else {
            return;
        };
        for x in 0..out.pixels {
            let mut terms = [[[0; 2]; 4]; 3];
            for (((code, row), table), term) in
                codes.iter_mut().zip(states).zip(table).zip(&mut terms)
            {
                let right = row.get(x + 2).copied().unwrap_or(OUTSIDE);
                *code = (*code >> 2 | usize::from(right) << 4) & 63;
                let [a, b, c, d, e, f, g, h] = table[*code].map(|byte| byte as u8);
                *term = [[a, b], [c, d], [e, f], [g, h]];
            }
            out.put4(
                x,
                quantization.activation4(add_scaled4(terms, bias), multipliers),
            );
        }
    }
}
