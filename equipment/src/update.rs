//! Model updates: checks a signed model, sends it piece by piece, and continues a transfer after a lost line or a
//! reset.
//!
//! The host checks key, version, size and image first. The board checks all of them again, so its safety does not
//! depend on the host. A board that loses power at any moment runs the old model or the new one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lightwafer_device::protocol::message::{Command, ErrorReply, Health, Reply};
use lightwafer_device::store::{Block, BlockError, KeyId, split};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::image::{Model, ModelError};
use thiserror::Error;

use crate::board::{Board, check_protocol, hello, named};
use crate::error::BoardError;
use crate::facts::ModelFacts;
use crate::link::{LinkError, Patience};
use crate::transport::Transport;

/// How long to wait while a board erases a slot. Flash with blocks of 128 KiB takes seconds.
const ERASE: Duration = Duration::from_secs(20);

/// A model image with its signature block.
#[derive(Debug, Clone)]
pub struct SignedModel {
    image: AlignedBox<u8>,
    block: Block,
    facts: ModelFacts,
}

/// A step of an update, for progress messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The model was announced to the board.
    Begun {
        /// Bytes that the board already has.
        received: u32,
    },
    /// The board has received more bytes.
    Sent {
        /// Bytes of the whole model.
        received: u32,
    },
    /// The line was lost, or the board did not answer. The update is tried again.
    Interrupted,
    /// The board runs the self-test of the model: its golden wafer.
    Trying,
}

/// Why an update failed. The board runs the model that it ran before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The connection failed.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The file cannot be read.
    #[error("cannot read model file {}: {reason}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The image is not a model.
    #[error("not a model: {0}; export it again or get a new copy")]
    Model(#[from] ModelError),
    /// The image has no signature block.
    #[error("the model is not signed; sign it: lightwafer sign MODEL --key KEY --model-version N")]
    Unsigned,
    /// The signature block is damaged.
    #[error("{0}; sign the model again")]
    Block(#[from] BlockError),
    /// The signature block belongs to another image.
    #[error("the signature is of another image; sign the unsigned model again")]
    OtherImage,
    /// The board accepts no models.
    #[error("this board accepts no models over the line; build its firmware with the new model")]
    Unsupported,
    /// The firmware has no key.
    #[error(
        "THE FIRMWARE OF THIS BOARD HAS NO UPDATE KEY, so it accepts no models; build it with \
         LIGHTWAFER_UPDATE_KEY=<public key file of `lightwafer keygen`>"
    )]
    NoKey,
    /// The board has another key.
    #[error("the model is signed with key {model}, the board accepts key {board}")]
    Key {
        /// The model's key.
        model: KeyId,
        /// The board's key.
        board: KeyId,
    },
    /// The version is too low.
    #[error(
        "the model's version is {version}, this board takes {minimum} and higher; sign it with a higher one \
         if it really is newer"
    )]
    Version {
        /// The model's version.
        version: u32,
        /// The lowest version that the board accepts.
        minimum: u32,
    },
    /// The image is too large.
    #[error("the model has {length} bytes, the board's slots hold {limit}")]
    Size {
        /// Bytes of the image.
        length: u32,
        /// Bytes of a slot.
        limit: u32,
    },
    /// The board refused the model or a piece of it.
    #[error("the board refused `{request}`: {}", explained(.reply))]
    Refused {
        /// The request.
        request: &'static str,
        /// The board's answer.
        reply: ErrorReply,
    },
    /// The line was lost several times without a byte of progress.
    #[error(
        "given up after {tries} tries without progress; the next `update` continues from {received} bytes"
    )]
    Stuck {
        /// How often the update was tried.
        tries: u32,
        /// Bytes that the board has.
        received: u32,
    },
    /// The board runs another model than the one it confirmed.
    #[error("the board confirmed the model, but runs another; see `lightwafer info`")]
    Contradiction,
}

/// The board's answer, and what may be behind it.
fn explained(reply: &ErrorReply) -> String {
    match reply {
        ErrorReply::Block => format!("{reply}; is its firmware older?"),
        ErrorReply::Model => format!("{reply}; is its firmware older than the model?"),
        reply => reply.to_string(),
    }
}

