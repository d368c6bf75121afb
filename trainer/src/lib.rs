//! LightWafer's trainer: from labelled wafer maps to a trained student and its int8 image.
//!
//! Pixels, classes and the int8 arithmetic come from the runtime, so that what is measured here is
//! what a board does.

pub mod against;
pub mod batch;
pub mod checkpoint;
pub mod compare;
pub mod config;
pub mod data;
pub mod distill;
pub mod eval;
pub mod events;
pub mod export;
pub mod folder;
pub mod guard;
pub mod inspect;
pub mod int8;
pub mod loss;
pub mod metrics;
pub mod native;
pub mod network;
pub mod onnx;
pub mod optim;
pub mod paper;
mod progress;
pub mod record;
pub mod report;
pub mod settings;
pub mod sheet;
pub mod speed;
mod step;
pub mod student;
pub mod teacher;
pub mod train;
pub mod weights;
