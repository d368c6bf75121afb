//! Runs the model on this machine: the same integers as on a board, so the same answers, bit for bit.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;
use std::{io, thread};

use lightwafer_device::store::{Block, BlockError, split};
use lightwafer_runtime::dies::{DieMap, Mask};
use lightwafer_runtime::image::{Model, ModelError};
use lightwafer_runtime::{AlignedBox, KernelTable};
use lightwafer_runtime::{EngineError, FixedEngine};
use thiserror::Error;

use crate::facts::ModelFacts;
use crate::report::Report;

/// A checked model file.
#[derive(Debug)]
pub struct Local {
    image: AlignedBox<u8>,
    facts: ModelFacts,
    signature: Option<Block>,
}

/// Why a model file cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The file cannot be read.
    #[error("cannot read model file {}: {reason}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The file is not a model image.
    #[error("{}: {reason}; export it again or get a new copy", .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: ModelError,
    },
    /// The signature behind the image is damaged.
    #[error("{}: {reason}; sign it again", .path.display())]
    Signature {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: BlockError,
    },
    /// The signature behind the image belongs to another image.
    #[error("{}: the signature is of another image; sign the unsigned model again", .0.display())]
    OtherImage(PathBuf),
    /// The engine does not accept the model.
    #[error("the model does not run here: {0}")]
    Engine(#[from] EngineError),
}

impl Local {
    /// Reads and checks a model file.
    ///
    /// # Errors
    /// [`LocalError`]: the file cannot be read, or is not a model image, or its signature block is not of this image.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LocalError> {
        let path = path.as_ref();
        let file = std::fs::read(path).map_err(|reason| LocalError::Read {
            path: path.into(),
            reason,
        })?;
        // No key is needed here, because the file is the user's own.
        let (image, signature) = split(&file).map_err(|reason| LocalError::Signature {
            path: path.into(),
            reason,
        })?;
        let image = AlignedBox::from(image);
        match Model::new_checked(&image) {
            Ok(model) => {
                let facts = ModelFacts::from(&model.facts());
                if signature.is_some_and(|block| block.sha256() != facts.sha256) {
                    return Err(LocalError::OtherImage(path.into()));
                }
                Ok(Self {
                    image,
                    facts,
                    signature,
                })
            }
            Err(reason) => Err(LocalError::Model {
                path: path.into(),
                reason,
            }),
        }
    }

    /// The facts of the model.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// The bytes of the image, without a signature block.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    /// The signature block after the image, if there is one. The signature itself has not been verified.
    pub fn signature(&self) -> Option<&Block> {
        self.signature.as_ref()
    }

    /// How boards compute each layer: by their fast kernels, or why not.
    ///
    /// # Errors
    /// [`LocalError::Model`].
    pub fn kernels(&self) -> Result<KernelTable, LocalError> {
        Ok(KernelTable::of(&self.model()?))
    }

    fn model(&self) -> Result<Model<'_>, LocalError> {
        Model::new_checked(&self.image).map_err(|reason| LocalError::Model {
            path: PathBuf::new(),
            reason,
        })
    }

    /// Runs `work` with a new engine and its arena.
    fn with_engine<R>(
        &self,
        work: impl FnOnce(&mut FixedEngine<'_, '_>) -> R,
    ) -> Result<R, LocalError> {
        let model = self.model()?;
        let mut arena = AlignedBox::zeroed(self.facts.arena_bytes as usize);
        Ok(work(&mut FixedEngine::new(model, &mut arena)?))
    }

    /// The self-test: whether the golden wafer in the image gets the expected answer here.
    ///
    /// # Errors
    /// [`LocalError::Engine`].
    pub fn self_test(&self) -> Result<bool, LocalError> {
        self.with_engine(|engine| engine.self_test(&mut Mask::new()).is_ok())
    }

    /// Classifies one wafer. For many, [`Local::classify_all`] is faster.
    ///
    /// # Errors
    /// [`LocalError::Engine`].
    pub fn classify(&self, map: &DieMap<'_>) -> Result<Report, LocalError> {
        self.with_engine(|engine| infer(engine, map))
    }

    /// Classifies many wafers on `threads` threads (`None`: one a core). Calls `done` for each wafer with its index and
    /// its report, in no particular order.
    ///
    /// # Errors
    /// [`LocalError::Engine`].
    pub fn classify_all(
        &self,
        maps: &[DieMap<'_>],
        threads: Option<NonZero<usize>>,
        mut done: impl FnMut(usize, Report),
    ) -> Result<(), LocalError> {
        let threads = threads
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, NonZero::get)
            .clamp(1, maps.len().max(1));
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (sender, reports) = mpsc::sync_channel(2 * threads);
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let (sender, next) = (sender.clone(), &next);
                    scope.spawn(move || {
                        self.with_engine(|engine| {
                            loop {
                                let at = next.fetch_add(1, Ordering::Relaxed);
                                let Some(map) = maps.get(at) else { break };
                                if sender.send((at, infer(engine, map))).is_err() {
                                    break;
                                }
                            }
                        })
                    })
                })
                .collect();
            drop(sender);
            for (at, report) in reports {
                done(at, report);
            }
            for worker in workers {
                match worker.join() {
                    Ok(result) => result?,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(())
        })
    }
}

fn infer(engine: &mut FixedEngine<'_, '_>, map: &DieMap<'_>) -> Report {
    let mut mask = Mask::new();
    let start = Instant::now();
    let answer = engine.infer(map, &mut mask);
    Report::new(&answer, mask, map, start.elapsed(), None)
}
