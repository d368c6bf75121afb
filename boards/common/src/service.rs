//! A board at work: the model is checked, then the station answers on the line for good.

use cortex_m::singleton;
use embedded_hal::digital::OutputPin;
use embedded_io::{Read, ReadReady, Write};
use heapless::String;
#[cfg(not(feature = "update"))]
use lightwafer_device::NoUpdates;
use lightwafer_device::protocol::frame::MAX_TEXT;
use lightwafer_device::protocol::message::ResetCause;
#[cfg(feature = "update")]
use lightwafer_device::store::Store;
use lightwafer_device::{Platform, Station, StationMemory, Updates};
#[cfg(feature = "update")]
use lightwafer_device::{Reload, Updater};
use lightwafer_runtime::dies::{DieMap, Mask};
use lightwafer_runtime::image::{ModelFacts, Rounding};
use lightwafer_runtime::{Answer, Engine, EngineFailure, Sentence};
use lightwafer_runtime::{FixedEngine, SelfTestFailed, StartError};

use crate::clock::Clock;
use crate::line::sleep_until;
use crate::log::Shown;
#[cfg(feature = "update")]
use crate::models::update_key;
use crate::models::{Flash, ModelFlash};
use crate::reset::{self, Note};
use crate::signals::{Lines, Signalled, Trigger};
use crate::stack;
use crate::watchdog::Watchdog;

/// What [`serve`] needs to know of a board.
pub struct Board<L, R, B, J, T, F: 'static, W> {
    /// Its name, such as `mps2-an500`.
    pub name: &'static str,
    /// The serial line to the host.
    pub line: L,
    /// Its clock.
    pub clock: Clock,
    /// Its output lines.
    pub lines: Lines<R, B, J>,
    /// Its input line TRIGGER.
    pub trigger: T,
    /// Where it keeps models that come over the line; `None` where it takes none.
    pub models: Option<ModelFlash<F>>,
    /// Its watchdog, running; [`NoWatchdog`](crate::watchdog::NoWatchdog) where it has none.
    pub watchdog: W,
    /// Why it started, as the hardware's own register says; `None` where it has none. A note that the firmware
    /// left in RAM says more and is believed where the two agree (see [`reset`]).
    pub cause: Option<ResetCause>,
}

/// Classifies wafers that come over the line, for good.
///
/// A model image that is damaged, needs more than `arena` or gives a wrong answer to its golden wafer is logged; the
/// station then still says hello, with the reason in the place of the model's name, and refuses to classify. A board
/// that starts because it hung, panicked or faulted leaves the golden wafer out.
pub fn serve<L, R, B, J, T, F, W>(
    board: Board<L, R, B, J, T, F, W>,
    model: &'static [u8],
    arena: &'static mut [i8],
    memory: &'static mut StationMemory,
) -> !
where
    L: Read + ReadReady + Write,
    R: OutputPin,
    B: OutputPin,
    J: OutputPin,
    T: Trigger,
    F: Flash,
    W: Watchdog,
{
    let Board {
        name,
        line,
        clock,
        lines,
        trigger,
        models,
        mut watchdog,
        cause,
    } = board;
    watchdog.feed();
    let cause = started(name, &clock, cause);
    let Some(engine) = idle() else {
        reset::restart()
    };
    let mut engine = BoardEngine::new(engine, arena);
    // A board that has just failed may fail in the test too: it is to say so first.
    let tests = !matches!(
        cause,
        ResetCause::Watchdog | ResetCause::Panic | ResetCause::Fault
    );
    let mut trial = Trial {
        engine: &mut engine,
        mask: memory.mask(),
        tests,
        watchdog: &mut watchdog,
    };
    let updates = open(models, &mut trial, model);
    engine.describe();
    let refuses = engine.refuses();
    let engine = Signalled::new(engine, lines, refuses);
    let platform = BoardPlatform {
        name,
        clock,
        cause,
        watchdog,
    };
    answer(
        line,
        trigger,
        Station::with_updates(memory, engine, platform, updates),
    )
}

