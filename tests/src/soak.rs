//! A board at work for hours, on a line that goes wrong: the real firmware in QEMU, the real host library, and between
//! them every fault of [`crate::fault`], cables that are pulled, and boards that are reset or hang in the middle.
//!
//! Each wafer's answer is compared, bit for bit, with that of the engine on this machine. The host library sends a wafer
//! that the board lost anew once; a wafer that is lost twice (a reset and, say, an old frame that comes again) is queued
//! again here, as a caller would do, and counted. Each wafer meets at most one [`Event`].

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, io};

use anyhow::{Context, Result, bail, ensure};
use lightwafer_device::protocol::frame::{FrameDecoder, decode};
use lightwafer_device::protocol::message::{Command, Request};
use lightwafer_equipment::emulator::{Emulator, EmulatorOptions};
use lightwafer_equipment::{
    Board, BoardOptions, ClassifyError, LineStatistics, Report, ResetCause, SerialLine, Statistics,
    Transport,
};
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::dies::{Class, DieMap, Mask};
use lightwafer_runtime::image::Model;
use serde::Serialize;

use crate::debugger::Debugger;
use crate::fault::{Direction, Fault, Way};

/// How many wafers, and what happens to them.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Wafers to classify.
    pub wafers: u32,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Chance that a frame meets a fault.
    pub frames: f64,
    /// A wafer in so many meets an [`Event`] of each kind; none where 0.
    pub events: [(Event, u32); 4],
    /// As [`EmulatorOptions::icount_shift`].
    pub icount_shift: Option<u8>,
}

impl Plan {
    /// The usual.
    pub fn new(wafers: u32, seed: u64) -> Self {
        Self {
            wafers,
            seed,
            frames: 0.02,
            events: [
                (Event::ResetInTransfer, 40),
                (Event::ResetInInference, 40),
                (Event::Hang, 400),
                (Event::Unplugged, 100),
            ],
            icount_shift: None,
        }
    }
}

/// What can happen to a board or its cable in the middle of a wafer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Event {
    /// The board is reset in the middle of a piece of the map.
    ResetInTransfer,
    /// The board is reset while it computes.
    ResetInInference,
    /// The inference hangs, until the watchdog resets the board.
    Hang,
    /// The cable is pulled in the middle of a wafer, and plugged in again.
    Unplugged,
}

/// What a run came to. It is given only where every answer was right.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The board.
    pub board: String,
    /// The plan's.
    pub seed: u64,
    /// Wafers classified, each with the right answer.
    pub wafers: u32,
    /// Wafers that were queued again, by why.
    pub queued_again: BTreeMap<&'static str, u64>,
    /// Faults of frames, by kind and direction.
    pub faults: BTreeMap<String, u64>,
    /// What happened to the board and its cable.
    pub events: BTreeMap<Event, u64>,
    /// How the host library repaired it.
    pub repairs: LineStatistics,
    /// What the board counted, as far as it was asked before a reset.
    pub seen: Statistics,
    /// How often the board started, by cause.
    pub starts: BTreeMap<&'static str, u32>,
    /// Deepest stack, in bytes, within each tenth of the wafers.
    pub stack: Vec<u32>,
    /// How long it took.
    pub seconds: f64,
}

/// A line with faults, to an emulated board.
struct Rough {
    line: SerialLine,
    emulator: Emulator,
    debugger: Debugger,
    rng: fastrand::Rng,
    rate: f64,
    ways: [Way; 2],
    /// The beginning of a frame from the board.
    partial: Vec<u8>,
    to_host: VecDeque<u8>,
    plugged: bool,
    /// For the wafer at hand.
    event: Option<Event>,
    reset_at: Option<Instant>,
    faults: BTreeMap<(Fault, Direction), u64>,
    events: BTreeMap<Event, u64>,
    /// Of the rig itself, not of the line.
    broken: Option<anyhow::Error>,
}

/// Faults of frames alone: the rest are [`Event`]s here.
const FRAME_FAULTS: usize = 10;

impl Rough {
    fn disturb(&mut self, direction: Direction, frame: &[u8]) -> Vec<u8> {
        let way = &mut self.ways[direction as usize];
        way.remember(frame);
        let mut out = way.late();
        let mut frame = frame.to_vec();
        if self.rng.f64() < self.rate {
            let fault = Fault::ALL[self.rng.usize(..FRAME_FAULTS)];
            way.inflict(fault, &mut frame, &mut self.rng);
            *self.faults.entry((fault, direction)).or_default() += 1;
        }
        out.extend(frame);
        out
    }

