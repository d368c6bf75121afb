//! The board's side of the conversation: bytes in, encoded answers out.
//!
//! [`Station::feed`] is the whole of it and does no input or output; [`Station::poll`] and
//! [`Station::serve`] put it on an `embedded-io` line. Whatever bytes come, a station stays in a known
//! state and answers the next good frame: damaged frames, messages out of order and bytes that the
//! driver lost each get a named [`ErrorReply`].

mod platform;
mod session;
mod update;

use core::convert::Infallible;
use core::fmt;

use embedded_io::{Error as _, ErrorKind, Read, Write};

use crate::protocol::frame::{self, FrameDecoder, FrameError, MAX_FRAME, MAX_TEXT};
use crate::protocol::mask_code::encode_rows;
use crate::protocol::message::{
    Command, ErrorReply, Health, Hello, MAX_CHUNK, PROTOCOL_VERSION, Reply, Request, Response,
    Statistics,
};
use lightwafer_runtime::Engine;
use lightwafer_runtime::dies::{MAX_PACKED_LEN, Mask};

pub use platform::Platform;
use session::Session;
pub use update::{NoUpdates, Updates};

/// Microseconds a millisecond.
const US_PER_MS: u64 = 1000;

/// Memory of a station: all zeros at first, so that a `static` of it takes no flash.
#[derive(Debug)]
pub struct StationMemory {
    packed: [u8; MAX_PACKED_LEN],
    mask: Mask,
    decoder: FrameDecoder,
    rows: [u8; MAX_CHUNK],
    reply: [u8; MAX_FRAME],
}

impl StationMemory {
    /// Empty memory.
    pub const fn new() -> Self {
        Self {
            packed: [0; MAX_PACKED_LEN],
            mask: Mask::new(),
            decoder: FrameDecoder::new(),
            rows: [0; MAX_CHUNK],
            reply: [0; MAX_FRAME],
        }
    }

    /// Room for a mask, until a station takes the memory.
    pub fn mask(&mut self) -> &mut Mask {
        &mut self.mask
    }
}

impl Default for StationMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// The line failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineError<E> {
    /// The other end is gone: a read gave nothing, or a write took nothing.
    Closed,
    /// The driver's error.
    Io(E),
}

impl<E: fmt::Debug> fmt::Display for LineError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the serial line was closed"),
            Self::Io(error) => write!(f, "the serial line failed: {error:?}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for LineError<E> {}

/// The board's side of the protocol.
#[derive(Debug)]
pub struct Station<'m, E, P, U = NoUpdates> {
    memory: &'m mut StationMemory,
    device: Device<E, P, U>,
}

/// Everything but the buffers.
#[derive(Debug)]
struct Device<E, P, U> {
    engine: E,
    platform: P,
    updates: U,
    session: Option<Session>,
    statistics: Statistics,
    last_seq: u16,
}

/// What was done for a request, of what takes most of the stack.
enum Done {
    /// The wafer at hand has a report.
    Ran,
    /// As [`Reply::ModelReceived`].
    Received { version: u32, bytes: u32 },
    /// As [`Reply::ModelRuns`].
    Runs { version: u32 },
}

/// The buffers an answer is made from.
struct Buffers<'b> {
    packed: &'b mut [u8],
    mask: &'b mut Mask,
    rows: &'b mut [u8],
}

impl<'m, E: Engine, P: Platform> Station<'m, E, P> {
    /// A station that has heard nothing yet; what `memory` held before does not matter. It takes no models.
    pub fn new(memory: &'m mut StationMemory, engine: E, platform: P) -> Self {
        Self::with_updates(memory, engine, platform, NoUpdates)
    }
}

impl<'m, E: Engine, P: Platform, U: Updates<E>> Station<'m, E, P, U> {
    /// A station that takes models too.
    pub fn with_updates(memory: &'m mut StationMemory, engine: E, platform: P, updates: U) -> Self {
        memory.decoder.reset();
        let device = Device {
            engine,
            platform,
            updates,
            session: None,
            statistics: Statistics::default(),
            last_seq: 0,
        };
        Self { memory, device }
    }

