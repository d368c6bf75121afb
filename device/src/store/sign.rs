//! Makes keys and signs model images, on a host.
//!
//! ed25519-dalek signs, another implementation verifies on boards, so that each tests the other.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest, Sha256};

use super::signature::{BLOCK_LEN, BLOCK_VERSION, Block, BlockError, KeyId, MAGIC, field};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::crc32;
use lightwafer_runtime::image::{Model, ModelError};

/// The first word of a secret key file. The second one is the key in hexadecimal.
const SECRET: &str = "lightwafer-secret-key";
/// The first word of a public key file.
const PUBLIC: &str = "lightwafer-public-key";

/// A secret key. Whoever has it can sign models for every board with its public key.
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", KeyId::of(&self.public()))
    }
}

/// Why a text is not the key file that is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not a line of two words with a known first word.
    Text,
    /// It is a public key and a secret one is wanted, or the other way round.
    Kind,
    /// The key does not have 64 hexadecimal digits.
    Digits,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "not a key file of `lightwafer keygen`",
            Self::Kind => "a public key where a secret one is wanted, or the other way round",
            Self::Digits => "a key has 64 hexadecimal digits",
        })
    }
}

impl std::error::Error for KeyError {}

/// Why an image cannot be signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SignError {
    /// It is not a model image.
    Model(ModelError),
    /// The version or the floor is not valid.
    Block(BlockError),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::Block(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SignError {}

impl From<ModelError> for SignError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<BlockError> for SignError {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}

impl SecretKey {
    /// A key from 32 random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(random))
    }

    /// Reads the text of a secret key file.
    ///
    /// # Errors
    /// Every variant of [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        parse(text, SECRET).map(|bytes| Self::new(&bytes))
    }

    /// The text of the secret key's file.
    pub fn to_text(&self) -> String {
        text(SECRET, self.0.as_bytes())
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The text of the public key's file.
    pub fn public_text(&self) -> String {
        text(PUBLIC, &self.public())
    }

    /// The ed25519 signature of a message.
    pub(crate) fn raw(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// Makes the signature block of a model image.
    ///
    /// # Errors
    /// [`SignError`]: the image is not a model, `version` is 0, or `floor` is above `version`.
    pub fn sign(&self, image: &[u8], version: u32, floor: u32) -> Result<Block, SignError> {
        Model::new_checked(&AlignedBox::from(image))?;
        Ok(self.vouch(image, version, floor)?)
    }

    /// Like [`SecretKey::sign`], but for any bytes.
    ///
    /// # Errors
    /// `version` is 0, or `floor` is above `version`.
    pub fn vouch(&self, image: &[u8], version: u32, floor: u32) -> Result<Block, BlockError> {
        let mut block = [0; BLOCK_LEN];
        block[field::MAGIC].copy_from_slice(&MAGIC);
        block[field::FORMAT] = BLOCK_VERSION;
        block[field::VERSION].copy_from_slice(&version.to_le_bytes());
        block[field::FLOOR].copy_from_slice(&floor.to_le_bytes());
        let length = u32::try_from(image.len()).map_err(|_| BlockError::Length(image.len()))?;
        block[field::LENGTH].copy_from_slice(&length.to_le_bytes());
        block[field::KEY].copy_from_slice(&KeyId::of(&self.public()).0);
        block[field::SHA256].copy_from_slice(&Sha256::digest(image));
        let signature = self.raw(&block[field::SIGNED]);
        block[field::SIGNATURE].copy_from_slice(&signature);
        let crc = crc32(&block[..field::CRC.start]);
        block[field::CRC].copy_from_slice(&crc.to_le_bytes());
        Block::new_checked(&block)
    }
}

/// Reads the text of a public key file.
///
/// # Errors
/// Every variant of [`KeyError`].
pub fn parse_public(text: &str) -> Result<[u8; 32], KeyError> {
    parse(text, PUBLIC)
}

fn text(kind: &str, bytes: &[u8; 32]) -> String {
    format!("{kind} {}\n", base16ct::lower::encode_string(bytes))
}

fn parse(text: &str, kind: &str) -> Result<[u8; 32], KeyError> {
    let mut words = text.split_whitespace();
    let (Some(found), Some(digits), None) = (words.next(), words.next(), words.next()) else {
        return Err(KeyError::Text);
    };
    match found {
        found if found == kind => {}
        SECRET | PUBLIC => return Err(KeyError::Kind),
        _ => return Err(KeyError::Text),
    }
    let mut bytes = [0; 32];
    match base16ct::mixed::decode(digits, &mut bytes) {
        Ok(decoded) if decoded.len() == 32 => Ok(bytes),
        _ => Err(KeyError::Digits),
    }
}
