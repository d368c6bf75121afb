//! `trainer export --onnx`: the student for everything that runs ONNX.
//!
//! Two models with one interface. [`float`] writes a checkpoint's student in 32-bit floats. [`qdq`] writes
//! the integers of a model image (.lw) between QuantizeLinear and DequantizeLinear, so that a runtime
//! which knows that form computes what a board computes.
//!
//! Input `image` (N, 3, 224, 224) in 0…1; outputs `mask` (N, 1, 224, 224) and `logits` (N, 38), both before
//! sigmoid and softmax, and `embedding` (N, 64). What else one must know is in the file's metadata.

pub mod float;
mod graph;
pub mod proto;
pub mod qdq;

use anyhow::Result;
use lightwafer_runtime::dies::{CLASS_COUNT, Class, IMAGE_SIZE, PALETTE};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::student::ENCODER;
use graph::{Axis, Builder};
use proto::{Entry, Graph, IR_VERSION, Model, OperatorSet};

/// The version of the standard operators.
pub const OPSET: i64 = 17;
/// The input.
pub const IMAGE: &str = "image";
/// The first output.
pub const MASK: &str = "mask";
/// The second output.
pub const LOGITS: &str = "logits";
/// The third output.
pub const EMBEDDING: &str = "embedding";

/// What a file says about its model.
#[derive(Debug, Clone)]
pub struct About {
    /// The model's name.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Trainable parameters.
    pub parameters: u32,
    /// The file it was made from.
    pub source: Vec<u8>,
}

impl About {
    /// SHA-256 of the file that the model was made from, in hexadecimal.
    pub fn sha256(&self) -> String {
        let digest = Sha256::digest(&self.source);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The bytes of an ONNX file.
///
/// # Errors
/// When the class names cannot be written.
pub fn encode(graph: Graph, about: &About) -> Result<Vec<u8>> {
    let classes: Vec<_> = Class::all().map(Class::label).collect();
    let facts = [
        ("name", about.name.clone()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("license", env!("CARGO_PKG_LICENSE").into()),
        ("parameters", about.parameters.to_string()),
        ("input_size", IMAGE_SIZE.to_string()),
        // The colours (R, G, B) of no die, pass and fail.
        ("palette", serde_json::to_string(&PALETTE)?),
        ("classes", serde_json::to_string(&classes)?),
        ("source_sha256", about.sha256()),
    ];
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "lightwafer-trainer".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!(
            "{}\nInput: a wafer map as {IMAGE_SIZE}x{IMAGE_SIZE} pixels by nearest neighbour (pixel y shows die \
             row floor(y*rows/{IMAGE_SIZE})), a die's colour by `palette` (no die, pass, fail) divided by 255.",
            about.description
        ),
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: facts
            .map(|(key, value)| Entry {
                key: key.into(),
                value,
            })
            .into(),
    };
    Ok(model.encode_to_vec())
}

/// Says what goes in and comes out; `unit` is added to what the mask's logits are.
fn declare(graph: &mut Builder, unit: &str) {
    use Axis::{Batch, Fixed};
    let side = Fixed(IMAGE_SIZE);
    graph.input(
        IMAGE,
        &[Batch, Fixed(3), side, side],
        "RGB in 0...1, see `palette`",
    );
    let mask = format!("mask logits: a pixel is a failing die where >= 0{unit}");
    graph.output(MASK, &[Batch, Fixed(1), side, side], &mask);
    let logits = "class logits in the order of `classes`; softmax gives scores";
    graph.output(LOGITS, &[Batch, Fixed(CLASS_COUNT)], logits);
    let embedding = "what the classes are told apart by";
    graph.output(EMBEDDING, &[Batch, Fixed(ENCODER[4] as usize)], embedding);
}
