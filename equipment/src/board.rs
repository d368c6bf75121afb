//! A board on a line: its facts, its counters, and its answers to wafers.
//!
//! [`Board::classify`] gives the board's answer to exactly the given map, or an error. Every response carries the
//! numbers of the request and of the wafer, every frame a CRC-32, and the report the CRC-32s of map and mask. Scores
//! and class must follow from the logits.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use lightwafer_device::protocol::mask_code::decode_rows;
use lightwafer_device::protocol::message::{
    Command, ErrorReply, Health, MAX_CHUNK, PROTOCOL_VERSION, Reply, Statistics,
};
use lightwafer_device::protocol::{frame::MAX_FRAME, message};
use lightwafer_runtime::crc32;
use lightwafer_runtime::dies::{DieMap, IMAGE_SIZE, Mask};

use crate::error::{BoardError, ClassifyError, Loss};
use crate::facts::BoardFacts;
use crate::link::{LineStatistics, Link, LinkError, Patience};
use crate::report::{BadReport, Checked, Report};
use crate::transport::{SerialLine, Transport};

/// Line speed, waits, and how often what goes wrong is tried again.
///
/// A request is *repeated*, a line *reopened*, a wafer *resent*, an update *resumed*. [`LineStatistics`] counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardOptions {
    /// Bits a second on the line.
    pub baud: u32,
    /// How long to wait for a response before the request is repeated. Time on the line is not counted.
    pub request_timeout: Duration,
    /// How often a request is repeated before the board counts as silent.
    pub repeats: u32,
    /// How long to wait for an inference. Emulated boards and small cores take seconds.
    pub run_timeout: Duration,
    /// How long to wait for an inference before asking again. A board repeats its answer without computing.
    pub run_repeat: Duration,
    /// How often a lost line is reopened for one request.
    pub reopens: u32,
    /// How often a wafer is resent because the board refused it, or because answers contradicted it or each other.
    pub resends: u32,
    /// How often a wafer is resent after the board lost it, that is, was reset, stopped answering, or does not
    /// know the wafer any more. One more loss is [`ClassifyError::Lost`].
    pub resends_after_loss: u32,
    /// How often an update is resumed without a byte of progress.
    pub resumes: u32,
    /// How long to wait for the first answer of a board, which may still be starting.
    pub connect_timeout: Duration,
    /// How long to wait until a port that disappeared is back.
    pub reconnect_timeout: Duration,
}

impl Default for BoardOptions {
    fn default() -> Self {
        Self {
            baud: 115_200,
            request_timeout: Duration::from_secs(1),
            repeats: 8,
            run_timeout: Duration::from_secs(120),
            run_repeat: Duration::from_secs(5),
            reopens: 4,
            resends: 4,
            resends_after_loss: 1,
            resumes: 4,
            connect_timeout: Duration::from_secs(15),
            reconnect_timeout: Duration::from_secs(10),
        }
    }
}

impl BoardOptions {
    /// The longest wait for one response: a frame each way on the line, and the board's own time.
    pub(crate) fn reply_time(&self) -> Duration {
        let bits = 2 * 10 * MAX_FRAME as u64;
        self.request_timeout + Duration::from_millis(bits * 1000 / u64::from(self.baud.max(1)))
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience {
            reply: self.reply_time(),
            sends: self.repeats + 1,
        }
    }

    pub(crate) fn patience_within(&self, total: Duration, reply: Duration) -> Patience {
        let sends = total.as_millis().div_ceil(reply.as_millis().max(1));
        Patience {
            reply: reply.min(total),
            sends: u32::try_from(sends).unwrap_or(u32::MAX),
        }
    }
}

/// A board that has answered Hello.
pub struct Board<T: Transport = SerialLine> {
    pub(crate) link: Link<T>,
    pub(crate) options: BoardOptions,
    pub(crate) facts: BoardFacts,
    wafer: u32,
    /// How often the line may still be opened again before the next answer.
    reopens_left: u32,
}

