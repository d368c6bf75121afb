//! The types that every kernel works on: rows as operators read and write them, and channel records.

use crate::dies::IMAGE_SIZE;
use crate::graph::RECORD_BYTES;

/// The input bytes that each pixel of a row reads from one tensor row: one run of bytes a pixel.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The input row. It begins with the first byte that pixel 0 reads.
    pub row: &'a [i8],
    /// Distance from the run of one pixel to the run of the next, in bytes.
    pub step: usize,
    /// Length of the run in bytes, a multiple of 4.
    pub len: usize,
}

/// Number of words of scratch that `dense` may use for sums of `length` products: for the weights as halfwords, and for
/// constants of four channels. It is the same for every instruction set, so that a model has one arena size.
pub const fn dense_scratch_words(length: usize) -> usize {
    2 * length + 16
}

/// Number of bytes of scratch that `dense::dense_row` needs for sums of `length` products.
pub const fn scratch_bytes(length: usize) -> usize {
    dense_scratch_words(length) * 4
}

/// Number of bytes of the plane of one channel in a row of `width` pixels: [`PLANE_START`] bytes, the last of which is
/// a zero point; the pixels; one zero point; and padding up to a multiple of 4.
pub const fn plane_bytes(width: usize) -> usize {
    (PLANE_START + width + 1).next_multiple_of(4)
}

/// The position of pixel 0 in its plane. The second pixel is the first of a word, because two columns come before
/// the column that completes the first output.
pub const PLANE_START: usize = 3;

/// The state of a pixel outside the image: all its colours are dark.
pub(super) const OUTSIDE: u8 = 3;
/// The number of codes.
pub const CODES: usize = 64;

/// The codes of an image row: for each pixel, the states of the pixel and its two neighbours, as
/// left | middle << 2 | right << 4. All codes are below [`CODES`].
#[derive(Debug, Clone)]
pub struct CodeRow([u8; IMAGE_SIZE]);

impl CodeRow {
    /// The codes of a row above or below the image.
    pub const OUTSIDE: Self = Self([CODES as u8 - 1; IMAGE_SIZE]);

    /// A row whose codes have not been set.
    pub const EMPTY: Self = Self([0; IMAGE_SIZE]);

    /// Sets the codes from the states of an image row (0, 1 or 2 each). The first code is that of pixel `left`.
    pub fn set(&mut self, states: &[u8; IMAGE_SIZE], left: usize) {
        let (before, states) = states.split_at_checked(left).unwrap_or_default();
        let before = before.last().copied().unwrap_or(OUTSIDE);
        let first = states.first().copied().unwrap_or(OUTSIDE);
        // The code one pixel further left. Each step shifts it by one pixel.
        let mut code = (before & 3) << 2 | (first & 3) << 4;
        let next = states.iter().skip(1).chain(&[OUTSIDE]);
        for (slot, &right) in self.0.iter_mut().zip(next) {
            code = code >> 2 | (right & 3) << 4;
            *slot = code;
        }
    }

    /// Copies the codes of another row.
    pub fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }

    /// The codes, each below [`CODES`].
    pub const fn codes(&self) -> &[u8; IMAGE_SIZE] {
        &self.0
    }
}

/// The table of four output channels, `[ky][code][j]`, as i16 in little endian.
pub type Table = [[[i8; 8]; CODES]; 3];

/// The row that an operator writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// The bytes of the row. They begin with the first channel of the first pixel.
    pub bytes: &'a mut [i8],
    /// Number of pixels.
    pub pixels: usize,
    /// Distance from one pixel to the next, in bytes.
    pub pixel_step: usize,
    /// Distance from one channel to the next, in bytes.
    pub channel_step: usize,
}

impl Output<'_> {
    /// The same row without its first `channel` channels. `None` if it has no more channels than that.
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

/// The biases and the multipliers of the first four channels.
#[inline(always)]
pub(super) fn record4(records: &[u8]) -> ([i32; 4], [i32; 4]) {
    let r = [0, 1, 2, 3].map(|j| record(records, j));
    (r.map(|r| r.0), r.map(|r| r.1))
}

/// The bias and the multiplier of a channel. Zeros if `records` has no such channel.
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
