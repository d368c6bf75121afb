//! Part of a flash that the processor reads in place, as a flash of its own.

use core::ops::Range;
use core::{ptr, slice};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use lightwafer_device::store::Mapped;

#[allow(unsafe_code)]
unsafe extern "C" {
    /// Lowest address of the models (linker script).
    static _models_start: u8;
    /// One past their highest (linker script).
    static _models_end: u8;
}

/// The addresses between which models lie, by the board's `memory.x`.
pub fn bounds() -> Range<u32> {
    ptr::addr_of!(_models_start) as u32..ptr::addr_of!(_models_end) as u32
}

/// Part of a flash. Blocks are erased one by one, so that interrupts are served in between where a driver holds
/// them back for the time.
pub struct FlashRegion<F> {
    flash: F,
    /// Where the driver's own first byte lies.
    start: u32,
    addresses: Range<u32>,
}

impl<F> FlashRegion<F> {
    /// The part of `flash` that the processor reads at `addresses`; it reads the driver's first byte at `start`.
    ///
    /// # Safety
    /// The processor can read all of `addresses`, and nothing else writes there.
    #[allow(unsafe_code)]
    pub unsafe fn new(flash: F, start: u32, addresses: Range<u32>) -> Self {
        Self {
            flash,
            start,
            addresses,
        }
    }

    /// Where the driver has what lies at an offset.
    fn at(&self, offset: u32) -> u32 {
        let address = self.addresses.start.wrapping_add(offset);
        address.wrapping_sub(self.start)
    }
}

impl<F> ErrorType for FlashRegion<F> {
    type Error = NorFlashErrorKind;
}

impl<F: ReadNorFlash> ReadNorFlash for FlashRegion<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        let at = self.at(offset);
        self.flash.read(at, bytes).map_err(|error| kind(&error))
    }

    fn capacity(&self) -> usize {
        self.addresses.len()
    }
}

impl<F: NorFlash> NorFlash for FlashRegion<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        for block in (from..to).step_by(F::ERASE_SIZE) {
            let at = self.at(block);
            let end = at.wrapping_add(F::ERASE_SIZE as u32);
            self.flash.erase(at, end).map_err(|error| kind(&error))?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        let at = self.at(offset);
        self.flash.write(at, bytes).map_err(|error| kind(&error))
    }
}

fn kind(error: &impl embedded_storage::nor_flash::NorFlashError) -> NorFlashErrorKind {
    error.kind()
}

impl<F: ReadNorFlash> Mapped<'static> for FlashRegion<F> {
    fn mapped(&self, range: Range<u32>) -> Option<&'static [u8]> {
        let len = range.end.checked_sub(range.start)? as usize;
        let inside = range.end as usize <= self.addresses.len();
        let start = self.addresses.start.checked_add(range.start)?;
        // SAFETY: checked to lie in the region, which the processor can read; a store neither erases nor writes
        // these bytes before another model has taken over.
        #[allow(unsafe_code)]
        inside.then(|| unsafe { slice::from_raw_parts(start as *const u8, len) })
    }
}
