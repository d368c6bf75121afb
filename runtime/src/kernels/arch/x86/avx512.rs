//! AVX-512: sixteen sums an instruction, four products each (VPDPBUSD).
//!
//! VPDPBUSD multiplies unsigned by signed bytes, so activations enter as x + 128 and the bias is lowered
//! by 128 times the sum of the weights: the same sum, for 32-bit arithmetic wraps.

use core::arch::x86_64::*;
use core::mem::MaybeUninit;

use super::tile::transposed;
use crate::kernels::arch::checked::{self, Dense};
use crate::kernels::dense::Segment;
use crate::kernels::depthwise::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization};
use crate::model::MAX_CHANNELS;
use crate::wafer::IMAGE_SIZE;

/// Pixels whose sums are kept in registers at a time: rows of 14, 28, 56, 112 and 224 divide by it.
const PIXELS: usize = 14;

/// Turns a signed byte into an unsigned one, 128 more.
const FLIP: i32 = i32::from_ne_bytes([0x80; 4]);

/// How sixteen accumulators become activations.
#[derive(Clone, Copy)]
struct Requantize {
    /// Multipliers, and the odd lanes' in the even lanes.
    even: __m512i,
    odd: __m512i,
    zero_point: __m512i,
    least: __m128i,
    shift: u32,
}

impl Requantize {
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw")]
    fn new(multipliers: __m512i, quantization: Quantization) -> Self {
        Self {
            even: multipliers,
            odd: _mm512_srli_epi64::<32>(multipliers),
            zero_point: _mm512_set1_epi32(quantization.zero_point),
            least: _mm_set1_epi8(quantization.act_min as i8),
            shift: quantization.shift,
        }
    }

    /// As [`Quantization::activation`] of each lane. A product is below 2^62, so its upper half cannot
    /// saturate with the zero point.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl,avx512bw")]
    fn activations(&self, mut acc: __m512i) -> __m128i {
        if self.shift != 0 {
            acc = _mm512_sll_epi32(acc, _mm_cvtsi32_si128(self.shift as i32));
        }
        let half = _mm512_set1_epi64(1 << 31);
        let even = _mm512_add_epi64(_mm512_mul_epi32(acc, self.even), half);
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc), self.odd);
        let odd = _mm512_add_epi64(odd, half);
        let value = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
        let value = _mm512_add_epi32(value, self.zero_point);
        _mm_max_epi8(_mm512_cvtsepi32_epi8(value), self.least)
    }
}

/// The first `count` of sixteen.
#[inline(always)]
const fn first(count: usize) -> u16 {
    if count >= 16 {
        u16::MAX
    } else {
        (1 << count) - 1
    }
}

/// Most bytes of rows that [`dense`] takes.
const ROWS: usize = 3 * (IMAGE_SIZE + 2) * MAX_CHANNELS;

/// A run of bytes a pixel reads, all plus 128.
#[derive(Clone, Copy)]
struct Run {
    start: *const u8,
    step: usize,
    len: usize,
}

/// Whether rows of these segments are short enough for [`dense`].
pub fn takes(segments: &[Segment<'_>], pixels: usize) -> bool {
    let bytes = |s: &Segment<'_>| pixels.saturating_sub(1) * s.step + s.len;
    // Each begins at a whole vector.
    let bytes = segments
        .iter()
        .map(|s| bytes(s).next_multiple_of(64))
        .sum::<usize>();
    segments.len() <= 3 && bytes <= ROWS
}

/// Writes the segments' rows plus 128 to `to` and tells where they are.
///
/// # Safety
/// [`takes`] these segments, and their rows were checked.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn flip(segments: &[Segment<'_>], pixels: usize, to: *mut u8) -> [Run; 3] {
    let mut runs = [Run {
        start: to,
        step: 0,
        len: 0,
    }; 3];
    let mut to = to;
    for (run, segment) in runs.iter_mut().zip(segments) {
        let bytes = (pixels - 1) * segment.step + segment.len;
        *run = Run {
            start: to,
            step: segment.step,
            len: segment.len,
        };
        for at in (0..bytes).step_by(64) {
            let mask = u64::MAX >> (64 - (bytes - at).min(64));
            // SAFETY: the mask leaves out what is behind the row; there is room for whole vectors.
            unsafe {
                let row = _mm512_maskz_loadu_epi8(mask, segment.row.as_ptr().add(at));
                _mm512_storeu_si512(to.cast(), _mm512_xor_si512(row, _mm512_set1_epi32(FLIP)));
                to = to.add(64);
            }
        }
    }
    runs
}

