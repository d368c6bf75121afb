//! Writes blocks of 64 pixels: as planes, or as pixels of interleaved channels.

use core::arch::x86_64::*;

use super::finish::Order;
use super::{BLOCK, first};
use crate::kernels::Output;

/// A row that is written block by block.
pub struct Row {
    bytes: *mut i8,
    pixels: usize,
    pixel_step: usize,
    channel_step: usize,
}

/// Channels that are interleaved together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The first channel.
    pub first: usize,
    /// The number of channels: 16, 8 or 4.
    pub count: usize,
}

impl Row {
    /// Whether a row of this shape can be written: planes or interleaved channels.
    pub fn takes(out: &Output<'_>) -> bool {
        (out.pixel_step == 1) != (out.channel_step == 1)
    }

    /// The row of an output that [`takes`](Self::takes) is true for.
    pub fn new(out: &mut Output<'_>) -> Self {
        Self {
            bytes: out.bytes.as_mut_ptr(),
            pixels: out.pixels,
            pixel_step: out.pixel_step,
            channel_step: out.channel_step,
        }
    }

    /// The next batch of channels, beginning with `first`. `channels`, the number of all channels, is a multiple of four.
    pub fn batch(&self, first: usize, channels: usize) -> Batch {
        let count = match channels - first {
            16.. => 16,
            8.. => 8,
            _ => 4,
        };
        Batch { first, count }
    }

    /// The order that the blocks of this batch must have.
    pub fn order(&self, batch: Batch) -> Order {
        match (self.pixel_step, batch.count) {
            (1, _) => Order::Plane,
            (_, 16) => Order::Sixteen,
            (_, 8) => Order::Eight,
            _ => Order::Four,
        }
    }

    /// Writes the pixels of a batch of channels from pixel `x`, one block a channel.
    ///
    /// # Safety
    /// The output has these channels for each of its pixels.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub unsafe fn put(&self, batch: Batch, x: usize, blocks: &[__m512i; 16]) {
        let start = x * self.pixel_step + batch.first * self.channel_step;
        let start = self.bytes.wrapping_add(start);
        let count = (self.pixels - x).min(BLOCK);
        // SAFETY: the caller guarantees it.
        unsafe {
            match (self.pixel_step, batch.count) {
                (1, _) => {
                    for (i, &block) in blocks.iter().enumerate().take(batch.count) {
                        let to = start.wrapping_add(i * self.channel_step);
                        _mm512_mask_storeu_epi8(to, first(count), block);
                    }
                }
                (step, 16) => write(interleaved16(blocks), start, step, count),
                (step, 8) => {
                    let [a, b, c, d, e, f, g, h, ..] = *blocks;
                    let rows = interleaved8([a, b, c, d, e, f, g, h]);
                    write(rows, start, step, count);
                }
                (step, _) => {
                    let [a, b, c, d, ..] = *blocks;
                    write(interleaved4(a, b, c, d), start, step, count);
                }
            }
        }
    }
}

/// Writes `count` pixels, `step` bytes apart, of interleaved channels.
///
/// # Safety
/// There are `N` writable bytes for each of the pixels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn write<const N: usize>(rows: [__m512i; N], to: *mut i8, step: usize, count: usize) {
    // SAFETY: the caller guarantees it.
    unsafe {
        if step == N && count == BLOCK {
            to.cast::<[__m512i; N]>().write_unaligned(rows);
            return;
        }
        let bytes: *const i8 = (&raw const rows).cast();
        if step == N {
            bytes.copy_to_nonoverlapping(to, N * count);
            return;
        }
        for pixel in 0..count {
            let from = bytes.wrapping_add(N * pixel).cast::<[i8; N]>();
            to.wrapping_add(step * pixel)
                .cast::<[i8; N]>()
                .write(from.read());
        }
    }
}

// Interleaving takes log2(N) rounds. Each round interleaves block i with block i + N / 2 and so doubles the distance
// between neighbouring pixels of a channel. In the end, every lane of vector k holds the pixels whose bytes begin at
// 16 · k / N of the lane; `Order` has arranged them for that. There are no loops, because arrays would go through memory.

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved2(a: __m512i, b: __m512i) -> [__m512i; 2] {
    [_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b)]
}

/// Two rounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved4(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    let [e, f] = interleaved2(a, c);
    let [g, h] = interleaved2(b, d);
    let [i, j] = interleaved2(e, g);
    let [k, l] = interleaved2(f, h);
    [i, j, k, l]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved8([a, b, c, d, e, f, g, h]: [__m512i; 8]) -> [__m512i; 8] {
    let [i, j, k, l] = interleaved4(a, c, e, g);
    let [m, n, o, p] = interleaved4(b, d, f, h);
    let ([a, b], [c, d]) = (interleaved2(i, m), interleaved2(j, n));
    let ([e, f], [g, h]) = (interleaved2(k, o), interleaved2(l, p));
    [a, b, c, d, e, f, g, h]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleaved16(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *rows;
    let [a, e, i, m] = interleaved4(a, e, i, m);
    let [b, f, j, n] = interleaved4(b, f, j, n);
    let [c, g, k, o] = interleaved4(c, g, k, o);
    let [d, h, l, p] = interleaved4(d, h, l, p);
    let [q, r, s, t] = interleaved4(a, b, c, d);
    let [u, v, w, x] = interleaved4(e, f, g, h);
    let [a, b, c, d] = interleaved4(i, j, k, l);
    let [e, f, g, h] = interleaved4(m, n, o, p);
    [q, r, s, t, u, v, w, x, a, b, c, d, e, f, g, h]
}
