//! A board at work: the model is checked, then the station answers on the line for good.

use core::fmt::Write as _;

use cortex_m::singleton;
use embedded_hal::digital::OutputPin;
use embedded_io::{Read, Write};
use heapless::String;
use lightwafer_runtime::exec::FixedEngine;
use lightwafer_runtime::model::{ModelFacts, Rounding};
use lightwafer_runtime::serial::frame::MAX_TEXT;
use lightwafer_runtime::serial::message::ResetCause;
use lightwafer_runtime::serial::{Platform, Station, StationMemory};
use lightwafer_runtime::wafer::{DieMap, Mask};
use lightwafer_runtime::{Answer, Engine, EngineFailure};

use crate::clock::Clock;
use crate::log::Shown;
use crate::reset::{self, Note};
use crate::signals::Signalled;
use crate::stack;

/// What [`serve`] needs to know of a board.
pub struct Board<L, R, B> {
    /// Its name, such as `mps2-an500`.
    pub name: &'static str,
    /// The serial line to the host.
    pub line: L,
    /// Its clock.
    pub clock: Clock,
    /// High while the board takes wafers.
    pub ready: R,
    /// High while it classifies one.
    pub busy: B,
}

/// Classifies wafers that come over the line, for good.
///
/// A model image that is damaged or needs more than `arena` is logged; the station then still says
/// hello, with the reason in the place of the model's name, and refuses to classify.
pub fn serve<L, R, B>(
    board: Board<L, R, B>,
    model: &'static [u8],
    arena: &'static mut [i8],
    memory: &'static mut StationMemory,
) -> !
where
    L: Read + Write,
    R: OutputPin,
    B: OutputPin,
{
    let cause = started(board.name, &board.clock);
    let engine = BoardEngine::new(model, arena);
    answer(board, engine, cause, memory)
}

/// Logs that the board has started and why, and gives the reason.
#[inline(never)]
fn started(name: &str, clock: &Clock) -> ResetCause {
    let note = Note::take();
    log!(
        info,
        "{=str} firmware {=str}, started: {=str}, instruction counter: {=bool}",
        name,
        FIRMWARE,
        name_of(note.cause),
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
        _ => {}
    }
    note.cause
}

/// By itself, so that what it takes of the stack does not lie below the check of the model.
#[inline(never)]
fn answer<L, R, B>(
    board: Board<L, R, B>,
    engine: BoardEngine,
    cause: ResetCause,
    memory: &'static mut StationMemory,
) -> !
where
    L: Read + Write,
    R: OutputPin,
    B: OutputPin,
{
    let refuses = matches!(engine, BoardEngine::Refuses(_));
    let engine = Signalled::new(engine, board.ready, board.busy, refuses);
    let platform = BoardPlatform {
        name: board.name,
        clock: board.clock,
        cause,
    };
    let mut line = board.line;
    let mut station = Station::new(memory, engine, platform);
    let Err(_) = station.serve(&mut line);
    // No line of ours ends; if one does, starting over is the only way to be heard again.
    log!(error, "the serial line failed");
    reset::restart()
}

const FIRMWARE: &str = env!("CARGO_PKG_VERSION");

fn name_of(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::PowerOn => "power on",
        ResetCause::External => "external reset",
        ResetCause::Software => "software reset",
        ResetCause::Watchdog => "watchdog",
        ResetCause::Panic => "panic",
        ResetCause::Fault => "fault",
    }
}

/// The board as the station sees it.
struct BoardPlatform {
    name: &'static str,
    clock: Clock,
    cause: ResetCause,
}

impl Platform for BoardPlatform {
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
}

/// The engine of a board: the model's, or one that says why there is none.
enum BoardEngine {
    Runs(&'static mut FixedEngine<'static, 'static>),
    Refuses(String<MAX_TEXT>),
}

impl BoardEngine {
    #[inline(never)]
    fn new(image: &'static [u8], arena: &'static mut [i8]) -> Self {
        let given = arena.len();
        let Some(engine) = idle() else {
            return Self::refuse(format_args!("none: there is an engine already"));
        };
        if let Err(error) = engine.start(image, arena) {
            log!(error, "no engine: {}", Shown(&error));
            return Self::refuse(format_args!("none: {error}"));
        }
        let facts = engine.facts();
        log!(
            info,
            "model {=str}: {=u32} bytes, {=u64} MACs, arena {=u32} of {=usize} bytes",
            facts.name,
            facts.model_bytes,
            facts.macs,
            facts.arena_bytes,
            given
        );
        Self::Runs(engine)
    }

    fn refuse(reason: core::fmt::Arguments<'_>) -> Self {
        let mut text = String::new();
        // What does not fit is cut; the log has it all.
        let _ = text.write_fmt(reason);
        Self::Refuses(text)
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
        match self {
            Self::Runs(engine) => engine.facts(),
            Self::Refuses(reason) => ModelFacts {
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
        let Self::Runs(engine) = self else {
            return Err(EngineFailure);
        };
        let answer = engine.classify(map, mask);
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
