//! LightWafer's inference runtime: a wafer map in, a defect class, 38 scores and a mask out.
//!
//! `no_std`, no allocation, integers only, and no panic reachable from outside bytes: every byte
//! that comes from a file, a serial line or flash passes a `new_checked` that returns a named error.
//! The same code runs on boards, in the host tools and in the trainer's evaluation, bit for bit.
//!
//! * [`wafer`]: die maps, rendering, masks, classes.
//! * [`model`]: the model image, parsed without copying.
//! * [`serial`]: frames, messages and the board's side of the protocol.
//! * `store` (feature `store`): signed models in two slots of a NOR flash.
//! * [`Engine`]: what classifies a wafer; [`Answer`]: what comes out.
#![cfg_attr(
    not(any(
        test,
        feature = "canvas",
        feature = "npz",
        feature = "sign",
        feature = "sim",
        feature = "synth",
        feature = "tract",
        feature = "writer"
    )),
    no_std
)]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

// Only to ask the processor what it can do; nothing is allocated.
#[cfg(not(target_os = "none"))]
extern crate std;

mod answer;
#[cfg(feature = "canvas")]
pub mod canvas;
mod codec;
mod divide;
pub mod exec;
pub mod kernels;
pub mod model;
#[cfg(feature = "npz")]
pub mod npz;
mod sentence;
pub mod serial;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "synth")]
pub mod synth;
#[cfg(feature = "tract")]
pub mod tract;
pub mod wafer;

/// CRC-32 as every part of the project means it: ISO-HDLC, as in Ethernet, zip and PNG.
pub fn crc32(bytes: &[u8]) -> u32 {
    static CRC: crc::Crc<u32, crc::Table<1>> =
        crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

pub use answer::{Answer, Engine, EngineFailure, LOGIT_UNIT, SCORE_UNIT, softmax};
pub use divide::divide;
pub use sentence::Sentence;