/// An engine that is to be started with a model, on a start of the board.
struct Trial<'t, W> {
    engine: &'t mut BoardEngine,
    mask: &'t mut Mask,
    /// Whether the model's golden wafer is to be classified too.
    tests: bool,
    watchdog: &'t mut W,
}

impl<W: Watchdog> Trial<'_, W> {
    /// Whether it runs this image from now on; where it does not, the engine says why.
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

/// Opens the flash for models and starts the model that it says.
#[cfg(feature = "update")]
fn open<F: Flash, W: Watchdog>(
    models: Option<ModelFlash<F>>,
    trial: &mut Trial<'_, W>,
    model: &'static [u8],
) -> Option<&'static mut Updater<'static, F>> {
    let mut updates = models.and_then(|models| updater(models, model));
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

/// By itself, so that what a store takes of the stack does not lie below the check of a model.
#[cfg(feature = "update")]
#[inline(never)]
fn updater<F: Flash>(
    models: ModelFlash<F>,
    model: &'static [u8],
) -> Option<&'static mut Updater<'static, F>> {
    let key = update_key();
    if key.is_none() {
        log!(
            warn,
            "THIS FIRMWARE HAS NO UPDATE KEY: it takes no models (built without LIGHTWAFER_UPDATE_KEY)"
        );
    }
    let ModelFlash { flash, place } = models;
    match Store::open(flash, key) {
        Ok(store) => Some(place.insert(Updater::new(store, model))),
        Err(_) => {
            log!(error, "no updates: the flash for models cannot be used");
            None
        }
    }
}

/// Starts the one model there is.
#[cfg(not(feature = "update"))]
fn open<F: Flash, W: Watchdog>(
    _: Option<ModelFlash<F>>,
    trial: &mut Trial<'_, W>,
    model: &'static [u8],
) -> NoUpdates {
    trial.start(model);
    NoUpdates
}

/// Logs that the board has started and why, and gives the reason.
#[inline(never)]
fn started(name: &str, clock: &Clock, hardware: Option<ResetCause>) -> ResetCause {
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

/// By itself, so that what it takes of the stack does not lie below the check of the model.
#[inline(never)]
fn answer<L, T, E, U, W>(
    mut line: L,
    mut trigger: T,
    mut station: Station<'static, E, BoardPlatform<W>, U>,
) -> !
where
    L: Read + ReadReady + Write,
    T: Trigger,
    E: Engine,
    U: Updates<E>,
    W: Watchdog,
{
    loop {
        let mut triggered = false;
        sleep_until(|| {
            station.platform().feed_watchdog();
            triggered |= trigger.take();
            // A line that fails says so when it is read.
            triggered || line.read_ready().unwrap_or(true)
        });
        if triggered {
            station.trigger();
        } else if station.poll(&mut line).is_err() {
            break;
        }
    }
    // No line of ours ends; if one does, starting over is the only way to be heard again.
    log!(error, "the serial line failed");
    reset::restart()
}

const FIRMWARE: &str = env!("CARGO_PKG_VERSION");

/// The board as the station sees it.
struct BoardPlatform<W> {
    name: &'static str,
    clock: Clock,
    cause: ResetCause,
    watchdog: W,
}

impl<W: Watchdog> Platform for BoardPlatform<W> {
    fn board(&self) -> &str {
        self.name
    }

    fn firmware(&self) -> &str {
        FIRMWARE
    }

    fn reset_cause(&self) -> ResetCause {
        self.cause
    }

    fn uptime_us(&mut self) -> u64 {
        self.clock.microseconds()
    }

    fn instructions(&mut self) -> Option<u64> {
        self.clock.instructions()
    }

    fn stack_max(&mut self) -> u32 {
        stack::deepest()
    }

    fn starts(&mut self) -> [u32; ResetCause::COUNT] {
        reset::starts()
    }

    fn feed_watchdog(&mut self) {
        self.watchdog.feed();
    }
}

/// The engine of a board, and why it refuses where it runs no model.
struct BoardEngine {
    engine: &'static mut FixedEngine<'static, 'static>,
    /// Until the first model is loaded.
    arena: Option<&'static mut [i8]>,
    image: Option<&'static [u8]>,
    /// The image that failed its test, should that be loaded again.
    failed: Option<&'static [u8]>,
    refusal: Option<String<MAX_TEXT>>,
}

impl BoardEngine {
    fn new(engine: &'static mut FixedEngine<'static, 'static>, arena: &'static mut [i8]) -> Self {
        Self {
            engine,
            arena: Some(arena),
            image: None,
            failed: None,
            refusal: None,
        }
    }

    /// Whether it refuses every wafer.
    fn refuses(&self) -> bool {
        self.refusal.is_some()
    }

    /// Logs what it runs.
    #[inline(never)]
    fn describe(&self) {
        let facts = self.engine.facts();
        if !self.refuses() {
            log!(
                info,
                "model {=str}: {=u32} bytes, {=u64} MACs, {=u32} bytes of arena",
                facts.name,
                facts.model_bytes,
                facts.macs,
                facts.arena_bytes
            );
        }
    }

    /// Runs this image from now on.
    #[inline(never)]
    fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        let loaded = match self.arena.take() {
            Some(arena) => self.engine.start(image, arena),
            None => self.engine.load(image),
        };
        self.image = Some(image);
        let failed = |failed: &'static [u8]| core::ptr::eq(failed, image);
        match &loaded {
            Err(error) => self.refuse(error.sentence()),
            Ok(()) if self.failed.is_some_and(failed) => self.refuse(SelfTestFailed.sentence()),
            Ok(()) => self.refusal = None,
        }
        loaded
    }

    /// Classifies the model's golden wafer, and refuses every other where the answer is wrong.
    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        let passed = self.engine.self_test(mask);
        match &passed {
            Ok(()) => (self.failed, self.refusal) = (None, None),
            Err(error) => {
                self.failed = self.image;
                self.refuse(error.sentence());
            }
        }
        passed
    }

    /// Refuses every wafer from now on.
    #[inline(never)]
    fn refuse(&mut self, reason: Sentence) {
        log!(error, "no engine: {}", Shown(&reason));
        let mut text = String::new();
        // What does not fit is cut; the log has it all.
        let _ = text.push_str("none: ");
        reason.append_to(&mut text);
        self.refusal = Some(text);
    }
}

