//! The engines, made from files: the fixed-point one is tried on the model's golden wafer, tract's on an empty one.

use std::path::Path;

use anyhow::{Context, anyhow};
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, Engine, FixedEngine};

use crate::Failure;

/// Runs `work` with the fixed-point engine of a model image.
///
/// # Errors
/// [`Failure::Model`] when the file cannot be read, is no model image, or answers its golden wafer wrongly
/// on this processor; otherwise what `work` gives.
pub fn fixed(
    path: &Path,
    work: impl FnOnce(&mut FixedEngine<'_, '_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let file = || format!("model file {}", path.display());
    let image = std::fs::read(path)
        .with_context(|| format!("cannot read {}", file()))
        .map_err(Failure::Model)?;
    let image = AlignedBox::from(image);
    let model = Model::new_checked(&image)
        .map_err(|error| anyhow!("{}: {error}; export it again or fetch it anew", file()))
        .map_err(Failure::Model)?;
    let mut arena = AlignedBox::zeroed(model.facts().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena)
        .map_err(|error| anyhow!("{}: {error}", file()))
        .map_err(Failure::Model)?;
    engine
        .self_test(&mut Mask::new())
        .map_err(|error| anyhow!("{}: {error}", file()))
        .map_err(Failure::Model)?;
    let facts = engine.facts();
    log::info!(
        "model {}: {} bytes, {} MACs, arena {} bytes, golden wafer answered as expected",
        facts.name,
        facts.model_bytes,
        facts.macs,
        facts.arena_bytes
    );
    work(&mut engine)
}

/// Runs `work` with tract and an ONNX student.
///
/// # Errors
/// [`Failure::Model`] when the file cannot be read or is not such a student; otherwise what `work` gives.
#[cfg(feature = "tract")]
pub fn tract(
    path: &Path,
    work: impl FnOnce(&mut lightwafer_tract::TractEngine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    use lightwafer_runtime::Engine as _;
    let file = || format!("model file {}", path.display());
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read {}", file()))
        .map_err(Failure::Model)?;
    let mut engine = lightwafer_tract::TractEngine::new_checked(&bytes)
        .map_err(|error| anyhow!("{}: {error}", file()))
        .map_err(Failure::Model)?;
    let facts = engine.facts();
    log::info!(
        "model {} in floats, by tract: {} bytes, {} MACs, values of {} bytes",
        facts.name,
        facts.model_bytes,
        facts.macs,
        facts.arena_bytes
    );
    work(&mut engine)
}
