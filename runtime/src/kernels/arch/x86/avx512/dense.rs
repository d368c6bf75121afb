//! Dense convolutions: 3×3, pointwise and transposed.
//!
//! The row of each segment is first separated into planes of four channels, with one word a pixel ([`Planes`]). Then one
//! load reads the words of sixteen pixels, and a load four bytes further reads those of their right neighbours. The sums
//! of 64 pixels of four output channels are sixteen vectors.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::finish::{Finish, lanes, records4};
use super::store::Row;
use super::{BLOCK, FLIP, load};
use crate::kernels::arch::checked::Dense;
use crate::kernels::row::Segment;
use crate::kernels::{Output, Quantization};

/// The most bytes of all planes: enough for three rows of 224 pixels of sixteen channels.
const BYTES: usize = 12 * 1024;

/// Whether [`dense`] supports rows of these segments and this output.
pub fn takes(segments: &[Segment<'_>], quantization: Quantization, out: &Output<'_>) -> bool {
    // A run is part of a pixel, or one or more whole pixels.
    let pixels = |s: &Segment<'_>| {
        s.step >= 4 && s.step.is_multiple_of(4) && (s.len <= s.step || s.len.is_multiple_of(s.step))
    };
    let bytes = |s: &Segment<'_>| Shape::of(s, out.pixels).bytes();
    segments.len() <= 3
        && segments.iter().all(pixels)
        && segments.iter().map(bytes).sum::<usize>() <= BYTES
        && Row::takes(out)
        && Finish::takes(quantization)
}

/// See [`crate::kernels::dense::dense_row`].
///
/// # Safety
/// `job` is the result of `checked::dense` for the other arguments, and [`takes`] is true for them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub unsafe fn dense(
    job: Dense,
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    let mut memory = MaybeUninit::<Memory>::uninit();
    let mut planes = [Planes::NONE; 3];
    let mut to = memory.as_mut_ptr().cast::<u8>();
    for (planes, segment) in planes.iter_mut().zip(segments) {
        // SAFETY: there is room for the planes of all segments.
        unsafe {
            *planes = Planes::fill(segment, out.pixels, to);
            to = to.add(planes.shape.bytes());
        }
    }
    let planes = planes.get(..segments.len()).unwrap_or_default();
    let (pixels, channels) = (out.pixels, 4 * job.groups);
    let row = Row::new(&mut out);
    let mut channel = 0;
    while channel < channels {
        let batch = row.batch(channel, channels);
        let finish = Finish::new(quantization, row.order(batch));
        let mut fours = [Four::NONE; 4];
        for (i, four) in fours.iter_mut().enumerate().take(batch.count / 4) {
            let channel = channel + 4 * i;
            let block = weights.get(channel * job.length..).unwrap_or_default();
            *four = Four::new(block, job.length, records, channel);
        }
        let fours = fours.get(..batch.count / 4).unwrap_or_default();
        let mut blocks = [_mm512_setzero_si512(); 16];
        for x in (0..pixels).step_by(BLOCK) {
            // SAFETY: the planes hold whole vectors, up to the vector of the last pixel.
            unsafe { sums_of(fours, planes, x, pixels - x, &finish, &mut blocks) };
            // SAFETY: `checked::dense` showed that the output has these channels.
            unsafe { row.put(batch, x, &blocks) };
        }
        channel += batch.count;
    }
}

#[repr(align(64))]
struct Memory {
    _bytes: [u8; BYTES],
}

/// How the row of a segment is separated into planes.
#[derive(Clone, Copy)]
struct Shape {
    /// Number of bytes of a pixel; each word has a plane.
    step: usize,
    /// Number of words of a pixel that are read.
    words: usize,
    /// Number of pixels of a run.
    taps: usize,
    /// Number of pixels of a plane, in whole vectors.
    columns: usize,
}

impl Shape {
    fn of(segment: &Segment<'_>, pixels: usize) -> Self {
        let taps = if segment.len > segment.step {
            segment.len / segment.step
        } else {
            1
        };
        Self {
            step: segment.step,
            words: segment.len.min(segment.step) / 4,
            taps,
            columns: (pixels.next_multiple_of(16) + taps - 1).next_multiple_of(16),
        }
    }

    /// Number of bytes of the planes of all words, including words that are not read.
    fn bytes(&self) -> usize {
        self.step * self.columns
    }

