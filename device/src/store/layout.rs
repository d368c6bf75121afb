//! The layout of the flash, and the bytes of headers and marks.
//!
//! The flash has two slots of the same size. A slot begins with a header of whole erase blocks, the image follows:
//!
//! | bytes | what |
//! | --- | --- |
//! | 128 | [`Block`](super::Block): the signature block of the image in this slot; written after the slot is erased |
//! | 64 each | marks, one after the other, each written once |
//!
//! A mark makes a model the running one when its last word is written:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | sequence: the mark with the highest one in both slots decides |
//! | 4 | 1: this slot's model runs; 2: the factory model runs |
//! | 4 | highest version that has run |
//! | 4 | floor: lowest version that may run again |
//! | 4 | CRC-32 of the 16 bytes before and of the block's CRC-32 |
//! | 12 | ones |
//! | 4 | [`VALID`], written on its own: the atomic step |
//! | 28 | ones |
//!
//! Numbers are little endian. A write only clears bits, so a word that was not completed is not `VALID`.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

use super::signature::BLOCK_LEN;
use lightwafer_runtime::crc32;

/// Bytes that are read and written together. It is a multiple of every flash's read and write sizes.
pub const UNIT: usize = 32;
/// The value of an erased byte.
pub const ERASED: u8 = 0xff;
/// Bytes of a mark.
pub const MARK: usize = 2 * UNIT;
/// The word that makes a mark valid.
pub const VALID: u32 = 0x4c57_3a96;
/// The least and the largest number of marks in a header.
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
    /// Both slots.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other slot.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The sizes of slots and headers in a flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    slot: u32,
    header: u32,
    erase: u32,
}

impl Geometry {
    /// The geometry of a flash. `None` if its sizes do not suit: erase blocks must be a multiple of [`UNIT`] bytes,
    /// read and write sizes must divide it, and each half must have room for a header and an image.
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

    /// The first byte of a slot.
    pub fn start(&self, slot: Slot) -> u32 {
        match slot {
            Slot::A => 0,
            Slot::B => self.slot,
        }
    }

    /// The first byte of a slot's image.
    pub fn image(&self, slot: Slot) -> u32 {
        self.start(slot) + self.header
    }

    /// The end of a slot.
    pub fn end(&self, slot: Slot) -> u32 {
        self.start(slot) + self.slot
    }

    /// Most bytes of an image.
    pub fn limit(&self) -> u32 {
        self.slot - self.header
    }

    /// The places of a slot's marks, in order.
    pub fn marks(&self, slot: Slot) -> impl Iterator<Item = u32> + use<> {
        let room = (self.header as usize).saturating_sub(BLOCK_LEN) / MARK;
        let first = self.start(slot) + BLOCK_LEN as u32;
        (0..room.min(MARKS.end) as u32).map(move |at| first + at * MARK as u32)
    }

    /// The erase block around a byte.
    pub fn erase_block(&self, at: u32) -> Range<u32> {
        // Never 0: an erase size of 0 has no geometry.
        let start = at - at.checked_rem(self.erase).unwrap_or(0);
        start..start + self.erase
    }
}

/// Which model runs, according to a mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Runs {
    /// The model in the mark's slot.
    This,
    /// The factory model.
    Factory,
}

/// A mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The mark with the highest one in both slots decides.
    pub sequence: u32,
    /// Which model runs.
    pub runs: Runs,
    /// Highest version that has run.
    pub highest: u32,
    /// Lowest version that may run again.
    pub floor: u32,
}

impl Mark {
    /// The first half of the mark, in a slot whose block has this CRC-32.
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

    /// Decodes a mark in a slot whose block has this CRC-32, and whether it is valid. `None` for other bytes.
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
