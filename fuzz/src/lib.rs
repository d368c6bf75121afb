//! What the fuzz targets share: random valid networks, and the arithmetic they are held against.

pub mod network;
pub mod reference;
pub mod wafer;