impl SignedModel {
    /// Reads a signed model file and checks it. The signature itself is not verified here; the board does that.
    ///
    /// # Errors
    /// [`UpdateError`]: `Read`, and those of [`SignedModel::new_checked`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, UpdateError> {
        let path = path.as_ref();
        let file = std::fs::read(path).map_err(|reason| UpdateError::Read {
            path: path.into(),
            reason,
        })?;
        Self::new_checked(&file)
    }

    /// Checks the bytes of a signed model file.
    ///
    /// # Errors
    /// [`UpdateError`]: `Block`, `Unsigned`, `Model`, `OtherImage`.
    pub fn new_checked(file: &[u8]) -> Result<Self, UpdateError> {
        let (image, block) = split(file)?;
        let image = AlignedBox::from(image);
        let model = Model::new_checked(&image)?;
        let facts = ModelFacts::from(&model.facts());
        let block = block.ok_or(UpdateError::Unsigned)?;
        if block.sha256() != facts.sha256 {
            return Err(UpdateError::OtherImage);
        }
        Ok(Self {
            image,
            block,
            facts,
        })
    }

    /// The facts of the model.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// The bytes of the image.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// Its signature block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Whether a board with this health would accept the model. `false` if it already runs the model.
    ///
    /// # Errors
    /// [`UpdateError`], the reason why the board would refuse the model.
    pub fn fits(&self, health: &Health) -> Result<bool, UpdateError> {
        let (models, block) = (&health.models, &self.block);
        if models.limit == 0 {
            return Err(UpdateError::Unsupported);
        }
        let board = KeyId(models.key.ok_or(UpdateError::NoKey)?);
        let (model, version, length) = (block.key(), block.version(), block.length());
        if model != board {
            return Err(UpdateError::Key { model, board });
        }
        if self.runs_on(health) {
            return Ok(false);
        }
        let (minimum, limit) = (models.minimum, models.limit);
        if version < minimum {
            return Err(UpdateError::Version { version, minimum });
        }
        if length > limit {
            return Err(UpdateError::Size { length, limit });
        }
        Ok(true)
    }

    fn runs_on(&self, health: &Health) -> bool {
        health.models.version == self.block.version() && health.sha256 == self.block.sha256()
    }
}

/// Why one attempt of an update failed.
enum Setback {
    /// The model must be announced to the board again.
    Again,
    /// The line is lost.
    Lost(io::Error),
    Final(UpdateError),
}

