//! Reads and writes the two slots of a flash: headers, images and marks.
//!
//! Every access to the flash is in this file; which model runs is decided elsewhere.

use core::ops::Range;

use embedded_storage::nor_flash::{NorFlash, NorFlashError as _};
use sha2::{Digest, Sha256};

use super::error::StoreError;
use super::layout::{ERASED, Geometry, MARK, Mark, Runs, Slot, UNIT, VALID};
use super::signature::{BLOCK_LEN, Block};

/// A flash with two slots.
#[derive(Debug, Clone)]
pub struct Slots<F> {
    pub flash: F,
    geometry: Geometry,
}

/// A slot's header. Parts that cannot be read are missing.
pub struct Header {
    pub block: Option<Block>,
    /// The valid mark with the highest sequence.
    pub newest: Option<Mark>,
    /// The highest sequence of all marks, including those that were not completed.
    pub sequence: u32,
    /// Whether a mark says that the slot's own model ran.
    pub has_run: bool,
    /// The place for the next mark; `None` if all places are used.
    pub free: Option<u32>,
}

impl<F: NorFlash> Slots<F> {
    /// # Errors
    /// `Geometry` if the flash is too small or its blocks do not suit.
    pub fn new(flash: F) -> Result<Self, StoreError> {
        let geometry = Geometry::of(&flash).ok_or(StoreError::Geometry)?;
        Ok(Self { flash, geometry })
    }

    /// Most bytes of an image.
    pub fn limit(&self) -> u32 {
        self.geometry.limit()
    }

    /// The place of a slot's image of `length` bytes in the flash.
    pub fn image(&self, slot: Slot, length: u32) -> Range<u32> {
        let start = self.geometry.image(slot);
        start..start.saturating_add(length)
    }

    /// Reads a slot's header.
    ///
    /// # Errors
    /// `Flash`.
    #[inline(never)]
    pub fn header(&mut self, slot: Slot) -> Result<Header, StoreError> {
        let mut bytes = [0; BLOCK_LEN];
        self.read(self.geometry.start(slot), &mut bytes)?;
        let mut header = Header {
            block: Block::new_checked(&bytes).ok(),
            newest: None,
            sequence: 0,
            has_run: false,
            free: None,
        };
        for at in self.geometry.marks(slot) {
            let mut mark = [0; MARK];
            self.read(at, &mut mark)?;
            if mark == [ERASED; MARK] {
                header.free = Some(at);
                break;
            }
            // A mark belongs to a block; without a block it is invalid.
            let mark = header
                .block
                .and_then(|block| Mark::read(&mark, block.crc()));
            let Some((mark, counts)) = mark else {
                continue;
            };
            header.sequence = header.sequence.max(mark.sequence);
            if counts {
                header.has_run |= mark.runs == Runs::This;
                if header.newest.is_none_or(|n| n.sequence < mark.sequence) {
                    header.newest = Some(mark);
                }
            }
        }
        Ok(header)
    }

    /// The signature block of a slot whose model has run, if it is signed with `key` and the image has the signed
    /// SHA-256.
    ///
    /// # Errors
    /// `Flash`.
    #[inline(never)]
    pub fn whole(
        &mut self,
        slot: Slot,
        key: Option<&[u8; 32]>,
    ) -> Result<Option<Block>, StoreError> {
        let header = self.header(slot)?;
        let Some(block) = header.block.filter(|_| header.has_run) else {
            return Ok(None);
        };
        let signed = key.is_some_and(|key| block.verify(key).is_ok());
        let length = block.length();
        let whole =
            signed && length <= self.limit() && self.digest(slot, length)? == block.sha256();
        Ok(whole.then_some(block))
    }

    /// SHA-256 of a slot's image of `length` bytes.
    ///
    /// # Errors
    /// `Flash`.
    #[inline(never)]
    pub fn digest(&mut self, slot: Slot, length: u32) -> Result<[u8; 32], StoreError> {
        let mut hash = Sha256::new();
        let start = self.geometry.image(slot);
        for at in (0..length).step_by(UNIT) {
            let mut bytes = [0; UNIT];
            self.read(start + at, &mut bytes)?;
            let used = UNIT.min((length - at) as usize);
            hash.update(bytes.get(..used).unwrap_or(&[]));
        }
        Ok(hash.finalize().into())
    }

    /// Erases a slot's image and writes a signature block into the header, which [`Slots::forget`] has erased.
    ///
    /// # Errors
    /// `Flash`, `NotWritten`.
    #[inline(never)]
    pub fn fill(&mut self, slot: Slot, block: &Block) -> Result<(), StoreError> {
        self.erase(self.geometry.image(slot), self.geometry.end(slot))?;
        self.write(self.geometry.start(slot), block.bytes())
    }

