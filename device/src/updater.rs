//! Model updates over the line: implements [`Updates`] for the station with a [`Store`] and an engine.
//!
//! The store knows nothing of the protocol. Its errors and states are converted to the protocol's here.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

use crate::protocol::message::{ErrorReply, MAX_CHUNK, Models, Transfer};
use crate::station::Updates;
use crate::store::{Mapped, Progress, State, Store, StoreError, VerifyError};
use lightwafer_runtime::Engine;
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::{EngineError, FixedEngine, SelfTestFailed, StartError};

/// An engine that can load another model.
pub trait Reload<'m>: Engine {
    /// Runs this image from now on.
    ///
    /// # Errors
    /// The image is no model, or does not fit. The engine then refuses every wafer.
    fn load(&mut self, image: &'m [u8]) -> Result<(), StartError>;

    /// Runs the image's golden wafer; `mask` is overwritten.
    ///
    /// # Errors
    /// [`SelfTestFailed`] when a logit or a mask bit differs.
    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed>;
}

impl<'m> Reload<'m> for FixedEngine<'m, '_> {
    fn load(&mut self, image: &'m [u8]) -> Result<(), StartError> {
        FixedEngine::load(self, image)
    }

    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        FixedEngine::self_test(self, mask)
    }
}

/// Keeps models from a host in a [`Store`], and makes the engine run them after a test on the golden wafer.
#[derive(Debug)]
pub struct Updater<'m, F> {
    store: Store<F>,
    factory: &'m [u8],
}

impl<'m, F: NorFlash + Mapped<'m>> Updater<'m, F> {
    /// A new updater; `factory` is the image of the firmware's own model. The engine must run the model that
    /// [`Store::boot`] or [`Updater::boot`] chose.
    pub fn new(store: Store<F>, factory: &'m [u8]) -> Self {
        Self { store, factory }
    }

    /// Like [`Store::boot`], but `start` gets the image itself.
    pub fn boot(&mut self, mut start: impl FnMut(&'m [u8]) -> bool) {
        self.store
            .boot(|flash, range| flash.mapped(range).is_some_and(&mut start));
    }

    /// The store.
    pub fn store(&self) -> &Store<F> {
        &self.store
    }

    /// Returns the store.
    pub fn into_store(self) -> Store<F> {
        self.store
    }

    /// The image at this place in the flash, or the factory model's for `None`.
    fn image(&self, place: Option<Range<u32>>) -> Result<&'m [u8], ErrorReply> {
        match place {
            None => Ok(self.factory),
            Some(range) => self.store.flash().mapped(range).ok_or(ErrorReply::Flash),
        }
    }

    /// Loads a model, tests it on its golden wafer, and then makes it the running one with `switch`. If any of this
    /// fails, the engine runs the model before.
    fn change<E: Reload<'m>>(
        &mut self,
        engine: &mut E,
        mask: &mut Mask,
        image: &'m [u8],
        switch: impl FnOnce(&mut Store<F>) -> Result<(), StoreError>,
    ) -> Result<(), ErrorReply> {
        let before = self.store.running();
        let tried = try_out(engine, mask, image);
        let changed = tried.and_then(|()| Ok(switch(&mut self.store)?));
        if changed.is_err() {
            // It ran before, so it loads.
            let _ = engine.load(self.image(before)?);
        }
        changed
    }
}

fn try_out<'m, E: Reload<'m>>(
    engine: &mut E,
    mask: &mut Mask,
    image: &'m [u8],
) -> Result<(), ErrorReply> {
    load(engine, image)?;
    engine.self_test(mask).map_err(|_| ErrorReply::SelfTest)
}

#[inline(never)]
fn load<'m, E: Reload<'m>>(engine: &mut E, image: &'m [u8]) -> Result<(), ErrorReply> {
    engine.load(image).map_err(|error| match error {
        StartError::Engine(EngineError::Arena { needed, given }) => ErrorReply::Arena {
            needed: needed as u32,
            given: given as u32,
        },
        // Nothing that another board could run differently.
        _ => ErrorReply::Model,
    })
}

impl<'m, F: NorFlash + Mapped<'m>, E: Reload<'m>> Updates<E> for Updater<'m, F> {
    fn models(&self) -> Models {
        self.store.state().into()
    }

    fn begin(&mut self, signature: &[u8]) -> Result<Transfer, ErrorReply> {
        Ok(self.store.begin(signature)?.into())
    }

    fn chunk(&mut self, version: u32, offset: u32, data: &[u8]) -> Result<u32, ErrorReply> {
        if data.len() > MAX_CHUNK {
            return Err(ErrorReply::Oversized);
        }
        Ok(self.store.chunk(version, offset, data)?)
    }

    #[inline(never)]
    fn commit(&mut self, version: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply> {
        // The request was repeated because its answer was lost.
        if version != 0 && self.store.version() == version {
            return Ok(version);
        }
        let place = self.store.candidate(version)?;
        let image = self.image(Some(place))?;
        self.change(engine, mask, image, |store| store.activate(version))?;
        Ok(self.store.version())
    }

    #[inline(never)]
    fn roll_back(&mut self, from: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply> {
        if self.store.version() == from {
            let earlier = self.store.earlier()?;
            let image = self.image(self.store.image_of(&earlier))?;
            self.change(engine, mask, image, |store| store.go_back(earlier))?;
        }
        Ok(self.store.version())
    }
}

/// The protocol has one name for all failures of the flash.
impl From<StoreError> for ErrorReply {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Geometry => Self::Unsupported,
            StoreError::NoKey => Self::NoKey,
            StoreError::Block(_) => Self::Block,
            StoreError::Verify(VerifyError::Key) => Self::Key,
            StoreError::Verify(VerifyError::Signature) => Self::Signature,
            StoreError::Version { minimum } => Self::Version { minimum },
            StoreError::Size { limit } => Self::Size { limit },
            StoreError::NoTransfer => Self::NoTransfer,
            StoreError::Gap { received } => Self::Gap { received },
            StoreError::Conflict { received } => Self::Conflict { received },
            StoreError::Incomplete { received, expected } => {
                Self::Incomplete { received, expected }
            }
            StoreError::Digest => Self::Digest,
            StoreError::NoOther => Self::NoOther,
            StoreError::Flash(_) | StoreError::NotWritten { .. } | StoreError::Full => Self::Flash,
        }
    }
}

impl From<State> for Models {
    fn from(state: State) -> Self {
        Self {
            version: state.version,
            minimum: state.minimum,
            floor: state.floor,
            limit: state.limit,
            key: state.key.map(|key| key.0),
            transfer: state.incoming.map(Transfer::from),
        }
    }
}

impl From<Progress> for Transfer {
    fn from(progress: Progress) -> Self {
        Self {
            version: progress.version,
            received: progress.received,
            expected: progress.expected,
        }
    }
}