/// Why one attempt to classify a wafer failed.
enum Setback {
    /// The answers make no sense. The wafer is sent again, a few times.
    Refused(&'static str, ErrorReply),
    Bad(BadReport),
    /// The board does not know the wafer, or does not answer. The wafer is sent again, once by default.
    Lost {
        request: &'static str,
        silent: bool,
    },
    /// Another attempt would not help.
    Final(ClassifyError),
}

impl Board<SerialLine> {
    /// Opens a serial port (115,200 baud, 8N1) and sends Hello to the board on it.
    ///
    /// # Errors
    /// [`BoardError`]: the port cannot be opened, nothing answers, or the protocol versions differ.
    pub fn open(port: &str) -> Result<Self, BoardError> {
        Self::open_with(port, BoardOptions::default())
    }

    /// Like [`Board::open`], with other settings.
    ///
    /// # Errors
    /// The same as for [`Board::open`].
    pub fn open_with(port: &str, options: BoardOptions) -> Result<Self, BoardError> {
        let line = SerialLine::open(port, options.baud).map_err(|reason| BoardError::Open {
            port: port.into(),
            reason,
        })?;
        Self::over_with(line, options)
    }
}

impl<T: Transport> Board<T> {
    /// Sends Hello to the board on a line.
    ///
    /// # Errors
    /// [`BoardError`]: nothing answers, or the protocol versions differ.
    pub fn over(transport: T) -> Result<Self, BoardError> {
        Self::over_with(transport, BoardOptions::default())
    }

    /// Like [`Board::over`], with other settings.
    ///
    /// # Errors
    /// The same as for [`Board::over`].
    pub fn over_with(transport: T, options: BoardOptions) -> Result<Self, BoardError> {
        // Numbers start at random, so that answers to an earlier connection do not fit this one.
        let random = RandomState::new().hash_one(0u8);
        let mut link = Link::new(transport, (random >> 32) as u16);
        let facts = match hello(&mut link, &options) {
            Ok(facts) => facts,
            Err(error) => return Err(named(error, "hello", &link.transport)),
        };
        check_protocol(&facts)?;
        Ok(Self {
            link,
            options,
            facts,
            wafer: random as u32,
            reopens_left: 0,
        })
    }

    /// The board's facts, from its answer to Hello when it was opened (or opened again).
    pub fn facts(&self) -> &BoardFacts {
        &self.facts
    }

    /// The counters of the line, from the host's side.
    pub fn line(&self) -> LineStatistics {
        self.link.statistics
    }

    /// The current settings.
    pub fn options(&self) -> &BoardOptions {
        &self.options
    }

    /// Ends the use of the board and returns the line.
    pub fn into_transport(self) -> T {
        self.link.transport
    }

    /// Asks the board for its facts.
    ///
    /// # Errors
    /// [`BoardError`], also if another board or model answers than before.
    pub fn hello(&mut self) -> Result<&BoardFacts, BoardError> {
        let facts = match hello(&mut self.link, &self.options) {
            Err(LinkError::Io(error)) => return self.reconnect(error).map(|()| &self.facts),
            Err(error) => return Err(named(error, "hello", &self.link.transport)),
            Ok(facts) => facts,
        };
        self.adopt(facts)?;
        Ok(&self.facts)
    }

    /// Asks for the board's counters.
    ///
    /// # Errors
    /// [`BoardError`].
    pub fn statistics(&mut self) -> Result<Statistics, BoardError> {
        self.inquire("statistics", &Command::Statistics, |reply| match reply {
            Reply::Statistics(statistics) => Some(*statistics),
            _ => None,
        })
    }

    /// Asks for the board's health: its resets, and the model it runs.
    ///
    /// # Errors
    /// [`BoardError`]; `Refused` with `Malformed` from a board that does not know this request.
    pub fn health(&mut self) -> Result<Health, BoardError> {
        self.inquire("health", &Command::Health, |reply| match reply {
            Reply::Health(health) => Some(*health),
            _ => None,
        })
    }

