//! A board around a station that says what a test told it to.

use std::time::Instant;

use lightwafer_device::Platform;
use lightwafer_device::protocol::message::ResetCause;

/// A board around a station that says what a test told it to.
#[derive(Debug, Clone)]
pub struct FakePlatform {
    /// The board's name.
    pub board: &'static str,
    /// The firmware's version.
    pub firmware: &'static str,
    /// Why it last started.
    pub reset: ResetCause,
    /// Its time.
    pub clock: Clock,
    /// Instructions a microsecond, where it counts them.
    pub instructions: Option<u64>,
    /// Its deepest stack, in bytes.
    pub stack_max: u32,
    /// Overruns that it reports each time it is asked.
    pub overruns: u32,
}

/// What a [`FakePlatform`] takes for the time.
#[derive(Debug, Clone)]
pub enum Clock {
    /// This machine's time since then.
    Real(Instant),
    /// Goes on by so many microseconds each time it is asked, up to the largest number.
    Steps {
        /// The time now.
        now: u64,
        /// The step.
        by: u64,
    },
}

impl FakePlatform {
    /// A board of this name on this machine's time: firmware `test`, started by power, without counters.
    pub fn new(board: &'static str) -> Self {
        Self {
            board,
            firmware: "test",
            reset: ResetCause::PowerOn,
            clock: Clock::Real(Instant::now()),
            instructions: None,
            stack_max: 0,
            overruns: 0,
        }
    }
}

impl Platform for FakePlatform {
    fn board(&self) -> &str {
        self.board
    }

    fn firmware(&self) -> &str {
        self.firmware
    }

    fn reset_cause(&self) -> ResetCause {
        self.reset
    }

    fn uptime_us(&mut self) -> u64 {
        match &mut self.clock {
            Clock::Real(start) => start.elapsed().as_micros() as u64,
            Clock::Steps { now, by } => {
                *now = now.saturating_add(*by);
                *now
            }
        }
    }

    fn instructions(&mut self) -> Option<u64> {
        let now = match &self.clock {
            Clock::Real(start) => start.elapsed().as_micros() as u64,
            Clock::Steps { now, .. } => *now,
        };
        Some(now.saturating_mul(self.instructions?))
    }

    fn stack_max(&mut self) -> u32 {
        self.stack_max
    }

    fn take_overruns(&mut self) -> u32 {
        self.overruns
    }
}
