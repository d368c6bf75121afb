//! The student in 32-bit floats, its batch normalizations folded into the convolutions before them.

use anyhow::Result;
use lightwafer_runtime::graph::Op;

use super::graph::Builder;
use super::proto::Graph;
use super::{EMBEDDING, IMAGE, LOGITS, MASK, declare};
use crate::export::fold::{Folded, FoldedBlock, FoldedStudent};
use crate::student::ENCODER;

/// The graph of a folded student.
///
/// # Errors
/// When a tensor cannot be read.
pub fn graph(student: &FoldedStudent) -> Result<Graph> {
    let mut net = Float(Builder::new("LightWaferSegClassNet"));
    let mut x = IMAGE.to_owned();
    let mut skips = Vec::new();
    for (i, block) in student.encoder.iter().enumerate() {
        let first = if i == 0 {
            Op::ImageConv3x3
        } else {
            Op::Conv3x3
        };
        x = net.block(&format!("encoder.{i}"), first, "conv", &x, block)?;
        if i < 4 {
            let op = if i < 3 { Op::MaxPool2 } else { Op::AvgPool2 };
            let pool = format!("encoder.{i}.pool");
            let pooled = net.0.layer(op, &pool, &[&x], ENCODER[i] as usize);
            skips.push(std::mem::replace(&mut x, pooled));
        }
    }
    net.0.global_mean(EMBEDDING, "class_head.mean", &x);
    net.convolution(
        Op::ClassHead,
        LOGITS,
        "class_head",
        EMBEDDING,
        &student.class_head,
    )?;
    for (i, (up, block)) in student.up.iter().zip(&student.decoder).enumerate() {
        let name = format!("decoder.{i}");
        let part = format!("{name}.up");
        let up = net.convolution(Op::TransposedConv2x2, &part, &part, &x, up)?;
        let both = net
            .0
            .concat(&format!("{name}.concat"), [&up, &skips[3 - i]]);
        x = net.block(&name, Op::Pointwise, "reduce", &both, block)?;
    }
    net.convolution(Op::MaskHead, MASK, "mask_head", &x, &student.mask_head)?;
    declare(&mut net.0, "");
    Ok(net.0.finish())
}

struct Float(Builder);

impl Float {
    /// A layer with its weights; the output is called `name`, the weights after `part`.
    fn convolution(
        &mut self,
        op: Op,
        name: &str,
        part: &str,
        input: &str,
        layer: &Folded,
    ) -> Result<String> {
        let mut constant = |what: &str, tensor: &tch::Tensor| -> Result<String> {
            let values = Vec::<f32>::try_from(tensor.contiguous().flatten(0, -1))?;
            let name = format!("{part}.{what}");
            Ok(self.0.constant(&name, &tensor.size(), &values))
        };
        let weight = constant("weight", &layer.weight)?;
        let bias = constant("bias", &layer.bias)?;
        let channels = layer.bias.size()[0] as usize;
        Ok(self.0.layer(op, name, &[input, &weight, &bias], channels))
    }

    fn block(
        &mut self,
        name: &str,
        op: Op,
        first: &str,
        input: &str,
        block: &FoldedBlock,
    ) -> Result<String> {
        let mut x = input.to_owned();
        for (op, part, layer, relu) in [
            (op, first, &block.first, true),
            (Op::Depthwise3x3, "depthwise", &block.depthwise, false),
            (Op::Pointwise, "pointwise", &block.pointwise, true),
        ] {
            let part = format!("{name}.{part}");
            x = self.convolution(op, &part, &part, &x, layer)?;
            if relu {
                x = self.0.node("Relu", &format!("{part}.relu"), &[&x], vec![]);
            }
        }
        Ok(x)
    }
}
