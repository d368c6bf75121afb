//! What the fuzz targets share: random valid networks, the arithmetic they are held against, signed models, wafers.

pub mod models;
pub mod network;
pub mod reference;
pub mod wafer;
