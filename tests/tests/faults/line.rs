//! A serial line that goes wrong on purpose, with a whole board at its other end.
//!
//! What the host writes reaches the real `Station` in the same call, and its answers wait to be read;
//! on the way, in either direction, frames meet faults drawn from a seed. Everything is counted.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lightwafer_equipment::Transport;
use lightwafer_runtime::Engine;
use lightwafer_runtime::serial::message::{ResetCause, Statistics};
use lightwafer_runtime::serial::{Platform, Station, StationMemory};

/// What can happen to a frame (or, last three, to the line and the board).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// One bit is flipped.
    FlippedBit,
    /// Up to sixteen bits anywhere are flipped.
    FlippedBits,
    /// One byte is lost.
    LostByte,
    /// The whole frame is lost.
    LostFrame,
    /// The frame comes twice.
    Repeated,
    /// A frame from before comes once more, ahead of this one.
    Replayed,
    /// The frame ends early.
    Cut,
    /// A random byte gets in.
    InsertedByte,
    /// Noise in place of a part of the frame, up to 1,500 bytes.
    Burst,
    /// The frame comes late, after the host has given up waiting for it.
    Stalled,
    /// The board restarts and knows nothing any more.
    BoardReset,
    /// The board's driver loses bytes and says so.
    Overrun,
    /// The cable is pulled and plugged in again.
    Unplugged,
}

use Fault::*;

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        FlippedBit,
        FlippedBits,
        LostByte,
        LostFrame,
        Repeated,
        Replayed,
        Cut,
        InsertedByte,
        Burst,
        Stalled,
        BoardReset,
        Overrun,
        Unplugged,
    ];
}

/// A direction of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Requests.
    ToBoard = 0,
    /// Answers.
    ToHost = 1,
}

use Direction::*;

/// The board around the station: this machine's clock.
#[derive(Debug)]
pub struct Bench {
    start: Instant,
}

impl Platform for Bench {
    fn board(&self) -> &str {
        "bench"
    }
    fn firmware(&self) -> &str {
        "test"
    }
    fn reset_cause(&self) -> ResetCause {
        ResetCause::PowerOn
    }
    fn uptime_us(&mut self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }
}

/// One direction's bytes on their way.
#[derive(Debug, Default)]
struct Way {
    /// Frames of before, to replay.
    history: VecDeque<Vec<u8>>,
    /// Bytes that come late.
    held: Vec<u8>,
}

/// The line and the board at its end.
pub struct FaultyLine<'m, E> {
    station: Option<Station<'m, E, Bench>>,
    rng: fastrand::Rng,
    /// Chance that a frame meets a fault, 0…1; shared, since the host owns the line meanwhile.
    rate: Rc<Cell<f64>>,
    ways: [Way; 2],
    to_host: VecDeque<u8>,
    plugged: bool,
    /// Faults that happened, by direction and kind.
    pub injected: BTreeMap<(Fault, Direction), u64>,
    /// What stations that were reset had counted.
    before: Statistics,
}

impl<'m, E: Engine> FaultyLine<'m, E> {
    /// A line without faults yet, to a board that has just started.
    pub fn new(memory: &'m mut StationMemory, engine: E, seed: u64, rate: Rc<Cell<f64>>) -> Self {
        let station = Station::new(
            memory,
            engine,
            Bench {
                start: Instant::now(),
            },
        );
        Self {
            station: Some(station),
            rng: fastrand::Rng::with_seed(seed),
            rate,
            ways: Default::default(),
            to_host: VecDeque::new(),
            plugged: true,
            injected: BTreeMap::new(),
            before: Statistics::default(),
        }
    }

    /// Faults so far.
    pub fn faults(&self) -> u64 {
        self.injected.values().sum()
    }

    /// What the board has counted, over all its restarts.
    pub fn seen(&mut self) -> Statistics {
        let now = self.station.as_mut().unwrap().statistics();
        add(&self.before, &now)
    }

