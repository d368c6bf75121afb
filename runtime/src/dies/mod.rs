//! Wafer maps: the dies of one wafer, their rendering to pixels, and the 38 defect classes.
//!
//! Only this module turns dies into pixels and bits into classes. So training, host and boards see the same
//! image, pixel for pixel.

mod class;
mod die_map;
mod mask;
mod render;

pub use class::{CLASS_COUNT, Class, PATTERN_COUNT, Pattern};
pub use die_map::{DieMap, DieMapError, MAX_GRID, MAX_PACKED_LEN, die_from_mixedwm38};
pub use mask::{MASK_BYTES, MASK_ROW_BYTES, Mask};
pub use render::{IMAGE_SIZE, PALETTE, source_index};