    /// Writes sixteen pixels, from pixel `x`, to the planes that begin at `to`. Adds 128 to each byte.
    ///
    /// # Safety
    /// The planes are writable.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn put<const N: usize>(&self, to: *mut u8, x: usize, words: [__m512i; N]) {
        let mut to = to.wrapping_add(4 * x);
        for word in words {
            let flipped = _mm512_xor_si512(word, _mm512_set1_epi32(FLIP));
            // SAFETY: the caller guarantees it.
            unsafe { _mm512_storeu_si512(to.cast(), flipped) };
            to = to.wrapping_add(4 * self.columns);
        }
    }
}

/// The row of a segment as planes of words, 128 added to each byte.
#[derive(Clone, Copy)]
struct Planes {
    start: *const u8,
    shape: Shape,
}

impl Planes {
    const NONE: Self = Self {
        start: core::ptr::null(),
        shape: Shape {
            step: 0,
            words: 0,
            taps: 0,
            columns: 0,
        },
    };

    /// Separates a row into planes.
    ///
    /// # Safety
    /// The bytes of the shape are writable at `to`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn fill(segment: &Segment<'_>, pixels: usize, to: *mut u8) -> Self {
        let shape = Shape::of(segment, pixels);
        let (row, step) = (segment.row, segment.step);
        // Sixteen pixels at a time.
        let columns = (0..shape.columns).step_by(16);
        // SAFETY: each plane has these sixteen columns.
        unsafe {
            match step {
                8 => {
                    for x in columns {
                        let parted = if row.len() >= 8 * x + 128 {
                            let from = row.as_ptr().wrapping_add(8 * x);
                            let low = _mm512_loadu_si512(from.cast());
                            parted(low, _mm512_loadu_si512(from.wrapping_add(64).cast()))
                        } else {
                            parted(load(row, 8 * x), load(row, 8 * x + 64))
                        };
                        shape.put(to, x, parted);
                    }
                }
                16 => {
                    for x in columns {
                        let fours = if row.len() >= 16 * x + 256 {
                            let from = row.as_ptr().wrapping_add(16 * x);
                            [
                                _mm512_loadu_si512(from.cast()),
                                _mm512_loadu_si512(from.wrapping_add(64).cast()),
                                _mm512_loadu_si512(from.wrapping_add(128).cast()),
                                _mm512_loadu_si512(from.wrapping_add(192).cast()),
                            ]
                        } else {
                            let at = 16 * x;
                            [
                                load(row, at),
                                load(row, at + 64),
                                load(row, at + 128),
                                load(row, at + 192),
                            ]
                        };
                        shape.put(to, x, quartered(fours));
                    }
                }
                _ if step.is_multiple_of(16) => {
                    for x in columns {
                        for first in (0..shape.words).step_by(4) {
                            let at = x * step + 4 * first;
                            let quartered = quartered([
                                pixels4(row, at, step),
                                pixels4(row, at + 4 * step, step),
                                pixels4(row, at + 8 * step, step),
                                pixels4(row, at + 12 * step, step),
                            ]);
                            let to = to.wrapping_add(4 * first * shape.columns);
                            shape.put(to, x, quartered);
                        }
                    }
                }
                _ => {
                    for x in columns {
                        for word in 0..shape.words {
                            let gathered = gathered(row, x * step + 4 * word, step);
                            let to = to.wrapping_add(4 * word * shape.columns);
                            shape.put(to, x, [gathered]);
                        }
                    }
                }
            }
        }
        Self { start: to, shape }
    }
}

/// Separates sixteen pixels of two words into first words and second words.
#[inline]
#[target_feature(enable = "avx512f")]
fn parted(low: __m512i, high: __m512i) -> [__m512i; 2] {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    [
        _mm512_permutex2var_epi32(low, even, high),
        _mm512_permutex2var_epi32(low, odd, high),
    ]
}

/// Sixteen bytes of each of four pixels, which are `step` bytes apart. Zeros beyond the end of the row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn pixels4(row: &[i8], at: usize, step: usize) -> __m512i {
    if row.len() >= at + 3 * step + 16 {
        // SAFETY: the row has sixteen bytes of each of these pixels.
        unsafe {
            let from = row.as_ptr().wrapping_add(at);
            let pixel = from.cast::<__m128i>();
            let a = _mm512_castsi128_si512(_mm_loadu_si128(pixel));
            let pixel = from.wrapping_add(step).cast();
            let a = _mm512_inserti32x4::<1>(a, _mm_loadu_si128(pixel));
            let pixel = from.wrapping_add(2 * step).cast();
            let a = _mm512_inserti32x4::<2>(a, _mm_loadu_si128(pixel));
            let pixel = from.wrapping_add(3 * step).cast();
            return _mm512_inserti32x4::<3>(a, _mm_loadu_si128(pixel));
        }
    }
    let mut bytes = [0; 64];
    for (i, pixel) in bytes.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let there = row.get(at + i * step..).unwrap_or_default();
        for (byte, &from) in pixel.iter_mut().zip(there) {
            *byte = from;
        }
    }
    load(&bytes, 0)
}

