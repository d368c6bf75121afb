//! What a station asks for when a host sends a model, and boards that take none.

use crate::protocol::message::{ErrorReply, Models, Transfer};
use lightwafer_runtime::dies::Mask;

/// Takes models for an engine `E`. Each request may come again, because its answer was lost, and is then
/// answered as before.
pub trait Updates<E> {
    /// The model that runs, and what may replace it.
    fn models(&self) -> Models;

    /// A model is announced by its signature block. How much of it is there already?
    ///
    /// # Errors
    /// Why it is not taken.
    fn begin(&mut self, signature: &[u8]) -> Result<Transfer, ErrorReply>;

    /// A piece of it, at `offset`. Gives the bytes that have arrived without a gap.
    ///
    /// # Errors
    /// Why it is not taken.
    fn chunk(&mut self, version: u32, offset: u32, data: &[u8]) -> Result<u32, ErrorReply>;

    /// Tries it with the engine, and runs it from now on. `mask` may be overwritten. Gives the version that
    /// runs.
    ///
    /// # Errors
    /// Why it does not run; the engine runs what it ran before.
    fn commit(&mut self, version: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply>;

    /// Goes back to the model before, if `from` runs; as [`Updates::commit`] otherwise.
    ///
    /// # Errors
    /// Why not; the engine runs what it ran before.
    fn roll_back(&mut self, from: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply>;
}

/// The updates of a board that takes no models: it refuses every one.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUpdates;

impl<E> Updates<E> for NoUpdates {
    fn models(&self) -> Models {
        Models::default()
    }

    fn begin(&mut self, _: &[u8]) -> Result<Transfer, ErrorReply> {
        Err(ErrorReply::Unsupported)
    }

    fn chunk(&mut self, _: u32, _: u32, _: &[u8]) -> Result<u32, ErrorReply> {
        Err(ErrorReply::Unsupported)
    }

    fn commit(&mut self, _: u32, _: &mut E, _: &mut Mask) -> Result<u32, ErrorReply> {
        Err(ErrorReply::Unsupported)
    }

    fn roll_back(&mut self, _: u32, _: &mut E, _: &mut Mask) -> Result<u32, ErrorReply> {
        Err(ErrorReply::Unsupported)
    }
}

/// The updates of a board whose store may not have opened: without one it takes no models.
impl<E, U: Updates<E>> Updates<E> for Option<&mut U> {
    fn models(&self) -> Models {
        self.as_ref()
            .map_or_else(Models::default, |updates| updates.models())
    }

    fn begin(&mut self, signature: &[u8]) -> Result<Transfer, ErrorReply> {
        let updates = self.as_mut().ok_or(ErrorReply::Unsupported)?;
        updates.begin(signature)
    }

    fn chunk(&mut self, version: u32, offset: u32, data: &[u8]) -> Result<u32, ErrorReply> {
        let updates = self.as_mut().ok_or(ErrorReply::Unsupported)?;
        updates.chunk(version, offset, data)
    }

    fn commit(&mut self, version: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply> {
        let updates = self.as_mut().ok_or(ErrorReply::Unsupported)?;
        updates.commit(version, engine, mask)
    }

    fn roll_back(&mut self, from: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply> {
        let updates = self.as_mut().ok_or(ErrorReply::Unsupported)?;
        updates.roll_back(from, engine, mask)
    }
}
