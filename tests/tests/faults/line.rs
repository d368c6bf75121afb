//! A serial line that goes wrong on purpose, with a whole board at its other end.
//!
//! What the host writes reaches the real `Station` in the same call, and its answers wait to be read;
//! on the way, in either direction, frames meet faults drawn from a seed. Everything is counted.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use lightwafer_device::protocol::message::Statistics;
use lightwafer_device::{Station, StationMemory};
use lightwafer_equipment::Transport;
use lightwafer_runtime::Engine;
use lightwafer_testkit::FakePlatform;
use lightwafer_tests::fault::{Direction, Fault, Way};
use lightwafer_tests::soak::sum;

use Direction::*;
use Fault::{BoardReset, FlippedBit, Overrun, Unplugged};

/// The line and the board at its end.
pub struct FaultyLine<'m, E> {
    station: Option<Station<'m, E, FakePlatform>>,
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
        let station = Station::new(memory, engine, FakePlatform::new("bench"));
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
        sum(&self.before, &now)
    }

    /// The frame as it arrives: nothing, itself, or something else.
    fn disturb(&mut self, direction: Direction, frame: &[u8]) -> Vec<u8> {
        let way = &mut self.ways[direction as usize];
        way.remember(frame);
        let mut out = way.late();
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
        let way = &mut self.ways[direction as usize];
        if way.inflict(fault, frame, &mut self.rng) {
            return;
        }
        match fault {
            BoardReset => self.restart_board(),
            Overrun => {
                let answer = self.station.as_mut().unwrap().overrun().map(<[u8]>::to_vec);
                self.to_host.extend(answer.unwrap_or_default());
            }
            _ => {
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
            let late = self.ways[ToHost as usize].late();
            self.to_host.extend(late);
            let late = self.ways[ToBoard as usize].late();
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
