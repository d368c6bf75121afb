//! Logs: defmt where the feature `log` is on, nothing at all where it is not.
//!
//! defmt needs a transport to link, so without the feature its macros must not appear either. A board
//! chooses one: `logs` is semihosting, which emulators take, `rtt` is what debug probes read.

#[cfg(feature = "logs")]
mod console;
#[cfg(feature = "rtt")]
use defmt_rtt as _;

#[cfg(all(feature = "log", not(any(feature = "logs", feature = "rtt"))))]
compile_error!("logs need a transport: the feature `logs` or `rtt`");
#[cfg(all(feature = "logs", feature = "rtt"))]
compile_error!("logs have one transport: the feature `logs` or `rtt`");

macro_rules! log {
    ($level:ident, $text:literal $(, $value:expr)* $(,)?) => {{
        #[cfg(feature = "log")]
        defmt::$level!($text $(, $value)*);
        #[cfg(not(feature = "log"))]
        let _ = ($(&$value,)*);
    }};
}

/// Something with `Display`, as an argument of [`log!`].
#[cfg(feature = "log")]
pub(crate) use defmt::Display2Format as Shown;

/// Something with `Display`, as an argument of [`log!`].
#[cfg(not(feature = "log"))]
pub(crate) struct Shown<'a, T: ?Sized>(pub &'a T);

/// Whether further logs are left out, because nobody reads them (see `reset`).
pub(crate) static MUTE: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
