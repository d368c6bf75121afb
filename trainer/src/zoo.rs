//! Builds networks by their architecture, opens checkpoints, and starts or resumes the runs that train them.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use tch::Device;

use crate::architecture::Architecture;
use crate::checkpoint::Checkpoint;
use crate::export::qat::QatStudent;
use crate::network::Network;
use crate::settings::Settings;
use crate::student::Student;
use crate::teacher::Teacher;
use crate::train::Run;

/// A network with fresh weights, drawn from torch's generator. A student for quantization-aware training has zeros
/// until its weights are loaded or put in.
pub fn build(architecture: &Architecture, device: Device) -> Box<dyn Network> {
    match architecture {
        Architecture::Student(topology) => Box::new(Student::new(topology, device)),
        Architecture::Qat(topology) => Box::new(QatStudent::new(topology, device)),
        Architecture::Teacher(encoder) => Box::new(Teacher::new(*encoder, device)),
    }
}

/// Builds the network that the checkpoint is of, with its weights.
///
/// # Errors
/// When the file cannot be read, its architecture is none of ours, or its tensors do not fit.
pub fn open(path: &Path, device: Device) -> Result<(Box<dyn Network>, Checkpoint)> {
    let checkpoint = Checkpoint::read(path)?;
    let architecture = Architecture::of_checkpoint(&checkpoint.info.architecture)
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    let network = build(&architecture, device);
    checkpoint.load(network.vars(), &architecture)?;
    Ok((network, checkpoint))
}

/// A new run in the folder `out`. `init` puts weights to start from into the fresh network.
///
/// # Errors
/// As [`Run::start`], and the errors of `init`.
pub fn start(
    out: &Path,
    settings: Settings,
    init: impl FnOnce(&dyn Network) -> Result<()>,
    device: Device,
) -> Result<Run> {
    let network = |settings: &Settings| {
        let network = build(&settings.network, device);
        init(&*network)?;
        Ok(network)
    };
    Run::start(out, settings, network)
}

/// Goes on with the run in the folder `out`, with the settings it was started with.
///
/// # Errors
/// As [`Run::resume`].
pub fn resume(out: &Path, device: Device) -> Result<Run> {
    Run::resume(out, |settings| build(&settings.network, device))
}
