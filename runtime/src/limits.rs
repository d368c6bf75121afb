//! Capacities: what memory is set aside for when the crate is built. Facts of a model are in its image.

/// Most layers of a model.
pub const MAX_LAYERS: usize = 48;
/// Most channels of a tensor, and so most values of an embedding.
pub const MAX_CHANNELS: usize = 64;
