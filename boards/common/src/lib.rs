//! What every board needs besides the runtime, so that a board's own folder holds only what is its own.
//!
//! [`serve`] turns a [`Board`] into a station that answers over its serial line and never returns.
//!
//! * [`mod@line`]: a serial line with interrupt-driven buffers, as `embedded-io` traits.
//! * [`clock`]: time and, on emulators, executed instructions.
//! * [`stack`]: how deep the stack went.
//! * [`reset`]: why the board started, and what happens on a panic or a fault.
//! * [`models`]: a flash for models that come over the line.
//! * [`watchdog`]: what resets a board that hangs.
//! * [`signals`]: READY, BUSY, REJECT and TRIGGER.
//! * `pump` (feature `pump`): between a line and an asynchronous driver.
#![no_std]

#[macro_use]
mod log;

pub mod clock;
pub mod line;
mod memory;
pub mod models;
#[cfg(feature = "probe")]
pub mod probe;
#[cfg(feature = "pump")]
pub mod pump;
pub mod reset;
mod service;
pub mod signals;
pub mod stack;
pub mod watchdog;

#[cfg(feature = "update")]
pub use lightwafer_device::store::Updater;
pub use lightwafer_runtime::{Aligned, Arena};
pub use service::{Board, serve};

/// Puts a model image and an arena of that many bytes into a board's image.
///
/// Defines `MODEL`, the image's bytes in flash, and `arena()`, which gives the arena once. `cargo xtask
/// size` finds both by name. The path is relative to the file that invokes the macro. A model that
/// needs a larger arena is refused at start, with a named error.
///
/// An arena may be put into a section of its own, for RAM that start-up does not clear (in `memory.x`, with
/// `NOLOAD`); what it holds at first does not matter.
#[macro_export]
macro_rules! model_and_arena {
    ($model:expr, $arena_bytes:expr $(, $section:literal)?) => {
        #[used]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".rodata.model")]
        #[allow(unsafe_code)]
        static MODEL: $crate::Aligned<[u8; include_bytes!($model).len()]> =
            $crate::Aligned(*include_bytes!($model));

        #[unsafe(no_mangle)]
        $(#[unsafe(link_section = $section)])?
        #[allow(unsafe_code)]
        static mut ARENA: $crate::Arena<{ $arena_bytes }> = $crate::Arena::new();

        /// The arena; `None` from the second time on.
        fn arena() -> Option<&'static mut [i8]> {
            use ::core::sync::atomic::{AtomicBool, Ordering};
            static TAKEN: AtomicBool = AtomicBool::new(false);
            if TAKEN.swap(true, Ordering::AcqRel) {
                return None;
            }
            // SAFETY: the flag lets this be reached once, and nothing else names ARENA.
            #[allow(unsafe_code)]
            let arena = unsafe {
                // Its content may come from before this start: nothing may be assumed of it.
                let arena = ::core::hint::black_box(&raw mut ARENA);
                &mut *arena
            };
            Some(arena.bytes())
        }
    };
}
