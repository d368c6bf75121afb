//! Depthwise convolutions: a word holds three pixels of a row and one byte with weight zero; a sum takes three words.

use core::arch::x86_64::*;

use super::finish::{Finish, lanes, records4};
use super::store::Row;
use super::{BLOCK, FLIP, load};
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization};

/// See [`crate::kernels::depthwise::depthwise_row`].
///
/// # Safety
/// `channels` is the result of `checked::depthwise` for the other arguments, and `takes_depthwise` is true for them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub unsafe fn depthwise(
    channels: usize,
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    let pixels = out.pixels;
    let row = Row::new(&mut out);
    let mut channel = 0;
    while channel < channels {
        let batch = row.batch(channel, channels);
        let finish = Finish::new(quantization, row.order(batch));
        let mut all = [Channel::NONE; 16];
        for (i, four) in all.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            if 4 * i < batch.count {
                *four = Channel::four(weights, records, channel + 4 * i, pixels);
            }
        }
        let all = all.get(..batch.count).unwrap_or_default();
        let last = all.last().map_or(0, |last| last.start);
        let bytes = rows.iter().map(|row| row.len()).min().unwrap_or_default();
        let mut blocks = [_mm512_setzero_si512(); 16];
        for x in (0..pixels).step_by(BLOCK) {
            let vectors = (pixels - x).div_ceil(16);
            // Two vectors of sums need 34 columns; 64 are loaded.
            let end = last + x + 32 * (vectors.min(4) - 1) / 2 + 64;
            for (block, one) in blocks.iter_mut().zip(all) {
                // SAFETY: the rows reach to `end`.
                *block = unsafe {
                    match (vectors, end <= bytes) {
                        (1, true) => one.sums::<1, true>(rows, x, &finish),
                        (2, true) => one.sums::<2, true>(rows, x, &finish),
                        (3, true) => one.sums::<3, true>(rows, x, &finish),
                        (_, true) => one.sums::<4, true>(rows, x, &finish),
                        (1, _) => one.sums::<1, false>(rows, x, &finish),
                        (2, _) => one.sums::<2, false>(rows, x, &finish),
                        (3, _) => one.sums::<3, false>(rows, x, &finish),
                        _ => one.sums::<4, false>(rows, x, &finish),
                    }
                };
            }
            // SAFETY: `checked::depthwise` showed that the output has these channels.
            unsafe { row.put(batch, x, &blocks) };
        }
        channel += batch.count;
    }
}

/// One channel.
#[derive(Clone, Copy)]
struct Channel {
    /// For each row, three weights and a zero.
    taps: [i32; 3],
    /// The bias, minus 128 times the sum of the weights.
    bias: i32,
    multiplier: i32,
    /// The position of the column before pixel 0 in each row.
    start: usize,
}

impl Channel {
    const NONE: Self = Self {
        taps: [0; 3],
        bias: 0,
        multiplier: 0,
        start: 0,
    };

    /// Four channels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    fn four(weights: &[u8], records: &[u8], channel: usize, pixels: usize) -> [Self; 4] {
        /// Indices for VPERMB: lane 4 · ky + j gets the weights of row ky and channel j, and a zero.
        const TAPS: [u8; 64] = {
            // A byte after the weights, which is zero.
            let mut places = [63; 64];
            let mut at = 0;
            while at < 48 {
                let (ky, j, kx) = (at / 16, at / 4 % 4, at % 4);
                if kx < 3 {
                    places[at] = (4 * (3 * ky + kx) + j) as u8;
                }
                at += 1;
            }
            places
        };
        let group = weights.get(9 * channel..).unwrap_or_default();
        let group = load(group.get(..36).unwrap_or_default(), 0);
        // SAFETY: 64 bytes.
        let places = unsafe { _mm512_loadu_si512(TAPS.as_ptr().cast()) };
        let taps = _mm512_permutexvar_epi8(places, group);
        let rows = [
            _mm512_castsi512_si128(taps),
            _mm512_extracti32x4_epi32::<1>(taps),
            _mm512_extracti32x4_epi32::<2>(taps),
        ];
        let (mut bias, multipliers) = records4(records, channel);
        let mut sums = _mm_setzero_si128();
        for row in rows {
            sums = _mm_dpbusd_epi32(sums, _mm_set1_epi32(FLIP), row);
        }
        bias = _mm_sub_epi32(bias, sums);
        let [above, at, below] = [lanes(rows[0]), lanes(rows[1]), lanes(rows[2])];
        let (bias, multipliers) = (lanes(bias), lanes(multipliers));
        let plane = plane_bytes(pixels);
        let mut four = [Self::NONE; 4];
        for (j, own) in four.iter_mut().enumerate() {
            *own = Self {
                taps: [above[j], at[j], below[j]],
                bias: bias[j],
                multiplier: multipliers[j],
                start: (channel + j) * plane + PLANE_START - 1,
            };
        }
        four
    }

    /// The activations of `16 · V` pixels from pixel `x`. Those beyond the end of the row are undefined.
    ///
    /// # Safety
    /// If `WHOLE`, no load goes beyond the end of a row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn sums<const V: usize, const WHOLE: bool>(
        &self,
        rows: [&[i8]; 3],
        x: usize,
        finish: &Finish,
    ) -> __m512i {
        let flip = _mm512_set1_epi32(FLIP);
        let mut acc = [_mm512_set1_epi32(self.bias); V];
        for (row, taps) in rows.into_iter().zip(self.taps) {
            let taps = _mm512_set1_epi32(taps);
            for (pair, acc) in acc.chunks_mut(2).enumerate() {
                let at = self.start + x + 32 * pair;
                let bytes = if WHOLE {
                    // SAFETY: the caller guarantees it.
                    unsafe { _mm512_loadu_si512(row.as_ptr().wrapping_add(at).cast()) }
                } else {
                    load(row, at)
                };
                let bytes = _mm512_xor_si512(bytes, flip);
                for (acc, columns) in acc.iter_mut().zip([columns(0), columns(16)]) {
                    let words = _mm512_permutexvar_epi8(columns, bytes);
                    *acc = _mm512_dpbusd_epi32(*acc, words, taps);
                }
            }
        }
        finish.block(&acc, _mm512_set1_epi32(self.multiplier))
    }
}

/// Indices for VPERMB: lane x gets bytes x, x + 1, x + 2 and any other, counted from `first`.
#[inline]
#[target_feature(enable = "avx512f")]
fn columns(first: usize) -> __m512i {
    const fn places(first: usize) -> [u8; 64] {
        let mut places = [0; 64];
        let mut at = 0;
        while at < 64 {
            let beside = if at % 4 == 3 { 2 } else { at % 4 };
            places[at] = (first + at / 4 + beside) as u8;
            at += 1;
        }
        places
    }
    const PLACES: [[u8; 64]; 2] = [places(0), places(16)];
    let places = if first == 0 { &PLACES[0] } else { &PLACES[1] };
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(places.as_ptr().cast()) }
}