    /// Whether the wafer's event is due with this request.
    fn due(&mut self, frame: &[u8]) -> Option<Event> {
        let mut decoder = FrameDecoder::new();
        let payload = frame.iter().find_map(|byte| match decoder.push(*byte)? {
            Ok(payload) => Some(payload.to_vec()),
            Err(_) => None,
        })?;
        let request = decode::<Request<'_>>(&payload).ok()?;
        let event = self.event?;
        let due = match (event, request.command) {
            (Event::ResetInTransfer, Command::Dies { .. }) => true,
            (Event::ResetInInference | Event::Hang, Command::Run { .. }) => true,
            (Event::Unplugged, Command::Dies { .. } | Command::Run { .. }) => self.rng.bool(),
            _ => false,
        };
        due.then(|| {
            self.event = None;
            event
        })
    }

    fn happened(&mut self, event: Event) {
        *self.events.entry(event).or_default() += 1;
    }

    fn reset(&mut self, event: Event) {
        self.happened(event);
        if let Err(error) = self.emulator.reset() {
            self.broken.get_or_insert(error.into());
        }
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        if !self.plugged {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match self.due(frame) {
            None => {
                let bytes = self.disturb(Direction::ToBoard, frame);
                self.line.write(&bytes)
            }
            Some(Event::ResetInTransfer) => {
                self.line.write(&frame[..frame.len() / 2])?;
                self.reset(Event::ResetInTransfer);
                Ok(())
            }
            Some(Event::ResetInInference) => {
                let wait = Duration::from_millis(self.rng.u64(5..100));
                self.reset_at = Some(Instant::now() + wait);
                self.line.write(frame)
            }
            Some(Event::Hang) => {
                self.happened(Event::Hang);
                if let Err(error) = self.debugger.make_inference_hang() {
                    self.broken.get_or_insert(error);
                }
                self.line.write(frame)
            }
            Some(Event::Unplugged) => {
                self.happened(Event::Unplugged);
                self.plugged = false;
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if !self.plugged {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let end = Instant::now() + timeout;
        while self.to_host.is_empty() {
            let now = Instant::now();
            if self.reset_at.is_some_and(|at| at <= now) {
                self.reset_at = None;
                self.reset(Event::ResetInInference);
            }
            let until = self.reset_at.unwrap_or(end).min(end);
            let mut bytes = [0; 1024];
            let count = self
                .line
                .read(&mut bytes, until.saturating_duration_since(now))?;
            for byte in &bytes[..count] {
                self.partial.push(*byte);
                // A zero that ends something; the one in front of a frame stays with it.
                if *byte == 0 && self.partial.len() > 1 {
                    let frame = std::mem::take(&mut self.partial);
                    let frame = self.disturb(Direction::ToHost, &frame);
                    self.to_host.extend(frame);
                }
            }
            if count == 0 && Instant::now() >= end {
                // What stalled comes now that the host has given up.
                let late = self.ways[Direction::ToHost as usize].late();
                self.to_host.extend(late);
                let late = self.ways[Direction::ToBoard as usize].late();
                self.line.write(&late)?;
                return Ok(0);
            }
        }
        let count = buffer.len().min(self.to_host.len());
        for (place, byte) in buffer.iter_mut().zip(self.to_host.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.plugged = true;
        self.to_host.clear();
        self.partial.clear();
        self.line.reopen()
    }
}

/// The host's end: the soak keeps a hand on the line too.
#[derive(Clone)]
struct Shared(Rc<RefCell<Rough>>);

impl Transport for Shared {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer, timeout)
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().write(bytes)
    }
    fn discard_output(&mut self) {
        self.0.borrow_mut().line.discard_output();
    }
    fn reopen(&mut self) -> io::Result<()> {
        self.0.borrow_mut().reopen()
    }
    fn name(&self) -> &str {
        "the rough line"
    }
}

/// One wafer of the run.
#[derive(Clone, Copy)]
struct Wafer {
    rows: u16,
    cols: u16,
    class: Class,
    seed: u64,
    event: Option<Event>,
    tries: u32,
}

impl Wafer {
    fn draw(plan: &Plan, at: u32) -> Self {
        let mut rng = fastrand::Rng::with_seed(plan.seed << 32 | u64::from(at));
        let (rows, cols) = match rng.u8(..8) {
            0..4 => (52, 52),
            4..7 => (rng.u16(10..=90), rng.u16(10..=90)),
            _ => (rng.u16(1..=256), rng.u16(1..=256)),
        };
        let happens = |&(event, of): &(Event, u32)| (of > 0 && rng.u32(..of) == 0).then_some(event);
        let event = plan.events.iter().find_map(happens);
        let class = Class::all().nth(at as usize % Class::all().count());
        Self {
            rows,
            cols,
            class: class.unwrap_or_else(|| unreachable!("there are classes")),
            seed: plan.seed.wrapping_add(at.into()),
            event,
            tries: 0,
        }
    }

    /// Its map, in `packed`.
    fn map<'p>(&self, packed: &'p mut [u8]) -> Result<DieMap<'p>> {
        let dies = synthesize(self.class, self.seed, self.rows, self.cols);
        DieMap::pack(self.rows, self.cols, &dies, packed).context("dies")
    }
}

impl fmt::Display for Wafer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wafer of {}×{} dies, class {}, seed {}",
            self.rows,
            self.cols,
            self.class.label(),
            self.seed
        )
    }
}

