//! 3×3 convolution of each channel with itself.

use super::arch::multiply_add4;
use super::{Quantization, record};
use crate::model::RECORD_BYTES;

/// One row: three input rows with their borders, weights `[g][ky][kx][j]`, one record a channel;
/// `out` without its border. `channels` is a multiple of 4.
#[inline]
pub fn depthwise_row(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    channels: usize,
    out: &mut [i8],
) {
    // A constant channel count turns the nine taps into fixed offsets.
    match channels {
        8 => groups(8, rows, weights, records, quantization, out),
        16 => groups(16, rows, weights, records, quantization, out),
        32 => groups(32, rows, weights, records, quantization, out),
        64 => groups(64, rows, weights, records, quantization, out),
        _ => groups(channels, rows, weights, records, quantization, out),
    }
}

#[inline(always)]
fn groups(
    channels: usize,
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: &mut [i8],
) {
    let groups = weights.as_chunks::<36>().0.iter().zip(records.chunks_exact(4 * RECORD_BYTES));
    // Four channels over the whole row: their weights and records stay close by.
    for (group, (weights, records)) in groups.enumerate() {
        let weights = weights.as_chunks::<4>().0;
        let [a, b, c, d] = [0, 1, 2, 3].map(|j| record(records, j));
        let mut rows = rows.map(|row| row.get(4 * group..).unwrap_or(&[]));
        for pixel in out.chunks_exact_mut(channels.max(1)) {
            let Some(four) = pixel.get_mut(4 * group..4 * group + 4) else { return };
            let mut acc = [a.0, b.0, c.0, d.0];
            for (row, weights) in rows.iter_mut().zip(weights.as_chunks::<3>().0) {
                let Some(patch) = row.get(..2 * channels + 4) else { return };
                for (kx, w) in weights.iter().enumerate() {
                    if let Some(&[e, f, g, h]) = patch.get(kx * channels..kx * channels + 4) {
                        multiply_add4([e, f, g, h], *w, &mut acc);
                    }
                }
                *row = row.get(channels..).unwrap_or(&[]);
            }
            let r = [a.1, b.1, c.1, d.1];
            for ((value, acc), multiplier) in four.iter_mut().zip(acc).zip(r) {
                *value = quantization.activation(acc, multiplier);
            }
        }
    }
}
