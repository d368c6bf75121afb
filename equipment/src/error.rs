//! Errors of a board and its connection. Their texts say what to do.

use std::time::Duration;
use std::{fmt, io};

use lightwafer_device::protocol::message::{ErrorReply, ResetCause};
use thiserror::Error;

use crate::report::BadReport;

/// Why the connection to a board failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BoardError {
    /// The port could not be opened.
    #[error(
        "cannot open serial port {port}: {reason}; is the board plugged in, the name right, and \
         may this user open it (on Linux: group `dialout`)?"
    )]
    Open {
        /// The port.
        port: String,
        /// Why.
        reason: io::Error,
    },
    /// The board did not answer a request, although it was repeated.
    #[error(
        "no answer from {port} to `{request}` in {:.1} s ({sent} times sent); check power, cable \
         and baud rate, and that the board runs LightWafer firmware", .waited.as_secs_f32()
    )]
    NoAnswer {
        /// The port.
        port: String,
        /// The request.
        request: &'static str,
        /// How long the host waited.
        waited: Duration,
        /// How often the request was sent.
        sent: u32,
    },
    /// Host and board speak different protocol versions.
    #[error("the board speaks protocol {board}, this host {host}; update the older one")]
    Protocol {
        /// The board's version.
        board: u16,
        /// This crate's version.
        host: u16,
    },
    /// The board refused a request that it should accept.
    #[error("the board refused `{request}`: {reply}; is its firmware older than this host?")]
    Refused {
        /// The request.
        request: &'static str,
        /// The board's answer.
        reply: ErrorReply,
    },
    /// The line was lost and did not come back.
    #[error("{port} was lost ({reason}) and did not come back in {:.1} s", .waited.as_secs_f32())]
    Lost {
        /// The port.
        port: String,
        /// How long the host waited for it.
        waited: Duration,
        /// The first error.
        reason: io::Error,
    },
    /// Another board, or another model, answers than when the board was opened.
    #[error("another board or model answers now ({now}; before: {before}); open it again")]
    Changed {
        /// Board and model at first.
        before: String,
        /// Board and model now.
        now: String,
    },
}

/// One loss of a wafer by the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The request at which the loss was noticed.
    pub request: &'static str,
    /// Whether the board did not answer at all. Otherwise it did not know the wafer any more.
    pub silent: bool,
    /// Why the board last started, by its own answer afterwards.
    pub reset: ResetCause,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.silent {
            "no answer to"
        } else {
            "forgotten at"
        };
        write!(
            f,
            "{how} `{}` (its last start: {:?})",
            self.request, self.reset
        )
    }
}

fn listed(losses: &[Loss]) -> String {
    let losses: Vec<String> = losses.iter().map(Loss::to_string).collect();
    losses.join(", ")
}

/// Why a wafer could not be classified. There is no partial or doubtful answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The connection failed.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The map is larger than the board accepts.
    #[error("the map takes {bytes} bytes, the board holds {limit}; use a board with more memory")]
    TooLarge {
        /// Bytes of the packed map.
        bytes: usize,
        /// The board's limit.
        limit: u32,
    },
    /// The board refused the map or its classification, in every attempt.
    #[error("the board refused `{request}` {times} times: {reply}")]
    Refused {
        /// The request.
        request: &'static str,
        /// The last answer.
        reply: ErrorReply,
        /// How often the wafer was sent again.
        times: u32,
    },
    /// The board's answers contradicted each other or the map, in every attempt.
    #[error("the board's answer was rejected ({times} times): {reason}")]
    BadReport {
        /// The last contradiction.
        reason: BadReport,
        /// How often the wafer was sent again.
        times: u32,
    },
    /// The board lost the wafer again after it was sent again.
    #[error(
        "the board lost the wafer of {rows}×{cols} dies (CRC-32 {map_crc:08x}) {} times: {}; if it was reset each \
         time, keep the wafer and report it", .losses.len(), listed(.losses)
    )]
    Lost {
        /// Rows of the wafer's grid.
        rows: usize,
        /// Its columns.
        cols: usize,
        /// CRC-32 of its packed map.
        map_crc: u32,
        /// The losses, in order.
        losses: Vec<Loss>,
    },
    /// The board's engine failed on this map.
    #[error("the board's inference engine failed on this map")]
    Engine,
}

impl ClassifyError {
    /// Whether the board itself failed, so that the next wafer will probably fail too.
    pub fn is_board_failure(&self) -> bool {
        matches!(self, Self::Board(_))
    }
}