/// Short waits: the line is one of this machine.
fn patience() -> BoardOptions {
    BoardOptions {
        baud: u32::MAX,
        request_timeout: Duration::from_millis(250),
        run_repeat: Duration::from_secs(3),
        ..BoardOptions::default()
    }
}

/// A wafer that fails so often is a finding.
const MOST_TRIES: u32 = 4;
/// How much deeper the stack may get in the second half of a run than in the first: an interrupt in the deepest call.
const INTERRUPT: u32 = 512;
/// Wafers between two questions for the board's counters.
const BETWEEN: u32 = 8;

/// Runs a plan on an emulated board. `progress` hears of each wafer that is done.
///
/// # Errors
/// The first wrong answer, lost wafer, start that nothing explains, growth of the stack, or failure of the rig.
pub fn run(
    machine: &str,
    firmware: &Path,
    model: &Path,
    plan: &Plan,
    mut progress: impl FnMut(u32),
) -> Result<Outcome> {
    let start = Instant::now();
    let image = std::fs::read(model).with_context(|| model.display().to_string())?;
    let image = AlignedBox::from(image);
    let model = Model::new_checked(&image).context("not a model")?;
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).context("not a model")?;

    let (shared, _socket) = boot(machine, firmware, plan)?;
    let mut board = Board::over_with(shared.clone(), patience())?;

    let mut queue: VecDeque<Wafer> = (0..plan.wafers).map(|at| Wafer::draw(plan, at)).collect();
    let mut queued_again = BTreeMap::new();
    let (mut seen, mut last) = (Statistics::default(), Statistics::default());
    let mut stack = vec![0u32; 10];
    let mut done = 0;
    while let Some(mut wafer) = queue.pop_front() {
        let what = wafer.to_string();
        let mut packed = vec![0; DieMap::packed_len(wafer.rows, wafer.cols).context("grid")?];
        let map = wafer.map(&mut packed)?;
        let answer = match ask(&shared, &mut board, &mut wafer, &map).context(what.clone())? {
            Ok(report) => report,
            Err(why) => {
                *queued_again.entry(why).or_default() += 1;
                queue.push_back(wafer);
                continue;
            }
        };
        compare(&answer, &map, &mut engine).context(what)?;
        done += 1;
        if done % BETWEEN == 0 || done == plan.wafers {
            let now = board.statistics().context("statistics")?;
            if now.uptime_ms < last.uptime_ms {
                seen = sum(&seen, &last);
            }
            last = now;
            if let Some(deepest) = stack.get_mut((10 * (done - 1) / plan.wafers) as usize) {
                *deepest = (*deepest).max(now.stack_max);
            }
        }
        progress(done);
    }
    let health = board.health().context("health")?;
    let rough = shared.0.borrow();
    explained(&rough.events, health.starts)?;
    steady(&stack)?;
    Ok(Outcome {
        board: board.facts().board.clone(),
        seed: plan.seed,
        wafers: done,
        queued_again,
        faults: rough
            .faults
            .iter()
            .map(|((fault, way), count)| (format!("{fault:?} {way:?}"), *count))
            .collect(),
        events: rough.events.clone(),
        repairs: board.line(),
        seen: sum(&seen, &last),
        starts: ResetCause::ALL
            .into_iter()
            .map(ResetCause::name)
            .zip(health.starts)
            .collect(),
        stack,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// An emulated board behind a line that goes wrong, and its debugger's socket.
fn boot(machine: &str, firmware: &Path, plan: &Plan) -> Result<(Shared, Removed)> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let socket = format!("lightwafer-soak-{}-{number}", std::process::id());
    let socket = std::env::temp_dir().join(socket);
    let mut options = EmulatorOptions::new(machine, firmware);
    options.icount_shift = plan.icount_shift;
    options.debugger = Some(socket.clone());
    let removed = Removed(socket.clone());
    let mut emulator = Emulator::start(&options)?;
    let line = emulator.line()?;
    emulator.resume()?;
    let rough = Rough {
        line,
        emulator,
        debugger: Debugger::new(socket, firmware)?,
        rng: fastrand::Rng::with_seed(plan.seed),
        rate: plan.frames,
        ways: Default::default(),
        partial: Vec::new(),
        to_host: VecDeque::new(),
        plugged: true,
        event: None,
        reset_at: None,
        faults: BTreeMap::new(),
        events: BTreeMap::new(),
        broken: None,
    };
    Ok((Shared(Rc::new(RefCell::new(rough))), removed))
}

/// Sends a wafer. Gives the report, or why the wafer has to be sent again.
fn ask(
    shared: &Shared,
    board: &mut Board<Shared>,
    wafer: &mut Wafer,
    map: &DieMap<'_>,
) -> Result<Result<Report, &'static str>> {
    {
        let mut rough = shared.0.borrow_mut();
        rough.event = wafer.event.take();
        rough.reset_at = None;
    }
    let answer = board.classify(map);
    if let Some(error) = shared.0.borrow_mut().broken.take() {
        return Err(error);
    }
    let error = match answer {
        Ok(report) => return Ok(Ok(report)),
        Err(error) => error,
    };
    let why = match &error {
        ClassifyError::Lost { .. } => "lost twice",
        ClassifyError::Refused { .. } => "refused",
        ClassifyError::BadReport { .. } => "contradicted",
        _ => return Err(error.into()),
    };
    wafer.tries += 1;
    if wafer.tries >= MOST_TRIES {
        return Err(error.into());
    }
    Ok(Err(why))
}