/// An engine in a static, where it is started: it would be a good part of the stack. `None` the second
/// time.
#[inline(never)]
fn idle() -> Option<&'static mut FixedEngine<'static, 'static>> {
    singleton!(: FixedEngine<'static, 'static> = FixedEngine::idle())
}

impl Engine for BoardEngine {
    fn facts(&self) -> ModelFacts<'_> {
        match &self.refusal {
            None => self.engine.facts(),
            Some(reason) => ModelFacts {
                name: reason,
                created: "",
                parameters: 0,
                macs: 0,
                arena_bytes: 0,
                model_bytes: 0,
                rounding: Rounding::SingleUp,
                sha256: [0; 32],
            },
        }
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        // It may run a model, but one that failed its test.
        if self.refuses() {
            return Err(EngineFailure);
        }
        let answer = self.engine.classify(map, mask);
        if let Ok(answer) = &answer {
            log!(
                info,
                "{=usize}x{=usize} dies: class {=str}, {=u32} mask pixels",
                map.rows(),
                map.cols(),
                answer.class.label(),
                mask.count()
            );
        }
        answer
    }
}

#[cfg(feature = "update")]
impl Reload<'static> for BoardEngine {
    fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        BoardEngine::load(self, image)
    }

    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        BoardEngine::self_test(self, mask)
    }
}