    /// The frame as it arrives: nothing, itself, or something else.
    fn disturb(&mut self, direction: Direction, frame: &[u8]) -> Vec<u8> {
        let way = &mut self.ways[direction as usize];
        way.history.push_back(frame.to_vec());
        if way.history.len() > 24 {
            way.history.pop_front();
        }
        let mut out = std::mem::take(&mut way.held);
        let mut frame = frame.to_vec();
        if self.rng.f64() < self.rate.get() {
            let mut fault = Fault::ALL[self.rng.usize(..Fault::ALL.len())];
            let only_once = matches!(fault, BoardReset | Overrun | Unplugged);
            if only_once && (direction == ToHost || self.rng.u8(..4) > 0) {
                fault = FlippedBit;
            }
            *self.injected.entry((fault, direction)).or_default() += 1;
            self.inflict(fault, direction, &mut frame);
        }
        out.extend(frame);
        out
    }

    fn inflict(&mut self, fault: Fault, direction: Direction, frame: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let way = &mut self.ways[direction as usize];
        let at = rng.usize(..frame.len());
        match fault {
            FlippedBit => frame[at] ^= 1 << rng.u8(..8),
            FlippedBits => {
                for _ in 0..rng.u8(2..=16) {
                    let at = rng.usize(..frame.len());
                    frame[at] ^= 1 << rng.u8(..8);
                }
            }
            LostByte => drop(frame.remove(at)),
            LostFrame => frame.clear(),
            Repeated => frame.extend_from_within(..),
            Replayed => {
                let old = way.history[rng.usize(..way.history.len())].clone();
                frame.splice(..0, old);
            }
            Cut => frame.truncate(at),
            InsertedByte => frame.insert(at, rng.u8(..)),
            Burst => {
                let end = rng.usize(at..=frame.len());
                let len = if rng.bool() {
                    rng.usize(1..40)
                } else {
                    rng.usize(1..1500)
                };
                // Half of the bursts have no zeros: they grow into oversized frames.
                let least = rng.u8(..2);
                let noise: Vec<u8> = (0..len).map(|_| rng.u8(least..)).collect();
                frame.splice(at..end, noise);
            }
            Stalled => way.held = std::mem::take(frame),
            BoardReset => self.restart_board(),
            Overrun => {
                let answer = self.station.as_mut().unwrap().overrun().map(<[u8]>::to_vec);
                self.to_host.extend(answer.unwrap_or_default());
            }
            Unplugged => {
                self.plugged = false;
                frame.clear();
            }
        }
    }

    fn restart_board(&mut self) {
        self.before = self.seen();
        let (memory, engine, platform, _) = self.station.take().unwrap().into_parts();
        self.station = Some(Station::new(memory, engine, platform));
    }

    /// Bytes arrive at the board, and its answers set out.
    fn deliver(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let answer = self
                .station
                .as_mut()
                .unwrap()
                .feed(byte)
                .map(<[u8]>::to_vec);
            if let Some(answer) = answer {
                let answer = self.disturb(ToHost, &answer);
                self.to_host.extend(answer);
            }
        }
    }
}

impl<E: Engine> Transport for &mut FaultyLine<'_, E> {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        if !self.plugged {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.to_host.is_empty() {
            std::thread::sleep(timeout);
            // What stalled comes now that the host has given up.
            let late = std::mem::take(&mut self.ways[ToHost as usize].held);
            self.to_host.extend(late);
            let late = std::mem::take(&mut self.ways[ToBoard as usize].held);
            self.deliver(&late);
            return Ok(0);
        }
        let count = buffer.len().min(self.to_host.len());
        for (place, byte) in buffer.iter_mut().zip(self.to_host.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.plugged {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let bytes = self.disturb(ToBoard, bytes);
        self.deliver(&bytes);
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.plugged = true;
        self.to_host.clear();
        Ok(())
    }

    fn name(&self) -> &str {
        "the faulty line"
    }
}

/// The sum of two boards' counters.
pub fn add(a: &Statistics, b: &Statistics) -> Statistics {
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
