//! Kernels for AVX2. Activations and weights are widened to 16 bits; VPMADDWD adds two products to each sum.

use core::arch::x86_64::*;

use super::tile::Tile;
use crate::kernels::arch::checked::{self, Dense};
use crate::kernels::row::Segment;
use crate::kernels::row::{CodeRow, Table};
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization};

/// Number of pixels whose sums are kept in registers at the same time, for two groups of channels.
const PIXELS: usize = 4;

/// Requantization of eight accumulators.
#[derive(Clone, Copy)]
struct Requantize {
    /// The multipliers, and those of the odd lanes moved to the even lanes.
    even: __m256i,
    odd: __m256i,
    zero_point: __m256i,
    shift: u32,
}

impl Requantize {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(multipliers: __m256i, quantization: Quantization) -> Self {
        Self {
            even: multipliers,
            odd: _mm256_srli_epi64::<32>(multipliers),
            zero_point: _mm256_set1_epi32(quantization.zero_point),
            shift: quantization.shift,
        }
    }

    /// Requantizes and adds the zero point, without saturation to 8 bits. A product is below 2^62, so that its upper half
    /// plus the zero point does not overflow.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn values(&self, mut acc: __m256i) -> __m256i {
        if self.shift != 0 {
            acc = _mm256_sll_epi32(acc, _mm_cvtsi32_si128(self.shift as i32));
        }
        let half = _mm256_set1_epi64x(1 << 31);
        let even = _mm256_add_epi64(_mm256_mul_epi32(acc, self.even), half);
        let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(acc), self.odd);
        let odd = _mm256_add_epi64(odd, half);
        let value = _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd);
        _mm256_add_epi32(value, self.zero_point)
    }
}

/// Saturates eight values to bytes. Values below `least` become `least`.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes(values: __m256i, least: __m128i) -> __m128i {
    let (low, high) = (
        _mm256_castsi256_si128(values),
        _mm256_extracti128_si256::<1>(values),
    );
    let halves = _mm_packs_epi32(low, high);
    _mm_max_epi8(_mm_packs_epi16(halves, halves), least)
}

/// Saturates sixteen values to bytes. VPACKSSDW alternates between groups of four of both operands.
#[inline]
#[target_feature(enable = "avx2")]
fn bytes2(a: __m256i, b: __m256i, least: __m128i) -> __m128i {
    let halves = _mm256_packs_epi32(a, b);
    let (low, high) = (
        _mm256_castsi256_si128(halves),
        _mm256_extracti128_si256::<1>(halves),
    );
    _mm_max_epi8(_mm_packs_epi16(low, high), least)
}

#[inline]
#[target_feature(enable = "avx2")]
fn vector(lanes: &[i32; 8]) -> __m256i {
    // SAFETY: eight words are there.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

/// See [`crate::kernels::dense::dense_row`].
///
/// # Safety
/// `job` is the result of `checked::dense` for the other arguments.
#[target_feature(enable = "avx2")]
pub unsafe fn dense(
    job: Dense,
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    for group in (0..job.groups).step_by(2) {
        let groups = (job.groups - group).min(2);
        let (bias, multipliers) = checked::lanes::<8>(records, 4 * group);
        let block = 4 * job.length;
        let row = Row {
            segments,
            weights: weights.as_ptr().wrapping_add(block * group),
            // A single group is computed twice.
            block: block * (groups - 1),
            groups,
            channel: 4 * group,
            bias: vector(&bias),
            requantize: Requantize::new(vector(&multipliers), quantization),
            least: _mm_set1_epi8(quantization.act_min as i8),
        };
        let mut x = 0;
        // SAFETY: the caller guarantees the weights of all groups, and runs and outputs for all pixels. No tile has more
        // pixels than are left.
        unsafe {
            while x + PIXELS <= out.pixels {
                row.tile::<PIXELS>(x, &mut out);
                x += PIXELS;
            }
            while x < out.pixels {
                row.tile::<1>(x, &mut out);
                x += 1;
            }
        }
    }
}

/// A row of eight output channels, or of four.
struct Row<'a> {
    segments: &'a [Segment<'a>],
    /// The weights of the first group, and the distance to those of the second.
    weights: *const u8,
    block: usize,
    groups: usize,
    /// The first channel.
    channel: usize,
    bias: __m256i,
    requantize: Requantize,
    least: __m128i,
}

