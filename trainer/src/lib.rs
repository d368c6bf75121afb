//! LightWafer's trainer: from labelled wafer maps to a trained student and its int8 image.
//!
//! Pixels, classes and the int8 arithmetic come from the runtime, so that what is measured here is
//! what a board does.
//!
//! Modules use only those in rows below their own:
//!
//! | | |
//! | --- | --- |
//! | networks by name, runs | [`zoo`] |
//! | training | [`train`] > `stage`, `training_step`, [`distill`] > [`loss`], `progress`, `meter`; [`benchmark`] |
//! | measuring, reporting | [`eval`], [`image_eval`]; [`report`] > [`paper_comparison`], [`class_comparison`] > [`run_folder`], [`manifest`] > [`evaluation`] |
//! | export | [`onnx`]; [`export`]: `qat` > `quantize` > `bias_correction`, `equalize`, `calibrate` > `fold` |
//! | networks | [`weights`] > [`student`], [`teacher`] > [`network`] |
//! | settings | [`config`] > [`settings`] |
//! | base | [`architecture`] > [`topology`]; [`data`], [`batch`], [`checkpoint`], [`metrics`], [`optim`], [`native`] |

pub mod architecture;
pub mod batch;
pub mod benchmark;
pub mod checkpoint;
pub mod class_comparison;
pub mod config;
pub mod contact_sheet;
pub mod data;
pub mod data_statistics;
pub mod distill;
pub mod eval;
pub mod evaluation;
pub mod export;
pub mod files;
pub mod image_eval;
pub mod loss;
pub mod manifest;
mod meter;
pub mod metrics;
pub mod native;
pub mod network;
pub mod onnx;
pub mod optim;
pub mod paper_comparison;
pub mod paper_figures;
mod progress;
pub mod report;
pub mod run_folder;
pub mod settings;
mod stage;
pub mod student;
pub mod teacher;
pub mod tensorboard;
pub mod topology;
pub mod torch_errors;
pub mod train;
mod training_step;
pub mod weights;
pub mod zoo;
