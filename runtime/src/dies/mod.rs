//! Wafer maps: the dies of one wafer, their rendering to pixels, and the 38 defect classes.
//!
//! Everything that turns dies into pixels or bits into classes is here and nowhere else, so that
//! training, host inference and boards see the same image, pixel for pixel.

mod class;
mod die_map;
mod mask;
mod render;

pub use class::{CLASS_COUNT, Class, PATTERN_COUNT, Pattern};
pub use die_map::{DieMap, DieMapError, MAX_GRID, MAX_PACKED_LEN, die_from_mixedwm38};
pub use mask::{MASK_BYTES, MASK_ROW_BYTES, Mask};
pub use render::{IMAGE_SIZE, PALETTE, source_index};
