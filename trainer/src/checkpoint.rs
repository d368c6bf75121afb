//! Checkpoints: safetensors files with named f32 tensors and a description of the network, written atomically.
//!
//! A model file holds the network's tensors under their state-dict names. The file to resume from also holds
//! the optimizers' moments (`optimizer.<group>.first`, `.second`) and, in its metadata, the state of the run.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, nn};

use crate::architecture::Architecture;
use crate::data::Protocol;
use crate::files::write_atomically;

/// The description that a checkpoint carries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// The network, as [`Architecture`] writes it; empty in a file of another program.
    pub architecture: String,
    /// Image size of the last training stage.
    pub size: i64,
    /// Epochs trained, all stages together.
    pub epochs: f64,
    /// How the data was split.
    pub split: Option<Protocol>,
    /// Headline metrics of the last validation, by name.
    pub metrics: HashMap<String, f64>,
    /// The run's state as JSON; only in a file that a run can be resumed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

const INFO: &str = "lightwafer";

/// Writes named tensors (as f32, contiguous) with `info`.
///
/// # Errors
/// When the file system refuses, with the path.
pub fn save(path: &Path, tensors: &[(String, Tensor)], info: &Info) -> Result<()> {
    let mut bytes = Vec::new();
    for (name, tensor) in tensors {
        let flat = tensor
            .detach()
            .to_device(Device::Cpu)
            .to_kind(Kind::Float)
            .contiguous();
        let values = Vec::<f32>::try_from(flat.view([-1]))?;
        let shape: Vec<usize> = tensor.size().iter().map(|d| *d as usize).collect();
        let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        bytes.push((name.clone(), shape, values));
    }
    let mut views = Vec::new();
    for (name, shape, values) in &bytes {
        views.push((
            name.clone(),
            TensorView::new(Dtype::F32, shape.clone(), values)?,
        ));
    }
    let text = HashMap::from([
        ("format".to_owned(), "pt".to_owned()),
        (INFO.to_owned(), serde_json::to_string(info)?),
    ]);
    write_atomically(path, &serialize(views, Some(text))?)
}

/// A checkpoint in memory.
pub struct Checkpoint {
    bytes: Vec<u8>,
    name: String,
    /// Its description.
    pub info: Info,
}

impl Checkpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// When the file cannot be read or is no safetensors file.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes)
            .with_context(|| format!("{name} is no readable safetensors file"))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get(INFO));
        let info = match text {
            Some(text) => serde_json::from_str(text)
                .with_context(|| format!("{name}: its description cannot be read"))?,
            None => Info::default(),
        };
        SafeTensors::deserialize(&bytes)
            .with_context(|| format!("{name}: its tensors do not fit the file"))?;
        Ok(Self { bytes, name, info })
    }

    /// One tensor on the CPU.
    ///
    /// # Errors
    /// When there is no f32 tensor of this name.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let view = SafeTensors::deserialize(&self.bytes)?
            .tensor(name)
            .with_context(|| format!("{}: no tensor {name}", self.name))?;
        ensure!(
            view.dtype() == Dtype::F32,
            "{}: {name} is {:?}, not F32",
            self.name,
            view.dtype()
        );
        let values = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let shape: Vec<i64> = view.shape().iter().map(|d| *d as i64).collect();
        Ok(Tensor::from_slice(&values.collect::<Vec<_>>()).view(shape.as_slice()))
    }

    /// Copies the network's tensors into `vars`, the variables of a network of this `architecture`.
    ///
    /// # Errors
    /// When the checkpoint names another architecture, or a tensor is missing or of another shape.
    pub fn load(&self, vars: &nn::VarStore, architecture: &Architecture) -> Result<()> {
        let found = &self.info.architecture;
        if !found.is_empty() && *found != architecture.to_string() {
            bail!(
                "{}: a checkpoint of {found}; {architecture} is needed",
                self.name
            );
        }
        // Everything is checked before anything is overwritten.
        let mut loaded = Vec::new();
        for (name, variable) in vars.variables() {
            let tensor = self.tensor(&name)?;
            let (found, expected) = (tensor.size(), variable.size());
            ensure!(
                found == expected,
                "{}: {name} has shape {found:?}; {architecture} needs {expected:?}",
                self.name
            );
            loaded.push((variable, tensor));
        }
        tch::no_grad(|| {
            loaded
                .into_iter()
                .for_each(|(mut to, from)| to.copy_(&from))
        });
        Ok(())
    }
}

/// A network's tensors, sorted by name.
pub fn tensors(vars: &nn::VarStore) -> Vec<(String, Tensor)> {
    let mut tensors: Vec<_> = vars.variables().into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}
