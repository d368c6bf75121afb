//! The commands, one file each, and what they share.

pub mod bench;
pub mod compare;
pub mod data;
pub mod distill;
pub mod eval;
pub mod export;
mod onnx;
pub mod quantize;
mod ranges;
pub mod report;
pub mod run;
mod schedule;
pub mod student;
pub mod teacher;
mod training;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use tch::Device;
use trainer::native;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// Where to compute.
#[derive(Args)]
pub struct Machine {
    /// Where to compute.
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceChoice,
    /// Threads on the processor; all if not given.
    #[arg(long)]
    threads: Option<i32>,
    /// Have cuDNN time its convolutions at every new shape and keep the fastest: seconds at the start of
    /// every stage, worth it in long ones.
    #[arg(long)]
    cudnn_benchmark: bool,
}

impl Machine {
    /// The device, made ready.
    pub fn device(&self) -> Result<Device> {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads.max(1));
        }
        if self.device == DeviceChoice::Cpu {
            return Ok(Device::Cpu);
        }
        if let Err(reason) = native::load_cuda() {
            bail!(
                "libtorch's CUDA library cannot be loaded: {reason}\nput a CUDA build of torch 2.11.0 \
                 on the library path (LD_LIBRARY_PATH=<its lib folder>), or use --device cpu"
            );
        }
        if !tch::Cuda::is_available() {
            bail!("no usable NVIDIA GPU; use --device cpu");
        }
        native::allow_tf32(true);
        tch::Cuda::cudnn_set_benchmark(self.cudnn_benchmark);
        Ok(Device::Cuda(0))
    }

    /// Threads on the processor.
    pub fn threads(&self) -> usize {
        tch::get_num_threads().max(1) as usize
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C was pressed.
pub fn stop_asked() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// From here on Ctrl-C asks to stop; the second one does not wait.
pub fn catch_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(())
}
