//! 3×3 convolution of each channel with itself.

use super::{Quantization, record};

/// One row: three input rows with their borders, weights `[c][ky][kx]`, one record a channel; `out`
/// without its border.
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
        8 => taps::<8>(rows, weights, records, quantization, out),
        16 => taps::<16>(rows, weights, records, quantization, out),
        32 => taps::<32>(rows, weights, records, quantization, out),
        64 => taps::<64>(rows, weights, records, quantization, out),
        _ => any(rows, weights, records, quantization, channels, out),
    }
}

fn taps<const C: usize>(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: &mut [i8],
) {
    let weights = weights.as_chunks::<9>().0;
    for (x, pixel) in out.as_chunks_mut::<C>().0.iter_mut().enumerate() {
        // Three pixels of each row: 3·C bytes from pixel x of the bordered row.
        let [Some(a), Some(b), Some(c)] = rows.map(|row| row.get(x * C..(x + 3) * C)) else {
            return;
        };
        for (ch, (value, w)) in pixel.iter_mut().zip(weights).enumerate() {
            let (bias, multiplier) = record(records, ch);
            let mut acc = bias;
            for (row, w) in [a, b, c].iter().zip(w.as_chunks::<3>().0) {
                for (kx, &w) in w.iter().enumerate() {
                    let x = row.get(kx * C + ch).copied().unwrap_or(0);
                    acc = acc.wrapping_add(i32::from(x) * i32::from(w as i8));
                }
            }
            *value = quantization.activation(acc, multiplier);
        }
    }
}

fn any(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    channels: usize,
    out: &mut [i8],
) {
    for (x, pixel) in out.chunks_exact_mut(channels.max(1)).enumerate() {
        for (ch, (value, w)) in pixel.iter_mut().zip(weights.chunks_exact(9)).enumerate() {
            let (bias, multiplier) = record(records, ch);
            let mut acc = bias;
            for (k, &w) in w.iter().enumerate() {
                let row = rows.get(k / 3).copied().unwrap_or(&[]);
                let x = row.get((x + k % 3) * channels + ch).copied().unwrap_or(0);
                acc = acc.wrapping_add(i32::from(x) * i32::from(w as i8));
            }
            *value = quantization.activation(acc, multiplier);
        }
    }
}