impl Row<'_> {
    /// `P` pixels from `x` on.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const P: usize>(&self, x: usize, out: &mut Output<'_>) {
        // Two partial sums for each channel.
        let mut sums = [[_mm256_setzero_si256(); 2]; P];
        let mut weights = self.weights;
        for segment in self.segments {
            let start = segment.row.as_ptr().wrapping_add(x * segment.step);
            for k in (0..segment.len).step_by(4) {
                // SAFETY: within each group's block, and within each pixel's run.
                unsafe {
                    let second = weights.wrapping_add(self.block);
                    let words = [
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.cast())),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(second.cast())),
                    ];
                    let mut pixel = start.wrapping_add(k);
                    for sums in &mut sums {
                        let run = _mm_set1_epi32(pixel.cast::<i32>().read_unaligned());
                        let run = _mm256_cvtepi8_epi16(run);
                        for (sum, words) in sums.iter_mut().zip(words) {
                            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(run, words));
                        }
                        pixel = pixel.wrapping_add(segment.step);
                    }
                }
                weights = weights.wrapping_add(16);
            }
        }
        let mut tile = Tile::ZERO;
        for ([a, b], slot) in sums.into_iter().zip(&mut tile.0) {
            // Channels 0, 1 of both groups, then 2, 3.
            let acc = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b));
            let acc = _mm256_add_epi32(acc, self.bias);
            let value = bytes(self.requantize.values(acc), self.least);
            // SAFETY: sixteen bytes are there.
            unsafe { _mm_storeu_si128(slot.as_mut_ptr().cast(), value) };
        }
        let start = out.bytes.as_mut_ptr();
        let start = start.wrapping_add(x * out.pixel_step + self.channel * out.channel_step);
        let steps = [(out.pixel_step, P), (out.channel_step, 4 * self.groups)];
        // SAFETY: the first `4 * groups` channels of these pixels are in `out`.
        unsafe { tile.put(start, steps) };
    }
}

/// One channel of a depthwise convolution.
#[derive(Clone, Copy)]
struct Channel {
    /// Pairs of weights: the first two of each row; the third of the upper two rows; and the last with a zero.
    taps: [i32; 5],
    bias: i32,
    multiplier: i32,
}

/// See [`crate::kernels::depthwise::depthwise_row`].
///
/// # Safety
/// `channels` is the result of `checked::depthwise` for the other arguments.
#[target_feature(enable = "avx2")]
pub unsafe fn depthwise(
    channels: usize,
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: Output<'_>,
) {
    let plane = plane_bytes(out.pixels);
    let least = _mm_set1_epi8(quantization.act_min as i8);
    for first in (0..channels).step_by(16) {
        let count = (channels - first).min(16);
        let (bias, multipliers) = checked::lanes::<16>(records, first);
        let job: [Channel; 16] = core::array::from_fn(|c| {
            let taps = weights.get(9 * (first + c / 4 * 4)..).unwrap_or_default();
            let tap = |k: usize| taps.get(4 * k + c % 4).map_or(0, |&w| i32::from(w as i8));
            let pair = |low: i32, high: i32| low & 0xffff | high << 16;
            Channel {
                taps: [
                    pair(tap(0), tap(1)),
                    pair(tap(3), tap(4)),
                    pair(tap(6), tap(7)),
                    pair(tap(2), tap(5)),
                    pair(tap(8), 0),
                ],
                bias: bias[c],
                multiplier: multipliers[c],
            }
        });
        for x in (0..out.pixels).step_by(16) {
            let pixels = (out.pixels - x).min(16);
            let mut tile = Tile::ZERO;
            for (c, (job, slot)) in job.iter().zip(&mut tile.0).take(count).enumerate() {
                let at = (first + c) * plane + PLANE_START - 1 + x;
                // The columns to the left of sixteen pixels, at them, and to the right.
                let (a, b, c) = (
                    columns(rows[0], at),
                    columns(rows[1], at),
                    columns(rows[2], at),
                );
                let pairs = [
                    (a[0], a[1]),
                    (b[0], b[1]),
                    (c[0], c[1]),
                    (a[2], b[2]),
                    (c[2], _mm256_setzero_si256()),
                ];
                let mut acc = [_mm256_set1_epi32(job.bias); 2];
                for ((even, odd), taps) in pairs.into_iter().zip(job.taps) {
                    let taps = _mm256_set1_epi32(taps);
                    let halves = [
                        _mm256_unpacklo_epi16(even, odd),
                        _mm256_unpackhi_epi16(even, odd),
                    ];
                    for (acc, half) in acc.iter_mut().zip(halves) {
                        *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(half, taps));
                    }
                }
                let requantize = Requantize::new(_mm256_set1_epi32(job.multiplier), quantization);
                let [low, high] = acc;
                let value = bytes2(requantize.values(low), requantize.values(high), least);
                // SAFETY: sixteen bytes are there.
                unsafe { _mm_storeu_si128(slot.as_mut_ptr().cast(), value) };
            }
            let start = out.bytes.as_mut_ptr();
            let start = start.wrapping_add(x * out.pixel_step + first * out.channel_step);
            // SAFETY: these channels of these pixels are in `out`.
            unsafe {
                tile.put(start, [(out.channel_step, count), (out.pixel_step, pixels)]);
            }
        }
    }
}

