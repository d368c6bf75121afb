//! The flags that say where to compute, and Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use tch::Device;
use trainer::native;

/// How many threads compute.
#[derive(Args)]
pub struct Threads {
    /// Threads on the processor; all if not given.
    #[arg(long)]
    threads: Option<i32>,
}

impl Threads {
    /// Tells libtorch; gives the number.
    pub fn set(&self) -> usize {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads.max(1));
        }
        tch::get_num_threads().max(1) as usize
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DeviceChoice {
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
    #[command(flatten)]
    threads: Threads,
    /// Have cuDNN time its convolutions at every new shape and keep the fastest. This takes seconds at the start of
    /// every stage, and is worth it in long ones.
    #[arg(long)]
    cudnn_benchmark: bool,
}

impl Machine {
    /// The device, made ready.
    pub fn device(&self) -> Result<Device> {
        self.threads.set();
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
        self.threads.set()
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C was pressed.
pub fn stop_asked() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// From here on Ctrl-C asks to stop; a second one ends the program at once.
pub fn catch_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    Ok(())
}
