//! What [`serve`](crate::serve) needs of a board, and what the station asks of it.

use lightwafer_device::Platform;
use lightwafer_device::protocol::message::ResetCause;

use crate::clock::Clock;
use crate::models::ModelStorage;
use crate::signals::Outputs;
use crate::watchdog::Watchdog;
use crate::{reset, stack};

/// The firmware's version.
pub(crate) const FIRMWARE: &str = env!("CARGO_PKG_VERSION");

/// A board, its peripherals ready to use.
pub struct Board<S, R, B, J, T, F: 'static, W> {
    /// Its name, which it says in its hello: `env!("CARGO_PKG_NAME")`.
    pub name: &'static str,
    /// The serial port to the host.
    pub serial: S,
    /// Its clock.
    pub clock: Clock,
    /// The output pins READY, BUSY and REJECT.
    pub outputs: Outputs<R, B, J>,
    /// The input TRIGGER.
    pub trigger: T,
    /// Where it keeps models that come over the line; [`models::none`](crate::models::none) where it takes none.
    pub models: Option<ModelStorage<F>>,
    /// Its watchdog, running; [`NoWatchdog`](crate::watchdog::NoWatchdog) where it has none.
    pub watchdog: W,
    /// Why it started, as the hardware's own register says; `None` where it has none. A note that the firmware left in RAM
    /// overrides it, except where the register says that power came on (see [`reset`]).
    pub cause: Option<ResetCause>,
}

/// The board as the station sees it.
pub(crate) struct BoardPlatform<W> {
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) cause: ResetCause,
    pub(crate) watchdog: W,
}

impl<W: Watchdog> Platform for BoardPlatform<W> {
    fn board(&self) -> &str {
        self.name
    }

    fn firmware(&self) -> &str {
        FIRMWARE
    }

    fn reset_cause(&self) -> ResetCause {
        self.cause
    }

    fn uptime_us(&mut self) -> u64 {
        self.clock.microseconds()
    }

    fn instructions(&mut self) -> Option<u64> {
        self.clock.instructions()
    }

    fn stack_max(&mut self) -> u32 {
        stack::deepest()
    }

    fn starts(&mut self) -> [u32; ResetCause::COUNT] {
        reset::starts()
    }

    fn feed_watchdog(&mut self) {
        self.watchdog.feed();
    }
}
