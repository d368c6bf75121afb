//! What `trainer student`, `teacher` and `distill` share: start or resume a run, and say how it ended.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use trainer::checkpoint::Checkpoint;
use trainer::data::{Data, Protocol};
use trainer::network::Network;
use trainer::record::Record;
use trainer::settings::{Overrides, Settings};
use trainer::train::{End, Run};

use super::{Machine, catch_ctrl_c, stop_asked};

/// What to train on, and where to.
#[derive(Args)]
pub struct RunArgs {
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
    /// Go on with the run in --out, with its own settings.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    settings: Overrides,
    #[command(flatten)]
    machine: Machine,
}

impl RunArgs {
    /// Whether a run is to be gone on with.
    pub fn resumes(&self) -> bool {
        self.resume
    }

    /// The flags that are settings.
    pub fn overrides(&mut self) -> &mut Overrides {
        &mut self.settings
    }

    /// Whether a checkpoint gives all weights to start from.
    pub fn has_init(&self) -> bool {
        self.init.is_some()
    }
}

/// Starts a run with `defaults` and the flags, or resumes one, and trains. `first` puts weights into a
/// fresh network before `--init` does.
pub fn run(
    command: &str,
    args: &RunArgs,
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
        let run = Run::resume(&args.out, device)?;
        let data = load_data(run.settings().split)?;
        (run, data)
    } else {
        let mut settings = defaults.with(&args.settings);
        if args.paper_split {
            settings.split = Protocol::Paper;
        }
        // Before the data: a folder that is taken is said at once.
        Run::vacant(&args.out)?;
        let data = load_data(settings.split)?;
        let init = |network: &dyn Network| {
            first(network, &data)?;
            args.init
                .as_deref()
                .map_or(Ok(()), |path| load(path, network))
        };
        (Run::start(&args.out, settings, init, device)?, data)
    };
    let config = serde_json::to_value(run.settings())?;
    Record::keep(&args.out, config, &args.data, device)?;
    catch_ctrl_c()?;
    match train(&mut run, &data)? {
        End::Finished => eprintln!("done: {}", Run::best(&args.out).display()),
        End::Stopped => eprintln!(
            "stopped and saved; to go on: trainer {command} --data {} --out {} --resume",
            args.data.display(),
            args.out.display()
        ),
    }
    Ok(())
}

/// Says what is trained, and trains it.
pub fn train(run: &mut Run, data: &Data) -> Result<End> {
    eprintln!("{}", run.describe());
    run.train(data, &stop_asked)
}

fn load(path: &Path, network: &dyn Network) -> Result<()> {
    Checkpoint::read(path)?.load(network.vars(), &network.architecture())
}
