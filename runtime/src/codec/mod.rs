//! Postcard's bytes, written and read in little code.
//!
//! What a board sends, hears and finds in an image is postcard, by serde's derives. Postcard's own serializer and
//! deserializer are made to be inlined: at some two hundred fields that was 6 kB of flash. Those here call
//! them for each number, from functions that are there once, and ask for errors at the end instead of behind every
//! field. The bytes are the same, and so are those that are refused; both is tested against postcard.

mod decode;
mod encode;

pub use decode::{take, whole};
pub use encode::to_slice;

/// Bytes that are not what they should be, a message that does not fit, or a type that no message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not encoded or decoded")
    }
}

impl core::error::Error for Failed {}

impl serde::ser::Error for Failed {
    fn custom<T: core::fmt::Display>(_: T) -> Self {
        Self
    }
}

impl serde::de::Error for Failed {
    fn custom<T: core::fmt::Display>(_: T) -> Self {
        Self
    }
}
