//! What has to be right before a graph runs: metadata that means the same here, shapes that fit.

use serde::de::DeserializeOwned;
use tract_onnx::pb::ModelProto;
use tract_onnx::tract_hir::internal::{Datum, TractResult, TypedModel};

use super::{OUTPUTS, TractError};
use lightwafer_runtime::dies::{CLASS_COUNT, Class, IMAGE_SIZE, PALETTE};
use lightwafer_runtime::limits::MAX_CHANNELS;

/// What a Hello holds of a name.
const MAX_NAME: usize = 64;

/// What a file says about itself.
pub struct About {
    /// The model's name, at most 64 bytes.
    pub name: String,
    /// Trainable parameters.
    pub parameters: u32,
}

impl About {
    /// Checks the metadata against this crate's classes, palette and image size.
    ///
    /// # Errors
    /// [`TractError::Missing`] and [`TractError::Differs`] name the entry.
    pub fn of(model: &ModelProto) -> Result<Self, TractError> {
        let about = Self {
            name: entry(model, "name")?.into(),
            parameters: json(model, "parameters")?,
        };
        // Nothing is done differently for another version, but a file without one is no student.
        entry(model, "version")?;
        if about.name.len() > MAX_NAME {
            return Err(TractError::Differs("name"));
        }
        let classes: Vec<String> = json(model, "classes")?;
        if !Class::all().map(Class::label).eq(classes) {
            return Err(TractError::Differs("classes"));
        }
        if json::<[[u8; 3]; 3]>(model, "palette")? != PALETTE {
            return Err(TractError::Differs("palette"));
        }
        if json::<usize>(model, "input_size")? != IMAGE_SIZE {
            return Err(TractError::Differs("input_size"));
        }
        Ok(about)
    }
}

fn entry<'m>(model: &'m ModelProto, key: &'static str) -> Result<&'m str, TractError> {
    let mut entries = model.metadata_props.iter();
    entries
        .find(|entry| entry.key == key)
        .map(|entry| entry.value.as_str())
        .ok_or(TractError::Missing(key))
}

fn json<T: DeserializeOwned>(model: &ModelProto, key: &'static str) -> Result<T, TractError> {
    serde_json::from_str(entry(model, key)?).map_err(|_| TractError::Differs(key))
}

/// Checks that the outputs are what an answer is made of.
///
/// # Errors
/// [`TractError::Output`].
pub fn outputs(model: &TypedModel) -> Result<(), TractError> {
    for (at, name) in OUTPUTS.into_iter().enumerate() {
        let fact = model.output_fact(at).ok();
        let shape = fact.and_then(|fact| fact.shape.as_concrete());
        let fits = match (name, shape) {
            ("mask", Some(shape)) => *shape == [1, 1, IMAGE_SIZE, IMAGE_SIZE],
            ("logits", Some(shape)) => *shape == [1, CLASS_COUNT],
            ("embedding", Some(&[1, features])) => features <= MAX_CHANNELS,
            _ => false,
        };
        if !fits || fact.is_none_or(|fact| fact.datum_type != f32::datum_type()) {
            return Err(TractError::Output(name));
        }
    }
    Ok(())
}

/// Bytes of all the network's values together.
///
/// # Errors
/// Where a shape depends on something other than the input's.
pub fn values(model: &TypedModel) -> TractResult<u64> {
    let mut bytes = 0u64;
    for node in model.nodes() {
        for output in &node.outputs {
            let size = output.fact.mem_size().to_i64()?;
            bytes = bytes.saturating_add(size.unsigned_abs());
        }
    }
    Ok(bytes)
}
