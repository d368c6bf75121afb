//! Wafer maps: from files and to files, synthetic ones, and pictures of them.
//!
//! Files are untrusted: sizes are bounded before memory is taken, and every error names the file and the place.
//!
//! * [`Wafer`]: one map; [`read()`]: all maps of a file.
//! * [`npz`], [`csv`]: a reader a format.
//! * [`synth`]: synthetic maps of every class.
//! * [`canvas`]: pictures that people look at.
//! * [`mod@file`]: files written whole or not at all.
#![deny(unsafe_code)]

pub mod canvas;
pub mod csv;
pub mod file;
pub mod npz;
mod read;
pub mod synth;
mod wafer;

pub use read::{InputError, read};
pub use wafer::Wafer;
