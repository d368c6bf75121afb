//! Capacities: the sizes for which memory is reserved when the crate is built. The facts of a model are in its
//! image.

/// The most layers a model can have.
pub const MAX_LAYERS: usize = 48;
/// The most channels a tensor can have, and so the most values of an embedding.
pub const MAX_CHANNELS: usize = 64;
