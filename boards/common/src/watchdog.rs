//! The watchdog: hardware that resets a board whose firmware hangs.
//!
//! [`serve`](crate::serve) feeds it whenever it waits for bytes, at each wake (SysTick alone wakes it
//! every 2²⁴ ticks of the core's clock), and before and after each inference and each change of the
//! models. Its period must be longer than the longest of those on the board: an inference, or the erasing of a slot.

/// A running watchdog.
pub trait Watchdog {
    /// Delays the reset by another period.
    fn feed(&mut self);
}

/// For boards without a watchdog: does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatchdog;

impl Watchdog for NoWatchdog {
    fn feed(&mut self) {}
}