/// Whether every start of the board is one that the run brought about.
fn explained(events: &BTreeMap<Event, u64>, starts: [u32; ResetCause::COUNT]) -> Result<()> {
    let count = |event| events.get(&event).copied().unwrap_or(0);
    let (resets, hangs) = (
        count(Event::ResetInTransfer) + count(Event::ResetInInference),
        count(Event::Hang),
    );
    let [power, external, software, watchdog, panic, fault] = starts.map(u64::from);
    ensure!(
        (power, external, watchdog) == (1, resets, hangs),
        "{resets} resets and {hangs} hangs, but starts are {starts:?}"
    );
    ensure!(
        (software, panic, fault) == (0, 0, 0),
        "starts that nothing explains: {starts:?}"
    );
    Ok(())
}

/// Whether the stack gets no deeper in the second half of a run; `stack` is its depth in equal parts of it.
fn steady(stack: &[u32]) -> Result<()> {
    let (first, second) = stack.split_at(stack.len() / 2);
    let [first, second] = [first, second].map(|half| half.iter().copied().max().unwrap_or(0));
    ensure!(
        first == 0 || second <= first + INTERRUPT,
        "the stack got deeper: {stack:?}"
    );
    Ok(())
}

/// A socket that goes when the run ends.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The board's answer against this machine's.
fn compare(report: &Report, map: &DieMap<'_>, engine: &mut FixedEngine<'_, '_>) -> Result<()> {
    let mut mask = Mask::new();
    let expected = engine.infer(map, &mut mask);
    let same = report.class == expected.class
        && report.logits == expected.logits
        && report.raw_scores == expected.scores
        && report.embedding[..] == expected.embedding[..]
        && report.mask == mask;
    if !same {
        bail!("A WRONG ANSWER: {report:?}");
    }
    Ok(())
}

/// The sum of two boards' counters.
pub fn sum(a: &Statistics, b: &Statistics) -> Statistics {
    Statistics {
        uptime_ms: b.uptime_ms,
        wafers: a.wafers + b.wafers,
        requests: a.requests + b.requests,
        repeated: a.repeated + b.repeated,
        truncated: a.truncated + b.truncated,
        oversized: a.oversized + b.oversized,
        corrupted: a.corrupted + b.corrupted,
        malformed: a.malformed + b.malformed,
        overruns: a.overruns + b.overruns,
        refused: a.refused + b.refused,
        stack_max: a.stack_max.max(b.stack_max),
    }
}
