//! Sends requests and receives responses over a line that may lose, repeat and damage bytes.

use std::io;
use std::time::{Duration, Instant};

use lightwafer_device::protocol::frame::{self, FrameDecoder, MAX_FRAME};
use lightwafer_device::protocol::message::{Command, ErrorReply, Reply, Request, Response};
use serde::Serialize;

use crate::transport::Transport;

/// Counters of the line, from the host's side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LineStatistics {
    /// Requests; repeats are not counted.
    pub requests: u64,
    /// How often a request was repeated.
    pub repeats: u64,
    /// Frames from the board that were damaged or made no sense.
    pub damaged: u64,
    /// Responses that belonged to no open request.
    pub stale: u64,
    /// How often the line was reopened.
    pub reopens: u64,
    /// How often the board lost a wafer: it was reset, stopped answering, or did not know the wafer any more.
    pub losses: u64,
    /// How often a wafer was resent, after a loss or for another reason.
    pub resends: u64,
}

/// How long to wait for a response, and how often to send the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub reply: Duration,
    pub sends: u32,
}

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The line is lost.
    Io(io::Error),
    /// There was no response.
    Silence { waited: Duration, sent: u32 },
    /// The board answered with an error.
    Refused(ErrorReply),
}

/// A line with frames and sequence numbers.
pub(crate) struct Link<T> {
    pub transport: T,
    pub statistics: LineStatistics,
    decoder: FrameDecoder,
    seq: u16,
    /// Bytes read but not decoded.
    input: Vec<u8>,
}

/// The result of waiting for a response.
enum Wait<R> {
    Accepted(R),
    Refused(ErrorReply),
    /// The request or its response was damaged on the line: send it again at once.
    Again,
    TimedOut,
}

impl<T: Transport> Link<T> {
    pub fn new(transport: T, first_seq: u16) -> Self {
        Self {
            transport,
            statistics: LineStatistics::default(),
            decoder: FrameDecoder::new(),
            seq: first_seq,
            input: Vec::new(),
        }
    }

    /// Drops bytes of half received frames. For a line that was opened again.
    pub fn reset(&mut self) {
        self.decoder = FrameDecoder::new();
        self.input.clear();
    }

    /// Sends a request, and repeats it until a response with its number arrives that `accept` accepts.
    pub fn request<R>(
        &mut self,
        command: &Command<'_>,
        patience: Patience,
        mut accept: impl FnMut(&Reply<'_>) -> Option<R>,
    ) -> Result<R, LinkError> {
        self.seq = if self.seq == u16::MAX {
            1
        } else {
            self.seq + 1
        };
        self.statistics.requests += 1;
        let request = Request {
            seq: self.seq,
            command: command.clone(),
        };
        let mut buffer = [0; MAX_FRAME];
        let bytes = frame::encode(&request, &mut buffer)
            .map_err(|error| LinkError::Io(io::Error::other(error)))?;
        let start = Instant::now();
        let (mut silences, mut damages, mut sent) = (0, 0, 0u32);
        // Damage costs no time, so more repeats are allowed for it.
        while silences < patience.sends.max(1) && damages < 4 * patience.sends.max(4) {
            if sent > 0 {
                self.statistics.repeats += 1;
            }
            self.transport.write(bytes).map_err(LinkError::Io)?;
            sent += 1;
            match self
                .wait(request.seq, patience.reply, &mut accept)
                .map_err(LinkError::Io)?
            {
                Wait::Accepted(result) => return Ok(result),
                Wait::Refused(reply) => return Err(LinkError::Refused(reply)),
                Wait::Again => damages += 1,
                Wait::TimedOut => {
                    silences += 1;
                    self.transport.discard_output();
                }
            }
        }
        Err(LinkError::Silence {
            waited: start.elapsed(),
            sent,
        })
    }

    fn wait<R>(
        &mut self,
        seq: u16,
        patience: Duration,
        accept: &mut impl FnMut(&Reply<'_>) -> Option<R>,
    ) -> io::Result<Wait<R>> {
        let deadline = Instant::now() + patience;
        loop {
            // Look at all received bytes before the clock: if the host is slow, the board need not be.
            let mut at = 0;
            while let Some(&byte) = self.input.get(at) {
                at += 1;
                let verdict = match self.decoder.push(byte) {
                    None => None,
                    Some(Err(_)) => {
                        self.statistics.damaged += 1;
                        Some(Wait::Again)
                    }
                    Some(Ok(payload)) => judge(payload, seq, accept, &mut self.statistics),
                };
                if let Some(verdict) = verdict {
                    self.input.drain(..at);
                    return Ok(verdict);
                }
            }
            self.input.clear();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Wait::TimedOut);
            }
            let mut buffer = [0; 1024];
            match self.transport.read(&mut buffer, left) {
                Ok(n) => self.input.extend_from_slice(buffer.get(..n).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Decides what a received payload means for the open request `seq`.
fn judge<R>(
    payload: &[u8],
    seq: u16,
    accept: &mut impl FnMut(&Reply<'_>) -> Option<R>,
    statistics: &mut LineStatistics,
) -> Option<Wait<R>> {
    let Ok(response) = frame::decode::<Response<'_>>(payload) else {
        statistics.damaged += 1;
        return Some(Wait::Again);
    };
    let transmission = matches!(
        response.reply,
        Reply::Error(
            ErrorReply::Truncated
                | ErrorReply::Oversized
                | ErrorReply::Corrupted
                | ErrorReply::Overrun
        )
    );
    // The CRC-32 was right but the board does not know the message. So the line did not damage it, unless
    // the number of the request is unknown.
    let transmission =
        transmission || response.seq == 0 && response.reply == Reply::Error(ErrorReply::Malformed);
    match response.reply {
        // Number 0: the frame was damaged so badly that its number is unknown. It may have been ours.
        Reply::Error(_) if transmission && (response.seq == seq || response.seq == 0) => {
            Some(Wait::Again)
        }
        Reply::Error(error) if response.seq == seq => Some(Wait::Refused(error)),
        ref reply if response.seq == seq => {
            let accepted = accept(reply).map(Wait::Accepted);
            statistics.stale += u64::from(accepted.is_none());
            accepted
        }
        _ => {
            statistics.stale += 1;
            None
        }
    }
}
