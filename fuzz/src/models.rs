//! Signed models of a few versions, the same in every run.
//!
//! A store looks at a model's signature and digest alone, so any bytes serve as its image.

use arbitrary::{Result, Unstructured};
use lightwafer_device::store::sign::SecretKey;
use lightwafer_device::store::{BLOCK_LEN, Block};
use lightwafer_runtime::crc32;

/// Models of the versions 1 to 6, and the public key that they are signed with.
#[derive(Debug)]
pub struct Models {
    /// The public key.
    pub key: [u8; 32],
    /// Image and signature block of each.
    pub signed: Vec<(Vec<u8>, Block)>,
}

impl Models {
    /// Models of 40 + `step` × version bytes, which begin with the bytes in `first`.
    ///
    /// # Panics
    /// Never: every version is above its floor.
    pub fn new(step: u32, first: [u8; 6]) -> Self {
        let key = SecretKey::new(&[3; 32]);
        let signed = (1u32..).zip(first).map(|(version, first)| {
            let length = 40 + step * version;
            let mut image: Vec<u8> = (0..length).map(|at| (at * version / 5) as u8).collect();
            image[0] = first;
            let block = key.vouch(&image, version, version / 4).expect("a block");
            (image, block)
        });
        Self {
            signed: signed.collect(),
            key: key.public(),
        }
    }
}

/// A signature block with one bit changed and the CRC-32 corrected.
///
/// # Errors
/// When the bytes are used up.
pub fn damaged(u: &mut Unstructured<'_>, block: &Block) -> Result<[u8; BLOCK_LEN]> {
    let mut bytes = *block.bytes();
    bytes[usize::from(u.int_in_range(0..=127u8)?)] ^= 1 << u.int_in_range(0..=7)?;
    Ok(sealed(bytes))
}

/// A signature block with its CRC-32 corrected.
pub fn sealed(mut block: [u8; BLOCK_LEN]) -> [u8; BLOCK_LEN] {
    let crc = crc32(&block[..BLOCK_LEN - 4]);
    block[BLOCK_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    block
}
