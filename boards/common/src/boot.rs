//! Starting: why the board started, and which model it runs.

#[cfg(not(feature = "update"))]
use lightwafer_device::NoUpdates;
#[cfg(feature = "update")]
use lightwafer_device::Updater;
use lightwafer_device::protocol::message::ResetCause;
#[cfg(feature = "update")]
use lightwafer_device::store::Store;
use lightwafer_runtime::dies::Mask;

use crate::board::FIRMWARE;
use crate::clock::Clock;
use crate::engine::BoardEngine;
#[cfg(feature = "update")]
use crate::models::update_key;
use crate::models::{MappedFlash, ModelStorage};
use crate::reset::Note;
use crate::watchdog::Watchdog;

/// What it takes to try a model.
pub(crate) struct Trial<'t, W> {
    pub(crate) engine: &'t mut BoardEngine,
    pub(crate) mask: &'t mut Mask,
    /// Whether the model must also answer its golden wafer rightly.
    pub(crate) tests: bool,
    pub(crate) watchdog: &'t mut W,
}

impl<W: Watchdog> Trial<'_, W> {
    /// Whether the engine runs this image from now on; if not, the engine says why.
    #[inline(never)]
    fn start(&mut self, image: &'static [u8]) -> bool {
        if self.engine.load(image).is_err() {
            return false;
        }
        self.watchdog.feed();
        let passed = !self.tests || self.engine.self_test(self.mask).is_ok();
        self.watchdog.feed();
        passed
    }
}

/// Opens the flash for models and starts the model that it names, or the firmware's own.
#[cfg(feature = "update")]
pub(crate) fn open<F: MappedFlash, W: Watchdog>(
    storage: Option<ModelStorage<F>>,
    trial: &mut Trial<'_, W>,
    model: &'static [u8],
) -> Option<&'static mut Updater<'static, F>> {
    let mut updates = storage.and_then(|storage| updater(storage, model));
    let mut runs = false;
    if let Some(updates) = &mut updates {
        updates.boot(|image| trial.start(image));
        runs = updates.store().running().is_some();
    }
    if !runs {
        trial.start(model);
    }
    updates
}

/// What takes models over the line. Not inlined: its stack frame would lie below the check of a model.
#[cfg(feature = "update")]
#[inline(never)]
#[expect(
    clippy::mut_from_ref,
    reason = "the updater lies in the storage's own static, not in the model"
)]
fn updater<F: MappedFlash>(
    storage: ModelStorage<F>,
    model: &'static [u8],
) -> Option<&'static mut Updater<'static, F>> {
    let key = update_key();
    if key.is_none() {
        log!(
            warn,
            "THIS FIRMWARE HAS NO UPDATE KEY: it takes no models (built without LIGHTWAFER_UPDATE_KEY)"
        );
    }
    let ModelStorage { flash, updater } = storage;
    match Store::open(flash, key) {
        Ok(store) => Some(updater.insert(Updater::new(store, model))),
        Err(error) => {
            log!(error, "no updates: {}", error);
            None
        }
    }
}

/// Starts the firmware's own model.
#[cfg(not(feature = "update"))]
pub(crate) fn open<F: MappedFlash, W: Watchdog>(
    _: Option<ModelStorage<F>>,
    trial: &mut Trial<'_, W>,
    model: &'static [u8],
) -> NoUpdates {
    trial.start(model);
    NoUpdates
}

/// Logs that the board has started and why, and returns the cause.
#[inline(never)]
pub(crate) fn started(name: &str, clock: &Clock, hardware: Option<ResetCause>) -> ResetCause {
    let note = Note::take(hardware);
    log!(
        info,
        "{=str} firmware {=str}, started: {=str}, instruction counter: {=bool}",
        name,
        FIRMWARE,
        note.cause.name(),
        clock.instructions().is_some()
    );
    match note.cause {
        ResetCause::Panic => {
            log!(
                warn,
                "before: a panic at {=str}:{=u32}",
                note.file(),
                note.at
            )
        }
        ResetCause::Fault => log!(
            warn,
            "before: a fault at {=u32:#010x}, CFSR {=u32:#010x}",
            note.at,
            note.status
        ),
        ResetCause::Watchdog => log!(warn, "before: it hung at {=u32:#010x}", note.at),
        _ => {}
    }
    note.cause
}