    /// Sends a request that changes nothing on the board. The line may be lost in between.
    fn inquire<R>(
        &mut self,
        name: &'static str,
        command: &Command<'_>,
        accept: impl Fn(&Reply<'_>) -> Option<R>,
    ) -> Result<R, BoardError> {
        let mut tries = 0;
        loop {
            let patience = self.options.patience();
            match self.link.request(command, patience, &accept) {
                Ok(result) => return Ok(result),
                Err(LinkError::Io(error)) if tries < self.options.reopens => {
                    tries += 1;
                    self.reconnect(error)?;
                }
                Err(error) => return Err(named(error, name, &self.link.transport)),
            }
        }
    }

    /// Classifies one wafer.
    ///
    /// Damaged and lost frames are repeated, and a lost line is opened again. If the board itself loses the wafer (it was
    /// reset, stopped answering, or does not know the wafer any more), the wafer is sent again, but only
    /// [`BoardOptions::resends_after_loss`] times. So a wafer that makes the board hang cannot keep it hanging.
    ///
    /// # Errors
    /// [`ClassifyError`]; the board can be asked again afterwards.
    pub fn classify(&mut self, map: &DieMap<'_>) -> Result<Report, ClassifyError> {
        let (bytes, limit) = (map.packed().len(), self.facts.max_map);
        if bytes > limit as usize {
            return Err(ClassifyError::TooLarge { bytes, limit });
        }
        self.reopens_left = self.options.reopens;
        let (mut times, mut losses) = (0, Vec::new());
        loop {
            // Each attempt has a new number, so an answer to an earlier one cannot fit.
            self.wafer = self.wafer.wrapping_add(1);
            let failed = match self.attempt(map) {
                Ok(report) => return Ok(report),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Lost { request, silent }) => {
                    self.link.statistics.losses += 1;
                    let reset = self.hello()?.reset;
                    losses.push(Loss {
                        request,
                        silent,
                        reset,
                    });
                    if losses.len() > self.options.resends_after_loss as usize {
                        return Err(ClassifyError::Lost {
                            rows: map.rows(),
                            cols: map.cols(),
                            map_crc: crc32(map.packed()),
                            losses,
                        });
                    }
                    None
                }
                Err(Setback::Refused(request, reply)) => Some(Err((request, reply))),
                Err(Setback::Bad(reason)) => Some(Ok(reason)),
            };
            if let Some(failed) = failed {
                times += 1;
                if times > self.options.resends {
                    return Err(match failed {
                        Ok(reason) => ClassifyError::BadReport { reason, times },
                        Err((request, reply)) => ClassifyError::Refused {
                            request,
                            reply,
                            times,
                        },
                    });
                }
            }
            self.link.statistics.resends += 1;
        }
    }

    /// One attempt: sends the map, runs the inference, gets the mask.
    fn attempt(&mut self, map: &DieMap<'_>) -> Result<Report, Setback> {
        let packed = map.packed();
        let crc = crc32(packed);
        let wafer = self.wafer;
        let (rows, cols) = (map.rows() as u16, map.cols() as u16);
        let mut received = self.receive(
            "map",
            &Command::Map {
                wafer,
                rows,
                cols,
                crc,
            },
            packed,
        )?;
        // Enough steps to send every piece a few times; ends everything else.
        let mut steps = 8 + 4 * packed.len().div_ceil(self.chunk());
        let checked = loop {
            while received < packed.len() {
                steps = steps.checked_sub(1).ok_or(Setback::Bad(BadReport::Stuck))?;
                let end = packed.len().min(received + self.chunk());
                let data = packed.get(received..end).unwrap_or(&[]);
                let piece = Command::Dies {
                    wafer,
                    offset: received as u32,
                    data,
                };
                received = self.receive("dies", &piece, packed)?;
            }
            steps = steps.checked_sub(1).ok_or(Setback::Bad(BadReport::Stuck))?;
            match self.run(wafer, crc) {
                Err(Setback::Refused(
                    _,
                    ErrorReply::Incomplete {
                        received: bytes, ..
                    },
                )) => {
                    received = within(bytes, packed)?;
                }
                other => break other?,
            }
        };
        let mask = self.mask(wafer)?;
        checked.complete(mask, map).map_err(Setback::Bad)
    }

