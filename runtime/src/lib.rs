//! LightWafer's inference runtime: a wafer map in, a defect class, 38 scores and a mask out.
//!
//! `no_std`, no allocation, integers only, and no panic reachable from outside bytes: every byte
//! that comes from a file, a serial line or flash passes a `new_checked` that returns a named error.
//! The same code runs on boards, in the host tools and in the trainer's evaluation, bit for bit.
//!
//! * [`dies`]: die maps, rendering, masks, classes.
//! * [`image`]: the model image, parsed without copying; [`graph`]: its layers.
//! * [`Engine`]: what classifies a wafer; [`FixedEngine`]: in integers; [`Answer`]: what comes out.
//! * [`Arena`] and [`include_model!`]: memory that begins where kernels can read words.
//! * [`limits`]: what memory is set aside for.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
// Part of it serves the project's other crates only.
#![cfg_attr(not(feature = "_internals"), allow(dead_code, unused_imports))]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

// Only to ask the processor what it can do; nothing is allocated.
#[cfg(not(target_os = "none"))]
extern crate std;

#[cfg(feature = "alloc")]
extern crate alloc;

mod aligned;
mod answer;
pub mod dies;
mod engine;
pub mod graph;
pub mod image;
mod kernels;
pub mod limits;
mod plan;
mod sentence;

/// What the project's own crates share beyond the API. Everything here may change in any release.
#[cfg(feature = "_internals")]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod internals {
    pub use crate::image::field;
    pub mod kernels {
        pub use crate::kernels::*;
    }
    pub mod plan {
        pub use crate::plan::*;
    }
}

/// CRC-32 as every part of the project means it: ISO-HDLC, as in Ethernet, zip and PNG.
pub fn crc32(bytes: &[u8]) -> u32 {
    static CRC: crc::Crc<u32, crc::Table<1>> =
        crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

#[cfg(feature = "alloc")]
pub use aligned::AlignedBox;
pub use aligned::{ALIGNMENT, Aligned, Arena};
pub use answer::{Answer, Engine, EngineFailure, LOGIT_UNIT, SCORE_UNIT, softmax};
pub use dies::{Class, DieMap, DieMapError, Mask};
pub use engine::{EngineError, FixedEngine, RowEvent, SelfTestFailed, StartError};
pub use image::{Model, ModelError, ModelFacts};
pub use sentence::Sentence;
