//! Writes model images: from layers with weights in PyTorch's order to the bytes that a board reads.
//!
//! * [`writer`]: kernel weight order, zero points folded into biases, buffer sizes, the golden wafer's answer.
//! * [`schedule`]: the same network in less arena: early layers computed twice, or tiles of columns.
//! * [`layer_specs`]: an image's layers back in PyTorch's order.
//!
//! What comes out has passed the runtime's own check of untrusted images.
#![deny(unsafe_code)]

mod placement;
pub mod schedule;
mod specs;
pub mod writer;

pub use specs::layer_specs;
