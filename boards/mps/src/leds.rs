//! The user LEDs, as `embedded-hal` pins.

use core::convert::Infallible;
use core::marker::PhantomData;
use core::ptr;

use cortex_m::interrupt;
use embedded_hal::digital::{ErrorType, OutputPin, StatefulOutputPin};

use crate::Machine;

/// A user LED; high is lit.
#[derive(Debug)]
pub struct Led {
    register: usize,
    bit: u32,
}

impl Led {
    pub(crate) const fn new(register: usize, number: u32) -> Self {
        let bit = 1 << number;
        Self { register, bit }
    }

    fn change(&mut self, how: impl FnOnce(u32, u32) -> u32) {
        // All LEDs share the register: no interrupt may come between read and write.
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

/// The LED for REJECT; does nothing on a machine that has none.
#[derive(Debug)]
pub struct Reject<M>(PhantomData<M>);

impl<M: Machine> Reject<M> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }

    fn led() -> Option<Led> {
        M::MAP
            .reject_led
            .map(|number| Led::new(M::MAP.leds, number))
    }
}

impl<M> ErrorType for Reject<M> {
    type Error = Infallible;
}

impl<M: Machine> OutputPin for Reject<M> {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Self::led().map_or(Ok(()), |mut led| led.set_low())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Self::led().map_or(Ok(()), |mut led| led.set_high())
    }
}
