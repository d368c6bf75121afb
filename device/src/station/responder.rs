//! Processes one frame: carries out the request and encodes the answer.
//!
//! This takes two steps, because an answer is large and the stack is small. [`Responder::perform`] carries out the
//! request and returns the outcome in a few bytes. When the engine and the flash are done, and their part of the stack
//! is free again, [`Responder::respond`] makes the answer from the outcome and encodes it.

use super::platform::Platform;
use super::session::Session;
use super::updates::Updates;
use crate::protocol::frame::{self, FrameError, MAX_TEXT};
use crate::protocol::mask_code::encode_rows;
use crate::protocol::message::{
    Command, ErrorReply, Health, Hello, MAX_CHUNK, PROTOCOL_VERSION, Reply, Request, Response,
    Statistics,
};
use lightwafer_runtime::Engine;
use lightwafer_runtime::dies::{MAX_PACKED_LEN, Mask};

/// Microseconds a millisecond.
const US_PER_MS: u64 = 1000;

/// A station without its buffers.
#[derive(Debug)]
pub(super) struct Responder<E, P, U> {
    pub(super) engine: E,
    pub(super) platform: P,
    pub(super) updates: U,
    session: Option<Session>,
    statistics: Statistics,
    last_seq: u16,
}

/// The outcome of a frame.
pub(super) struct Outcome {
    /// The request's number, or 0 if it could not be read.
    seq: u16,
    result: Result<Done, ErrorReply>,
}

/// The [`Reply`] to a request that succeeded, without the data that the responder has itself.
enum Done {
    Hello,
    Received { wafer: u32, bytes: u32 },
    Report,
    MaskRows { wafer: u32, row: u16 },
    Statistics,
    ModelReceived { version: u32, bytes: u32 },
    ModelRuns { version: u32 },
    Health,
}

impl<E: Engine, P: Platform, U: Updates<E>> Responder<E, P, U> {
    pub(super) fn new(engine: E, platform: P, updates: U) -> Self {
        Self {
            engine,
            platform,
            updates,
            session: None,
            statistics: Statistics::default(),
            last_seq: 0,
        }
    }

    /// The present counters.
    pub(super) fn statistics(&mut self) -> Statistics {
        let overruns = self.platform.take_overruns();
        self.statistics.overruns = self.statistics.overruns.saturating_add(overruns);
        self.statistics.uptime_ms = self.platform.uptime_us() / US_PER_MS;
        self.statistics.stack_max = self.platform.stack_max();
        self.statistics
    }

    /// Counts bytes that the driver lost.
    pub(super) fn overrun(&mut self) -> Outcome {
        increment(&mut self.statistics.overruns);
        Outcome {
            seq: 0,
            result: Err(ErrorReply::Overrun),
        }
    }