    /// Takes the station apart, such as to start anew.
    pub fn into_parts(self) -> (&'m mut StationMemory, E, P, U) {
        let Device {
            engine,
            platform,
            updates,
            ..
        } = self.device;
        (self.memory, engine, platform, updates)
    }

    /// The engine.
    pub fn engine(&self) -> &E {
        &self.device.engine
    }

    /// The platform.
    pub fn platform(&mut self) -> &mut P {
        &mut self.device.platform
    }

    /// The counters as they stand.
    pub fn statistics(&mut self) -> Statistics {
        self.device.statistics()
    }

    /// Takes one byte from the line. At the end of a frame gives the answer: a frame to send.
    /// Runs the engine when the frame asks for it.
    pub fn feed(&mut self, byte: u8) -> Option<&[u8]> {
        let StationMemory {
            packed,
            mask,
            decoder,
            rows,
            reply,
        } = &mut *self.memory;
        let payload = decoder.push(byte)?;
        // Before anything that an answer takes of the stack.
        let work = match payload {
            Ok(payload) => self.device.work(payload, packed, mask),
            Err(_) => None,
        };
        let buffers = Buffers { packed, mask, rows };
        self.device.respond(payload, buffers, work, reply)
    }

    /// Runs the wafer at hand, as [`Command::Run`] would: for a line beside the serial one that says when. Tells
    /// whether it ran; without a wafer, or with one that has its report already or cannot have one, nothing happens.
    pub fn trigger(&mut self) -> bool {
        let StationMemory { packed, mask, .. } = &mut *self.memory;
        self.device.trigger(packed, mask)
    }

    /// To be told by drivers that lost bytes: drops the frame they belonged to, and gives the answer.
    pub fn overrun(&mut self) -> Option<&[u8]> {
        self.memory.decoder.discard();
        let statistics = &mut self.device.statistics;
        statistics.overruns = statistics.overruns.saturating_add(1);
        let reply = Reply::Error(ErrorReply::Overrun);
        frame::encode(&Response { seq: 0, reply }, &mut self.memory.reply).ok()
    }

    /// Reads what has come (waiting for at least a byte) and answers every frame that ends in it.
    ///
    /// Read errors of kind `OutOfMemory` (how `embedded-io` drivers say overrun) are counted and answered with
    /// [`ErrorReply::Overrun`]; `InvalidData` (framing, parity, noise) is left to the CRC-32, which
    /// will miss the byte; `Interrupted` is tried again.
    ///
    /// # Errors
    /// [`LineError`] when the line is closed or fails otherwise; the station can go on with another.
    pub fn poll<L: Read + Write>(&mut self, line: &mut L) -> Result<(), LineError<L::Error>> {
        let mut bytes = [0; 32];
        match line.read(&mut bytes) {
            Ok(0) => Err(LineError::Closed),
            Ok(count) => {
                for byte in bytes.iter().take(count) {
                    if let Some(answer) = self.feed(*byte) {
                        send(line, answer)?;
                    }
                }
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::OutOfMemory => {
                    self.overrun().map_or(Ok(()), |answer| send(line, answer))
                }
                ErrorKind::InvalidData | ErrorKind::Interrupted => Ok(()),
                _ => Err(LineError::Io(error)),
            },
        }
    }

    /// Polls until the line fails.
    ///
    /// # Errors
    /// As [`Station::poll`].
    pub fn serve<L: Read + Write>(
        &mut self,
        line: &mut L,
    ) -> Result<Infallible, LineError<L::Error>> {
        loop {
            self.poll(line)?;
        }
    }
}

