//! What every board needs besides the runtime, so that a board's own folder holds only what is its own.
//!
//! [`serve`] turns a [`Board`] into a station that answers over its serial line and never returns.
//!
//! * [`serial`]: a serial port with interrupt-driven buffers, as `embedded-io` traits.
//! * [`signals`]: the digital lines READY, BUSY, REJECT and TRIGGER.
//! * [`clock`]: time and, on emulators, executed instructions.
//! * [`stack`]: a guard below the stack, and how deep it went.
//! * [`reset`]: why the board started, and what happens on a panic or a fault.
//! * [`watchdog`]: what resets a board that hangs.
//! * [`models`]: a flash for models that come over the line.
//! * `pump` (feature `pump`): between a serial port and an asynchronous driver.
#![no_std]

#[macro_use]
mod log;

mod board;
mod boot;
pub mod clock;
mod engine;

mod memory;
pub mod models;
#[cfg(feature = "probe")]
pub mod probe;
#[cfg(feature = "pump")]
pub mod pump;
pub mod reset;
pub mod serial;
mod serve;
pub mod signals;
pub mod stack;
pub mod watchdog;

pub use board::Board;
#[cfg(feature = "update")]
pub use lightwafer_device::Updater;
#[doc(hidden)]
pub use lightwafer_runtime::{Aligned, Arena};
pub use serve::serve;

/// The bytes of arena that a model image asks for, for [`model_and_arena!`].
#[doc(hidden)]
#[expect(clippy::panic, reason = "evaluated by the compiler")]
pub const fn arena_bytes(image: &[u8]) -> usize {
    match lightwafer_runtime::arena_bytes(image) {
        Some(bytes) => bytes,
        None => panic!("not a model image of this format"),
    }
}

/// Puts a model image, and an arena of the size that it asks for, into a board's image.
///
/// Defines `MODEL`, the image's bytes in flash, and `arena()`, which gives the arena once. `cargo xtask
/// size` finds both by name. The path is relative to the file that invokes the macro. A model that comes over the line
/// and needs a larger arena is refused, with a named error.
///
/// An arena may be put into a section of its own, for RAM that start-up does not clear (in `memory.x`, with
/// `NOLOAD`); what it holds at first does not matter.
#[macro_export]
macro_rules! model_and_arena {
    ($model:expr $(, $section:literal)?) => {
        #[used]
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".rodata.model")]
        #[allow(unsafe_code)]
        static MODEL: $crate::Aligned<[u8; include_bytes!($model).len()]> =
            $crate::Aligned(*include_bytes!($model));

        #[unsafe(no_mangle)]
        $(#[unsafe(link_section = $section)])?
        #[allow(unsafe_code)]
        static mut ARENA: $crate::Arena<{ $crate::arena_bytes(&MODEL.0) }> = $crate::Arena::new();

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
