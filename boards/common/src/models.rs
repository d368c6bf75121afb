//! Where a board keeps models, and the key they must be signed with.
//!
//! With the feature `update` off there is neither, and the firmware's own model runs for good.

#[cfg(feature = "update")]
mod key;
#[cfg(feature = "update")]
mod ram;
#[cfg(feature = "update")]
mod region;

#[cfg(feature = "update")]
pub use key::update_key;
#[cfg(feature = "update")]
pub use ram::RamFlash;
#[cfg(feature = "update")]
pub use region::{Region, bounds};

/// A flash for models, and memory for what is known of it.
#[cfg(feature = "update")]
pub struct ModelFlash<F: 'static> {
    /// The flash: two slots.
    pub flash: F,
    /// Empty; in a static, because it would be a good part of the stack.
    pub place: &'static mut Option<lightwafer_device::Updater<'static, F>>,
}

/// What [`serve`](crate::serve) asks of a flash for models.
#[cfg(feature = "update")]
pub trait Flash:
    embedded_storage::nor_flash::NorFlash + lightwafer_device::store::Mapped<'static> + 'static
{
}

#[cfg(feature = "update")]
impl<F> Flash for F where
    F: embedded_storage::nor_flash::NorFlash + lightwafer_device::store::Mapped<'static> + 'static
{
}

/// No flash for models.
#[cfg(not(feature = "update"))]
pub struct ModelFlash<F: 'static> {
    /// Of what it would be.
    pub flash: core::marker::PhantomData<F>,
}

/// No flash for models.
#[cfg(not(feature = "update"))]
pub trait Flash: 'static {}

#[cfg(not(feature = "update"))]
impl<F: 'static> Flash for F {}

/// Sets RAM of that many bytes apart that plays the flash for models: for emulated boards without a flash
/// controller. It keeps models through a reset, not through a loss of power.
///
/// Defines `model_flash()`, which gives it once, or never without the feature `update`. `cargo xtask size` finds
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
        fn model_flash() -> Option<$crate::models::ModelFlash<$crate::models::RamFlash>> {
            use ::core::sync::atomic::{AtomicBool, Ordering};
            static TAKEN: AtomicBool = AtomicBool::new(false);
            static mut PLACE: Option<$crate::Updater<'static, $crate::models::RamFlash>> = None;
            if TAKEN.swap(true, Ordering::AcqRel) {
                return None;
            }
            // SAFETY: the flag lets this be reached once, and nothing else names RAM_FLASH or PLACE.
            #[allow(unsafe_code)]
            let (flash, place) = unsafe {
                let flash = $crate::models::RamFlash::new(&raw mut RAM_FLASH.0);
                let place = &raw mut PLACE;
                (flash, &mut *place)
            };
            Some($crate::models::ModelFlash { flash, place })
        }
    };
}

/// As with the feature `update`, but there is no flash.
#[cfg(not(feature = "update"))]
#[macro_export]
macro_rules! ram_as_model_flash {
    ($bytes:expr) => {
        fn model_flash() -> Option<$crate::models::ModelFlash<()>> {
            None
        }
    };
}

/// Makes part of a part's flash the flash for models: what lies between `_models_start` and `_models_end` of the
/// board's `memory.x`.
///
/// Defines `model_flash(flash, start)`, for a driver of this type whose first byte the processor reads at `start`. It
/// gives the flash once, or never without the feature `update`.
#[cfg(feature = "update")]
#[macro_export]
macro_rules! model_flash {
    ($driver:ty) => {
        /// The flash; `None` from the second time on.
        fn model_flash(
            flash: $driver,
            start: u32,
        ) -> Option<$crate::models::ModelFlash<$crate::models::Region<$driver>>> {
            use ::core::sync::atomic::{AtomicBool, Ordering};
            static TAKEN: AtomicBool = AtomicBool::new(false);
            static mut PLACE: Option<$crate::Updater<'static, $crate::models::Region<$driver>>> =
                None;
            if TAKEN.swap(true, Ordering::AcqRel) {
                return None;
            }
            // SAFETY: the flag lets this be reached once, and nothing else names PLACE; memory.x keeps everything
            // else out of the region.
            #[allow(unsafe_code)]
            let (flash, place) = unsafe {
                let flash = $crate::models::Region::new(flash, start, $crate::models::bounds());
                let place = &raw mut PLACE;
                (flash, &mut *place)
            };
            Some($crate::models::ModelFlash { flash, place })
        }
    };
}

/// As with the feature `update`, but there is no flash.
#[cfg(not(feature = "update"))]
#[macro_export]
macro_rules! model_flash {
    ($driver:ty) => {
        fn model_flash(_: $driver, _: u32) -> Option<$crate::models::ModelFlash<()>> {
            None
        }
    };
}