    pub(crate) fn chunk(&self) -> usize {
        usize::from(self.facts.max_chunk).clamp(1, MAX_CHUNK)
    }

    /// Sends a piece of the map. Returns the number of bytes that the board then has.
    fn receive(
        &mut self,
        name: &'static str,
        command: &Command<'_>,
        packed: &[u8],
    ) -> Result<usize, Setback> {
        let wafer = self.wafer;
        let result = self.ask(
            name,
            command,
            self.options.patience(),
            |reply| match *reply {
                Reply::Received { wafer: of, bytes } if of == wafer => Some(bytes),
                _ => None,
            },
        );
        match result {
            Ok(bytes) => within(bytes, packed),
            Err(Setback::Refused(_, ErrorReply::Gap { received })) => within(received, packed),
            Err(setback) => Err(setback),
        }
    }

    fn run(&mut self, wafer: u32, map_crc: u32) -> Result<Checked, Setback> {
        let options = &self.options;
        let patience = options.patience_within(options.run_timeout, options.run_repeat);
        let report = self.ask(
            "run",
            &Command::Run { wafer },
            patience,
            |reply| match reply {
                Reply::Report(report) if report.wafer == wafer => Some(report.clone()),
                _ => None,
            },
        )?;
        Checked::new(&report, map_crc).map_err(Setback::Bad)
    }

    fn mask(&mut self, wafer: u32) -> Result<Mask, Setback> {
        let mut mask = Mask::new();
        let mut row = 0u16;
        let mut steps = 2 * IMAGE_SIZE;
        while usize::from(row) < IMAGE_SIZE {
            steps = steps.checked_sub(1).ok_or(Setback::Bad(BadReport::Stuck))?;
            let command = Command::Mask { wafer, row };
            let patience = self.options.patience();
            let rows = self.ask("mask", &command, patience, |reply| match *reply {
                Reply::MaskRows {
                    wafer: of,
                    row: first,
                    rows,
                    data,
                } if of == wafer && first == row && rows > 0 => {
                    decode_rows(&mut mask, first, rows, data)
                        .ok()
                        .map(|()| rows)
                }
                _ => None,
            })?;
            row = row.saturating_add(rows);
        }
        Ok(mask)
    }