/// Sixteen bytes, widened, from position `at`, from the next one, and from the one after that. Zeros beyond the end of the
/// row.
#[inline]
#[target_feature(enable = "avx2")]
fn columns(row: &[i8], at: usize) -> [__m256i; 3] {
    let mut short = [0; 18];
    let row = row.get(at..).unwrap_or_default();
    let bytes = row.first_chunk::<18>().unwrap_or_else(|| {
        for (to, &from) in short.iter_mut().zip(row) {
            *to = from;
        }
        &short
    });
    // SAFETY: each load reads sixteen of eighteen bytes, beginning with the third at most. `map` is not used because it
    // would be compiled without the features and call a function for each load.
    unsafe {
        let load = |dx: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes.as_ptr().add(dx).cast()));
        [load(0), load(1), load(2)]
    }
}

/// A row of the first convolution: the first four planes of `out`.
///
/// # Safety
/// `out` is planar, has at least four planes, and not more pixels than `codes`.
#[target_feature(enable = "avx2")]
pub unsafe fn image4(
    codes: [&CodeRow; 3],
    table: &Table,
    bias: [i32; 4],
    multipliers: [i32; 4],
    quantization: Quantization,
    out: &mut Output<'_>,
) {
    let twice = |four: [i32; 4]| -> [i32; 8] { core::array::from_fn(|i| four[i % 4]) };
    let bias = vector(&twice(bias));
    let requantize = Requantize::new(vector(&twice(multipliers)), quantization);
    let least = _mm_set1_epi8(quantization.act_min as i8);
    // Channels of pixels 0, 2, 1, 3 to pixels of channels.
    let turn = _mm_setr_epi8(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15);
    let [above, at, below] = codes.map(CodeRow::codes);
    let entry = |row: usize, code: u8| -> __m128i {
        let entry = table[row][usize::from(code & 63)];
        _mm_cvtsi64_si128(i64::from_le_bytes(entry.map(|byte| byte as u8)))
    };
    let pixel = |x: usize| -> __m128i {
        let x = x.min(above.len() - 1);
        let sum = _mm_add_epi16(entry(0, above[x]), entry(1, at[x]));
        _mm_add_epi16(sum, entry(2, below[x]))
    };
    let pair = |x: usize| -> __m256i {
        let sums = _mm256_cvtepi16_epi32(_mm_unpacklo_epi64(pixel(x), pixel(x + 1)));
        // A lit colour has the value 255.
        let lit = _mm256_sub_epi32(_mm256_slli_epi32::<8>(sums), sums);
        requantize.values(_mm256_add_epi32(lit, bias))
    };
    for x in (0..out.pixels).step_by(4) {
        let four = _mm_shuffle_epi8(bytes2(pair(x), pair(x + 2), least), turn);
        let count = (out.pixels - x).min(4);
        let words = [
            _mm_extract_epi32::<0>(four),
            _mm_extract_epi32::<1>(four),
            _mm_extract_epi32::<2>(four),
            _mm_extract_epi32::<3>(four),
        ];
        for (c, word) in words.into_iter().enumerate() {
            let to = out
                .bytes
                .as_mut_ptr()
                .wrapping_add(x + c * out.channel_step);
            // SAFETY: `count` pixels of this plane are there.
            unsafe {
                if count == 4 {
                    to.cast::<i32>().write_unaligned(word);
                } else {
                    to.copy_from(word.to_le_bytes().as_ptr().cast(), count);
                }
            }
        }
    }
}

