//! LightWafer's inference runtime: a wafer map in, a defect class, 38 scores and a mask out.
//!
//! `no_std`, no allocation, integers only, and no panic reachable from outside bytes: every byte
//! that comes from a file, a serial line or flash passes a `new_checked` that returns a named error.
//! The same code runs on boards, in the host tools and in the trainer's evaluation, bit for bit.
//!
//! * [`wafer`]: die maps, rendering, masks, classes.
#![cfg_attr(not(any(test, feature = "npz", feature = "synth")), no_std)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod wafer;
