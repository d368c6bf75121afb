//! What a station needs from the board that it runs on.

use crate::protocol::message::ResetCause;

/// What a station needs from the board that it runs on.
pub trait Platform {
    /// The board's name, such as `mps2-an500`; at most [`MAX_TEXT`](crate::protocol::frame::MAX_TEXT) bytes are sent.
    fn board(&self) -> &str;

    /// The firmware's version; at most [`MAX_TEXT`](crate::protocol::frame::MAX_TEXT) bytes are sent.
    fn firmware(&self) -> &str;

    /// Why the board last started.
    fn reset_cause(&self) -> ResetCause;

    /// Microseconds since start; never runs backwards.
    fn uptime_us(&mut self) -> u64;

    /// Instructions executed so far, where the board can count them; never runs backwards.
    fn instructions(&mut self) -> Option<u64> {
        None
    }

    /// Deepest use of the stack so far, in bytes; 0 where it is not known.
    fn stack_max(&mut self) -> u32 {
        0
    }

    /// How often the board started since power came on, by [`ResetCause`] in order, this start included.
    fn starts(&mut self) -> [u32; ResetCause::COUNT] {
        let mut starts = [0; ResetCause::COUNT];
        if let Some(count) = starts.get_mut(self.reset_cause() as usize) {
            *count = 1;
        }
        starts
    }

    /// Holds off a watchdog that would reset the board: called before and after each inference and each change of
    /// the models. Who waits for bytes calls it while waiting.
    fn feed_watchdog(&mut self) {}

    /// Times the driver lost bytes since this was last asked; for drivers whose reads don't fail then.
    fn take_overruns(&mut self) -> u32 {
        0
    }
}
