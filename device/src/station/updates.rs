//! What a station needs to accept models, and a board that accepts none.

use crate::protocol::message::{ErrorReply, Models, Transfer};
use lightwafer_runtime::dies::Mask;

/// Accepts models for an engine `E`. If an answer was lost, the request comes again; it then has the same answer.
pub trait Updates<E> {
    /// The model that runs, and what may replace it.
    fn models(&self) -> Models;

    /// Announces a model by its signature block. Returns how many bytes of it have arrived already.
    ///
    /// # Errors
    /// The reason why the model is not accepted.
    fn begin(&mut self, signature: &[u8]) -> Result<Transfer, ErrorReply>;

    /// Accepts a piece of the model at `offset`. Returns how many bytes have arrived without a gap.
    ///
    /// # Errors
    /// The reason why the piece is not accepted.
    fn chunk(&mut self, version: u32, offset: u32, data: &[u8]) -> Result<u32, ErrorReply>;

    /// Tests the model with the engine, which then runs it. `mask` may be overwritten. Returns the version that runs.
    ///
    /// # Errors
    /// The reason why the model does not run. The engine runs the model before.
    fn commit(&mut self, version: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply>;

    /// Goes back to the model before, if version `from` runs. `mask` may be overwritten. Returns the version that runs.
    ///
    /// # Errors
    /// The reason why not. The engine runs the same model as before.
    fn roll_back(&mut self, from: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply>;
}

/// For boards that accept no models: refuses every one.
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

/// For boards whose store may fail to open: without it they accept no models.
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
