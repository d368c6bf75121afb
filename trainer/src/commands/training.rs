//! Starts or resumes a run. `student`, `teacher`, `distill` and `quantize` share this.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use trainer::checkpoint::Checkpoint;
use trainer::data::{Data, Protocol};
use trainer::manifest::Manifest;
use trainer::network::Network;
use trainer::settings::{Overrides, Settings};
use trainer::train::{End, Run};
use trainer::{run_folder, zoo};

use super::machine::{Machine, catch_ctrl_c, stop_asked};

/// The data to train on, the folder, and the settings of any network.
#[derive(Args)]
pub struct TrainArgs {
    /// Labelled wafer maps in MixedWM38's layout (.npz).
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder for checkpoints and the log; created if missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The published protocol: keep repeated maps when splitting.
    #[arg(long)]
    paper_split: bool,
    /// Start from these weights (.safetensors) of the same network.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Resume the run in --out, with its own settings.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    settings: Overrides,
    #[command(flatten)]
    machine: Machine,
}

impl TrainArgs {
    /// Whether a run is to be resumed.
    pub fn resumes(&self) -> bool {
        self.resume
    }

    /// The flags that are settings.
    pub fn overrides(&mut self) -> &mut Overrides {
        &mut self.settings
    }

    /// The checkpoint that gives all weights to start from.
    pub fn init(&self) -> Option<&Path> {
        self.init.as_deref()
    }
}

/// Starts a run with `defaults` and the flags, or resumes one, and trains. `first` puts weights into a
/// fresh network before `--init` does.
pub fn run(
    command: &str,
    args: &TrainArgs,
    defaults: Settings,
    first: impl FnOnce(&dyn Network, &Data) -> Result<()>,
) -> Result<()> {
    ensure!(
        !args.resume || args.settings == Overrides::default(),
        "--resume goes on with the settings that the run was started with: leave out the others"
    );
    let device = args.machine.device()?;
    let load_data = |split| -> Result<Data> {
        let data = Data::load(&args.data, split)?;
        eprintln!("{}", data.describe());
        Ok(data)
    };
    let (mut run, data) = if args.resume {
        let run = zoo::resume(&args.out, device)?;
        let data = load_data(run.settings().split)?;
        (run, data)
    } else {
        let mut settings = defaults.with(&args.settings);
        if args.paper_split {
            settings.split = Protocol::Paper;
        }
        // Before the data is read, so that the error comes at once.
        Run::vacant(&args.out)?;
        settings.check().map_err(anyhow::Error::msg)?;
        let data = load_data(settings.split)?;
        let init = |network: &dyn Network| {
            first(network, &data)?;
            args.init
                .as_deref()
                .map_or(Ok(()), |path| load(path, network))
        };
        (zoo::start(&args.out, settings, init, device)?, data)
    };
    let config = serde_json::to_value(run.settings())?;
    Manifest::keep(&args.out, config, &args.data, device)?;
    catch_ctrl_c()?;
    match train(&mut run, &data)? {
        End::Finished => eprintln!("done: {}", run_folder::best(&args.out).display()),
        End::Stopped => eprintln!(
            "stopped and saved; to go on: trainer {command} --data {} --out {} --resume",
            args.data.display(),
            args.out.display()
        ),
    }
    Ok(())
}

/// Describes the run on stderr, and trains.
pub fn train(run: &mut Run, data: &Data) -> Result<End> {
    eprintln!("{}", run.describe());
    run.train(data, &stop_asked)
}

fn load(path: &Path, network: &dyn Network) -> Result<()> {
    Checkpoint::read(path)?.load(network.vars(), &network.architecture())
}
