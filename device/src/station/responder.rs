//! Requests in, answers out: what a station does between two frames.
//!
//! A frame is handled in two steps, because stack is scarce and an answer large: [`Responder::perform`] does what a
//! request asks for and says in a few bytes what came of it; once the engine and the flash are done,
//! [`Responder::respond`] makes the answer of that and encodes it.

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

/// What came of a frame.
pub(super) struct Outcome {
    /// The number of its request, 0 where it could not be read.
    seq: u16,
    result: Result<Done, ErrorReply>,
}

/// What was done: which [`Reply`] is due, with what only the request knew.
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

    /// The counters as they stand.
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

    /// Does what a frame's request asks for. `packed` is the map at hand, `mask` the mask of its answer.
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
            // A model's golden wafer takes the mask, so the wafer at hand is gone.
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

    /// Encodes the answer to what was done; `mask` and `rows` are the mask and room for some of its rows, coded.
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
                // `run` has left one.
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

    /// Runs the wafer at hand, unless it has a report. Tells whether it ran.
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

    /// Counts a damaged frame and names it.
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

    /// Counts a payload that is no request. Its number can often be read where the rest cannot: the host then knows
    /// which one it was.
    fn malformed(&mut self, payload: &[u8]) -> Outcome {
        increment(&mut self.statistics.malformed);
        Outcome {
            seq: postcard::take_from_bytes(payload).map_or(0, |(seq, _)| seq),
            result: Err(ErrorReply::Malformed),
        }
    }

    // By itself: a session holds a report, and would lie on the stack below every inference.
    #[inline(never)]
    fn announce(&mut self, wafer: u32, grid: (u16, u16), crc: u32) -> Result<Done, ErrorReply> {
        self.session = Some(Session::announce(wafer, grid.0, grid.1, crc)?);
        Ok(Done::Received { wafer, bytes: 0 })
    }

    /// The wafer at hand, when it is the one asked for.
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

/// As much of a text as a message carries, cut between characters.
fn fit(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}