/// See [`crate::kernels::dense::dense_row`].
///
/// # Safety
/// `job` is what `checked::dense` made of the other arguments, and [`takes`] the segments.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub unsafe fn dense(
    job: Dense,
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    let mut rows = MaybeUninit::<[u8; ROWS]>::uninit();
    // SAFETY: as promised to us.
    let runs = unsafe { flip(segments, out.pixels, rows.as_mut_ptr().cast()) };
    let runs = runs.get(..segments.len()).unwrap_or_default();
    let mut group = 0;
    while group < job.groups {
        let groups = (job.groups - group).min(4);
        let (bias, multipliers) = checked::lanes::<16>(records, 4 * group);
        let row = Row {
            runs,
            weights: weights.as_ptr().wrapping_add(4 * job.length * group),
            // A group that is missing is the first once more; what it gives is not written.
            blocks: [1, 2, 3].map(|at| if at < groups { at * 4 * job.length } else { 0 }),
            groups,
            channel: 4 * group,
            requantize: Requantize::new(vector(&multipliers), quantization),
        };
        // SAFETY: as promised to us: weights for `groups`, runs and room for all pixels; each tile takes
        // as many as are left.
        unsafe {
            row.run(&bias, job.length, &mut out);
        }
        group += groups;
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn vector(lanes: &[i32; 16]) -> __m512i {
    // SAFETY: sixteen words are there.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

/// Four bytes in every lane.
///
/// # Safety
/// Four bytes can be read.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn broadcast(from: *const u8) -> __m512i {
    // SAFETY: as promised to us.
    _mm512_set1_epi32(unsafe { from.cast::<i32>().read_unaligned() })
}

/// A row of up to sixteen output channels.
struct Row<'a> {
    runs: &'a [Run],
    /// The first group's weights, and the bytes from there to the other three's.
    weights: *const u8,
    blocks: [usize; 3],
    groups: usize,
    /// The first channel.
    channel: usize,
    requantize: Requantize,
}

