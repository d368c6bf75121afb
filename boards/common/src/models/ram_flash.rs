//! RAM that plays a NOR flash: what is written must have been erased, blocks are erased as a whole, and all of it
//! outlives a reset, since start-up does not clear it.

use core::hint::black_box;
use core::ops::Range;
use core::{ptr, slice};

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use lightwafer_device::store::Mapped;

/// A region of RAM.
pub struct RamFlash {
    start: *mut u8,
    len: usize,
}

impl RamFlash {
    /// Plays a flash in this region, whatever it holds.
    ///
    /// # Safety
    /// The region is a static that nothing else reads or writes.
    #[allow(unsafe_code)]
    pub unsafe fn new<const N: usize>(region: *mut [u8; N]) -> Self {
        Self {
            // Its content comes from before this start: nothing may be assumed of it.
            start: black_box(region.cast()),
            len: N,
        }
    }
}

impl ErrorType for RamFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for RamFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        check_read(self, offset, bytes.len())?;
        // SAFETY: checked to lie in the region; `bytes` is none of it, since slices of the region are shared.
        #[allow(unsafe_code)]
        unsafe {
            ptr::copy_nonoverlapping(
                self.start.add(offset as usize),
                bytes.as_mut_ptr(),
                bytes.len(),
            );
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.len
    }
}

impl NorFlash for RamFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        check_erase(self, from, to)?;
        // SAFETY: checked to lie in the region; no slice of these bytes is in use (see `Mapped`).
        #[allow(unsafe_code)]
        unsafe {
            ptr::write_bytes(self.start.add(from as usize), 0xff, (to - from) as usize);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        check_write(self, offset, bytes.len())?;
        for (at, word) in (offset as usize..).step_by(4).zip(bytes.as_chunks().0) {
            // SAFETY: checked to lie in the region and on a word, as the region does; no slice of these bytes
            // is in use (see `Mapped`).
            #[allow(unsafe_code)]
            unsafe {
                let place = self.start.add(at).cast::<u32>();
                if place.read_volatile() != u32::MAX {
                    return Err(NorFlashErrorKind::Other);
                }
                place.write_volatile(u32::from_le_bytes(*word));
            }
        }
        Ok(())
    }
}

impl Mapped<'static> for RamFlash {
    fn mapped(&self, range: Range<u32>) -> Option<&'static [u8]> {
        let (start, end) = (range.start as usize, range.end as usize);
        let len = end.checked_sub(start).filter(|_| end <= self.len)?;
        // SAFETY: checked to lie in the region, a static; a store neither erases nor writes these bytes before
        // another model has taken over.
        #[allow(unsafe_code)]
        Some(unsafe { slice::from_raw_parts(self.start.add(start), len) })
    }
}
