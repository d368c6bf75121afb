//! The signature block of a model image: its signature, version and key.
//!
//! A signed file is a model image with a block of [`BLOCK_LEN`] bytes after it. Firmware accepts a model over the line
//! only with a block that its built-in key verifies. Everywhere else an image without a block runs too.
//!
//! | bytes | what |
//! | --- | --- |
//! | 7 | `LWSIGN\0` |
//! | 1 | format version, 1 |
//! | 4 | version of the model, at least 1; a later model has a higher one |
//! | 4 | floor: after this model has run, no model of a lower version may run again |
//! | 4 | bytes of the image |
//! | 8 | key: the first bytes of the SHA-256 of the public key |
//! | 32 | SHA-256 of the image |
//! | 64 | ed25519 signature (RFC 8032) of all bytes before |
//! | 4 | CRC-32 (ISO-HDLC) of all bytes before |
//!
//! Numbers are little endian.

use core::fmt;

use sha2::{Digest, Sha256};

use super::ed25519;
pub use super::ed25519::VerifyError;
use lightwafer_runtime::crc32;

/// Bytes of a block.
pub const BLOCK_LEN: usize = 128;
/// First bytes of every block, the format's version not included.
pub const MAGIC: [u8; 7] = *b"LWSIGN\0";
/// Version of the block's format.
pub const BLOCK_VERSION: u8 = 1;

/// Byte positions.
pub(crate) mod field {
    use core::ops::Range;
    pub const MAGIC: Range<usize> = 0..7;
    pub const FORMAT: usize = 7;
    pub const VERSION: Range<usize> = 8..12;
    pub const FLOOR: Range<usize> = 12..16;
    pub const LENGTH: Range<usize> = 16..20;
    pub const KEY: Range<usize> = 20..28;
    pub const SHA256: Range<usize> = 28..60;
    pub const SIGNED: Range<usize> = 0..60;
    pub const SIGNATURE: Range<usize> = 60..124;
    pub const CRC: Range<usize> = 124..128;
}

/// The name of a public key: the first bytes of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// The name of this public key.
    pub fn of(public_key: &[u8; 32]) -> Self {
        let hash: [u8; 32] = Sha256::digest(public_key).into();
        let mut id = [0; 8];
        for (place, byte) in id.iter_mut().zip(hash) {
            *place = byte;
        }
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&base16ct::HexDisplay(&self.0), f)
    }
}

/// A block whose layout and CRC-32 are right. [`Block::verify`] checks its signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block([u8; BLOCK_LEN]);

/// Why bytes are not a signature block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BlockError {
    /// Not [`BLOCK_LEN`] bytes.
    Length(usize),
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// Another version of the format.
    Format(u8),
    /// The CRC-32 is wrong: the block is damaged.
    Crc,
    /// The version is 0, which stands for models without a signature.
    Version,
    /// The floor is above the model's own version.
    Floor,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length(found) => {
                write!(f, "a signature block has {BLOCK_LEN} bytes, not {found}")
            }
            Self::Magic => write!(f, "no signature block (wrong first bytes)"),
            Self::Format(v) => write!(
                f,
                "signature format {v}; this build reads {BLOCK_VERSION}: sign it again"
            ),
            Self::Crc => write!(f, "the signature block is damaged (wrong CRC-32)"),
            Self::Version => write!(f, "a signed model's version is 1 or more"),
            Self::Floor => write!(f, "the signature's floor is above the model's version"),
        }
    }
}

impl core::error::Error for BlockError {}

impl Block {
    /// Checks an untrusted block, except its signature.
    ///
    /// # Errors
    /// Every variant of [`BlockError`].
    pub fn new_checked(bytes: &[u8]) -> Result<Self, BlockError> {
        let length = BlockError::Length(bytes.len());
        let block = Self(bytes.try_into().map_err(|_| length)?);
        if block.part(field::MAGIC) != MAGIC {
            return Err(BlockError::Magic);
        }
        let format = block.0[field::FORMAT];
        if format != BLOCK_VERSION {
            return Err(BlockError::Format(format));
        }
        if crc32(block.part(0..field::CRC.start)) != block.number(field::CRC) {
            return Err(BlockError::Crc);
        }
        if block.version() == 0 {
            return Err(BlockError::Version);
        }
        if block.floor() > block.version() {
            return Err(BlockError::Floor);
        }
        Ok(block)
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8; BLOCK_LEN] {
        &self.0
    }

    /// Version of the model, 1 or more.
    pub fn version(&self) -> u32 {
        self.number(field::VERSION)
    }

    /// The lowest version that may run again after this model has run.
    pub fn floor(&self) -> u32 {
        self.number(field::FLOOR)
    }

    /// Bytes of the image.
    pub fn length(&self) -> u32 {
        self.number(field::LENGTH)
    }

    /// The key that it is signed with, according to the block.
    pub fn key(&self) -> KeyId {
        let mut id = KeyId([0; 8]);
        id.0.copy_from_slice(&self.0[field::KEY]);
        id
    }

    /// SHA-256 of the image.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(&self.0[field::SHA256]);
        hash
    }

    /// The bytes of its CRC-32.
    pub(super) fn crc(&self) -> [u8; 4] {
        self.part(field::CRC).try_into().unwrap_or_default()
    }

    /// Checks that this block is signed with `public_key`.
    ///
    /// # Errors
    /// Every variant of [`VerifyError`].
    #[inline]
    pub fn verify(&self, public_key: &[u8; 32]) -> Result<(), VerifyError> {
        if self.key() != KeyId::of(public_key) {
            return Err(VerifyError::Key);
        }
        let mut signature = [0; 64];
        signature.copy_from_slice(&self.0[field::SIGNATURE]);
        #[cfg(not(all(fuzzing, feature = "sim")))]
        use ed25519::verify;
        #[cfg(all(fuzzing, feature = "sim"))]
        use ed25519::verify_once as verify;
        verify(public_key, self.part(field::SIGNED), &signature)
    }

    fn part(&self, at: core::ops::Range<usize>) -> &[u8] {
        self.0.get(at).unwrap_or(&[])
    }

    fn number(&self, at: core::ops::Range<usize>) -> u32 {
        let bytes = self.part(at).try_into().unwrap_or_default();
        u32::from_le_bytes(bytes)
    }
}

/// Splits a file into the model image and the signature block after it, if there is one. The image is not checked.
///
/// # Errors
/// [`BlockError`] if the block is damaged, or belongs to an image of another length.
pub fn split(file: &[u8]) -> Result<(&[u8], Option<Block>), BlockError> {
    let Some((image, block)) = file.split_last_chunk::<BLOCK_LEN>() else {
        return Ok((file, None));
    };
    if !block.starts_with(&MAGIC) {
        return Ok((file, None));
    }
    let block = Block::new_checked(block)?;
    if block.length() as usize != image.len() {
        return Err(BlockError::Length(file.len()));
    }
    Ok((image, Some(block)))
}