impl Row<'_> {
    /// All pixels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn run(&self, bias: &[i32; 16], length: usize, out: &mut Output<'_>) {
        let mut sums = _mm512_setzero_si512();
        for at in (0..length).step_by(4) {
            // SAFETY: within each group's block.
            let weights = unsafe { self.words(4 * at) };
            sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(FLIP), weights);
        }
        let bias = _mm512_sub_epi32(vector(bias), sums);
        let mut x = 0;
        // SAFETY: pixels x up to the tile's are there.
        unsafe {
            if self.groups == 2 {
                let twice = _mm512_broadcast_i64x4(_mm512_castsi512_si256(bias));
                let multipliers = _mm512_castsi512_si256(self.requantize.even);
                let pairs = Self {
                    requantize: Requantize {
                        even: _mm512_broadcast_i64x4(multipliers),
                        odd: _mm512_srli_epi64::<32>(_mm512_broadcast_i64x4(multipliers)),
                        ..self.requantize
                    },
                    ..*self
                };
                while x + PIXELS <= out.pixels {
                    pairs.tile_of_pairs(twice, x, out);
                    x += PIXELS;
                }
            }
            while x + PIXELS <= out.pixels {
                self.tile::<PIXELS>(bias, x, out);
                x += PIXELS;
            }
            while x + 4 <= out.pixels {
                self.tile::<4>(bias, x, out);
                x += 4;
            }
            while x < out.pixels {
                self.tile::<1>(bias, x, out);
                x += 1;
            }
        }
    }

    /// Four weights of each channel, from byte `at` of each group's block on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn words(&self, at: usize) -> __m512i {
        // SAFETY: each group's block has 16 bytes there; the features are the callers'.
        unsafe {
            let load = |block: usize| {
                _mm_loadu_si128(self.weights.wrapping_add(block + at).cast::<__m128i>())
            };
            let [second, third, fourth] = self.blocks;
            let words = _mm512_castsi128_si512(load(0));
            let words = _mm512_inserti32x4::<1>(words, load(second));
            let words = _mm512_inserti32x4::<2>(words, load(third));
            _mm512_inserti32x4::<3>(words, load(fourth))
        }
    }

    /// `P` pixels from `x` on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn tile<const P: usize>(&self, bias: __m512i, x: usize, out: &mut Output<'_>) {
        let mut acc = [bias; P];
        let mut at = 0;
        for run in self.runs {
            let start = run.start.wrapping_add(x * run.step);
            for k in (0..run.len).step_by(4) {
                // SAFETY: within each group's block, and within each pixel's run.
                unsafe {
                    let weights = self.words(at);
                    let mut pixel = start.wrapping_add(k);
                    for acc in &mut acc {
                        *acc = _mm512_dpbusd_epi32(*acc, broadcast(pixel), weights);
                        pixel = pixel.wrapping_add(run.step);
                    }
                }
                at += 16;
            }
        }
        let start = self.at(x, out);
        if out.channel_step == 1 {
            for (i, acc) in acc.into_iter().enumerate() {
                let to = start.wrapping_add(i * out.pixel_step);
                // SAFETY: the mask leaves out what is not this pixel's.
                unsafe {
                    let value = self.requantize.activations(acc);
                    _mm_mask_storeu_epi8(to, first(4 * self.groups), value);
                }
            }
            return;
        }
        // Not `map`: it is compiled without the features and would call a function for each.
        let mut values = [_mm_setzero_si128(); 16];
        for (value, acc) in values.iter_mut().zip(acc) {
            *value = self.requantize.activations(acc);
        }
        let pixels = (out.pixel_step, P);
        // SAFETY: the first `4 * groups` channels of these pixels are in `out`.
        unsafe {
            put(values, start, pixels, (out.channel_step, 4 * self.groups));
        }
    }

    /// `PIXELS` pixels from `x` on, of eight channels: two pixels a vector.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
    unsafe fn tile_of_pairs(&self, bias: __m512i, x: usize, out: &mut Output<'_>) {
        let mut acc = [bias; PIXELS / 2];
        let mut weights = self.weights;
        let second = self.blocks[0];
        for run in self.runs {
            let start = run.start.wrapping_add(x * run.step);
            for k in (0..run.len).step_by(4) {
                // SAFETY: within both groups' blocks, and within each pixel's run.
                unsafe {
                    let eight = _mm256_inserti128_si256::<1>(
                        _mm256_castsi128_si256(_mm_loadu_si128(weights.cast())),
                        _mm_loadu_si128(weights.wrapping_add(second).cast()),
                    );
                    let weights = _mm512_broadcast_i64x4(eight);
                    let mut pixel = start.wrapping_add(k);
                    for acc in &mut acc {
                        let lanes = broadcast(pixel);
                        pixel = pixel.wrapping_add(run.step);
                        let lanes = _mm512_mask_mov_epi32(lanes, 0xff00, broadcast(pixel));
                        pixel = pixel.wrapping_add(run.step);
                        *acc = _mm512_dpbusd_epi32(*acc, lanes, weights);
                    }
                }
                weights = weights.wrapping_add(16);
            }
        }
        let start = self.at(x, out);
        if (out.channel_step, out.pixel_step) == (1, 8) {
            for (i, acc) in acc.into_iter().enumerate() {
                // SAFETY: eight channels of these two pixels are in `out`, side by side.
                unsafe {
                    let value = self.requantize.activations(acc);
                    _mm_storeu_si128(start.wrapping_add(16 * i).cast(), value);
                }
            }
            return;
        }
        let mut values = [_mm_setzero_si128(); 16];
        for (i, acc) in acc.into_iter().enumerate() {
            let value = self.requantize.activations(acc);
            values[2 * i] = value;
            values[2 * i + 1] = _mm_unpackhi_epi64(value, value);
        }
        let pixels = (out.pixel_step, PIXELS);
        // SAFETY: eight channels of these pixels are in `out`.
        unsafe { put(values, start, pixels, (out.channel_step, 8)) };
    }

    /// Where pixel `x` of the first channel lies.
    #[inline]
    fn at(&self, x: usize, out: &mut Output<'_>) -> *mut i8 {
        let at = x * out.pixel_step + self.channel * out.channel_step;
        out.bytes.as_mut_ptr().wrapping_add(at)
    }
}

