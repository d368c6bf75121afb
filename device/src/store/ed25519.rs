//! Verifies ed25519 signatures (RFC 8032, 5.1.7) with salty's points and scalars.
//!
//! Salty's own `verify` is not used: it does not check that S is below the group's order, as the RFC demands, so
//! that a signature could be changed into another valid one; its loops leave panics in the firmware; and it takes
//! 4 KiB of flash more. It also computes the two products one after the other. Here both go through one row of
//! doublings, which takes half the time. That time depends on the bits, but all of them are public.
//!
//! The equation is the RFC's without the cofactor, R = SB − kA. R is compared byte for byte, so it has one encoding.
//! Keys of small order are not refused: the key is the firmware's own.

use core::fmt;

use salty::constants::SECRETKEY_SCALAR_LENGTH as SCALAR;
use salty::{CompressedY, EdwardsPoint, Scalar};
use sha2::{Digest, Sha512};

/// Why a signature is not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VerifyError {
    /// The key is another one, or not a valid key.
    Key,
    /// The signature does not belong to these bytes and this key.
    Signature,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "it is signed with another key",
            Self::Signature => "the signature is wrong",
        })
    }
}

impl core::error::Error for VerifyError {}

/// The group's order, little endian.
static ORDER: [u8; SCALAR] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Checks that `signature` (R and S) is the signature of `message` with `public_key`.
///
/// # Errors
/// `Key` if the key is no point of the curve, `Signature` for everything else.
#[inline(never)]
pub(super) fn verify(
    public_key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), VerifyError> {
    let mut r = [0; 32];
    let mut s = [0; SCALAR];
    r.copy_from_slice(&signature[..32]);
    s.copy_from_slice(&signature[32..]);
    if !s.iter().rev().lt(ORDER.iter().rev()) {
        return Err(VerifyError::Signature);
    }
    let k = reduce(&challenge(&r, public_key, message));
    match equation(&r, &s, &k, public_key)? {
        true => Ok(()),
        false => Err(VerifyError::Signature),
    }
}

/// Like [`verify`], but remembers the results: a fuzzer's instrumentation makes it slow, and a store checks the same
/// few signatures again and again.
#[cfg(all(fuzzing, feature = "sim"))]
pub(super) fn verify_once(
    public_key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), VerifyError> {
    use std::collections::HashMap;
    use std::sync::Mutex;
    use std::vec::Vec;
    static KNOWN: Mutex<Option<HashMap<Vec<u8>, Result<(), VerifyError>>>> = Mutex::new(None);
    let question = [&public_key[..], &signature[..], message].concat();
    let Ok(mut known) = KNOWN.lock() else {
        return verify(public_key, message, signature);
    };
    let known = known.get_or_insert_default();
    if known.len() > 100_000 {
        known.clear();
    }
    known
        .entry(question)
        .or_insert_with(|| verify(public_key, message, signature))
        .clone()
}

// None of these is inlined, so that their stack frames do not add up.

/// Whether R = sB − kA.
#[inline(never)]
fn equation(
    r: &[u8; 32],
    s: &[u8; SCALAR],
    k: &[u8; SCALAR],
    public_key: &[u8; 32],
) -> Result<bool, VerifyError> {
    let minus = negative(public_key).ok_or(VerifyError::Key)?;
    let base = EdwardsPoint::basepoint();
    let mut sum = EdwardsPoint::neutral_element();
    for (s, k) in s.iter().zip(k).rev() {
        for bit in (0..8).rev() {
            sum = &sum + &sum;
            for (scalar, point) in [(s, &base), (k, &minus)] {
                if scalar >> bit & 1 == 1 {
                    sum = &sum + point;
                }
            }
        }
    }
    Ok(compress(&sum) == *r)
}

/// The point −A of the key A; `None` if the key is no point.
#[inline(never)]
fn negative(public_key: &[u8; 32]) -> Option<EdwardsPoint> {
    let key = CompressedY(*public_key).decompressed().ok()?;
    Some(-&key)
}

#[inline(never)]
fn compress(point: &EdwardsPoint) -> [u8; 32] {
    point.compressed().0
}

#[inline(never)]
fn reduce(hash: &[u8; 64]) -> [u8; SCALAR] {
    Scalar::from_u512_le(hash).to_bytes()
}

/// SHA-512 of R, the key and the message.
#[inline(never)]
fn challenge(r: &[u8; 32], public_key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let mut hash = Sha512::new();
    hash.update(r);
    hash.update(public_key);
    hash.update(message);
    hash.finalize().into()
}
