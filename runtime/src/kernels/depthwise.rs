//! 3×3 convolution of each channel with itself.
//!
//! Its input rows are planar: with a channel's pixels side by side, one word holds four of them, and the
//! same nine weights serve the whole row.

use super::{Output, Quantization, arch, record};

/// Bytes of one channel's plane in a row of `width` pixels: [`PLANE_START`] bytes of which the last is a
/// zero point, the pixels, a zero point, and what is missing to whole words.
pub const fn plane_bytes(width: usize) -> usize {
    (PLANE_START + width + 1).next_multiple_of(4)
}

/// Where in its plane pixel 0 lies: the second pixel is the first of a word, because two columns go
/// before those that complete a first output.
pub const PLANE_START: usize = 3;

/// One channel of a 3×3 depthwise convolution.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// Weights `[ky][kx]`.
    pub weights: [[i8; 3]; 3],
    /// Bias.
    pub bias: i32,
    /// Multiplier.
    pub multiplier: i32,
    /// How the accumulators become activations.
    pub quantization: Quantization,
}

/// One row: three planar input rows, weights `[g][ky][kx][j]`, one record a channel.
#[inline(never)]
pub fn depthwise_row(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    let plane = plane_bytes(out.pixels);
    for (group, weights) in weights.as_chunks::<36>().0.iter().enumerate() {
        for j in 0..4 {
            let at = 4 * group + j;
            let [Some(a), Some(b), Some(c)] = rows.map(|row| row.get(at * plane..(at + 1) * plane))
            else {
                return;
            };
            let Some(mut out) = out.channels_from(at) else {
                return;
            };
            let (bias, multiplier) = record(records, at);
            let tap = |k: usize| weights.get(4 * k + j).map_or(0, |&w| w as i8);
            let channel = Channel {
                weights: [0, 3, 6].map(|k| [tap(k), tap(k + 1), tap(k + 2)]),
                bias,
                multiplier,
                quantization,
            };
            arch::depthwise([a, b, c], &channel, &mut out);
        }
    }
}