/// Writes a byte of each of the first vectors, or more: `[(step, count) of vectors, of bytes]`.
///
/// # Safety
/// From `to` on there is a writable byte at each of these steps.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn put(values: [__m128i; 16], to: *mut i8, vectors: (usize, usize), bytes: (usize, usize)) {
    let (mut values, mut vectors, mut bytes) = (values, vectors, bytes);
    if bytes.0 != 1 {
        values = transposed(values);
        (vectors, bytes) = (bytes, vectors);
    }
    for (i, value) in values.into_iter().enumerate().take(vectors.1) {
        let to = to.wrapping_add(i * vectors.0);
        // SAFETY: as promised to us; a mask leaves out what is beyond the count.
        unsafe {
            if bytes.0 == 1 {
                _mm_mask_storeu_epi8(to, first(bytes.1), value);
            } else {
                let value: [i8; 16] = core::mem::transmute(value);
                for (j, &value) in value.iter().enumerate().take(bytes.1) {
                    to.wrapping_add(j * bytes.0).write(value);
                }
            }
        }
    }
}

/// What a depthwise convolution needs of a channel.
#[derive(Clone, Copy)]
struct Channel {
    /// For each row three weights and a zero.
    taps: [i32; 3],
    bias: i32,
    multiplier: i32,
}

/// See [`crate::kernels::depthwise::depthwise_row`].
///
/// # Safety
/// `channels` is what `checked::depthwise` made of the other arguments.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub unsafe fn depthwise(
    channels: usize,
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: Output<'_>,
) {
    let plane = plane_bytes(out.pixels);
    // Lane x: bytes x, x + 1, x + 2, and any.
    let columns: [u8; 64] = core::array::from_fn(|i| (i / 4 + (i % 4).min(2)) as u8);
    // SAFETY: 64 bytes.
    let columns = unsafe { _mm512_loadu_si512(columns.as_ptr().cast()) };
    let flip = _mm512_set1_epi32(FLIP);
    let constants = Requantize::new(flip, quantization);
    let mut group = 0;
    while 4 * group < channels {
        let count = (channels - 4 * group).min(16);
        let (bias, multipliers) = checked::lanes::<16>(records, 4 * group);
        let job: [Channel; 16] = core::array::from_fn(|c| {
            let taps = weights.get(36 * (group + c / 4)..).unwrap_or_default();
            let tap = |k: usize| taps.get(4 * k + c % 4).map_or(0, |&w| w as i8);
            let sum = (0..9).map(|k| i32::from(tap(k))).sum::<i32>();
            Channel {
                taps: [0, 3, 6].map(|k| {
                    i32::from_le_bytes([tap(k), tap(k + 1), tap(k + 2), 0].map(|w| w as u8))
                }),
                bias: bias[c].wrapping_sub(128 * sum),
                multiplier: multipliers[c],
            }
        });
        for x in (0..out.pixels).step_by(16) {
            let pixels = (out.pixels - x).min(16);
            // The pixels' columns and one at either side; there may be no more.
            let there = (1u32 << (pixels + 2)) - 1;
            let mut values = [_mm_setzero_si128(); 16];
            for (c, (job, value)) in job.iter().zip(&mut values).take(count).enumerate() {
                let at = (4 * group + c) * plane + PLANE_START - 1 + x;
                let mut acc = _mm512_set1_epi32(job.bias);
                for (row, taps) in rows.iter().zip(job.taps) {
                    // SAFETY: the plane has these columns.
                    let bytes =
                        unsafe { _mm256_maskz_loadu_epi8(there, row.as_ptr().wrapping_add(at)) };
                    let bytes = _mm512_castsi256_si512(bytes);
                    let bytes = _mm512_xor_si512(_mm512_permutexvar_epi8(columns, bytes), flip);
                    acc = _mm512_dpbusd_epi32(acc, bytes, _mm512_set1_epi32(taps));
                }
                let requantize = Requantize {
                    even: _mm512_set1_epi32(job.multiplier),
                    odd: _mm512_set1_epi32(job.multiplier),
                    ..constants
                };
                *value = requantize.activations(acc);
            }
            let start = out.bytes.as_mut_ptr();
            let start = start.wrapping_add(x * out.pixel_step + 4 * group * out.channel_step);
            // SAFETY: these channels of these pixels are in `out`.
            unsafe {
                put(
                    values,
                    start,
                    (out.channel_step, count),
                    (out.pixel_step, pixels),
                );
            }
        }
        group += 4;
    }
}
