//! Logs: defmt where the feature `logs` is on, nothing at all where it is not.
//!
//! defmt needs a transport to link, so without the feature its macros must not appear either.

#[cfg(feature = "logs")]
mod console;

macro_rules! log {
    ($level:ident, $text:literal $(, $value:expr)* $(,)?) => {{
        #[cfg(feature = "logs")]
        defmt::$level!($text $(, $value)*);
        #[cfg(not(feature = "logs"))]
        let _ = ($(&$value,)*);
    }};
}

/// Something with `Display`, as an argument of [`log!`].
#[cfg(feature = "logs")]
pub(crate) use defmt::Display2Format as Shown;

/// Something with `Display`, as an argument of [`log!`].
#[cfg(not(feature = "logs"))]
pub(crate) struct Shown<'a, T: ?Sized>(pub &'a T);

/// Leaves out all further logs: nobody takes them (see `reset`).
pub(crate) static MUTE: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
