//! The same bytes as postcard's, and the same refusals.

use std::vec::Vec;

use serde::{Deserialize, Serialize};

use super::examples::examples;
use fastrand::Rng;
use lightwafer_device::protocol::message::{Request, Response};
use lightwafer_runtime::internals::codec::{take, to_slice};

/// Whether `bytes` are read as postcard reads them; where they are, they are written back as postcard does.
fn agrees<'de, T>(bytes: &'de [u8]) -> bool
where
    T: Serialize + Deserialize<'de> + PartialEq + std::fmt::Debug,
{
    let ours = take::<T>(bytes);
    let Ok((value, rest)) = postcard::take_from_bytes::<T>(bytes) else {
        assert!(ours.is_err(), "{bytes:?}: {ours:?}");
        return false;
    };
    let mut buffer = [0; 2048];
    let written = postcard::to_slice(&value, &mut buffer).unwrap().to_vec();
    let canonical = bytes.starts_with(&written);
    let mut out = [0; 2048];
    let len = to_slice(&value, &mut out).unwrap();
    assert_eq!(out[..len], written);
    for short in [0, len / 2, len.saturating_sub(1)] {
        assert_eq!(to_slice(&value, &mut out[..short]).is_ok(), short >= len);
    }
    match ours {
        Ok(ours) => assert_eq!(ours, (value, rest)),
        // Lengths are 32 bits here, as on boards, and 64 for postcard on a host.
        Err(_) => assert!(!canonical, "{bytes:?}"),
    }
    true
}

#[test]
fn reads_and_writes_as_postcard_does() {
    let mut rng = Rng::with_seed(5);
    let mut read = [0; 2];
    for (_, payload) in examples() {
        for round in 0..400 {
            let mut bytes: Vec<u8> = payload.clone();
            for _ in 0..round % 4 {
                let at = rng.usize(..bytes.len());
                match rng.u8(..4) {
                    0 => bytes[at] = rng.u8(..),
                    1 => bytes[at] ^= 1 << rng.u8(..8),
                    2 => bytes.truncate(at + 1),
                    _ => bytes.insert(at, rng.u8(..) | 0x80),
                }
            }
            read[0] += u32::from(agrees::<Request<'_>>(&bytes));
            read[1] += u32::from(agrees::<Response<'_>>(&bytes));
        }
    }
    assert!(read.into_iter().all(|read| read > 1_000), "{read:?}");
}

#[test]
fn reads_a_models_header_as_postcard_does() {
    use lightwafer_runtime::graph::Layer;
    use lightwafer_runtime::image::{Golden, Header};
    let image = lightwafer_testkit::MODEL;
    let mut rng = Rng::with_seed(9);
    let length = usize::from(u16::from_le_bytes([image[10], image[11]]));
    let head = &image[24..24 + length];
    let (header, mut layers) = postcard::take_from_bytes::<Header<'_>>(head).unwrap();
    let golden = u32::from_le_bytes([image[20], image[21], image[22], image[23]]) as usize;
    let golden = &image[image.len() - 4 - golden..image.len() - 4];
    assert!(agrees::<Header<'_>>(head) && agrees::<Golden<'_>>(golden));
    // Behind the layers it may be filled up to a word.
    for _ in 0..header.layers {
        assert!(agrees::<Layer>(layers));
        layers = postcard::take_from_bytes::<Layer>(layers).unwrap().1;
    }
    for _ in 0..3_000 {
        for part in [head, golden] {
            let mut bytes = part.to_vec();
            let at = rng.usize(..bytes.len().min(400));
            bytes[at] = rng.u8(..);
            agrees::<Header<'_>>(&bytes);
            agrees::<Layer>(&bytes[at..]);
            agrees::<Golden<'_>>(&bytes);
        }
    }
}
