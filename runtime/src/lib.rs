//! LightWafer's inference runtime: it takes a wafer map and gives a defect class, 38 scores and a mask.
//!
//! `no_std`, no allocation, integers only. Bytes from outside cannot cause a panic: every byte from a file, a
//! serial line or flash passes a `new_checked` function that returns a named error. The same code runs on
//! boards, in the host tools and in the trainer's evaluation, and gives the same bits.
//!
//! * [`dies`]: die maps, rendering, masks, classes.
//! * [`image`]: the model image, parsed without copying; [`graph`]: its layers.
//! * [`Engine`]: the trait of engines; [`FixedEngine`]: the engine in integers; [`Answer`]: its result.
//! * [`Arena`] and [`include_model!`]: memory with the alignment that the kernels need; [`arena_bytes()`]: its size.
//! * [`limits`]: the sizes for which memory is reserved.
//!
//! ```
//! use lightwafer_runtime::{Arena, DieMap, Engine, FixedEngine, Mask, arena_bytes, include_model};
//!
//! const MODEL: &[u8] = include_model!("../../models/light-int8.lw");
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut arena = Arena::<{ arena_bytes(MODEL).unwrap() }>::new();
//! let mut engine = FixedEngine::idle();
//! engine.start(MODEL, arena.bytes())?;
//!
//! let dies = [1; 52 * 52]; // row by row: 0 no die, 1 pass, 2 fail
//! let mut packed = [0; 52 * 52 / 4];
//! let map = DieMap::pack(52, 52, &dies, &mut packed)?;
//! let mut mask = Mask::new();
//! let answer = engine.classify(&map, &mut mask)?;
//! assert_eq!((answer.class.label(), mask.count()), ("Normal", 0));
//! # Ok(())
//! # }
//! ```
//!
//! The same as firmware, without an operating system, is `examples/embed` in the repository.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
// Some items serve only the project's other crates.
#![cfg_attr(not(feature = "_internals"), allow(dead_code, unused_imports))]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

// Only to detect the features of the processor; nothing is allocated.
#[cfg(not(target_os = "none"))]
extern crate std;

#[cfg(feature = "alloc")]
extern crate alloc;

mod aligned;
mod answer;
mod checksum;
pub mod dies;
mod engine;
pub mod graph;
pub mod image;
mod kernels;
pub mod limits;
mod plan;
mod sentence;

/// Items for the project's own crates, not part of the API. Everything here may change in any release.
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

#[cfg(feature = "alloc")]
pub use aligned::AlignedBox;
pub use aligned::{ALIGNMENT, Aligned, Arena};
pub use answer::{Answer, Engine, EngineFailure, LOGIT_UNIT, SCORE_UNIT, softmax};
pub use checksum::crc32;
pub use dies::{Class, DieMap, DieMapError, Mask};
pub use engine::{EngineError, FixedEngine, RowEvent, SelfTestFailed, StartError};
#[cfg(feature = "alloc")]
pub use engine::{KernelTable, LayerKernels, RowPaths};
pub use image::{Model, ModelError, ModelFacts, arena_bytes};
pub use kernels::path::{Isa, KernelPath, SlowReason};
pub use sentence::Sentence;
