//! `trainer onnx`: the student for everything that runs ONNX.
//!
//! Two models with one interface, which [`mod@file`] describes. [`float`] writes a checkpoint's student in 32-bit floats.
//! [`qdq`] writes the integers of a model image (.lw) between QuantizeLinear and DequantizeLinear, so that a runtime
//! which knows that form computes what a board computes.

pub mod file;
pub mod float;
mod graph;
pub mod proto;
pub mod qdq;
