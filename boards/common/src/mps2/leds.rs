//! The user LEDs, as `embedded-hal` pins.

use core::convert::Infallible;
use core::ptr;

use cortex_m::interrupt;
use embedded_hal::digital::{ErrorType, OutputPin, StatefulOutputPin};

/// A user LED; high is lit.
#[derive(Debug)]
pub struct Led {
    register: usize,
    bit: u32,
}

impl Led {
    pub(super) const fn new(register: usize, number: u32) -> Self {
        let bit = 1 << number;
        Self { register, bit }
    }

    fn change(&mut self, how: impl FnOnce(u32, u32) -> u32) {
        // The register is shared by the LEDs: nothing may come between read and write.
        let register = self.register as *mut u32;
        interrupt::free(|_| {
            // SAFETY: a register of this board, aligned, without side effects on reading.
            #[allow(unsafe_code)]
            unsafe {
                let lit = ptr::read_volatile(register);
                ptr::write_volatile(register, how(lit, self.bit));
            }
        });
    }
}

impl ErrorType for Led {
    type Error = Infallible;
}

impl OutputPin for Led {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.change(|lit, bit| lit & !bit);
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.change(|lit, bit| lit | bit);
        Ok(())
    }
}

impl StatefulOutputPin for Led {
    fn is_set_high(&mut self) -> Result<bool, Infallible> {
        let mut high = false;
        self.change(|lit, bit| {
            high = lit & bit != 0;
            lit
        });
        Ok(high)
    }

    fn is_set_low(&mut self) -> Result<bool, Infallible> {
        self.is_set_high().map(|high| !high)
    }
}
