//! The flash for models of a board that has none.

#[cfg(feature = "update")]
use core::ops::Range;

#[cfg(feature = "update")]
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
#[cfg(feature = "update")]
use lightwafer_device::store::Mapped;

use crate::models::ModelStorage;

/// A flash that no board has: there is no value of this type.
#[derive(Debug, Clone, Copy)]
pub enum NoFlash {}

/// For [`Board::models`](crate::Board::models) of a board that takes no models over the line, with the feature `update` or
/// without it.
pub const fn none() -> Option<ModelStorage<NoFlash>> {
    None
}

#[cfg(feature = "update")]
impl ErrorType for NoFlash {
    type Error = NorFlashErrorKind;
}

#[cfg(feature = "update")]
impl ReadNorFlash for NoFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Self::Error> {
        match *self {}
    }

    fn capacity(&self) -> usize {
        match *self {}
    }
}

#[cfg(feature = "update")]
impl NorFlash for NoFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, _: u32, _: u32) -> Result<(), Self::Error> {
        match *self {}
    }

    fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Self::Error> {
        match *self {}
    }
}

#[cfg(feature = "update")]
impl Mapped<'static> for NoFlash {
    fn mapped(&self, _: Range<u32>) -> Option<&'static [u8]> {
        match *self {}
    }
}
