//! The board's side of the protocol: bytes in, encoded answers out.
//!
//! [`Station::feed`] does all of it, without input or output. [`Station::poll`] and [`Station::serve`] connect it to an
//! `embedded-io` line. Whatever bytes come, a station stays in a known state and answers the next good frame. Damaged
//! frames, messages out of order and bytes that the driver lost each get a named
//! [`ErrorReply`](crate::protocol::message::ErrorReply).

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

/// The memory of a station. It is all zeros at first, so a `static` of it takes no flash.
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

    /// The mask's memory. It can be used until a station uses it.
    pub fn mask(&mut self) -> &mut Mask {
        &mut self.mask
    }
}

impl Default for StationMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a line failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LineError<E> {
    /// The other end is closed: a read or a write of 0 bytes.
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
    /// A new station that accepts no models. The content of `memory` does not matter.
    pub fn new(memory: &'m mut StationMemory, engine: E, platform: P) -> Self {
        Self::with_updates(memory, engine, platform, NoUpdates)
    }
}

impl<'m, E: Engine, P: Platform, U: Updates<E>> Station<'m, E, P, U> {
    /// A new station that accepts models.
    pub fn with_updates(memory: &'m mut StationMemory, engine: E, platform: P, updates: U) -> Self {
        memory.decoder.reset();
        let responder = Responder::new(engine, platform, updates);
        Self { memory, responder }
    }

    /// Takes the station apart, for example to start a new one.
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

    /// The present counters.
    pub fn statistics(&mut self) -> Statistics {
        self.responder.statistics()
    }

    /// Processes one byte from the line. At the end of a frame it returns the answer: a frame to send.
    /// Runs the engine if the frame requests it.
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

    /// Classifies the current wafer, as [`Command::Run`](crate::protocol::message::Command::Run) does: for boards with
    /// an input line that triggers this. Returns whether the engine ran. It does not run if there is no wafer, or if
    /// the wafer has its report already or cannot be classified.
    pub fn trigger(&mut self) -> bool {
        let StationMemory { packed, mask, .. } = &mut *self.memory;
        self.responder.trigger(packed, mask)
    }

    /// For drivers that lost bytes: drops the frame that they belonged to, and returns the answer.
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

    /// Reads from the line (waits for at least one byte) and answers every frame that ends in these bytes.
    ///
    /// Read errors of kind `OutOfMemory`, which `embedded-io` drivers return for an overrun, are counted and answered
    /// with [`ErrorReply::Overrun`](crate::protocol::message::ErrorReply::Overrun). `InvalidData` (framing, parity,
    /// noise) is ignored, because the CRC-32 finds the missing byte. `Interrupted` is tried again.
    ///
    /// # Errors
    /// [`LineError`] if the line is closed or fails in another way. The station can continue with another line.
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
    /// Those of [`Station::poll`].
    pub fn serve<L: Read + Write>(
        &mut self,
        line: &mut L,
    ) -> Result<Infallible, LineError<L::Error>> {
        loop {
            self.poll(line)?;
        }
    }
}

/// Like `write_all`, but a write of 0 bytes is an error instead of a panic.
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
