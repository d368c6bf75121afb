//! The first convolution: VPERMI2W does 32 look-ups in a table of 64 halfwords.

use core::arch::x86_64::*;

use super::finish::{Finish, Order};
use super::{BLOCK, first};
use crate::kernels::row::{CodeRow, Table};
use crate::kernels::{Output, Quantization};

/// A row of the first convolution: the first four channels of `out`.
///
/// # Safety
/// `out` has at least four planes and one pixel, and not more pixels than a row of codes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")]
pub unsafe fn image4(
    codes: [&CodeRow; 3],
    table: &Table,
    bias: [i32; 4],
    multipliers: [i32; 4],
    quantization: Quantization,
    out: &mut Output<'_>,
) {
    let finish = Finish::new(quantization, Order::Plane);
    let mut tables = [[[_mm512_setzero_si512(); 2]; 3]; 4];
    for (ky, table) in table.iter().enumerate() {
        let parted = parted(table);
        for (table, parted) in tables.iter_mut().zip(parted) {
            table[ky] = parted;
        }
    }
    for x in (0..out.pixels).step_by(BLOCK) {
        let left = (out.pixels - x).min(BLOCK);
        let mut places = [[_mm512_setzero_si512(); 2]; 3];
        for (places, codes) in places.iter_mut().zip(codes) {
            let there = codes.codes().get(x..).unwrap_or_default();
            // SAFETY: the mask excludes bytes beyond the end of the codes.
            let bytes =
                unsafe { _mm512_maskz_loadu_epi8(first(there.len()), there.as_ptr().cast()) };
            *places = [
                _mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes)),
                _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(bytes)),
            ];
        }
        for (j, tables) in tables.iter().enumerate() {
            let bias = _mm512_set1_epi32(bias[j]);
            let multiplier = _mm512_set1_epi32(multipliers[j]);
            let mut halves = [_mm512_setzero_si512(); 2];
            for (i, half) in halves.iter_mut().enumerate() {
                let mut sum = _mm512_setzero_si512();
                for (&[low, high], places) in tables.iter().zip(&places) {
                    let terms = _mm512_permutex2var_epi16(low, places[i], high);
                    sum = _mm512_add_epi16(sum, terms);
                }
                // 255 times the lower halfword of each word.
                let by = _mm512_set1_epi32(255);
                let low = _mm512_dpwssd_epi32(bias, _mm512_unpacklo_epi16(sum, sum), by);
                let high = _mm512_dpwssd_epi32(bias, _mm512_unpackhi_epi16(sum, sum), by);
                let low = finish.values(low, multiplier);
                let high = finish.values(high, multiplier);
                *half = _mm512_packs_epi32(low, high);
            }
            let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
            let block = finish.clamped(halves[0], halves[1]);
            let block = _mm512_permutexvar_epi64(order, block);
            let to = out
                .bytes
                .as_mut_ptr()
                .wrapping_add(j * out.channel_step + x);
            // SAFETY: the plane has these pixels.
            unsafe { _mm512_mask_storeu_epi8(to, first(left), block) };
        }
    }
}

/// The table of a row and four channels, separated by channel: the terms of 64 codes for each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
fn parted(table: &[[i8; 8]; 64]) -> [[__m512i; 2]; 4] {
    const fn words(channel: usize) -> [u16; 32] {
        let mut words = [0; 32];
        let mut at = 0;
        while at < 32 {
            // Sixteen codes of one channel, then of the next.
            words[at] = (4 * (at % 16) + channel + at / 16) as u16;
            at += 1;
        }
        words
    }
    const WORDS: [[u16; 32]; 2] = [words(0), words(2)];
    let mut parted = [[_mm512_setzero_si512(); 2]; 4];
    let bytes = table.as_ptr().cast::<i8>();
    for (pair, words) in WORDS.iter().enumerate() {
        // SAFETY: 64 bytes.
        let words = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
        for (half, bytes) in [bytes, bytes.wrapping_add(256)].into_iter().enumerate() {
            let mut sixteens = [_mm512_setzero_si512(); 2];
            for (i, sixteen) in sixteens.iter_mut().enumerate() {
                let at = bytes.wrapping_add(128 * i);
                // SAFETY: the table has 512 bytes.
                let (low, high) = unsafe {
                    let low = _mm512_loadu_si512(at.cast());
                    (low, _mm512_loadu_si512(at.wrapping_add(64).cast()))
                };
                *sixteen = _mm512_permutex2var_epi16(low, words, high);
            }
            let [a, b] = sixteens;
            parted[2 * pair][half] = _mm512_shuffle_i64x2::<0b01_00_01_00>(a, b);
            parted[2 * pair + 1][half] = _mm512_shuffle_i64x2::<0b11_10_11_10>(a, b);
        }
    }
    parted
}
