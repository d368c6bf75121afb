//! Why a store takes no model, or cannot.

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
    /// The store has no public key, so that it takes no models.
    NoKey,
    /// The bytes are no signature block.
    Block(BlockError),
    /// The store's key does not vouch for the block.
    Verify(VerifyError),
    /// The model's version is too low.
    Version {
        /// The lowest that the store takes.
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
    /// The image's SHA-256 is not the signed one: announce and send it anew.
    Digest,
    /// There is no model to go back to.
    NoOther,
    /// The flash's driver failed.
    Flash(NorFlashErrorKind),
    /// The flash holds other bytes than were written.
    NotWritten {
        /// Where, in bytes from its start.
        at: u32,
    },
    /// There is no room for another change of the running model; the next model that is sent makes room.
    Full,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Geometry => f.write_str("the flash's size or blocks do not suit"),
            Self::NoKey => f.write_str("there is no public key, so no model is taken"),
            Self::Block(error) => error.fmt(f),
            Self::Verify(error) => error.fmt(f),
            Self::Version { minimum } => {
                write!(
                    f,
                    "the model's version is below {minimum}, the lowest taken"
                )
            }
            Self::Size { limit } => {
                write!(f, "the image is empty or has more than {limit} bytes")
            }
            Self::NoTransfer => f.write_str("no model of this version was announced"),
            Self::Gap { received } => write!(f, "a piece is missing behind byte {received}"),
            Self::Conflict { received } => write!(
                f,
                "the piece contradicts the {received} bytes there, or reaches beyond the image"
            ),
            Self::Incomplete { received, expected } => {
                write!(f, "{received} of {expected} bytes have arrived")
            }
            Self::Digest => f.write_str("the image that arrived is not the signed one"),
            Self::NoOther => f.write_str("there is no model to go back to"),
            Self::Flash(kind) => write!(f, "the flash failed: {kind}"),
            Self::NotWritten { at } => write!(f, "the flash did not keep what was written at {at}"),
            Self::Full => f.write_str("there is no room for another change of the model"),
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
