//! The fixed part that every image begins with: magic, format version, and byte positions.

/// The first bytes of every image.
pub const MAGIC: [u8; 8] = *b"LWMODEL\0";
/// Version of the format.
pub const FORMAT_VERSION: u16 = 3;

/// Byte positions of the fixed part.
#[doc(hidden)]
#[allow(missing_docs)]
pub mod field {
    use core::ops::Range;
    pub const MAGIC: Range<usize> = 0..8;
    pub const VERSION: Range<usize> = 8..10;
    pub const HEADER_LEN: Range<usize> = 10..12;
    pub const TOTAL_LEN: Range<usize> = 12..16;
    pub const DATA_LEN: Range<usize> = 16..20;
    pub const GOLDEN_LEN: Range<usize> = 20..24;
    pub const END: usize = 24;
    pub const CRC_LEN: usize = 4;
}
