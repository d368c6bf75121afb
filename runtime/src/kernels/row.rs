//! Rows as operators read and write them, and a channel's record: what every kernel is given.

use crate::dies::IMAGE_SIZE;
use crate::graph::RECORD_BYTES;

/// One run of input bytes a pixel reads.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The input row, from the first byte that pixel 0 reads.
    pub row: &'a [i8],
    /// Bytes from one pixel's run to the next.
    pub step: usize,
    /// Bytes of the run, a multiple of 4.
    pub len: usize,
}

/// Words of scratch that `dense` may use for sums of `length` products: the weights as halfwords, and
/// constants of four channels. The same for every set, so that an image has one arena size.
pub const fn dense_scratch_words(length: usize) -> usize {
    2 * length + 16
}

/// Bytes of scratch for sums of `length` products.
pub const fn scratch_bytes(length: usize) -> usize {
    dense_scratch_words(length) * 4
}

/// Bytes of one channel's plane in a row of `width` pixels: [`PLANE_START`] bytes of which the last is a
/// zero point, the pixels, a zero point, and what is missing to whole words.
pub const fn plane_bytes(width: usize) -> usize {
    (PLANE_START + width + 1).next_multiple_of(4)
}

/// Where in its plane pixel 0 lies: the second pixel is the first of a word, because two columns go
/// before those that complete a first output.
pub const PLANE_START: usize = 3;

/// State of a pixel outside the image: all colours dark.
pub(super) const OUTSIDE: u8 = 3;
/// Codes there are.
pub const CODES: usize = 64;

/// For each pixel of an image row, the code of the pixel and its neighbours, below [`CODES`]:
/// left | middle << 2 | right << 4.
#[derive(Debug, Clone)]
pub struct CodeRow([u8; IMAGE_SIZE]);

impl CodeRow {
    /// A row above or below the image.
    pub const OUTSIDE: Self = Self([CODES as u8 - 1; IMAGE_SIZE]);

    /// Any row, to be set.
    pub const EMPTY: Self = Self([0; IMAGE_SIZE]);

    /// Takes the states of an image row, 0, 1 or 2 each; the codes are those from pixel `left` on.
    pub fn set(&mut self, states: &[u8; IMAGE_SIZE], left: usize) {
        let (before, states) = states.split_at_checked(left).unwrap_or_default();
        let before = before.last().copied().unwrap_or(OUTSIDE);
        let first = states.first().copied().unwrap_or(OUTSIDE);
        // As if before the first pixel: what a step then shifts down.
        let mut code = (before & 3) << 2 | (first & 3) << 4;
        let next = states.iter().skip(1).chain(&[OUTSIDE]);
        for (slot, &right) in self.0.iter_mut().zip(next) {
            code = code >> 2 | (right & 3) << 4;
            *slot = code;
        }
    }

    /// Takes another row's codes.
    pub fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }

    /// The codes, each below [`CODES`].
    pub const fn codes(&self) -> &[u8; IMAGE_SIZE] {
        &self.0
    }
}

/// The table of four channels, `[ky][code][j]`, i16 little endian.
pub type Table = [[[i8; 8]; CODES]; 3];

/// A row that an operator writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// Its bytes, from the first pixel's first channel.
    pub bytes: &'a mut [i8],
    /// Its pixels.
    pub pixels: usize,
    /// Bytes from a pixel to the next.
    pub pixel_step: usize,
    /// Bytes from a channel to the next.
    pub channel_step: usize,
}

impl Output<'_> {
    /// The same row from channel `channel` on; `None` when it has none.
    pub(super) fn channels_from(&mut self, channel: usize) -> Option<Output<'_>> {
        Some(Output {
            bytes: self.bytes.get_mut(channel * self.channel_step..)?,
            ..*self
        })
    }

    /// Writes the first four channels of pixel `x`.
    #[inline(always)]
    pub(super) fn put4(&mut self, x: usize, values: [i8; 4]) {
        let at = x * self.pixel_step;
        if self.channel_step == 1 {
            if let Some(four) = self.bytes.get_mut(at..at + 4) {
                four.copy_from_slice(&values);
            }
            return;
        }
        for (j, value) in values.into_iter().enumerate() {
            if let Some(byte) = self.bytes.get_mut(at + j * self.channel_step) {
                *byte = value;
            }
        }
    }
}

/// The biases and multipliers of four channels' records.
#[inline(always)]
pub(super) fn record4(records: &[u8]) -> ([i32; 4], [i32; 4]) {
    let r = [0, 1, 2, 3].map(|j| record(records, j));
    (r.map(|r| r.0), r.map(|r| r.1))
}

/// A channel's bias and multiplier; zeros outside `records`.
#[inline(always)]
pub fn record(records: &[u8], channel: usize) -> (i32, i32) {
    let at = channel * RECORD_BYTES;
    match records.get(at..at + RECORD_BYTES) {
        Some(&[a, b, c, d, e, f, g, h]) => (
            i32::from_le_bytes([a, b, c, d]),
            i32::from_le_bytes([e, f, g, h]),
        ),
        _ => (0, 0),
    }
}