/// A row of the mask, from pixels of eight channels; eight pixels a byte.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub fn mask_row(pixels: &[[[i8; 8]; 8]], weights: &[i8; 8], bias: i32, out: &mut [u8]) {
    // SAFETY: eight bytes.
    let weights = unsafe { _mm_loadl_epi64(weights.as_ptr().cast()) };
    let weights = _mm256_cvtepi8_epi16(_mm_unpacklo_epi64(weights, weights));
    let bias = _mm256_set1_epi32(bias);
    for (byte, pixels) in out.iter_mut().zip(pixels) {
        // Four partial sums of each of two pixels.
        let two = |x: usize| {
            // SAFETY: sixteen of 64 bytes.
            let bytes = unsafe { _mm_loadu_si128(pixels.as_ptr().cast::<__m128i>().add(x)) };
            _mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), weights)
        };
        let low = _mm256_hadd_epi32(two(0), two(1));
        let high = _mm256_hadd_epi32(two(2), two(3));
        // Pixels 0, 2, 4, 6, 1, 3, 5, 7.
        let acc = _mm256_add_epi32(_mm256_hadd_epi32(low, high), bias);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let acc = _mm256_permutevar8x32_epi32(acc, order);
        *byte = !_mm256_movemask_ps(_mm256_castsi256_ps(acc)) as u8;
    }
}

/// A row of a maximum pool of 8 channels or a multiple of 16. For others it writes nothing and returns `false`.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub fn max_row(rows: [&[i8]; 2], channels: usize, out: &mut [i8]) -> bool {
    let load = |bytes: &[i8; 16]| {
        // SAFETY: sixteen bytes.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    };
    let [top, bottom] = rows.map(|row| row.as_chunks::<16>().0);
    if channels == 8 {
        // Two neighbouring pixels are sixteen bytes.
        let pixels = out.as_chunks_mut::<8>().0;
        for ((pixel, top), bottom) in pixels.iter_mut().zip(top).zip(bottom) {
            let two = _mm_max_epi8(load(top), load(bottom));
            let one = _mm_max_epi8(two, _mm_unpackhi_epi64(two, two));
            // SAFETY: eight bytes.
            unsafe { _mm_storel_epi64(pixel.as_mut_ptr().cast(), one) };
        }
        return true;
    }
    if channels == 0 || !channels.is_multiple_of(16) {
        return false;
    }
    let count = channels / 16;
    let pixels = out.as_chunks_mut::<16>().0.chunks_exact_mut(count);
    let pairs = top
        .chunks_exact(2 * count)
        .zip(bottom.chunks_exact(2 * count));
    for (pixel, (top, bottom)) in pixels.zip(pairs) {
        for (c, value) in pixel.iter_mut().enumerate() {
            let left = _mm_max_epi8(load(&top[c]), load(&bottom[c]));
            let right = _mm_max_epi8(load(&top[c + count]), load(&bottom[c + count]));
            // SAFETY: sixteen bytes.
            unsafe { _mm_storeu_si128(value.as_mut_ptr().cast(), _mm_max_epi8(left, right)) };
        }
    }
    true
}
