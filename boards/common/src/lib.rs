//! What every board needs besides the runtime, so that a board's own folder holds only what is its own.
//!
//! [`serve`] turns a [`Board`] into a station that answers over its serial line and never returns.
//!
//! * [`mod@line`]: a serial line with interrupt-driven buffers, as `embedded-io` traits.
//! * [`clock`]: time and, on emulators, executed instructions.
//! * [`stack`]: how deep the stack went.
//! * [`reset`]: why the board started, and what happens on a panic or a fault.
//! * [`signals`]: READY and BUSY lines, as `embedded-hal` pins.
//! * [`mps2`]: the peripherals of Arm's MPS2 boards.
#![no_std]

#[macro_use]
mod log;

pub mod clock;
pub mod line;
pub mod mps2;
pub mod reset;
mod service;
pub mod signals;
pub mod stack;

pub use service::{Board, serve};

/// Aligns what it holds to 8 bytes: weights and arenas are read in words.
#[repr(C, align(8))]
pub struct Aligned<T>(
    /// The aligned value.
    pub T,
);
