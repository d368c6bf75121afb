//! Frames: `0x00`, COBS(payload ‖ CRC-32 of the payload, little endian), `0x00`.
//!
//! The zero in front ends whatever a disturbed line left half received; empty frames (two zeros in a
//! row) mean nothing. [`FrameDecoder`] takes any bytes whatever: it gives a payload whose CRC-32 is
//! right, or a named [`FrameError`], and is ready for the next frame at every zero.

use core::fmt;

use cobs::{CobsEncoder, DecodeResult, DecoderState, max_encoding_length};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::message::{MAX_CHUNK, MAX_EMBEDDING};
use crate::{CRC, wafer::CLASS_COUNT};

/// Most bytes of each text in a [`Hello`](super::message::Hello).
pub const MAX_TEXT: usize = 64;
/// Bytes of the CRC-32 behind a payload.
pub const CRC_LEN: usize = 4;

/// Most bytes that the largest message of each kind takes in postcard.
mod size {
    use super::{CLASS_COUNT, MAX_CHUNK, MAX_EMBEDDING, MAX_TEXT};
    const U16: usize = 3;
    const U32: usize = 5;
    const U64: usize = 10;
    const VARIANT: usize = 1;
    const HEAD: usize = U16 + VARIANT;
    const TEXT: usize = 1 + MAX_TEXT;
    const FACTS: usize = 2 * TEXT + U32 + U64 + 2 * U32 + VARIANT + 32;
    pub const DIES: usize = HEAD + 2 * U32 + 2 + MAX_CHUNK;
    pub const HELLO: usize = HEAD + U16 + 2 * TEXT + U32 + U16 + VARIANT + FACTS;
    pub const MASK_ROWS: usize = HEAD + U32 + 2 * U16 + 2 + MAX_CHUNK;
    pub const REPORT: usize = HEAD
        + 2 * U32
        + 1
        + 2 * (1 + CLASS_COUNT * U32)
        + (1 + MAX_EMBEDDING)
        + 2 * U32
        + U64
        + (1 + U64);
    pub const STATISTICS: usize = HEAD + U64 + 10 * U32;
}

/// Most bytes of a payload, in either direction.
pub const MAX_PAYLOAD: usize = {
    let sizes = [size::DIES, size::HELLO, size::MASK_ROWS, size::REPORT, size::STATISTICS];
    let mut max = 0;
    let mut i = 0;
    while i < sizes.len() {
        if sizes[i] > max {
            max = sizes[i];
        }
        i += 1;
    }
    max
};
/// Most bytes of a frame, its two zeros included.
pub const MAX_FRAME: usize = max_encoding_length(MAX_PAYLOAD + CRC_LEN) + 2;

/// Why a frame gives no payload. The name is the best guess: a damaged length can look like a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// It ends before its coding says, or is too short for a CRC-32.
    Truncated,
    /// It is longer than [`MAX_FRAME`].
    Oversized,
    /// The CRC-32 is wrong.
    Corrupted,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the frame ends early",
            Self::Oversized => "the frame is longer than the protocol's limit",
            Self::Corrupted => "the frame's CRC-32 is wrong",
        })
    }
}

impl core::error::Error for FrameError {}

/// The frame does not fit the buffer (see [`MAX_FRAME`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTooLong;

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message does not fit a frame")
    }
}

impl core::error::Error for FrameTooLong {}

/// A payload with a right CRC-32 holds no message of the wanted type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the frame holds no message of this protocol version")
    }
}

impl core::error::Error for Malformed {}

/// Encodes payload bytes as a frame into `out`; [`MAX_FRAME`] bytes suffice for [`MAX_PAYLOAD`].
///
/// # Errors
/// [`FrameTooLong`] when `out` is too small.
pub fn encode_payload<'a>(payload: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], FrameTooLong> {
    let mut writer = Writer::new(out).ok_or(FrameTooLong)?;
    writer.try_extend(payload).map_err(|_| FrameTooLong)?;
    writer.finalize().map_err(|_| FrameTooLong)
}

/// Encodes a message as a frame into `out`; [`MAX_FRAME`] bytes suffice for every message.
///
/// # Errors
/// [`FrameTooLong`] when `out` is too small.
pub fn encode<'a, T: Serialize>(
    message: &T,
    out: &'a mut [u8],
) -> Result<&'a [u8], FrameTooLong> {
    let writer = Writer::new(out).ok_or(FrameTooLong)?;
    postcard::serialize_with_flavor(message, writer).map_err(|_| FrameTooLong)
}

/// Decodes a payload as a message; bytes behind the message are an error too.
///
/// # Errors
/// [`Malformed`] when the payload is anything but one `T`.
pub fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        _ => Err(Malformed),
    }
}

/// Writes one frame: COBS and CRC-32 on the way, so that no second buffer is needed.
struct Writer<'a> {
    out: &'a mut [u8],
    /// Bytes written behind the leading zero.
    len: usize,
    cobs: cobs::EncoderState,
    digest: crc::Digest<'static, u32, crc::Table<1>>,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut [u8]) -> Option<Self> {
        *out.first_mut()? = 0;
        // The first code byte's place.
        Some(Self { out, len: 1, cobs: cobs::EncoderState::default(), digest: CRC.digest() })
    }
}
