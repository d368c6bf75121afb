//! Signatures, key files, signed files, and what is not one.

use super::super::ed25519;
use super::super::sign::{KeyError, SecretKey, SignError, parse_public};
use super::super::{BLOCK_LEN, Block, BlockError, KeyId, VerifyError, split};
use super::{key, signed};
use lightwafer_runtime::{crc32, include_model};

const MODEL: &[u8] = include_model!("../../../../models/light-int8.lw");

/// RFC 8032, 7.1, test 1: what this project calls ed25519 is what others do.
#[test]
fn keys_are_those_of_the_standard() {
    let hex = |text: &str| base16ct::lower::decode_vec(text).unwrap();
    let secret = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let signature = hex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac\
         c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    );
    let public: [u8; 32] = public.try_into().unwrap();
    let signature: [u8; 64] = signature.try_into().unwrap();
    assert_eq!(SecretKey::new(&secret.try_into().unwrap()).public(), public);
    assert_eq!(ed25519::verify(&public, b"", &signature), Ok(()));
    let wrong = Err(VerifyError::Signature);
    assert_eq!(ed25519::verify(&public, b"x", &signature), wrong);
    // S + L: the same residue, but not the one that was written.
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut other = signature;
    let mut carry = 0;
    for (byte, order) in other[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(ed25519::verify(&public, b"", &other), wrong);
    // No point of the curve.
    let mut none = [0; 32];
    none[0] = 2;
    assert_eq!(
        ed25519::verify(&none, b"", &signature),
        Err(VerifyError::Key)
    );
}

/// Two implementations agree.
#[test]
fn what_one_signs_the_other_verifies() {
    for seed in 0..100u8 {
        let key = SecretKey::new(&[seed; 32]);
        let message: Vec<u8> = (0..usize::from(seed) * 3)
            .map(|at| (at * 7) as u8)
            .collect();
        let mut signature = key.raw(&message);
        assert_eq!(ed25519::verify(&key.public(), &message, &signature), Ok(()));
        signature[usize::from(seed % 64)] ^= 1 << (seed % 8);
        assert!(ed25519::verify(&key.public(), &message, &signature).is_err());
    }
}

#[test]
fn a_signature_is_of_every_bit() {
    let block = signed(3, 100, 1).block;
    block.verify(&key().public()).unwrap();
    let other = SecretKey::new(&[9; 32]).public();
    assert_eq!(block.verify(&other), Err(VerifyError::Key));
    for bit in 0..8 * 124 {
        let mut bytes = *block.bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Block::new_checked(&bytes).unwrap_err();
        match bit / 8 {
            0..7 => assert_eq!(error, BlockError::Magic),
            7 => assert_eq!(error, BlockError::Format(bytes[7])),
            _ => assert_eq!(error, BlockError::Crc),
        }
        let crc = crc32(&bytes[..124]);
        bytes[124..].copy_from_slice(&crc.to_le_bytes());
        if let Ok(block) = Block::new_checked(&bytes) {
            assert!(block.verify(&key().public()).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn key_files_are_read_back() {
    let key = SecretKey::new(&std::array::from_fn(|at| at as u8));
    let (secret, public) = (key.to_text(), key.public_text());
    assert_eq!(SecretKey::parse(&secret).unwrap().public(), key.public());
    assert_eq!(parse_public(&public), Ok(key.public()));
    assert_eq!(parse_public(&format!("\n {public}\n")), Ok(key.public()));
    assert_eq!(parse_public(&secret), Err(KeyError::Kind));
    assert_eq!(SecretKey::parse(&public).err(), Some(KeyError::Kind));
    for (text, error) in [
        ("", KeyError::Text),
        ("ssh-ed25519 AAAA", KeyError::Text),
        ("lightwafer-public-key", KeyError::Text),
        ("lightwafer-public-key 00", KeyError::Digits),
        ("lightwafer-public-key 00 00", KeyError::Text),
        (&public.replace('0', "g"), KeyError::Digits),
        (&public.replace('\n', "0"), KeyError::Digits),
    ] {
        assert_eq!(parse_public(text), Err(error), "{text}");
    }
    assert!(!format!("{key:?}").contains(secret.split(' ').nth(1).unwrap().trim()));
}

#[test]
fn signed_files_are_parted() {
    let block = key().sign(MODEL, 3, 2).unwrap();
    assert_eq!((block.version(), block.floor()), (3, 2));
    assert_eq!(block.key(), KeyId::of(&key().public()));
    let file = [MODEL, block.bytes()].concat();
    assert_eq!(split(&file), Ok((MODEL, Some(block))));
    assert_eq!(split(MODEL), Ok((MODEL, None)));
    assert_eq!(split(&[]), Ok((&[][..], None)));
    assert_eq!(split(&file[..BLOCK_LEN]), Ok((&MODEL[..BLOCK_LEN], None)));
    let mut bad = file.clone();
    bad[MODEL.len() + 50] ^= 1;
    assert_eq!(split(&bad), Err(BlockError::Crc));
    let shifted = [b"x", &file[..]].concat();
    assert_eq!(split(&shifted), Err(BlockError::Length(shifted.len())));

    assert!(matches!(
        key().sign(&MODEL[1..], 1, 0),
        Err(SignError::Model(_))
    ));
    let error = |version, floor| key().sign(MODEL, version, floor).unwrap_err();
    assert_eq!(error(0, 0), SignError::Block(BlockError::Version));
    assert_eq!(error(3, 4), SignError::Block(BlockError::Floor));
}