/// Separates sixteen pixels of four words, four pixels a vector, into one vector a word.
#[inline]
#[target_feature(enable = "avx512f")]
fn quartered([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    // Words 0 and 2 of eight pixels, then 1 and 3.
    let even = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 2, 6, 10, 14, 18, 22, 26, 30);
    let odd = _mm512_setr_epi32(1, 5, 9, 13, 17, 21, 25, 29, 3, 7, 11, 15, 19, 23, 27, 31);
    let [a02, c02] = [
        _mm512_permutex2var_epi32(a, even, b),
        _mm512_permutex2var_epi32(c, even, d),
    ];
    let [a13, c13] = [
        _mm512_permutex2var_epi32(a, odd, b),
        _mm512_permutex2var_epi32(c, odd, d),
    ];
    [
        _mm512_shuffle_i64x2::<0b01_00_01_00>(a02, c02),
        _mm512_shuffle_i64x2::<0b01_00_01_00>(a13, c13),
        _mm512_shuffle_i64x2::<0b11_10_11_10>(a02, c02),
        _mm512_shuffle_i64x2::<0b11_10_11_10>(a13, c13),
    ]
}

/// A word of each of sixteen pixels, which are `step` bytes apart. Zeros beyond the end of the row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn gathered(row: &[i8], at: usize, step: usize) -> __m512i {
    let mut words = [0; 64];
    for (i, word) in words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let at = at + i * step;
        if let Some(&four) = row.get(at..).and_then(|rest| rest.first_chunk()) {
            *word = four;
        }
    }
    load(&words, 0)
}

/// Four output channels.
#[derive(Clone, Copy)]
struct Four {
    /// The weights: four bytes of each channel by turns.
    weights: *const u8,
    /// The bias, minus 128 times the sum of the weights.
    bias: [i32; 4],
    multipliers: [i32; 4],
}

impl Four {
    const NONE: Self = Self {
        weights: core::ptr::null(),
        bias: [0; 4],
        multipliers: [0; 4],
    };

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn new(weights: &[u8], length: usize, records: &[u8], channel: usize) -> Self {
        let weights = weights.get(..4 * length).unwrap_or_default();
        let flip = _mm512_set1_epi32(FLIP);
        // Four bytes of each channel, four times. Two sums, because an addition to the same sum would have to wait.
        let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for at in (0..weights.len()).step_by(128) {
            even = _mm512_dpbusd_epi32(even, flip, load(weights, at));
            odd = _mm512_dpbusd_epi32(odd, flip, load(weights, at + 64));
        }
        let sums = _mm512_add_epi32(even, odd);
        let sums = _mm256_add_epi32(
            _mm512_castsi512_si256(sums),
            _mm512_extracti32x8_epi32::<1>(sums),
        );
        let sums = _mm_add_epi32(
            _mm256_castsi256_si128(sums),
            _mm256_extracti128_si256::<1>(sums),
        );
        let (bias, multipliers) = records4(records, channel);
        Self {
            weights: weights.as_ptr(),
            bias: lanes(_mm_sub_epi32(bias, sums)),
            multipliers: lanes(multipliers),
        }
    }

    /// The activations of the sums.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn finished<const V: usize>(&self, acc: &[[__m512i; V]; 4], finish: &Finish) -> [__m512i; 4] {
        let [a, b, c, d] = acc;
        let [e, f, g, h] = self.multipliers;
        [
            finish.block(a, _mm512_set1_epi32(e)),
            finish.block(b, _mm512_set1_epi32(f)),
            finish.block(c, _mm512_set1_epi32(g)),
            finish.block(d, _mm512_set1_epi32(h)),
        ]
    }
}

