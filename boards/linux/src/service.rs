//! The station at work: answers on the line until a signal comes, over every loss of the line.

use std::time::{Duration, Instant};

use lightwafer_device::protocol::message::ResetCause;
use lightwafer_device::{LineError, Platform, Station, StationMemory};
use lightwafer_runtime::dies::{DieMap, Mask};
use lightwafer_runtime::image::ModelFacts;
use lightwafer_runtime::{Answer, Engine, EngineFailure};

use crate::line::Tty;

/// A line that is lost sooner after its opening than this is not opened again at once.
const SHORT: Duration = Duration::from_secs(1);

/// Classifies wafers that come over the line until the daemon is to end.
pub fn serve(engine: &mut impl Engine, mut line: Tty, name: &str) {
    let mut memory = Box::new(StationMemory::new());
    let platform = Linux {
        name,
        start: Instant::now(),
    };
    let mut station = Station::new(&mut memory, Logged(engine), platform);
    log::info!("{name} answers on {}", line.name());
    ready(line.name());
    loop {
        let opened = Instant::now();
        let Err(error) = station.serve(&mut line);
        if is_stop(&error) {
            break;
        }
        log::warn!("{}: {error}", line.name());
        if let Some(rest) = SHORT.checked_sub(opened.elapsed()) {
            std::thread::sleep(rest);
        }
        if !line.reopen() {
            break;
        }
        log::info!("{} is open again", line.name());
    }
    let statistics = station.statistics();
    log::info!(
        "ending: {} wafers in {} requests, {} frames corrupted, {} truncated",
        statistics.wafers,
        statistics.requests,
        statistics.corrupted,
        statistics.truncated
    );
}

fn is_stop(error: &LineError<std::io::Error>) -> bool {
    matches!(error, LineError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionAborted)
}

/// Tells systemd, where it is there.
fn ready(line: &str) {
    let status = format!("answering on {line}");
    let states = [
        sd_notify::NotifyState::Ready,
        sd_notify::NotifyState::Status(&status),
    ];
    if let Err(error) = sd_notify::notify(&states) {
        log::warn!("cannot tell systemd that the daemon is ready: {error}");
    }
}

/// This machine as the station sees it.
struct Linux<'n> {
    name: &'n str,
    start: Instant,
}

impl Platform for Linux<'_> {
    fn board(&self) -> &str {
        self.name
    }

    fn firmware(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// Of the daemon: Linux does not say why the machine was reset.
    fn reset_cause(&self) -> ResetCause {
        ResetCause::PowerOn
    }

    fn uptime_us(&mut self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// An engine that logs its answers.
struct Logged<'e, E>(&'e mut E);

impl<E: Engine> Engine for Logged<'_, E> {
    fn facts(&self) -> ModelFacts<'_> {
        self.0.facts()
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        let start = Instant::now();
        let answer = self.0.classify(map, mask);
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let (rows, cols) = (map.rows(), map.cols());
        match &answer {
            Ok(answer) => log::info!(
                "{rows}x{cols} dies: class {}, {} mask pixels, {ms:.1} ms",
                answer.class.label(),
                mask.count()
            ),
            Err(error) => log::error!("{rows}x{cols} dies: {error}"),
        }
        answer
    }
}
