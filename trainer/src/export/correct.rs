//! Corrects biases for what rounding weights to int8 does to the mean of every channel.
//!
//! A weight's rounding error is fixed, so it moves the mean of all that the channel sees, and the shifts
//! of many layers add up in the logits. The network runs twice side by side, in floats and with rounded
//! weights; layer by layer each bias takes up the difference of the means (Nagel et al., 2019).

use tch::{Kind, Tensor};

use super::fold::{Folded, FoldedStudent};
use crate::student::mean_pool;

/// The same tensor of both networks.
struct Pair {
    float: Tensor,
    rounded: Tensor,
}

impl Pair {
    fn each(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            float: f(&self.float),
            rounded: f(&self.rounded),
        }
    }

    fn relu(self) -> Self {
        self.each(Tensor::relu)
    }

    /// Runs `layer` in both and corrects its bias; `axis` is its output channel's in the weights.
    fn through(
        &self,
        layer: &mut Folded,
        axis: i64,
        run: impl Fn(&Tensor, &Tensor, &Tensor) -> Tensor,
    ) -> Self {
        let float = run(&self.float, &layer.weight, &layer.bias);
        let rounded = run(&self.rounded, &round(&layer.weight, axis), &layer.bias);
        let over: Vec<i64> = (0..float.dim() as i64).filter(|dim| *dim != 1).collect();
        let shift = (&float - &rounded).mean_dim(over.as_slice(), true, Kind::Float);
        layer.bias = &layer.bias + shift.flatten(0, -1);
        Self {
            float,
            rounded: rounded + shift,
        }
    }

    fn convolution(&self, layer: &mut Folded) -> Self {
        self.through(layer, 0, |x, weight, bias| {
            let padding = weight.size()[2] / 2;
            let groups = x.size()[1] / weight.size()[1];
            x.conv2d(weight, Some(bias), [1, 1], [padding; 2], [1, 1], groups)
        })
    }
}

/// Weights as int8 with one scale an output channel stands for them.
fn round(weight: &Tensor, axis: i64) -> Tensor {
    let inner: Vec<i64> = (0..weight.dim() as i64)
        .filter(|dim| *dim != axis)
        .collect();
    let scale = weight.abs().amax(inner.as_slice(), true).clamp_min(1e-12) / 127.0;
    (weight / &scale).round() * scale
}

/// Corrects all biases on `images` (B, 3, 224, 224), a few dozen of them.
pub fn correct(student: &mut FoldedStudent, images: &Tensor) {
    tch::no_grad(|| {
        let mut x = Pair {
            float: images.shallow_clone(),
            rounded: images.shallow_clone(),
        };
        let mut skips = Vec::new();
        for (i, block) in student.encoder.iter_mut().enumerate() {
            x = x.convolution(&mut block.first).relu();
            x = x.convolution(&mut block.depthwise);
            x = x.convolution(&mut block.pointwise).relu();
            if i < 4 {
                let pooled = x.each(|x| {
                    if i < 3 {
                        x.max_pool2d_default(2)
                    } else {
                        mean_pool(x)
                    }
                });
                skips.push(std::mem::replace(&mut x, pooled));
            }
        }
        let embedding = x.each(|x| x.mean_dim([2i64, 3].as_slice(), false, None));
        embedding.through(&mut student.class_head, 0, |x, weight, bias| {
            x.matmul(&weight.tr()) + bias
        });
        for (up, block) in student.up.iter_mut().zip(&mut student.decoder) {
            x = x.through(up, 1, |x, weight, bias| {
                x.conv_transpose2d(weight, Some(bias), [2, 2], [0, 0], [0, 0], 1, [1, 1])
            });
            if let Some(skip) = skips.pop() {
                x = Pair {
                    float: Tensor::cat(&[&x.float, &skip.float], 1),
                    rounded: Tensor::cat(&[&x.rounded, &skip.rounded], 1),
                };
            }
            x = x.convolution(&mut block.first).relu();
            x = x.convolution(&mut block.depthwise);
            x = x.convolution(&mut block.pointwise).relu();
        }
        x.convolution(&mut student.mask_head);
    });
}
