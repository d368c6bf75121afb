//! The student in 32-bit floats, its batch normalizations folded into the convolutions before them.

use anyhow::Result;

use super::file::{EMBEDDING, IMAGE, Interface, LOGITS, MASK};
use super::graph::Builder;
use super::proto::Graph;
use crate::export::fold::{Folded, FoldedStudent};
use crate::topology::{Layer, Part, walk};

/// The graph of a folded student.
///
/// # Errors
/// When a tensor cannot be read.
pub fn graph(student: &FoldedStudent) -> Result<Graph> {
    let mut net = Float(Builder::new("LightWaferSegClassNet"));
    let layers = student.layers();
    // Names of values instead of tensors.
    walk(layers, IMAGE.to_owned(), true, |at, layer, inputs| {
        net.layer(layer, student.weights(at), inputs)
    })?;
    Interface::of(student.topology()).declare(&mut net.0, "");
    Ok(net.0.finish())
}

struct Float(Builder);

impl Float {
    /// Adds a layer over the values called `inputs`; gives the name of its output.
    fn layer(
        &mut self,
        layer: &Layer,
        weights: Option<&Folded>,
        inputs: &[&String],
    ) -> Result<String> {
        let part = layer.state_dict_name();
        let input = match inputs {
            [input] => (*input).clone(),
            several => {
                let block = part
                    .rsplit_once('.')
                    .map_or(part.as_str(), |(block, _)| block);
                let names: Vec<_> = several.iter().map(|name| name.as_str()).collect();
                self.0.concat(&format!("{block}.concat"), &names)
            }
        };
        let input = match layer.part {
            Part::ClassHead => self
                .0
                .global_mean(EMBEDDING, &format!("{part}.mean"), &input),
            _ => input,
        };
        let name = match layer.part {
            Part::ClassHead => LOGITS,
            Part::MaskHead => MASK,
            _ => &part,
        };
        let channels = layer.channels as usize;
        let Some(weights) = weights else {
            return Ok(self.0.layer(layer.op, name, &[&input], channels));
        };
        let mut constant = |what: &str, tensor: &tch::Tensor| -> Result<String> {
            let values = Vec::<f32>::try_from(tensor.contiguous().flatten(0, -1))?;
            let name = format!("{part}.{what}");
            Ok(self.0.constant(&name, &tensor.size(), &values))
        };
        let weight = constant("weight", &weights.weight)?;
        let bias = constant("bias", &weights.bias)?;
        let made = self
            .0
            .layer(layer.op, name, &[&input, &weight, &bias], channels);
        if layer.relu {
            return Ok(self
                .0
                .node("Relu", &format!("{part}.relu"), &[&made], vec![]));
        }
        Ok(made)
    }
}
