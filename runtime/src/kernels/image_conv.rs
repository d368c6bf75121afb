//! The first convolution, by look-up table (LUT). A pixel of the image has only three states.
//!
//! In each row of the 3×3 window, the states of the three pixels (2 bits each; 3 means outside the image) form an
//! index, called code here. It selects a table entry: the sums that these three pixels add to the output channels.
//! Three look-ups replace 27 multiplications a channel.

use super::arch;
use super::requantize::Quantization;
use super::row::{CODES, CodeRow, Output, record4};
use crate::dies::PALETTE;
use crate::graph::RECORD_BYTES;

/// Number of bytes of the table for `channels` output channels: `[g][ky][code][j]`, as i16 in little endian.
pub const fn table_bytes(channels: usize) -> usize {
    3 * 64 * channels * 2
}

/// Fills the table. The order of `weights` is `[ky][kx][ci][co]`.
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

/// One row of the first convolution, from the codes of three image rows.
///
/// The accumulator is bias + 255 · (sum of the weights of lit colours), because the scale of the image is 1/255.
#[inline(never)]
pub fn image_conv_row(
    codes: [&CodeRow; 3],
    table: &[i8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    let tables = table
        .as_chunks::<8>()
        .0
        .as_chunks::<CODES>()
        .0
        .as_chunks::<3>()
        .0;
    let groups = tables.iter().zip(records.chunks_exact(4 * RECORD_BYTES));
    for (group, (table, records)) in groups.enumerate() {
        let (bias, multipliers) = record4(records);
        let Some(mut out) = out.channels_from(4 * group) else {
            return;
        };
        arch::image4(codes, table, bias, multipliers, quantization, &mut out);
    }
}
