//! A store and an engine together: what the station asks for when a host sends a model.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;

use super::Store;
use crate::protocol::message::{ErrorReply, Models, Transfer};
use crate::station::Updates;
use lightwafer_runtime::Engine;
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::{EngineError, FixedEngine, SelfTestFailed, StartError};

/// A flash whose bytes the processor reads where they lie, as an engine does its weights.
pub trait Mapped<'m> {
    /// These bytes of the flash. They stay as they are for as long as the model in them may run: a [`Store`]
    /// neither erases nor writes them before another model has taken over.
    fn mapped(&self, range: Range<u32>) -> Option<&'m [u8]>;
}

/// An engine that can be given another model.
pub trait Reload<'m>: Engine {
    /// Runs this image from now on.
    ///
    /// # Errors
    /// The image is no model, or does not fit; the engine refuses every wafer then.
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

/// Takes models from a host into a [`Store`], and gives them to the engine once they are proved.
#[derive(Debug)]
pub struct Updater<'m, F> {
    store: Store<F>,
    factory: &'m [u8],
}

impl<'m, F: NorFlash + Mapped<'m>> Updater<'m, F> {
    /// With the firmware's own model. The engine must run what [`Store::boot`] or [`Updater::boot`] chose.
    pub fn new(store: Store<F>, factory: &'m [u8]) -> Self {
        Self { store, factory }
    }

    /// As [`Store::boot`], with images in place.
    pub fn boot(&mut self, mut start: impl FnMut(&'m [u8]) -> bool) {
        self.store
            .boot(|flash, range| flash.mapped(range).is_some_and(&mut start));
    }

    /// The store.
    pub fn store(&self) -> &Store<F> {
        &self.store
    }

    /// Takes the updater apart.
    pub fn into_store(self) -> Store<F> {
        self.store
    }

    /// The image at a place; `None` is the factory model's.
    fn image(&self, place: Option<Range<u32>>) -> Result<&'m [u8], ErrorReply> {
        match place {
            None => Ok(self.factory),
            Some(range) => self.store.flash().mapped(range).ok_or(ErrorReply::Flash),
        }
    }

    /// Loads a model, tries it on its golden wafer, and then makes it the running one by `switch`. Where any of
    /// it fails the engine runs what it ran before.
    fn change<E: Reload<'m>>(
        &mut self,
        engine: &mut E,
        mask: &mut Mask,
        image: &'m [u8],
        switch: impl FnOnce(&mut Store<F>) -> Result<(), ErrorReply>,
    ) -> Result<(), ErrorReply> {
        let before = self.store.running();
        let tried = try_out(engine, mask, image);
        let changed = tried.and_then(|()| switch(&mut self.store));
        if changed.is_err() {
            // It ran before, so it does again.
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
        self.store.models()
    }

    fn begin(&mut self, signature: &[u8]) -> Result<Transfer, ErrorReply> {
        self.store.begin(signature)
    }

    fn chunk(&mut self, version: u32, offset: u32, data: &[u8]) -> Result<u32, ErrorReply> {
        self.store.chunk(version, offset, data)
    }

    #[inline(never)]
    fn commit(&mut self, version: u32, engine: &mut E, mask: &mut Mask) -> Result<u32, ErrorReply> {
        // Asked again because the answer was lost.
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
