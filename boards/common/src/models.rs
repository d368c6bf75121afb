//! Where a board keeps models that come over the line, and the key that these must be signed with.
//!
//! Without the feature `update` there is neither, and the board always runs the firmware's own model.

#[cfg(feature = "update")]
mod flash_region;
#[cfg(feature = "update")]
mod key;
mod no_flash;
#[cfg(feature = "update")]
mod ram_flash;

#[cfg(feature = "update")]
pub use flash_region::{FlashRegion, bounds};
#[cfg(feature = "update")]
pub use key::update_key;
pub use no_flash::{NoFlash, none};
#[cfg(feature = "update")]
pub use ram_flash::RamFlash;

/// A flash for models, and memory for what manages it.
#[cfg(feature = "update")]
pub struct ModelStorage<F: 'static> {
    /// The flash: two slots.
    pub flash: F,
    /// Empty, for `serve` to fill. It is in a static because it would take a large part of the stack.
    pub updater: &'static mut Option<lightwafer_device::Updater<'static, F>>,
}

/// A flash for models: a NOR flash that the processor can also read in place.
#[cfg(feature = "update")]
pub trait MappedFlash:
    embedded_storage::nor_flash::NorFlash + lightwafer_device::store::Mapped<'static> + 'static
{
}

#[cfg(feature = "update")]
impl<F> MappedFlash for F where
    F: embedded_storage::nor_flash::NorFlash + lightwafer_device::store::Mapped<'static> + 'static
{
}

/// Without the feature `update` no board has one.
#[cfg(not(feature = "update"))]
pub struct ModelStorage<F: 'static> {
    /// The type of the flash that it would have.
    pub flash: core::marker::PhantomData<F>,
}

/// Without the feature `update` anything will do.
#[cfg(not(feature = "update"))]
pub trait MappedFlash: 'static {}

#[cfg(not(feature = "update"))]
impl<F: 'static> MappedFlash for F {}

/// Reserves RAM of that many bytes that plays the flash for models, for emulated boards without a flash
/// controller. It keeps models through a reset, not through a loss of power.
///
/// Defines `model_flash()`, which returns it once, or never without the feature `update`. `cargo xtask size` finds
/// `RAM_FLASH` by name.
#[cfg(feature = "update")]
#[macro_export]
macro_rules! ram_as_model_flash {
    ($bytes:expr) => {
        #[unsafe(no_mangle)]
        #[unsafe(link_section = ".uninit.lightwafer.flash")]
        #[allow(unsafe_code)]
        static mut RAM_FLASH: $crate::Aligned<[u8; $bytes]> = $crate::Aligned([0; $bytes]);

        /// The flash; `None` from the second time on.
        fn model_flash() -> Option<$crate::models::ModelStorage<$crate::models::RamFlash>> {
            use ::core::sync::atomic::{AtomicBool, Ordering};
            static TAKEN: AtomicBool = AtomicBool::new(false);
            static mut UPDATER: Option<$crate::Updater<'static, $crate::models::RamFlash>> = None;
            if TAKEN.swap(true, Ordering::AcqRel) {
                return None;
            }
            // SAFETY: the flag lets this be reached once, and nothing else names RAM_FLASH or UPDATER.
            #[allow(unsafe_code)]
            let (flash, updater) = unsafe {
                let flash = $crate::models::RamFlash::new(&raw mut RAM_FLASH.0);
                let updater = &raw mut UPDATER;
                (flash, &mut *updater)
            };
            Some($crate::models::ModelStorage { flash, updater })
        }
    };
}

/// As with the feature `update`, but there is no flash.
#[cfg(not(feature = "update"))]
#[macro_export]
macro_rules! ram_as_model_flash {
    ($bytes:expr) => {
        fn model_flash() -> Option<$crate::models::ModelStorage<$crate::models::NoFlash>> {
            $crate::models::none()
        }
    };
}

/// Uses part of the microcontroller's flash for models: what lies between `_models_start` and `_models_end` of the
/// board's `memory.x`.
///
/// Defines `model_flash(flash, start)`, for a driver of this type; the processor reads the driver's first byte at `start`. It
/// returns the flash once, or never without the feature `update`.
#[cfg(feature = "update")]
#[macro_export]
macro_rules! model_flash {
    ($driver:ty) => {
        /// The flash; `None` from the second time on.
        fn model_flash(
            flash: $driver,
            start: u32,
        ) -> Option<$crate::models::ModelStorage<$crate::models::FlashRegion<$driver>>> {
            use ::core::sync::atomic::{AtomicBool, Ordering};
            static TAKEN: AtomicBool = AtomicBool::new(false);
            static mut UPDATER: Option<
                $crate::Updater<'static, $crate::models::FlashRegion<$driver>>,
            > = None;
            if TAKEN.swap(true, Ordering::AcqRel) {
                return None;
            }
            // SAFETY: the flag lets this be reached once, and nothing else names UPDATER; memory.x keeps everything
            // else out of the region.
            #[allow(unsafe_code)]
            let (flash, updater) = unsafe {
                let flash =
                    $crate::models::FlashRegion::new(flash, start, $crate::models::bounds());
                let updater = &raw mut UPDATER;
                (flash, &mut *updater)
            };
            Some($crate::models::ModelStorage { flash, updater })
        }
    };
}

/// As with the feature `update`, but there is no flash.
#[cfg(not(feature = "update"))]
#[macro_export]
macro_rules! model_flash {
    ($driver:ty) => {
        fn model_flash(
            _: $driver,
            _: u32,
        ) -> Option<$crate::models::ModelStorage<$crate::models::NoFlash>> {
            $crate::models::none()
        }
    };
}
