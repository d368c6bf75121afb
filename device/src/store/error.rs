//! The errors of a store.

use core::fmt;

use embedded_storage::nor_flash::NorFlashErrorKind;

use super::signature::{BlockError, VerifyError};

/// Why a store refuses a request, or fails at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StoreError {
    /// The flash is too small for two slots, or its erase blocks and words do not suit.
    Geometry,
    /// The store has no public key, so it accepts no models.
    NoKey,
    /// The bytes are not a signature block.
    Block(BlockError),
    /// The block is not signed with the store's key.
    Verify(VerifyError),
    /// The model's version is too low.
    Version {
        /// The lowest that the store accepts.
        minimum: u32,
    },
    /// The image is too large, or empty.
    Size {
        /// Most bytes of an image.
        limit: u32,
    },
    /// No model of this version was announced since the store was opened.
    NoTransfer,
    /// A piece is missing before this one.
    Gap {
        /// Bytes that have arrived.
        received: u32,
    },
    /// A piece reaches beyond the image, or repeats with other bytes than before.
    Conflict {
        /// Bytes that have arrived.
        received: u32,
    },
    /// The image is not complete.
    Incomplete {
        /// Bytes that have arrived.
        received: u32,
        /// Bytes the image has.
        expected: u32,
    },
    /// The image's SHA-256 is not the signed one. Announce the model and send it again.
    Digest,
    /// There is no model to go back to.
    NoOther,
    /// The flash's driver failed.
    Flash(NorFlashErrorKind),
    /// Bytes that were written could not be read back.
    NotWritten {
        /// Their place in the flash.
        at: u32,
    },
    /// There is no room for another mark. The next model that is received makes room.
    Full,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Geometry => f.write_str("the flash's size or blocks do not suit"),
            Self::NoKey => f.write_str("there is no public key, so no model is accepted"),
            Self::Block(error) => error.fmt(f),
            Self::Verify(error) => error.fmt(f),
            Self::Version { minimum } => {
                write!(f, "the model's version is below {minimum}")
            }
            Self::Size { limit } => {
                write!(f, "the image is empty or has more than {limit} bytes")
            }
            Self::NoTransfer => f.write_str("no model of this version was announced"),
            Self::Gap { received } => write!(f, "a piece is missing after {received} bytes"),
            Self::Conflict { received } => write!(
                f,
                "the piece differs from the {received} bytes that have arrived, or is too long"
            ),
            Self::Incomplete { received, expected } => {
                write!(f, "{received} of {expected} bytes have arrived")
            }
            Self::Digest => f.write_str("the image that arrived is not the signed one"),
            Self::NoOther => f.write_str("there is no model to go back to"),
            Self::Flash(kind) => write!(f, "the flash failed: {kind}"),
            Self::NotWritten { at } => write!(
                f,
                "bytes written to the flash at {at} could not be read back"
            ),
            Self::Full => f.write_str("there is no room for another mark"),
        }
    }
}

impl core::error::Error for StoreError {}

impl From<BlockError> for StoreError {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}

impl From<VerifyError> for StoreError {
    fn from(error: VerifyError) -> Self {
        Self::Verify(error)
    }
}
