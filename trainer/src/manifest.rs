//! The manifest of a run, `run.json`: configuration, data, program and machine, so that it can be made again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Device;

use crate::files::{sha256_of_file, write_atomically};
use crate::native;

/// The origin of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The settings or the configuration.
    pub config: Value,
    /// The data file.
    pub data: DataFile,
    /// The processes that worked on it: the first, and one for each time it was resumed.
    pub sessions: Vec<Session>,
}

/// A data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its path, as given on the command line.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// One process that worked on the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When it started: RFC 3339, UTC.
    pub started: String,
    /// The command line.
    pub command: Vec<String>,
    /// The trainer's version.
    pub version: String,
    /// The git revision of the working folder, if it is in a repository; with `+` when files were changed.
    pub git_revision: Option<String>,
    /// The machine.
    pub machine: MachineFacts,
}

/// The machine of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// Operating system and its version.
    pub system: String,
    /// Processor.
    pub processor: String,
    /// Its cores, as the system counts them.
    pub cores: usize,
    /// Threads that torch was given.
    pub threads: i32,
    /// Memory.
    pub memory_bytes: u64,
    /// The GPU, if one computes.
    pub gpu: Option<String>,
    /// Version of libtorch.
    pub torch: String,
}

impl DataFile {
    /// Reads the file once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let read = sha256_of_file(path);
        let (bytes, sha256) = read.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self {
            path: path.display().to_string(),
            bytes,
            sha256,
        })
    }
}

impl Session {
    /// This process.
    pub fn here(device: Device) -> Self {
        Self {
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: std::env::args().collect(),
            version: env!("CARGO_PKG_VERSION").into(),
            git_revision: git_revision(),
            machine: MachineFacts::here(device),
        }
    }
}

impl MachineFacts {
    fn here(device: Device) -> Self {
        let system = sysinfo::System::new_with_specifics(
            sysinfo::RefreshKind::nothing()
                .with_cpu(sysinfo::CpuRefreshKind::nothing())
                .with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram()),
        );
        // A system that does not tell these facts is no reason not to train.
        let system = system.ok();
        let cpus = system.as_ref().map_or(&[][..], sysinfo::System::cpus);
        let unknown = || "unknown".to_owned();
        let gpu = || {
            let names = output_of("nvidia-smi", &["--query-gpu=name", "--format=csv,noheader"]);
            names.unwrap_or_else(unknown)
        };
        Self {
            system: sysinfo::System::long_os_version().unwrap_or_else(|_| unknown()),
            processor: cpus.first().map_or_else(unknown, |cpu| cpu.brand().into()),
            cores: cpus.len(),
            threads: tch::get_num_threads(),
            memory_bytes: system.as_ref().map_or(0, sysinfo::System::total_memory),
            gpu: device.is_cuda().then(gpu),
            torch: native::torch_version().into(),
        }
    }
}

fn git_revision() -> Option<String> {
    let revision = output_of("git", &["rev-parse", "HEAD"])?;
    let changed = output_of("git", &["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changed.is_some_and(|text| !text.is_empty()) {
        "+"
    } else {
        ""
    };
    Some(revision + mark)
}

/// The trimmed output of a program; none when it cannot be run or fails.
fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

impl Manifest {
    /// The file in a run's folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("run.json")
    }

    /// Writes `run.json` in `folder`, or adds this session to the one there; configuration and data stay those that
    /// the run was started with.
    ///
    /// # Errors
    /// When the data or the file cannot be read or written, or the file is no manifest.
    pub fn keep(folder: &Path, config: Value, data: &Path, device: Device) -> Result<Self> {
        let path = Self::path(folder);
        let mut manifest = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is no manifest of a run", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self {
                config,
                data: DataFile::of(data)?,
                sessions: Vec::new(),
            },
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        manifest.sessions.push(Session::here(device));
        write_atomically(&path, &serde_json::to_vec_pretty(&manifest)?)?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sessions_add_up_and_the_start_stays() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::write(&data, "abc").unwrap();
        let first = Manifest::keep(dir.path(), json!({ "seed": 1 }), &data, Device::Cpu).unwrap();
        assert_eq!(
            first.data.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let machine = &first.sessions[0].machine;
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && machine.torch.starts_with("2."));
        let second = Manifest::keep(dir.path(), json!({ "seed": 2 }), &data, Device::Cpu).unwrap();
        assert_eq!(second.config, json!({ "seed": 1 }));
        assert_eq!(second.sessions.len(), 2);
        fs::write(dir.path().join("run.json"), "{").unwrap();
        assert!(Manifest::keep(dir.path(), json!({}), &data, Device::Cpu).is_err());
    }
}
