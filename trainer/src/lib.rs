//! LightWafer's trainer: from labelled wafer maps to a trained student and its int8 image.
//!
//! Pixels, classes and the int8 arithmetic come from the runtime, so figures measured here hold for boards.
//!
//! * Networks: [`topology`] is the student's shape; [`architecture`] names networks; [`student`] and [`teacher`] are
//!   [`network`]s; [`weights`] of other programs; [`zoo`] builds and opens them all.
//! * Training: [`settings`] and [`config`]; [`train`], with [`distill`], [`loss`], [`optim`]; [`benchmark`].
//! * Data: [`data`], [`batch`], [`data_statistics`], [`contact_sheet`].
//! * Export: [`export`] to model images, [`onnx`].
//! * Figures: [`eval`] of networks and [`image_eval`] of model images give [`metrics`]; [`evaluation`] is their file;
//!   [`class_comparison`], [`paper_comparison`] and [`report`] read it from a [`run_folder`].
//!
//! Imports point from `zoo` down to `topology`, `data` and `metrics`; ARCHITECTURE.md shows them all.

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
