//! Frames: `0x00`, COBS(payload ‖ CRC-32 of the payload, little endian), `0x00`.
//!
//! The first zero ends a frame that a disturbed line left incomplete. Empty frames (two zeros in a row) mean nothing.
//! [`FrameDecoder`] accepts any bytes. At the end of a frame it returns a payload whose CRC-32 is right, or a named
//! [`FrameError`]; after every zero it is ready for the next frame.

use core::fmt;

use cobs::{DecodeResult, DecoderState, max_encoding_length};
use serde::{Deserialize, Serialize};

use super::message::{MAX_CHUNK, ResetCause};
use lightwafer_runtime::crc32;
use lightwafer_runtime::dies::CLASS_COUNT;
use lightwafer_runtime::limits::MAX_CHANNELS;

/// Most bytes of each text in a [`Hello`](super::message::Hello).
pub const MAX_TEXT: usize = 64;
/// Bytes of the CRC-32 after a payload.
pub const CRC_LEN: usize = 4;

/// Most bytes that the largest message of each kind takes in postcard.
mod size {
    use super::{CLASS_COUNT, MAX_CHANNELS, MAX_CHUNK, MAX_TEXT, ResetCause};
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
        + (1 + MAX_CHANNELS)
        + 2 * U32
        + U64
        + (1 + U64);
    pub const STATISTICS: usize = HEAD + U64 + 10 * U32;
    pub const MODEL_CHUNK: usize = HEAD + 2 * U32 + 2 + MAX_CHUNK;
    pub const HEALTH: usize =
        HEAD + ResetCause::COUNT * U32 + 4 * U32 + (1 + 8) + (1 + 3 * U32) + 32;
}

/// Most bytes of a payload, in either direction.
pub const MAX_PAYLOAD: usize = {
    let sizes = [
        size::DIES,
        size::HELLO,
        size::MASK_ROWS,
        size::REPORT,
        size::STATISTICS,
        size::MODEL_CHUNK,
        size::HEALTH,
    ];
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

/// Why a frame has no payload. The name is the best guess: a damaged length can look like a missing end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FrameTooLong;

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message does not fit a frame")
    }
}

impl core::error::Error for FrameTooLong {}

/// A payload with a right CRC-32 holds no message of the wanted type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the frame holds no message of this protocol version")
    }
}

impl core::error::Error for Malformed {}

/// Encodes payload bytes as a frame into `out`; [`MAX_FRAME`] bytes suffice for every payload.
///
/// # Errors
/// [`FrameTooLong`] when the payload is longer than [`MAX_PAYLOAD`] or `out` is too small.
pub fn encode_payload<'a>(payload: &[u8], out: &'a mut [u8]) -> Result<&'a [u8], FrameTooLong> {
    let mut body = [0; MAX_PAYLOAD + CRC_LEN];
    body.get_mut(..payload.len())
        .ok_or(FrameTooLong)?
        .copy_from_slice(payload);
    seal(&mut body, payload.len(), out)
}

/// Encodes a message as a frame into `out`; [`MAX_FRAME`] bytes suffice for every message.
///
/// # Errors
/// [`FrameTooLong`] when the message takes more than [`MAX_PAYLOAD`] bytes or `out` is too small.
pub fn encode<'a, T: Serialize>(message: &T, out: &'a mut [u8]) -> Result<&'a [u8], FrameTooLong> {
    let mut body = [0; MAX_PAYLOAD + CRC_LEN];
    let payload = body.get_mut(..MAX_PAYLOAD).ok_or(FrameTooLong)?;
    let used = postcard::to_slice(message, payload).map_err(|_| FrameTooLong)?;
    let len = used.len();
    seal(&mut body, len, out)
}

/// Appends the CRC-32 to the first `len` bytes of `body` and encodes both.
fn seal<'a>(body: &mut [u8], len: usize, out: &'a mut [u8]) -> Result<&'a [u8], FrameTooLong> {
    let (payload, rest) = body.split_at_mut_checked(len).ok_or(FrameTooLong)?;
    let crc = crc32(payload).to_le_bytes();
    rest.get_mut(..CRC_LEN)
        .ok_or(FrameTooLong)?
        .copy_from_slice(&crc);
    let body = body.get(..len + CRC_LEN).ok_or(FrameTooLong)?;
    // Not cobs' own encoder of whole frames: it panics when the last zero does not fit.
    let (first, rest) = out.split_first_mut().ok_or(FrameTooLong)?;
    let len = cobs::try_encode(body, rest).map_err(|_| FrameTooLong)?;
    *first = 0;
    *rest.get_mut(len).ok_or(FrameTooLong)? = 0;
    out.get(..len + 2).ok_or(FrameTooLong)
}

/// Decodes a payload as a message; bytes after the message are an error too.
///
/// # Errors
/// [`Malformed`] when the payload is anything but one `T`.
pub fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        _ => Err(Malformed),
    }
}

/// Finds frames in the bytes of a line and returns their payloads.
#[derive(Debug)]
pub struct FrameDecoder {
    cobs: DecoderState,
    /// What happens to the bytes up to the next zero.
    fate: Fate,
    len: usize,
    body: [u8; MAX_PAYLOAD + CRC_LEN],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Oversized,
    Discard,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameDecoder {
    /// A decoder between two frames.
    pub const fn new() -> Self {
        let body = [0; MAX_PAYLOAD + CRC_LEN];
        Self {
            cobs: DecoderState::Idle,
            fate: Fate::Keep,
            len: 0,
            body,
        }
    }

    /// Processes one byte. At the end of a frame it returns the payload, or the error.
    pub fn push(&mut self, byte: u8) -> Option<Result<&[u8], FrameError>> {
        if self.fate == Fate::Discard {
            if byte == 0 {
                self.reset();
            }
            return None;
        }
        match self.cobs.feed(byte) {
            Ok(DecodeResult::NoData) => None,
            Ok(DecodeResult::DataStart) => {
                self.len = 0;
                None
            }
            Ok(DecodeResult::DataContinue(byte)) => {
                match self.body.get_mut(self.len) {
                    Some(place) => {
                        *place = byte;
                        self.len += 1;
                    }
                    None => self.fate = Fate::Oversized,
                }
                None
            }
            Ok(DecodeResult::DataComplete) => Some(self.finish()),
            // A zero inside a group: the frame was cut short, or was too long already.
            Err(_) => {
                let oversized = self.fate == Fate::Oversized;
                self.reset();
                Some(Err(if oversized {
                    FrameError::Oversized
                } else {
                    FrameError::Truncated
                }))
            }
        }
    }

    /// Forgets a half received frame and ignores the rest of it, up to the next zero. For drivers
    /// that know that bytes were lost.
    pub fn discard(&mut self) {
        self.reset();
        self.fate = Fate::Discard;
    }

    /// Forgets a half received frame: the next byte starts a new one.
    pub fn reset(&mut self) {
        self.cobs = DecoderState::Idle;
        self.fate = Fate::Keep;
        self.len = 0;
    }

    /// Checks the frame that just ended.
    fn finish(&mut self) -> Result<&[u8], FrameError> {
        let (len, oversized) = (self.len, self.fate == Fate::Oversized);
        self.reset();
        if oversized {
            return Err(FrameError::Oversized);
        }
        let frame = self.body.get(..len).ok_or(FrameError::Oversized)?;
        match frame.split_last_chunk::<CRC_LEN>() {
            None | Some(([], _)) => Err(FrameError::Truncated),
            Some((payload, crc)) if crc32(payload).to_le_bytes() == *crc => Ok(payload),
            Some(_) => Err(FrameError::Corrupted),
        }
    }
}