    /// Carries out the request in a frame. `packed` is the map of the current wafer, `mask` its mask.
    #[inline(never)]
    pub(super) fn perform(
        &mut self,
        payload: Result<&[u8], FrameError>,
        packed: &mut [u8],
        mask: &mut Mask,
    ) -> Outcome {
        let payload = match payload {
            Ok(payload) => payload,
            Err(error) => return self.unreadable(error),
        };
        let request = match frame::decode::<Request<'_>>(payload) {
            Ok(request) if request.seq != 0 => request,
            _ => return self.malformed(payload),
        };
        let seq = request.seq;
        increment(&mut self.statistics.requests);
        if seq == self.last_seq {
            increment(&mut self.statistics.repeated);
        }
        self.last_seq = seq;
        self.platform.feed_watchdog();
        let result = self.execute(request.command, packed, mask);
        self.platform.feed_watchdog();
        if result.is_err() {
            increment(&mut self.statistics.refused);
        }
        Outcome { seq, result }
    }

    fn execute(
        &mut self,
        command: Command<'_>,
        packed: &mut [u8],
        mask: &mut Mask,
    ) -> Result<Done, ErrorReply> {
        let board = PROTOCOL_VERSION;
        match command {
            Command::Hello { protocol } if protocol == board => Ok(Done::Hello),
            Command::Hello { .. } => Err(ErrorReply::Protocol { board }),
            Command::Map {
                wafer,
                rows,
                cols,
                crc,
            } => self.announce(wafer, (rows, cols), crc),
            Command::Dies {
                wafer,
                offset,
                data,
            } => {
                let bytes = self.session(wafer)?.take(offset, data, packed)?;
                Ok(Done::Received { wafer, bytes })
            }
            Command::Run { wafer } => {
                self.run(wafer, packed, mask)?;
                Ok(Done::Report)
            }
            Command::Mask { wafer, row } => {
                self.session(wafer)?.mask_row(row)?;
                Ok(Done::MaskRows { wafer, row })
            }
            Command::Statistics => Ok(Done::Statistics),
            Command::ModelBegin { signature } => {
                let transfer = self.updates.begin(signature)?;
                let (version, bytes) = (transfer.version, transfer.received);
                Ok(Done::ModelReceived { version, bytes })
            }
            Command::ModelChunk {
                version,
                offset,
                data,
            } => {
                let bytes = self.updates.chunk(version, offset, data)?;
                Ok(Done::ModelReceived { version, bytes })
            }
            // The golden wafer's mask overwrites the current wafer's.
            Command::ModelCommit { version } => {
                self.session = None;
                let version = self.updates.commit(version, &mut self.engine, mask)?;
                Ok(Done::ModelRuns { version })
            }
            Command::ModelRollback { from } => {
                self.session = None;
                let version = self.updates.roll_back(from, &mut self.engine, mask)?;
                Ok(Done::ModelRuns { version })
            }
            Command::Health => Ok(Done::Health),
        }
    }

    /// Encodes the answer. `mask` is the current wafer's mask, `rows` a buffer for coded rows of it.
    #[inline(never)]
    pub(super) fn respond<'o>(
        &mut self,
        outcome: Outcome,
        mask: &Mask,
        rows: &mut [u8],
        out: &'o mut [u8],
    ) -> Option<&'o [u8]> {
        let seq = outcome.seq;
        let reply = match outcome.result {
            Ok(done) => self.reply(done, mask, rows),
            Err(error) => Reply::Error(error),
        };
        // Every message fits MAX_FRAME.
        frame::encode(&Response { seq, reply }, out).ok()
    }

    #[inline(never)]
    fn reply<'s>(&'s mut self, done: Done, mask: &Mask, room: &'s mut [u8]) -> Reply<'s> {
        match done {
            Done::Hello => Reply::Hello(self.hello()),
            Done::Received { wafer, bytes } => Reply::Received { wafer, bytes },
            Done::Report => match self.session.as_ref().and_then(Session::report) {
                Some(report) => Reply::Report(report.clone()),
                // Cannot happen: `run` makes one.
                None => Reply::Error(ErrorReply::Engine),
            },
            Done::MaskRows { wafer, row } => {
                let (rows, bytes) = encode_rows(mask, row.into(), room);
                Reply::MaskRows {
                    wafer,
                    row,
                    rows: rows as u16,
                    data: room.get(..bytes).unwrap_or(&[]),
                }
            }
            Done::Statistics => Reply::Statistics(self.statistics()),
            Done::ModelReceived { version, bytes } => Reply::ModelReceived { version, bytes },
            Done::ModelRuns { version } => Reply::ModelRuns { version },
            Done::Health => Reply::Health(self.health()),
        }
    }

    /// Classifies the current wafer, unless it has a report. Returns whether the engine ran.
    #[inline(never)]
    pub(super) fn trigger(&mut self, packed: &[u8], mask: &mut Mask) -> bool {
        let waiting = self.session.as_ref().filter(|s| s.report().is_none());
        let Some(wafer) = waiting.map(Session::wafer) else {
            return false;
        };
        self.platform.feed_watchdog();
        let ran = self.run(wafer, packed, mask).is_ok();
        self.platform.feed_watchdog();
        ran
    }

    /// Counts a damaged frame.
    fn unreadable(&mut self, error: FrameError) -> Outcome {
        let statistics = &mut self.statistics;
        let (count, error) = match error {
            FrameError::Truncated => (&mut statistics.truncated, ErrorReply::Truncated),
            FrameError::Oversized => (&mut statistics.oversized, ErrorReply::Oversized),
            FrameError::Corrupted => (&mut statistics.corrupted, ErrorReply::Corrupted),
        };
        increment(count);
        Outcome {
            seq: 0,
            result: Err(error),
        }
    }

    /// Counts a payload that is no request. Often its number can still be read, so the host knows which request it was.
    fn malformed(&mut self, payload: &[u8]) -> Outcome {
        increment(&mut self.statistics.malformed);
        Outcome {
            seq: postcard::take_from_bytes(payload).map_or(0, |(seq, _)| seq),
            result: Err(ErrorReply::Malformed),
        }
    }

    // Not inlined: a session is large, and would take stack in `perform` while the engine runs.
    #[inline(never)]
    fn announce(&mut self, wafer: u32, grid: (u16, u16), crc: u32) -> Result<Done, ErrorReply> {
        self.session = Some(Session::announce(wafer, grid.0, grid.1, crc)?);
        Ok(Done::Received { wafer, bytes: 0 })
    }

    /// The current wafer, if it has this number.
    fn session(&mut self, wafer: u32) -> Result<&mut Session, ErrorReply> {
        self.session
            .as_mut()
            .filter(|session| session.wafer() == wafer)
            .ok_or(ErrorReply::UnknownWafer)
    }

    #[inline(never)]
    fn run(&mut self, wafer: u32, packed: &[u8], mask: &mut Mask) -> Result<(), ErrorReply> {
        let session = self.session.as_mut().filter(|s| s.wafer() == wafer);
        let session = session.ok_or(ErrorReply::UnknownWafer)?;
        if session.run(&mut self.engine, &mut self.platform, packed, mask)? {
            increment(&mut self.statistics.wafers);
        }
        Ok(())
    }

    fn hello(&self) -> Hello<'_> {
        let mut model = self.engine.facts();
        model.name = fit(model.name);
        model.created = fit(model.created);
        Hello {
            protocol: PROTOCOL_VERSION,
            board: fit(self.platform.board()),
            firmware: fit(self.platform.firmware()),
            max_map: MAX_PACKED_LEN as u32,
            max_chunk: MAX_CHUNK as u16,
            reset: self.platform.reset_cause(),
            model,
        }
    }

    fn health(&mut self) -> Health {
        Health {
            starts: self.platform.starts(),
            models: self.updates.models(),
            sha256: self.engine.facts().sha256,
        }
    }
}

fn increment(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

/// The beginning of a text that fits a message, cut between characters.
fn fit(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}
