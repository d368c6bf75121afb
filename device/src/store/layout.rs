//! Where things lie in the flash, and how headers and marks are written.
//!
//! The flash is halved into two slots. A slot begins with a header of whole erase blocks, the image follows:
//!
//! | bytes | what |
//! | --- | --- |
//! | 128 | [`Block`](super::Block): what is, or will be, in this slot; written once the slot is erased |
//! | 64 each | marks, each written once, one behind the other |
//!
//! A mark makes a model the one that runs, from the moment its last word is written:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | sequence: the highest in either slot counts |
//! | 4 | 1: the model of this slot runs; 2: the firmware's own runs |
//! | 4 | highest version that has ever run |
//! | 4 | floor: lowest version that may be gone back to |
//! | 4 | CRC-32 of the 16 bytes before and of the block's CRC-32 |
//! | 12 | ones |
//! | 4 | [`VALID`], alone in its write: the atomic step |
//! | 28 | ones |
//!
//! Numbers are little endian. Writing only clears bits, so a word that was written in part is not `VALID`.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

use super::signature::BLOCK_LEN;
use lightwafer_runtime::crc32;

/// Bytes that are read and written together; a multiple of every flash's own sizes.
pub const UNIT: usize = 32;
/// What an erased byte holds.
pub const ERASED: u8 = 0xff;
/// Bytes of a mark.
pub const MARK: usize = 2 * UNIT;
/// The word that makes a mark count.
pub const VALID: u32 = 0x4c57_3a96;
/// Marks a header has room for, at least and at most.
const MARKS: Range<usize> = 8..64;

/// One of the two slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// The lower half of the flash.
    A,
    /// The upper half.
    B,
}

impl Slot {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Sizes that follow from a flash's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    slot: u32,
    header: u32,
    erase: u32,
}

impl Geometry {
    /// That of a flash; `None` for one whose sizes do not suit: erase blocks of a multiple of [`UNIT`] bytes,
    /// reads and writes that divide it, and room for a header and an image in either half.
    pub fn of<F: NorFlash>(flash: &F) -> Option<Self> {
        let divides = |size: usize| size != 0 && UNIT.is_multiple_of(size);
        if !divides(F::READ_SIZE) || !divides(F::WRITE_SIZE) {
            return None;
        }
        if F::ERASE_SIZE == 0 || !F::ERASE_SIZE.is_multiple_of(UNIT) {
            return None;
        }
        let erase = u32::try_from(F::ERASE_SIZE).ok()?;
        let half = u32::try_from(flash.capacity() / 2).ok()?;
        let slot = half.checked_div(erase)?.checked_mul(erase)?;
        let least = (BLOCK_LEN + MARKS.start * MARK) as u32;
        let header = least.div_ceil(erase).checked_mul(erase)?;
        (slot > header).then_some(Self {
            slot,
            header,
            erase,
        })
    }

    /// Where a slot begins.
    pub fn start(&self, slot: Slot) -> u32 {
        match slot {
            Slot::A => 0,
            Slot::B => self.slot,
        }
    }

    /// Where its image begins.
    pub fn image(&self, slot: Slot) -> u32 {
        self.start(slot) + self.header
    }

    /// Where it ends.
    pub fn end(&self, slot: Slot) -> u32 {
        self.start(slot) + self.slot
    }

    /// Most bytes of an image.
    pub fn limit(&self) -> u32 {
        self.slot - self.header
    }

    /// Where a slot's marks lie, in order.
    pub fn marks(&self, slot: Slot) -> impl Iterator<Item = u32> + use<> {
        let room = (self.header as usize).saturating_sub(BLOCK_LEN) / MARK;
        let first = self.start(slot) + BLOCK_LEN as u32;
        (0..room.min(MARKS.end) as u32).map(move |at| first + at * MARK as u32)
    }

    /// The erase block around a byte.
    pub fn erase_block(&self, at: u32) -> Range<u32> {
        // At least a unit: an erase size of 0 makes no geometry.
        let start = at - at.checked_rem(self.erase).unwrap_or(0);
        start..start + self.erase
    }
}

/// Whose model runs, by a mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runs {
    /// The one in the mark's slot.
    This,
    /// The firmware's own.
    Factory,
}

/// A mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The highest in either slot counts.
    pub sequence: u32,
    /// Whose model runs.
    pub runs: Runs,
    /// Highest version that has ever run.
    pub highest: u32,
    /// Lowest version that may be gone back to.
    pub floor: u32,
}

impl Mark {
    /// Its first half, for the slot whose block has this CRC-32.
    pub fn entry(&self, block_crc: [u8; 4]) -> [u8; UNIT] {
        let runs = match self.runs {
            Runs::This => 1u32,
            Runs::Factory => 2,
        };
        let mut entry = [ERASED; UNIT];
        entry[0..4].copy_from_slice(&self.sequence.to_le_bytes());
        entry[4..8].copy_from_slice(&runs.to_le_bytes());
        entry[8..12].copy_from_slice(&self.highest.to_le_bytes());
        entry[12..16].copy_from_slice(&self.floor.to_le_bytes());
        entry[16..20].copy_from_slice(&block_crc);
        let crc = crc32(&entry[..20]);
        entry[16..20].copy_from_slice(&crc.to_le_bytes());
        entry
    }

    /// Reads a mark of the slot whose block has this CRC-32, and whether it counts; `None` for anything else.
    pub fn read(bytes: &[u8; MARK], block_crc: [u8; 4]) -> Option<(Self, bool)> {
        let (numbers, _) = bytes.as_chunks::<4>();
        let number = |at: usize| numbers.get(at).map(|bytes| u32::from_le_bytes(*bytes));
        let mark = Self {
            sequence: number(0)?,
            runs: match number(1)? {
                1 => Runs::This,
                2 => Runs::Factory,
                _ => return None,
            },
            highest: number(2)?,
            floor: number(3)?,
        };
        let counts = number(UNIT / 4)? == VALID;
        bytes
            .starts_with(&mark.entry(block_crc))
            .then_some((mark, counts))
    }
}
