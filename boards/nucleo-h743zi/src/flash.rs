//! The STM32H743's flash as a store of models needs it: what a cut of power left half written can be read.
//!
//! The flash keeps an error-correcting code with each word of 32 bytes. A word whose writing or erasing was cut off may
//! have one that does not fit; reading it is a bus fault, and the driver takes the flag that stays behind for
//! an error of the next write. Here such a word reads as zeros, which are neither erased nor anything valid, and
//! the flag is cleared. The data cache is told what changed.

use core::arch::asm;
use core::ptr;

use cortex_m::peripheral::SCB;
use embassy_stm32::flash::{Blocking, Error, FLASH_SIZE, Flash};
use embassy_stm32::pac;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// Where the processor reads the flash's first byte.
pub const START: u32 = 0x0800_0000;

/// Bytes of a word with a code of its own.
const WORD: usize = 32;
/// Where bank 2 begins.
const BANK_2: u32 = 1 << 20;

/// The flash. Only bank 2 may be written: the firmware runs from bank 1 meanwhile.
pub struct EccFlash {
    flash: Flash<'static, Blocking>,
    scb: SCB,
}

impl EccFlash {
    /// Takes the flash, and what tells the cache.
    pub fn new(flash: Flash<'static, Blocking>, scb: SCB) -> Self {
        Self { flash, scb }
    }

    /// Forgets what the cache has of these bytes, all of them clean.
    #[allow(unsafe_code)]
    fn changed(&mut self, from: u32, len: usize) {
        // SAFETY: nothing but the flash's driver writes to flash, so there is nothing to lose.
        unsafe {
            self.scb
                .invalidate_dcache_by_address((START + from) as usize, len);
        }
    }

    /// The word around an offset of the flash; zeros where its code does not fit.
    fn word(&mut self, at: u32) -> [u8; WORD] {
        forget_errors();
        let address = (START + at) as *const u32;
        let mut words = [0; WORD / 4];
        self.faults_ignored(|| {
            for (place, offset) in words.iter_mut().zip(0..) {
                // SAFETY: the callers' checks: inside the flash, at the start of a word.
                #[allow(unsafe_code)]
                let word = unsafe { ptr::read_volatile(address.add(offset)) };
                *place = word;
            }
        });
        let bank = bank(at);
        let (failed, place) = (
            bank.sr().read().dbeccerr(),
            bank.far().read().fail_ecc_addr(),
        );
        // The cache reads ahead: an error may be another word's.
        let mine = u32::from(place) == at % BANK_2 / WORD as u32;
        forget_errors();
        let mut bytes = [0; WORD];
        if !(failed && mine) {
            for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
                *place = word.to_le_bytes();
            }
        }
        bytes
    }

    /// Does something in which a bus fault of a data access is no fault.
    #[allow(unsafe_code)]
    fn faults_ignored(&mut self, work: impl FnOnce()) {
        const IGNORE: u32 = 1 << 8;
        // SAFETY: CCR.BFHFNMIGN with FAULTMASK set is the architecture's way to probe memory. Interrupts wait
        // for these few reads; FAULTMASK is clear before and after, since this never runs in a fault handler.
        unsafe {
            self.scb.ccr.modify(|ccr| ccr | IGNORE);
            asm!("cpsid f", "dsb", "isb", options(nostack, preserves_flags));
            work();
            asm!("dsb", "cpsie f", "isb", options(nostack, preserves_flags));
            self.scb.ccr.modify(|ccr| ccr & !IGNORE);
        }
    }
}

fn bank(at: u32) -> pac::flash::Bank {
    match at {
        ..BANK_2 => pac::FLASH.bank(0),
        _ => pac::FLASH.bank(1),
    }
}

/// Clears the flags of code errors in either bank: the driver's own attempt does not (they are cleared in CCR, not SR).
fn forget_errors() {
    for bank in [bank(0), bank(BANK_2)] {
        bank.ccr().write(|w| {
            w.set_clr_sneccerr(true);
            w.set_clr_dbeccerr(true);
        });
    }
}

impl ErrorType for EccFlash {
    type Error = Error;
}

impl ReadNorFlash for EccFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let end = (offset as usize).checked_add(bytes.len());
        if end.is_none_or(|end| end > FLASH_SIZE) {
            return Err(Error::Size);
        }
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let skip = at % WORD as u32;
            let word = self.word(at - skip);
            let there = word.get(skip as usize..).unwrap_or(&[]);
            let count = there.len().min(rest.len());
            let (now, later) = rest.split_at_mut_checked(count).ok_or(Error::Size)?;
            for (place, byte) in now.iter_mut().zip(there) {
                *place = *byte;
            }
            rest = later;
            at += count as u32;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_SIZE
    }
}

impl NorFlash for EccFlash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = 128 * 1024;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        if from < BANK_2 || to < from {
            return Err(Error::Protected);
        }
        forget_errors();
        let done = self.flash.blocking_erase(from, to);
        self.changed(from, (to - from) as usize);
        done
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        if offset < BANK_2 {
            return Err(Error::Protected);
        }
        forget_errors();
        let done = self.flash.blocking_write(offset, bytes);
        self.changed(offset, bytes.len());
        done
    }
}