/// The activations of up to 64 pixels from pixel `x`, one block a channel. In short rows, several groups of four channels
/// are computed together, so that no addition has to wait for the previous one.
///
/// # Safety
/// The planes have these pixels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
unsafe fn sums_of(
    fours: &[Four],
    planes: &[Planes],
    x: usize,
    left: usize,
    finish: &Finish,
    blocks: &mut [__m512i; 16],
) {
    let vectors = left.div_ceil(16);
    let mut blocks = blocks.as_chunks_mut::<4>().0;
    let mut fours = fours;
    while !fours.is_empty() {
        let taken = match (vectors, fours.len()) {
            (1, 4..) => 4,
            (1 | 2, 2..) => 2,
            _ => 1,
        };
        let (now, later) = fours.split_at_checked(taken).unwrap_or_default();
        let (to, rest) = blocks.split_at_mut_checked(taken).unwrap_or_default();
        // SAFETY: the caller guarantees it.
        unsafe {
            match (vectors, taken) {
                (1, 4) => sums::<1, 4>(now, planes, x, finish, to),
                (1, 2) => sums::<1, 2>(now, planes, x, finish, to),
                (1, _) => sums::<1, 1>(now, planes, x, finish, to),
                (2, 2) => sums::<2, 2>(now, planes, x, finish, to),
                (2, _) => sums::<2, 1>(now, planes, x, finish, to),
                (3, _) => sums::<3, 1>(now, planes, x, finish, to),
                _ => sums::<4, 1>(now, planes, x, finish, to),
            }
        }
        (fours, blocks) = (later, rest);
    }
}

/// The activations of `16 · V` pixels from pixel `x`, of `G` groups of four channels.
///
/// # Safety
/// The planes have these pixels.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
unsafe fn sums<const V: usize, const G: usize>(
    fours: &[Four],
    planes: &[Planes],
    x: usize,
    finish: &Finish,
    blocks: &mut [[__m512i; 4]],
) {
    let (Some(fours), Some(blocks)) = (fours.first_chunk::<G>(), blocks.first_chunk_mut::<G>())
    else {
        return;
    };
    let mut acc = [[[_mm512_setzero_si512(); V]; 4]; G];
    let mut weights = [core::ptr::null::<__m128i>(); G];
    for ((acc, weights), four) in acc.iter_mut().zip(&mut weights).zip(fours) {
        *weights = four.weights.cast();
        for (acc, &bias) in acc.iter_mut().zip(&four.bias) {
            *acc = [_mm512_set1_epi32(bias); V];
        }
    }
    for Planes { start, shape } in planes {
        for tap in 0..shape.taps {
            let mut from = start.wrapping_add(4 * (x + tap));
            for _ in 0..shape.words {
                // SAFETY: the caller guarantees it; there are sixteen bytes of weights for each word of a run.
                unsafe {
                    let mut lanes = [_mm512_setzero_si512(); V];
                    for (i, lanes) in lanes.iter_mut().enumerate() {
                        *lanes = _mm512_loadu_si512(from.wrapping_add(64 * i).cast());
                    }
                    for (acc, weights) in acc.iter_mut().zip(&mut weights) {
                        let four = _mm512_broadcast_i32x4(_mm_loadu_si128(*weights));
                        let four = [
                            _mm512_shuffle_epi32::<0x00>(four),
                            _mm512_shuffle_epi32::<0x55>(four),
                            _mm512_shuffle_epi32::<0xaa>(four),
                            _mm512_shuffle_epi32::<0xff>(four),
                        ];
                        for (acc, weight) in acc.iter_mut().zip(four) {
                            for (acc, lanes) in acc.iter_mut().zip(&lanes) {
                                *acc = _mm512_dpbusd_epi32(*acc, *lanes, weight);
                            }
                        }
                        *weights = weights.wrapping_add(1);
                    }
                }
                from = from.wrapping_add(4 * shape.columns);
            }
        }
    }
    // Copied without a loop: if the address of a sum were taken, the compiler would keep it in memory, in the loop above
    // too.
    let acc = { acc };
    blocks[0] = fours[0].finished(&acc[0], finish);
    if let (Some(to), Some(four), Some(acc)) = (blocks.get_mut(1), fours.get(1), acc.get(1)) {
        *to = four.finished(acc, finish);
    }
    if let (Some(to), Some(four), Some(acc)) = (blocks.get_mut(2), fours.get(2), acc.get(2)) {
        *to = four.finished(acc, finish);
    }
    if let (Some(to), Some(four), Some(acc)) = (blocks.get_mut(3), fours.get(3), acc.get(3)) {
        *to = four.finished(acc, finish);
    }
}
