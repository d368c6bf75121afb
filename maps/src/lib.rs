//! Wafer maps on hosts: reads and writes files, makes synthetic maps, draws pictures.
//!
//! Files are untrusted. Sizes are checked before memory is allocated, and every error names the file and the place.
//!
//! * [`Wafer`]: one map; [`read()`]: all maps of a file.
//! * [`npz`], [`csv`]: one reader for each format.
//! * [`synth`]: synthetic maps of every class.
//! * [`canvas`]: pictures for people.
//! * [`mod@file`]: atomic writing of files.
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