impl<E: Engine, P: Platform, U: Updates<E>> Device<E, P, U> {
    fn statistics(&mut self) -> Statistics {
        let overruns = self.platform.take_overruns();
        self.statistics.overruns = self.statistics.overruns.saturating_add(overruns);
        self.statistics.uptime_ms = self.platform.uptime_us() / US_PER_MS;
        self.statistics.stack_max = self.platform.stack_max();
        self.statistics
    }

    /// Counts a damaged frame and names it.
    fn unreadable(&mut self, error: FrameError) -> Response<'static> {
        let (count, error) = match error {
            FrameError::Truncated => (&mut self.statistics.truncated, ErrorReply::Truncated),
            FrameError::Oversized => (&mut self.statistics.oversized, ErrorReply::Oversized),
            FrameError::Corrupted => (&mut self.statistics.corrupted, ErrorReply::Corrupted),
        };
        increment(count);
        Response {
            seq: 0,
            reply: Reply::Error(error),
        }
    }

    /// Runs the wafer or changes the models, where a payload asks for that; `None` for one that does not.
    #[inline(never)]
    fn work(
        &mut self,
        payload: &[u8],
        packed: &[u8],
        mask: &mut Mask,
    ) -> Option<Result<Done, ErrorReply>> {
        let request = frame::decode::<Request<'_>>(payload).ok()?;
        if request.seq == 0 {
            return None;
        }
        let received = |version, bytes| Done::Received { version, bytes };
        let runs = |version| Done::Runs { version };
        self.platform.feed_watchdog();
        let done = match request.command {
            Command::Run { wafer } => self.run(wafer, packed, mask),
            Command::ModelBegin { signature } => self
                .updates
                .begin(signature)
                .map(|transfer| received(transfer.version, transfer.received)),
            Command::ModelChunk {
                version,
                offset,
                data,
            } => self
                .updates
                .chunk(version, offset, data)
                .map(|bytes| received(version, bytes)),
            Command::ModelCommit { version } => {
                // The golden wafer takes the mask.
                self.session = None;
                let engine = &mut self.engine;
                self.updates.commit(version, engine, mask).map(runs)
            }
            Command::ModelRollback { from } => {
                self.session = None;
                let engine = &mut self.engine;
                self.updates.roll_back(from, engine, mask).map(runs)
            }
            _ => return None,
        };
        self.platform.feed_watchdog();
        Some(done)
    }

    /// Encodes the answer to a frame; `work` is what [`Device::work`] made of it.
    #[inline(never)]
    fn respond<'o>(
        &mut self,
        payload: Result<&[u8], FrameError>,
        buffers: Buffers<'_>,
        work: Option<Result<Done, ErrorReply>>,
        out: &'o mut [u8],
    ) -> Option<&'o [u8]> {
        let response = match payload {
            Ok(payload) => self.answer(payload, buffers, work),
            Err(error) => self.unreadable(error),
        };
        // Every message fits MAX_FRAME.
        frame::encode(&response, out).ok()
    }

    /// Answers a payload; `work` is what [`Device::work`] made of it.
    #[inline(never)]
    fn answer<'s>(
        &'s mut self,
        payload: &[u8],
        buffers: Buffers<'s>,
        work: Option<Result<Done, ErrorReply>>,
    ) -> Response<'s> {
        let request = match frame::decode::<Request<'_>>(payload) {
            Ok(request) if request.seq != 0 => request,
            _ => {
                increment(&mut self.statistics.malformed);
                // The number can often be read where the command cannot: the host then knows which.
                let seq = postcard::take_from_bytes(payload).map_or(0, |(seq, _)| seq);
                return Response {
                    seq,
                    reply: Reply::Error(ErrorReply::Malformed),
                };
            }
        };
        let seq = request.seq;
        increment(&mut self.statistics.requests);
        if seq == self.last_seq {
            increment(&mut self.statistics.repeated);
        }
        self.last_seq = seq;

        let reply = match request.command {
            Command::Hello {
                protocol: PROTOCOL_VERSION,
            } => {
                return Response {
                    seq,
                    reply: Reply::Hello(self.hello()),
                };
            }
            Command::Hello { .. } => Err(ErrorReply::Protocol {
                board: PROTOCOL_VERSION,
            }),
            Command::Statistics => Ok(Reply::Statistics(self.statistics())),
            Command::Map {
                wafer,
                rows,
                cols,
                crc,
            } => Session::announce(wafer, rows, cols, crc).map(|session| {
                self.session = Some(session);
                Reply::Received { wafer, bytes: 0 }
            }),
            Command::Dies {
                wafer,
                offset,
                data,
            } => self.session(wafer).and_then(|session| {
                let bytes = session.take(offset, data, buffers.packed)?;
                Ok(Reply::Received { wafer, bytes })
            }),
            Command::Mask { wafer, row } => self.session(wafer).and_then(|session| {
                let first = session.mask_row(row)?;
                let (rows, bytes) = encode_rows(buffers.mask, first, buffers.rows);
                let data = buffers.rows.get(..bytes).unwrap_or(&[]);
                Ok(Reply::MaskRows {
                    wafer,
                    row,
                    rows: rows as u16,
                    data,
                })
            }),
            Command::Run { .. }
            | Command::ModelBegin { .. }
            | Command::ModelChunk { .. }
            | Command::ModelCommit { .. }
            | Command::ModelRollback { .. } => match work {
                Some(Ok(Done::Ran)) => self.report(),
                Some(Ok(Done::Received { version, bytes })) => {
                    Ok(Reply::ModelReceived { version, bytes })
                }
                Some(Ok(Done::Runs { version })) => Ok(Reply::ModelRuns { version }),
                Some(Err(error)) => Err(error),
                None => Err(ErrorReply::Unsupported),
            },
            Command::Health => Ok(Reply::Health(self.health())),
        };
        let reply = reply.unwrap_or_else(|error| {
            increment(&mut self.statistics.refused);
            Reply::Error(error)
        });
        Response { seq, reply }
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

    /// The wafer at hand, when it is the one asked for.
    fn session(&mut self, wafer: u32) -> Result<&mut Session, ErrorReply> {
        self.session
            .as_mut()
            .filter(|c| c.wafer() == wafer)
            .ok_or(ErrorReply::UnknownWafer)
    }

    #[inline(never)]
    fn run(&mut self, wafer: u32, packed: &[u8], mask: &mut Mask) -> Result<Done, ErrorReply> {
        let session = self.session.as_mut().filter(|c| c.wafer() == wafer);
        let session = session.ok_or(ErrorReply::UnknownWafer)?;
        if session.run(&mut self.engine, &mut self.platform, packed, mask)? {
            increment(&mut self.statistics.wafers);
        }
        Ok(Done::Ran)
    }

    /// Runs the wafer at hand, unless it has a report.
    #[inline(never)]
    fn trigger(&mut self, packed: &[u8], mask: &mut Mask) -> bool {
        let waiting = self.session.as_ref().filter(|c| c.report().is_none());
        let Some(wafer) = waiting.map(Session::wafer) else {
            return false;
        };
        self.platform.feed_watchdog();
        let ran = self.run(wafer, packed, mask).is_ok();
        self.platform.feed_watchdog();
        ran
    }

    /// The report of the wafer that has run.
    fn report(&self) -> Result<Reply<'static>, ErrorReply> {
        let report = self.session.as_ref().and_then(Session::report);
        Ok(Reply::Report(report.ok_or(ErrorReply::Engine)?.clone()))
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

/// As `write_all`, but a writer that takes nothing is an error instead of a panic.
fn send<L: Write>(line: &mut L, mut bytes: &[u8]) -> Result<(), LineError<L::Error>> {
    while !bytes.is_empty() {
        match line.write(bytes) {
            Ok(0) => return Err(LineError::Closed),
            Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(LineError::Io(error)),
        }
    }
    line.flush().map_err(LineError::Io)
}
