//! The board's side of the conversation: bytes in, encoded answers out.
//!
//! [`Station::feed`] is the whole of it and does no input or output; [`Station::poll`] and
//! [`Station::serve`] put it on an `embedded-io` line. Whatever bytes come, a station stays in a known
//! state and answers the next good frame: damaged frames, messages out of order and bytes that the
//! driver lost each get a named [`ErrorReply`](crate::protocol::message::ErrorReply).

mod platform;
mod responder;
mod session;
mod updates;

use core::convert::Infallible;
use core::fmt;

use embedded_io::{Error as _, ErrorKind, Read, Write};

use crate::protocol::frame::{FrameDecoder, MAX_FRAME};
use crate::protocol::message::{MAX_CHUNK, Statistics};
use lightwafer_runtime::Engine;
use lightwafer_runtime::dies::{MAX_PACKED_LEN, Mask};

pub use platform::Platform;
use responder::Responder;
pub use updates::{NoUpdates, Updates};

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
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
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
    responder: Responder<E, P, U>,
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
        let responder = Responder::new(engine, platform, updates);
        Self { memory, responder }
    }

    /// Takes the station apart, such as to start anew.
    pub fn into_parts(self) -> (&'m mut StationMemory, E, P, U) {
        let Responder {
            engine,
            platform,
            updates,
            ..
        } = self.responder;
        (self.memory, engine, platform, updates)
    }

    /// The engine.
    pub fn engine(&self) -> &E {
        &self.responder.engine
    }

    /// The platform.
    pub fn platform(&mut self) -> &mut P {
        &mut self.responder.platform
    }

    /// The counters as they stand.
    pub fn statistics(&mut self) -> Statistics {
        self.responder.statistics()
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
        let outcome = self.responder.perform(payload, packed, mask);
        self.responder.respond(outcome, mask, rows, reply)
    }

    /// Runs the wafer at hand, as [`Command::Run`](crate::protocol::message::Command::Run) would: for a line beside the serial one that says when. Tells
    /// whether it ran; without a wafer, or with one that has its report already or cannot have one, nothing happens.
    pub fn trigger(&mut self) -> bool {
        let StationMemory { packed, mask, .. } = &mut *self.memory;
        self.responder.trigger(packed, mask)
    }

    /// To be told by drivers that lost bytes: drops the frame they belonged to, and gives the answer.
    pub fn overrun(&mut self) -> Option<&[u8]> {
        let StationMemory {
            mask,
            decoder,
            rows,
            reply,
            ..
        } = &mut *self.memory;
        decoder.discard();
        let outcome = self.responder.overrun();
        self.responder.respond(outcome, mask, rows, reply)
    }

    /// Reads what has come (waiting for at least a byte) and answers every frame that ends in it.
    ///
    /// Read errors of kind `OutOfMemory` (how `embedded-io` drivers say overrun) are counted and answered with
    /// [`ErrorReply::Overrun`](crate::protocol::message::ErrorReply::Overrun); `InvalidData` (framing, parity, noise) is left to the CRC-32, which
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
