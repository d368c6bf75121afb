//! An ONNX file of a student: names and shapes of its input and outputs, and its metadata.
//!
//! Input `image` (N, 3, S, S) in 0…1; outputs `mask` (N, 1, S, S) and `logits` (N, classes), both before
//! sigmoid and softmax, and `embedding` (N, values). The metadata has the class labels, the colours and the origin.

use anyhow::{Result, ensure};
use lightwafer_runtime::dies::PALETTE;
use prost::Message;

use super::graph::{Axis, Builder};
use super::proto::{Entry, Graph, IR_VERSION, Model, OperatorSet};
use crate::topology::{COLOURS, Topology};

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

/// The sizes of a student's input and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Side of the images, in pixels.
    pub size: usize,
    /// Classes.
    pub classes: usize,
    /// Values of an embedding.
    pub embedding: usize,
}

impl Interface {
    /// The interface of a student of this shape.
    pub fn of(topology: &Topology) -> Self {
        Self {
            size: topology.size() as usize,
            classes: topology.classes() as usize,
            embedding: topology.embedding() as usize,
        }
    }

    /// Declares the input and the outputs; `unit` is added to the description of the mask.
    pub(super) fn declare(&self, graph: &mut Builder, unit: &str) {
        use Axis::{Batch, Fixed};
        let (side, colours) = (Fixed(self.size), Fixed(COLOURS as usize));
        let axes = [Batch, colours, side, side];
        graph.input(IMAGE, &axes, "RGB in 0...1, see `palette`");
        let mask = format!("mask logits: a pixel is a failing die where >= 0{unit}");
        graph.output(MASK, &[Batch, Fixed(1), side, side], &mask);
        let logits = "class logits in the order of `classes`; softmax gives scores";
        graph.output(LOGITS, &[Batch, Fixed(self.classes)], logits);
        let embedding = "what the classes are told apart by";
        graph.output(EMBEDDING, &[Batch, Fixed(self.embedding)], embedding);
    }
}

/// The facts about a model that its file carries.
#[derive(Debug, Clone)]
pub struct About {
    /// The model's name.
    pub name: String,
    /// The model in a sentence.
    pub description: String,
    /// Trainable parameters.
    pub parameters: u32,
    /// The labels of the classes.
    pub classes: Vec<String>,
    /// SHA-256 of the file that the model was made from, in hexadecimal.
    pub source_sha256: String,
}

/// The bytes of an ONNX file.
///
/// # Errors
/// When there is not one label for each class.
pub fn encode(graph: Graph, interface: Interface, about: &About) -> Result<Vec<u8>> {
    ensure!(
        about.classes.len() == interface.classes,
        "{} labels for {} classes",
        about.classes.len(),
        interface.classes
    );
    let size = interface.size;
    let facts = [
        ("name", about.name.clone()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("license", env!("CARGO_PKG_LICENSE").into()),
        ("parameters", about.parameters.to_string()),
        ("input_size", size.to_string()),
        // The colours (R, G, B) of no die, pass and fail.
        ("palette", serde_json::to_string(&PALETTE)?),
        ("classes", serde_json::to_string(&about.classes)?),
        ("source_sha256", about.source_sha256.clone()),
    ];
    let model = Model {
        ir_version: IR_VERSION,
        producer_name: "lightwafer-trainer".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!(
            "{}\nInput: a wafer map as {size}x{size} pixels by nearest neighbour (pixel y shows die \
             row floor(y*rows/{size})), a die's colour by `palette` (no die, pass, fail) divided by 255.",
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