    /// Erases a slot's header, so that its model cannot run.
    ///
    /// # Errors
    /// `Flash`.
    pub fn forget(&mut self, slot: Slot) -> Result<(), StoreError> {
        self.erase(self.geometry.start(slot), self.geometry.image(slot))
    }

    /// How many bytes of an image have arrived: those before the last unit that is not erased. That unit may be
    /// incomplete.
    ///
    /// # Errors
    /// `Flash`.
    #[inline(never)]
    pub fn arrived(&mut self, slot: Slot, block: &Block) -> Result<u32, StoreError> {
        let start = self.geometry.image(slot);
        let units = block.length().div_ceil(UNIT as u32);
        for unit in (0..units).rev() {
            let mut bytes = [0; UNIT];
            self.read(start + unit * UNIT as u32, &mut bytes)?;
            if bytes != [ERASED; UNIT] {
                return Ok(unit * UNIT as u32);
            }
        }
        Ok(0)
    }

    /// Whether an image holds these bytes at this place.
    ///
    /// # Errors
    /// `Flash`.
    pub fn holds(
        &mut self,
        slot: Slot,
        offset: u32,
        mut expected: &[u8],
    ) -> Result<bool, StoreError> {
        let mut at = self.geometry.image(slot).saturating_add(offset);
        while !expected.is_empty() {
            let skip = at as usize % UNIT;
            let mut bytes = [0; UNIT];
            self.read(at - skip as u32, &mut bytes)?;
            let found = bytes.get(skip..).unwrap_or(&[]);
            let count = found.len().min(expected.len());
            let (now, later) = expected.split_at_checked(count).unwrap_or((&[], &[]));
            if found.get(..count) != Some(now) {
                return Ok(false);
            }
            expected = later;
            at += count as u32;
        }
        Ok(true)
    }

    /// Writes a unit of an image (or its shorter end) at the offset `at`, unless it has been written already.
    ///
    /// If other bytes are in its place, their erase block is erased instead. The offset to continue from is returned
    /// then: the beginning of the block, or of the image.
    ///
    /// # Errors
    /// `Flash`, `NotWritten`.
    pub fn put(&mut self, slot: Slot, at: u32, piece: &[u8]) -> Result<Option<u32>, StoreError> {
        let image = self.geometry.image(slot);
        let place = image + at;
        let mut unit = [ERASED; UNIT];
        for (byte, value) in unit.iter_mut().zip(piece) {
            *byte = *value;
        }
        let mut found = [0; UNIT];
        self.read(place, &mut found)?;
        if found == unit {
            return Ok(None);
        }
        if found != [ERASED; UNIT] {
            let block = self.geometry.erase_block(place);
            self.erase(block.start, block.end)?;
            return Ok(Some(block.start.saturating_sub(image)));
        }
        self.write(place, &unit)?;
        Ok(None)
    }

    /// Writes a mark into the free place of a slot's header. The last word is written on its own; that is the atomic
    /// step.
    ///
    /// # Errors
    /// `Full`, `Flash`, `NotWritten`.
    #[inline(never)]
    pub fn mark(&mut self, slot: Slot, mark: &Mark) -> Result<(), StoreError> {
        let header = self.header(slot)?;
        let (Some(block), Some(at)) = (header.block, header.free) else {
            return Err(StoreError::Full);
        };
        self.write(at, &mark.entry(block.crc()))?;
        let mut word = [ERASED; UNIT];
        word[..4].copy_from_slice(&VALID.to_le_bytes());
        let size = F::WRITE_SIZE.clamp(4, UNIT);
        self.write(at + UNIT as u32, word.get(..size).unwrap_or(&word))
    }

    fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.flash.read(at, bytes).map_err(failed::<F>)
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), StoreError> {
        self.flash.erase(from, to).map_err(failed::<F>)
    }

    /// Writes at the start of a unit, then reads the bytes back and compares them.
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.flash.write(at, bytes).map_err(failed::<F>)?;
        let places = (at..).step_by(UNIT);
        for (at, expected) in places.zip(bytes.chunks(UNIT)) {
            let mut found = [0; UNIT];
            self.read(at, &mut found)?;
            if found.get(..expected.len()) != Some(expected) {
                return Err(StoreError::NotWritten { at });
            }
        }
        Ok(())
    }
}

fn failed<F: NorFlash>(error: F::Error) -> StoreError {
    StoreError::Flash(error.kind())
}