impl<T: Transport> Board<T> {
    /// Sends a model and makes the board run it. Calls `progress` for every step. Continues an earlier transfer of the same
    /// model, also one of another host. Returns `false` if the board already runs the model.
    ///
    /// # Errors
    /// [`UpdateError`]; the board runs the model that it ran before.
    pub fn update(
        &mut self,
        model: &SignedModel,
        mut progress: impl FnMut(Step),
    ) -> Result<bool, UpdateError> {
        let (mut tries, mut best) = (0, 0);
        let mut first = true;
        loop {
            let fits = model.fits(&self.model_health()?);
            match fits {
                // The version was not too low before, so it must be running now.
                Ok(false) => {
                    self.refresh()?;
                    return Ok(!first);
                }
                Ok(true) => {}
                Err(error) => return Err(error),
            }
            first = false;
            let mut received = 0;
            match self.attempt_update(model, &mut received, &mut progress) {
                Ok(()) => {
                    self.refresh()?;
                    return match self.facts.model.sha256 == model.block.sha256() {
                        true => Ok(true),
                        false => Err(UpdateError::Contradiction),
                    };
                }
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Again) => {}
                Err(Setback::Lost(error)) => {
                    self.facts = self.reopen(error)?;
                    check_protocol(&self.facts)?;
                }
            }
            progress(Step::Interrupted);
            tries = if received > best { 0 } else { tries + 1 };
            best = best.max(received);
            if tries > self.options.resumes {
                return Err(UpdateError::Stuck { tries, received });
            }
        }
    }

    /// Goes back to the model that ran before the current one.
    ///
    /// # Errors
    /// [`UpdateError`]; the board runs the model that it ran before.
    pub fn roll_back(&mut self) -> Result<u32, UpdateError> {
        let health = self.model_health()?;
        if health.models.limit == 0 {
            return Err(UpdateError::Unsupported);
        }
        let from = health.models.version;
        let command = Command::ModelRollback { from };
        let patience = self.trial();
        let mut tries = 0;
        let version = loop {
            match self.ask_model("rollback", &command, patience, runs) {
                Ok(version) => break version,
                Err(Setback::Lost(error)) if tries < self.options.reopens => {
                    tries += 1;
                    self.facts = self.reopen(error)?;
                }
                Err(Setback::Lost(error)) => {
                    let error = LinkError::Io(error);
                    return Err(named(error, "rollback", &self.link.transport).into());
                }
                Err(Setback::Again) => return Err(UpdateError::Unsupported),
                Err(Setback::Final(error)) => return Err(error),
            }
        };
        self.refresh()?;
        Ok(version)
    }

    /// Asks for the board's health. Boards that do not know this request accept no models.
    fn model_health(&mut self) -> Result<Health, UpdateError> {
        self.refresh()?;
        self.health().map_err(|error| match error {
            BoardError::Refused {
                reply: ErrorReply::Malformed,
                ..
            } => UpdateError::Unsupported,
            error => error.into(),
        })
    }

    /// Asks the board for its facts again, because its model may have changed.
    fn refresh(&mut self) -> Result<(), BoardError> {
        let facts = match hello(&mut self.link, &self.options) {
            Ok(facts) => facts,
            Err(LinkError::Io(error)) => self.reopen(error)?,
            Err(error) => return Err(named(error, "hello", &self.link.transport)),
        };
        check_protocol(&facts)?;
        if facts.board != self.facts.board {
            let (before, now) = (self.facts.identity(), facts.identity());
            return Err(BoardError::Changed { before, now });
        }
        self.facts = facts;
        Ok(())
    }

    /// How long to wait while the board loads a model and classifies its golden wafer.
    fn trial(&self) -> Patience {
        let options = &self.options;
        options.patience_within(options.run_timeout, options.run_repeat)
    }

    fn attempt_update(
        &mut self,
        model: &SignedModel,
        received: &mut u32,
        progress: &mut impl FnMut(Step),
    ) -> Result<(), Setback> {
        let version = model.block.version();
        let signature = model.block.bytes();
        let arrived = |reply: &Reply<'_>| match *reply {
            Reply::ModelReceived { version: of, bytes } if of == version => Some(bytes),
            _ => None,
        };
        let begin = Command::ModelBegin { signature };
        let patience = self
            .options
            .patience_within(ERASE, self.options.reply_time());
        *received = self.ask_model("model begin", &begin, patience, arrived)?;
        progress(Step::Begun {
            received: *received,
        });
        // Enough steps to send every piece a few times; ends everything else.
        let mut steps = 16 + 4 * model.image.len().div_ceil(self.chunk().max(64) / 2);
        while (*received as usize) < model.image.len() {
            steps = steps.checked_sub(1).ok_or(Setback::Again)?;
            let from = *received as usize;
            let end = model.image.len().min(from + self.chunk());
            let data = model.image.get(from..end).unwrap_or(&[]);
            let piece = Command::ModelChunk {
                version,
                offset: *received,
                data,
            };
            *received = self.ask_model("model chunk", &piece, self.options.patience(), arrived)?;
            progress(Step::Sent {
                received: *received,
            });
        }
        progress(Step::Trying);
        let commit = Command::ModelCommit { version };
        let patience = self.trial();
        self.ask_model("model commit", &commit, patience, |reply| {
            runs(reply).filter(|runs| *runs == version)
        })
        .map(drop)
    }

    /// Sends a request of an update, and decides what follows from a failure.
    fn ask_model<R>(
        &mut self,
        request: &'static str,
        command: &Command<'_>,
        patience: Patience,
        accept: impl FnMut(&Reply<'_>) -> Option<R>,
    ) -> Result<R, Setback> {
        self.link
            .request(command, patience, accept)
            .map_err(|error| match error {
                LinkError::Io(error) => Setback::Lost(error),
                // The board has restarted, or had other bytes than these. Its answer says where to continue.
                LinkError::Refused(
                    ErrorReply::NoTransfer
                    | ErrorReply::Digest
                    | ErrorReply::Gap { .. }
                    | ErrorReply::Conflict { .. }
                    | ErrorReply::Incomplete { .. },
                ) => Setback::Again,
                LinkError::Refused(reply) => {
                    Setback::Final(UpdateError::Refused { request, reply })
                }
                LinkError::Silence { .. } => {
                    let error = named(error, request, &self.link.transport);
                    Setback::Final(error.into())
                }
            })
    }
}

/// The running version, from a reply.
fn runs(reply: &Reply<'_>) -> Option<u32> {
    match *reply {
        Reply::ModelRuns { version } => Some(version),
        _ => None,
    }
}
