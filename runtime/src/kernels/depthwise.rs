//! 3×3 convolution of each channel with itself.

use super::arch::multiply_add4;
use super::{Quantization, record4};
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
    let groups = weights
        .as_chunks::<36>()
        .0
        .iter()
        .zip(records.chunks_exact(4 * RECORD_BYTES));
    // Four channels over the whole row: their weights and records stay close by.
    for (group, (weights, records)) in groups.enumerate() {
        let [w0, w1, w2, w3, w4, w5, w6, w7, w8] = *weights.as_chunks::<4>().0 else {
            return;
        };
        let (bias, multipliers) = record4(records);
        let pixels = out.chunks_exact_mut(channels.max(1)).enumerate();
        for (x, pixel) in pixels {
            let Some(four) = pixel.as_chunks_mut::<4>().0.get_mut(group) else {
                return;
            };
            let at = x * channels + 4 * group;
            let [Some(a), Some(b), Some(c)] = rows.map(|row| row.get(at..at + 2 * channels + 4))
            else {
                return;
            };
            let mut acc = bias;
            for (patch, weights) in [(a, [w0, w1, w2]), (b, [w3, w4, w5]), (c, [w6, w7, w8])] {
                for (x, w) in [0, channels, 2 * channels].into_iter().zip(weights) {
                    if let Some(x) = patch.get(x..).and_then(|x| x.first_chunk()) {
                        multiply_add4(*x, w, &mut acc);
                    }
                }
            }
            *four = quantization.activation4(acc, multipliers);
        }
    }
}