    /// Sends a request of an attempt, and decides what follows from a failure. If the line is lost, it is opened again and
    /// the request is repeated; a board that was not reset continues.
    fn ask<R>(
        &mut self,
        request: &'static str,
        command: &Command<'_>,
        patience: Patience,
        mut accept: impl FnMut(&Reply<'_>) -> Option<R>,
    ) -> Result<R, Setback> {
        loop {
            let error = match self.link.request(command, patience, &mut accept) {
                Ok(result) => {
                    self.reopens_left = self.options.reopens;
                    return Ok(result);
                }
                Err(error) => error,
            };
            return Err(match error {
                LinkError::Io(error) if self.reopens_left > 0 => {
                    self.reopens_left -= 1;
                    match self.reconnect(error) {
                        Ok(()) => continue,
                        Err(error) => Setback::Final(error.into()),
                    }
                }
                LinkError::Io(_) => {
                    Setback::Final(named(error, request, &self.link.transport).into())
                }
                LinkError::Refused(ErrorReply::UnknownWafer | ErrorReply::NotRun) => {
                    Setback::Lost {
                        request,
                        silent: false,
                    }
                }
                LinkError::Silence { .. } => Setback::Lost {
                    request,
                    silent: true,
                },
                LinkError::Refused(ErrorReply::Engine) => Setback::Final(ClassifyError::Engine),
                LinkError::Refused(reply @ (ErrorReply::Protocol { .. } | ErrorReply::Grid)) => {
                    Setback::Final(BoardError::Refused { request, reply }.into())
                }
                LinkError::Refused(reply) => Setback::Refused(request, reply),
            });
        }
    }

    /// Opens the lost line again and checks with Hello that the same board with the same model answers.
    fn reconnect(&mut self, reason: io::Error) -> Result<(), BoardError> {
        let facts = self.reopen(reason)?;
        self.adopt(facts)
    }

    /// Opens the lost line again and sends Hello.
    pub(crate) fn reopen(&mut self, reason: io::Error) -> Result<BoardFacts, BoardError> {
        let start = Instant::now();
        let waited = self.options.reconnect_timeout;
        loop {
            let lost = match self.link.transport.reopen() {
                Ok(()) => {
                    self.link.reset();
                    match hello(&mut self.link, &self.options) {
                        Ok(facts) => {
                            self.link.statistics.reopens += 1;
                            return Ok(facts);
                        }
                        Err(LinkError::Io(_)) => false,
                        Err(error) => return Err(named(error, "hello", &self.link.transport)),
                    }
                }
                Err(error) => error.kind() == io::ErrorKind::Unsupported,
            };
            if lost || start.elapsed() >= waited {
                let port = self.link.transport.name().into();
                return Err(BoardError::Lost {
                    port,
                    waited: start.elapsed(),
                    reason,
                });
            }
            std::thread::sleep(Duration::from_millis(100).min(waited));
        }
    }

    /// Stores the facts from a new Hello, if it is the same board.
    fn adopt(&mut self, facts: BoardFacts) -> Result<(), BoardError> {
        check_protocol(&facts)?;
        if !facts.is_same_as(&self.facts) {
            let (before, now) = (self.facts.identity(), facts.identity());
            return Err(BoardError::Changed { before, now });
        }
        self.facts = facts;
        Ok(())
    }
}

pub(crate) fn hello<T: Transport>(
    link: &mut Link<T>,
    options: &BoardOptions,
) -> Result<BoardFacts, LinkError> {
    let command = Command::Hello {
        protocol: PROTOCOL_VERSION,
    };
    let patience = options.patience_within(options.connect_timeout, options.reply_time());
    link.request(&command, patience, |reply| match reply {
        Reply::Hello(hello) => Some(BoardFacts::from(hello)),
        _ => None,
    })
}

pub(crate) fn check_protocol(facts: &BoardFacts) -> Result<(), BoardError> {
    let (board, host) = (facts.protocol, message::PROTOCOL_VERSION);
    if board == host {
        Ok(())
    } else {
        Err(BoardError::Protocol { board, host })
    }
}

/// The number of bytes that a board says it has, if it is possible.
fn within(received: u32, packed: &[u8]) -> Result<usize, Setback> {
    match usize::try_from(received) {
        Ok(bytes) if bytes <= packed.len() => Ok(bytes),
        _ => Err(Setback::Bad(BadReport::Received {
            received,
            expected: packed.len(),
        })),
    }
}

/// Converts a failed request to an error for people.
pub(crate) fn named(error: LinkError, request: &'static str, line: &impl Transport) -> BoardError {
    let port = line.name().to_owned();
    match error {
        LinkError::Io(reason) => BoardError::Lost {
            port,
            waited: Duration::ZERO,
            reason,
        },
        LinkError::Silence { waited, sent } => BoardError::NoAnswer {
            port,
            request,
            waited,
            sent,
        },
        LinkError::Refused(ErrorReply::Protocol { board }) => BoardError::Protocol {
            board,
            host: PROTOCOL_VERSION,
        },
        LinkError::Refused(reply) => BoardError::Refused { request, reply },
    }
}
