//! A board at work: it starts a model, then answers on the serial port and never ends.

use embedded_hal::digital::OutputPin;
use embedded_io::{Read, ReadReady, Write};
use lightwafer_device::protocol::message::ResetCause;
use lightwafer_device::{Platform, Station, StationMemory, Updates};
use lightwafer_runtime::Engine;

use crate::board::{Board, BoardPlatform};
use crate::boot::{Trial, open, started};
use crate::engine::BoardEngine;
use crate::models::MappedFlash;
use crate::reset;
use crate::serial::sleep_until;
use crate::signals::{Signalled, Trigger};
use crate::watchdog::Watchdog;

/// Classifies wafers that come over the serial port. It never returns.
///
/// If the model image is damaged, needs more than `arena`, or gives a wrong answer to its golden wafer, the board logs it; the
/// station then still says hello, with the reason in place of the model's name, and refuses to classify. A board
/// that starts because it hung, panicked or faulted skips the golden wafer.
pub fn serve<S, R, B, J, T, F, W>(
    board: Board<S, R, B, J, T, F, W>,
    model: &'static [u8],
    arena: &'static mut [i8],
    memory: &'static mut StationMemory,
) -> !
where
    S: Read + ReadReady + Write,
    R: OutputPin,
    B: OutputPin,
    J: OutputPin,
    T: Trigger,
    F: MappedFlash,
    W: Watchdog,
{
    let Board {
        name,
        serial,
        clock,
        outputs,
        trigger,
        models,
        mut watchdog,
        cause,
    } = board;
    watchdog.feed();
    let cause = started(name, &clock, cause);
    let Some(mut engine) = BoardEngine::new(arena) else {
        reset::restart()
    };
    // What has just failed may fail in the self-test too: the board must first be able to say so.
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
    let engine = Signalled::new(engine, outputs, refuses);
    let platform = BoardPlatform {
        name,
        clock,
        cause,
        watchdog,
    };
    answer(
        serial,
        trigger,
        Station::with_updates(memory, engine, platform, updates),
    )
}

/// Answers for good. Not inlined: its stack frame would lie below the check of the model.
#[inline(never)]
fn answer<S, T, E, U, W>(
    mut serial: S,
    mut trigger: T,
    mut station: Station<'static, E, BoardPlatform<W>, U>,
) -> !
where
    S: Read + ReadReady + Write,
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
            // A port that fails says so when it is read.
            triggered || serial.read_ready().unwrap_or(true)
        });
        if triggered {
            station.trigger();
        } else if station.poll(&mut serial).is_err() {
            break;
        }
    }
    // No board's port ends; if one does, only a new start can bring it back.
    log!(error, "the serial port failed");
    reset::restart()
}
