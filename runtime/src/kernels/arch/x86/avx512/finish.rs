//! Requantization and packing: from the sums of up to 64 pixels to activations.

use core::arch::x86_64::*;

use crate::graph::RECORD_BYTES;
use crate::kernels::Quantization;

/// Requantization of sums.
#[derive(Clone, Copy)]
pub struct Finish {
    /// Added to each product: 2^31 for rounding, and 2^32 times the zero point.
    offset: __m512i,
    least: __m512i,
    order: __m512i,
}

/// The order of the pixels in a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In sequence, as in a plane.
    Plane,
    /// In an order in which [`super::store::interleaved`] of eight channels gives pixels in sequence.
    Eight,
    /// The same for sixteen channels.
    Sixteen,
    /// The same for four channels.
    Four,
}

impl Order {
    /// For each byte of a block, its position in [`packed`]: pixel 16·i + 4·l + m is at 16·l + 4·i + m.
    const fn places(self) -> [u8; 64] {
        let mut places = [0; 64];
        let mut at = 0;
        while at < 64 {
            // Interleaving works in lanes of sixteen bytes.
            let (lane, byte) = (at / 16, at % 16);
            let pixel = match self {
                Self::Plane => at,
                Self::Eight => 8 * (byte / 2) + 2 * lane + byte % 2,
                Self::Sixteen => 4 * byte + lane,
                Self::Four => 16 * (byte / 4) + 4 * lane + byte % 4,
            };
            places[at] = (16 * (pixel / 4 % 4) + 4 * (pixel / 16) + pixel % 4) as u8;
            at += 1;
        }
        places
    }

    /// These positions, for VPERMB.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn vector(self) -> __m512i {
        const PLACES: [[u8; 64]; 4] = [
            Order::Plane.places(),
            Order::Eight.places(),
            Order::Sixteen.places(),
            Order::Four.places(),
        ];
        let places: &'static [u8; 64] = match self {
            Self::Plane => &PLACES[0],
            Self::Eight => &PLACES[1],
            Self::Sixteen => &PLACES[2],
            Self::Four => &PLACES[3],
        };
        // SAFETY: 64 bytes.
        unsafe { _mm512_loadu_si512(places.as_ptr().cast()) }
    }
}

impl Finish {
    /// Whether sums are not shifted before the multiplication. Exporters write a shift for the class head only.
    pub fn takes(quantization: Quantization) -> bool {
        quantization.shift == 0
    }

    /// The requantization of a layer that [`takes`](Self::takes) is true for, with blocks in this order.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn new(quantization: Quantization, order: Order) -> Self {
        let offset = (i64::from(quantization.zero_point) << 32) + (1 << 31);
        Self {
            offset: _mm512_set1_epi64(offset),
            least: _mm512_set1_epi8(quantization.act_min as i8),
            order: order.vector(),
        }
    }

    /// [`Quantization::activation`] of each lane before clamping. A product is below 2^62, so that its upper half plus the
    /// zero point does not overflow.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn values(&self, acc: __m512i, multiplier: __m512i) -> __m512i {
        let odd = _mm512_shuffle_epi32::<0xf5>(acc);
        let even = _mm512_add_epi64(_mm512_mul_epi32(acc, multiplier), self.offset);
        let odd = _mm512_add_epi64(_mm512_mul_epi32(odd, multiplier), self.offset);
        // The upper halves of `even` below those of `odd`.
        _mm512_mask_shuffle_epi32::<0xf5>(odd, 0x5555, even)
    }

    /// Clamps packed [`values`](Self::values) to bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn clamped(&self, low: __m512i, high: __m512i) -> __m512i {
        _mm512_max_epi8(_mm512_packs_epi16(low, high), self.least)
    }

    /// The activations of `16 · V` pixels, in order. The rest of the block is undefined.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub fn block<const V: usize>(&self, acc: &[__m512i; V], multiplier: __m512i) -> __m512i {
        let mut values = [_mm512_setzero_si512(); 4];
        for (value, &acc) in values.iter_mut().zip(acc) {
            *value = self.values(acc, multiplier);
        }
        let [a, b, c, d] = values;
        let packed = self.clamped(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        _mm512_permutexvar_epi8(self.order, packed)
    }
}

/// Biases and multipliers of four channels.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
pub fn records4(records: &[u8], channel: usize) -> (__m128i, __m128i) {
    let Some(four) = records
        .get(channel * RECORD_BYTES..)
        .and_then(|four| four.first_chunk())
    else {
        return (_mm_setzero_si128(), _mm_setzero_si128());
    };
    let four: &[u8; 4 * RECORD_BYTES] = four;
    // SAFETY: 32 bytes.
    let four = unsafe { _mm256_loadu_si256(four.as_ptr().cast()) };
    let apart = _mm256_permutevar8x32_epi32(four, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    (
        _mm256_castsi256_si128(apart),
        _mm256_extracti128_si256::<1>(apart),
    )
}

/// The lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub fn lanes(four: __m128i) -> [i32; 4] {
    // SAFETY: both are sixteen bytes of any value.
    unsafe { core::mem::transmute(four) }
}
