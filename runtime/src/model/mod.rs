//! The model image: what an exporter writes and a board reads, byte by byte.
//!
//! [`Model::new_checked`] takes untrusted bytes and copies none of the weights; a value of type
//! [`Model`] upholds everything the executor relies on, so that inference cannot fail.

mod facts;

pub use facts::{ModelFacts, Rounding};
