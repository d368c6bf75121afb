//! Verification against Project Wycheproof's signatures, and against another implementation on points of small order.
//!
//! Wycheproof calls each of its Ed25519 signatures valid or invalid, none merely acceptable. It has none that tell the
//! two equations of RFC 8032, 5.1.7 apart (with and without the cofactor 8); the second test shows which one is ours.

use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use serde::Deserialize;

use super::super::ed25519::{VerifyError, verify};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    number_of_tests: usize,
    test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    public_key: Key,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Key {
    pk: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    tc_id: u32,
    comment: String,
    msg: String,
    sig: String,
    result: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    base16ct::lower::decode_vec(hex).unwrap()
}

#[test]
fn wycheproofs_signatures_are_judged_as_it_says() {
    let text = include_str!("../../../tests/vectors/ed25519_test.json");
    let file: File = serde_json::from_str(text).unwrap();
    let mut counts = [0; 2];
    for group in &file.test_groups {
        let key: [u8; 32] = bytes(&group.public_key.pk).try_into().unwrap();
        for test in &group.tests {
            // Signatures of another length do not reach the verification: a block has room for 64 bytes.
            let signature: Option<[u8; 64]> = bytes(&test.sig).try_into().ok();
            let valid = signature.is_some_and(|s| verify(&key, &bytes(&test.msg), &s).is_ok());
            let expected = match test.result.as_str() {
                "valid" => true,
                "invalid" => false,
                other => panic!("{other}: neither valid nor invalid"),
            };
            assert_eq!(valid, expected, "{}: {}", test.tc_id, test.comment);
            counts[usize::from(valid)] += 1;
        }
    }
    assert_eq!(counts.iter().sum::<usize>(), file.number_of_tests);
    assert_eq!(counts, [63, 88]);
}

/// The eight points whose order divides 8, and every other encoding of one: y not reduced modulo p = 2²⁵⁵ − 19, or a
/// sign of x = 0.
fn small_order() -> (Vec<[u8; 32]>, Vec<[u8; 32]>) {
    let y = |first: u8, rest: u8, last: u8| {
        let mut y = [rest; 32];
        (y[0], y[31]) = (first, last);
        y
    };
    let point = |hex: &str| -> [u8; 32] { bytes(hex).try_into().unwrap() };
    let eighth = point("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
    let other = point("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
    let with_sign = |mut point: [u8; 32]| {
        point[31] |= 0x80;
        point
    };
    let (zero, one, minus_one) = (y(0, 0, 0), y(1, 0, 0), y(0xec, 0xff, 0x7f));
    let (p, p_plus_one) = (y(0xed, 0xff, 0x7f), y(0xee, 0xff, 0x7f));
    let canonical = vec![
        one,
        minus_one,
        zero,
        with_sign(zero),
        eighth,
        with_sign(eighth),
        other,
        with_sign(other),
    ];
    let others = vec![
        with_sign(one),
        with_sign(minus_one),
        p,
        with_sign(p),
        p_plus_one,
        with_sign(p_plus_one),
    ];
    (canonical, others)
}

#[test]
fn points_of_small_order_are_judged_as_by_dalek() {
    let (canonical, others) = small_order();
    let mut accepted = 0;
    let points: Vec<_> = canonical.iter().chain(&others).collect();
    for key in &points {
        let dalek = VerifyingKey::from_bytes(key);
        for (r, message) in points.iter().flat_map(|r| (0..8u8).map(move |m| (r, [m]))) {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&r[..]);
            let ours = verify(key, &message, &signature);
            let theirs = match &dalek {
                Ok(key) => key
                    .verify(&message, &Signature::from_bytes(&signature))
                    .is_ok(),
                Err(_) => false,
            };
            assert_eq!(ours.is_ok(), theirs, "{key:?} {r:?} {message:?}");
            assert_eq!(ours == Err(VerifyError::Key), dalek.is_err(), "{key:?}");
            accepted += u32::from(theirs);
            // R is compared byte for byte, so it has one encoding.
            assert!(ours.is_err() || canonical.contains(r), "{r:?}");
        }
    }
    // With S = 0 and a key of small order the equation without the cofactor holds for one R in up to eight, the one
    // with it would for all.
    let all = (points.len() * points.len() * 8) as u32;
    assert!(accepted > 20 && accepted < all / 8, "{accepted} of {all}");
}
