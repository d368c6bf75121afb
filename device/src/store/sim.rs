//! A simulated NOR flash that can lose power at any byte, for tests.
//!
//! A write must find erased bytes; whole blocks are erased. [`SimFlash::cut_after`] makes the power fail after a number
//! of steps. A step is one byte that is written, or as many bytes that are erased as one write has. From then on every
//! access fails until [`SimFlash::power_on`]. A word whose write was interrupted has some of its bits. A block whose
//! erasure was interrupted has old bytes, erased bytes or random ones.

use core::ops::Range;
use std::vec::Vec;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};
use fastrand::Rng;

use super::Mapped;
use super::layout::ERASED;

/// Why an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SimError {
    /// The power is off.
    PowerLost,
    /// A byte was written twice without being erased.
    NotErased {
        /// Its place.
        at: usize,
    },
    /// Out of bounds or not aligned.
    Access(NorFlashErrorKind),
}

impl NorFlashError for SimError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Access(kind) => *kind,
            _ => NorFlashErrorKind::Other,
        }
    }
}

/// A flash that is written `WRITE` bytes at a time and erased by blocks of `ERASE` bytes.
#[derive(Clone, Debug)]
pub struct SimFlash<const WRITE: usize, const ERASE: usize> {
    bytes: Vec<u8>,
    steps: u64,
    cut: Option<u64>,
    random: Rng,
    misused: Option<SimError>,
}

impl<const WRITE: usize, const ERASE: usize> SimFlash<WRITE, ERASE> {
    /// An erased flash.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: std::vec![ERASED; capacity],
            steps: 0,
            cut: None,
            random: Rng::with_seed(1),
            misused: None,
        }
    }

    /// Makes the power fail after this many steps. `seed` decides the bytes that the interrupted access leaves.
    pub fn cut_after(&mut self, steps: u64, seed: u64) {
        self.cut = Some(self.steps + steps);
        self.random = Rng::with_seed(seed);
    }

    /// Switches the power on again, for good.
    pub fn power_on(&mut self) {
        self.cut = None;
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.cut.is_some_and(|cut| self.steps >= cut)
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The first access that a real flash would refuse.
    pub fn misused(&self) -> Option<SimError> {
        self.misused
    }

    /// All bytes, to read and to damage.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// One step; `false` when the power is off.
    fn step(&mut self) -> bool {
        if self.is_off() {
            return false;
        }
        self.steps += 1;
        true
    }

    fn misuse(&mut self, error: SimError) -> SimError {
        self.misused = self.misused.or(Some(error));
        error
    }

    /// Writes some of the bits of an interrupted write.
    fn half_write(&mut self, places: std::ops::Range<usize>, wanted: &[u8]) {
        for (at, wanted) in places.zip(wanted) {
            let bits = self.random.u8(..);
            self.bytes[at] &= wanted | bits;
        }
    }

    fn half_erase(&mut self, from: usize, erased: usize) {
        let block = from..from + ERASE;
        // Sometimes only the bytes that were erased so far change, sometimes the whole block.
        let all = self.random.bool();
        for at in block {
            let (kind, value) = (self.random.u8(..4), self.random.u8(..));
            let done = at < from + erased;
            self.bytes[at] = match kind {
                _ if !all && done => ERASED,
                _ if !all => self.bytes[at],
                0 => ERASED,
                1 => value,
                2 => self.bytes[at] | value,
                _ => self.bytes[at],
            };
        }
    }
}

impl<const WRITE: usize, const ERASE: usize> ErrorType for SimFlash<WRITE, ERASE> {
    type Error = SimError;
}

impl<const WRITE: usize, const ERASE: usize> ReadNorFlash for SimFlash<WRITE, ERASE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), SimError> {
        check_read(self, offset, bytes.len())
            .map_err(|kind| self.misuse(SimError::Access(kind)))?;
        if self.is_off() {
            return Err(SimError::PowerLost);
        }
        let from = offset as usize;
        bytes.copy_from_slice(&self.bytes[from..from + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WRITE: usize, const ERASE: usize> NorFlash for SimFlash<WRITE, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), SimError> {
        check_erase(self, from, to).map_err(|kind| self.misuse(SimError::Access(kind)))?;
        for block in (from as usize..to as usize).step_by(ERASE) {
            for done in (0..ERASE).step_by(WRITE) {
                if !self.step() {
                    if done > 0 {
                        self.half_erase(block, done);
                    }
                    return Err(SimError::PowerLost);
                }
            }
            self.bytes[block..block + ERASE].fill(ERASED);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        check_write(self, offset, bytes.len())
            .map_err(|kind| self.misuse(SimError::Access(kind)))?;
        for (at, word) in (offset as usize..).step_by(WRITE).zip(bytes.chunks(WRITE)) {
            if self.is_off() {
                return Err(SimError::PowerLost);
            }
            if self.bytes[at..at + WRITE].iter().any(|b| *b != ERASED) {
                return Err(self.misuse(SimError::NotErased { at }));
            }
            for (done, byte) in word.iter().enumerate() {
                if !self.step() {
                    if done > 0 {
                        self.half_write(at + done..at + WRITE, &word[done..]);
                    }
                    return Err(SimError::PowerLost);
                }
                self.bytes[at + done] = *byte;
            }
        }
        Ok(())
    }
}

/// A simulated flash that implements [`Mapped`].
///
/// Bytes that are read directly must have a static lifetime, and those of a test have not: `keep` makes a copy that
/// has.
#[derive(Clone, Debug)]
pub struct InPlace<F> {
    flash: F,
    keep: fn(&[u8]) -> &'static [u8],
}

impl<F> InPlace<F> {
    /// A flash whose images `keep` copies.
    pub fn new(flash: F, keep: fn(&[u8]) -> &'static [u8]) -> Self {
        Self { flash, keep }
    }

    /// The flash itself.
    pub fn inner(&self) -> &F {
        &self.flash
    }

    /// Returns the flash itself.
    pub fn into_inner(self) -> F {
        self.flash
    }
}

impl<F: NorFlash> ErrorType for InPlace<F> {
    type Error = F::Error;
}

impl<F: NorFlash> ReadNorFlash for InPlace<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.flash.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash> NorFlash for InPlace<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.flash.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.flash.write(offset, bytes)
    }
}

impl<const WRITE: usize, const ERASE: usize> Mapped<'static> for InPlace<SimFlash<WRITE, ERASE>> {
    fn mapped(&self, range: Range<u32>) -> Option<&'static [u8]> {
        let bytes = &self.flash.bytes;
        let there = bytes.get(range.start as usize..range.end as usize)?;
        Some((self.keep)(there))
    }
}
