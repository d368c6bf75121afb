//! The commands, one file each, and what several of them share: [`machine`], [`measurement`], [`quantized`],
//! [`training`].

pub mod bench;
pub mod compare;
pub mod data;
pub mod distill;
pub mod eval;
pub mod export;
mod export_report;
mod machine;
mod measurement;
pub mod onnx;
pub mod quantize;
mod quantized;
pub mod report;
pub mod run;
pub mod schedule;
pub mod student;
pub mod teacher;
mod training;
