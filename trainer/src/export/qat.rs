//! The student for quantization-aware training (QAT): in floats that have a gradient, with fake quantization wherever
//! the integer network rounds. `trainer quantize` trains it.
//!
//! Batch normalization is folded. Weights and biases are rounded as [`super::quantize`] rounds them, and their
//! gradient passes straight through. Activations are rounded and clipped wherever the runtime requantizes, in
//! steps that are learned (LSQ: Esser et al., 2020; gradients scaled by 1/√(N·127) for N values a wafer).
//! The image's answers may still differ slightly, because floats are summed in another order: a value may
//! fall on the other side of a rounding.
//!
//! Checkpoints hold `<layer>.weight` and `.bias` of every folded layer (`encoder.0.first`, `…depthwise`,
//! `…pointwise`, `decoder.0.up`, `class_head`, …). For every int8 tensor they hold two more values, named after the
//! layer that makes it: `<layer>.log_step`, the natural logarithm of the real value of one step, and
//! `<layer>.zero_point`. The embedding's are `embedding.log_step` and `embedding.zero_point`.

use std::collections::HashMap;
use std::convert::Infallible;

use anyhow::{Context, Result, ensure};
use tch::{Device, Tensor, nn};

use super::calibrate::Affine;
use super::fold::{Folded, FoldedStudent, RoundingSite};
use super::quantize;
use crate::architecture::Architecture;
use crate::network::{Network, Output, PartSize};
use crate::student;
use crate::topology::layers::{activation_name, activations, serves_mask_only};
use crate::topology::{Activation, Layer, Topology};

/// The learned step of an activation, and its zero point.
struct Steps {
    log_step: Tensor,
    zero_point: Tensor,
}

impl Steps {
    fn step(&self) -> Tensor {
        self.log_step.exp()
    }

    fn affine(&self) -> Affine {
        Affine {
            scale: self.step().double_value(&[0]),
            zero_point: self.zero_point.double_value(&[0]).clamp(-128.0, 127.0) as i8,
        }
    }

    /// To the nearest step and back.
    fn round(&self, x: &Tensor) -> Tensor {
        let values = (x.numel() as f64 / x.size()[0].max(1) as f64).max(1.0);
        let scaled = 1.0 / (values * 127.0).sqrt();
        x.internal_fake_quantize_learnable_per_tensor_affine(
            &self.step(),
            &self.zero_point,
            -128,
            127,
            scaled,
        )
    }
}

/// The value of `exact` with the gradient of `through`.
fn straight_through(through: &Tensor, exact: &Tensor) -> Tensor {
    through + (exact - through).detach()
}

/// The variable path of a dotted name.
fn path<'a>(vars: &'a nn::VarStore, name: &str) -> nn::Path<'a> {
    name.split('.').fold(vars.root(), |path, part| path / part)
}

/// The student for quantization-aware training, and its variables.
pub struct QatStudent {
    vars: nn::VarStore,
    folded: FoldedStudent,
    steps: HashMap<Activation, Steps>,
}

impl QatStudent {
    /// A student whose weights and steps are to be loaded or put in by [`start`]; until then they are zero.
    pub fn new(topology: &Topology, device: Device) -> Self {
        let vars = nn::VarStore::new(device);
        let Ok(folded) = FoldedStudent::new(topology, |layer| {
            let path = path(&vars, &layer.name);
            let shape = layer.weight_shape().unwrap_or_default();
            Ok::<_, Infallible>(Folded {
                weight: path.zeros("weight", &shape),
                bias: path.zeros("bias", &[layer.channels]),
            })
        });
        let layers = folded.layers();
        let steps = activations(layers).into_iter().map(|activation| {
            let path = path(&vars, activation_name(layers, activation));
            let steps = Steps {
                log_step: path.zeros("log_step", &[1]),
                zero_point: path.zeros_no_train("zero_point", &[1]),
            };
            (activation, steps)
        });
        let steps = steps.collect();
        Self {
            vars,
            folded,
            steps,
        }
    }

    /// A student that starts as `folded` with the ranges of `affine`.
    ///
    /// # Errors
    /// An activation without a range.
    pub fn of(folded: FoldedStudent, affine: &HashMap<Activation, Affine>) -> Result<Self> {
        let student = Self::new(folded.topology(), Device::Cpu);
        start(&student.vars, folded, affine)?;
        Ok(student)
    }

    /// The folded layers with the weights that are trained, detached, on the processor.
    pub fn folded(&self) -> FoldedStudent {
        self.folded.map(|_, layer| Folded {
            weight: layer.weight.detach().to_device(Device::Cpu),
            bias: layer.bias.detach().to_device(Device::Cpu),
        })
    }

    /// Computes in 64-bit floats from here on, whose sums are exact: the answers are the image's bit for bit, except
    /// at ties. Several times slower.
    pub fn to_double(&mut self) {
        self.vars.double();
    }

    /// The learned ranges.
    pub fn affine(&self) -> HashMap<Activation, Affine> {
        let each = |(activation, steps): (&Activation, &Steps)| (*activation, steps.affine());
        self.steps.iter().map(each).collect()
    }

    /// The real value of one step of the layer's input.
    fn input_scale(&self, layer: &Layer) -> f64 {
        let scale = |activation| self.steps[&activation].affine().scale;
        layer.reads.map_or(Affine::IMAGE.scale, scale)
    }
}

/// Puts layers and ranges into the variables of a student for quantization-aware training.
///
/// # Errors
/// An activation without a range, or variables of another network.
pub fn start(
    vars: &nn::VarStore,
    mut folded: FoldedStudent,
    affine: &HashMap<Activation, Affine>,
) -> Result<()> {
    let variables = vars.variables();
    let put = |name: String, from: &Tensor| -> Result<()> {
        let mut to = variables
            .get(&name)
            .with_context(|| format!("no variable {name}"))?
            .shallow_clone();
        ensure!(to.size() == from.size(), "{name} has another shape");
        tch::no_grad(|| to.copy_(from));
        Ok(())
    };
    for (layer, weights) in folded.named_mut() {
        put(format!("{}.weight", layer.name), &weights.weight)?;
        put(format!("{}.bias", layer.name), &weights.bias)?;
    }
    let layers = folded.layers();
    for activation in activations(layers) {
        let name = activation_name(layers, activation);
        let affine = affine.get(&activation);
        let affine = affine.with_context(|| format!("{name} was not calibrated"))?;
        let one = |x: f64| Tensor::from_slice(&[x as f32]);
        put(format!("{name}.log_step"), &one(affine.scale.ln()))?;
        let zero = f64::from(affine.zero_point);
        put(format!("{name}.zero_point"), &one(zero))?;
    }
    Ok(())
}

impl Network for QatStudent {
    fn architecture(&self) -> Architecture {
        Architecture::Qat(self.folded.topology().clone())
    }

    fn vars(&self) -> &nn::VarStore {
        &self.vars
    }

    fn forward(&self, image: &Tensor, _train: bool, want_mask: bool) -> Output {
        let rounded = self.folded.map(|layer, weights| {
            let input = self.input_scale(layer);
            let exact = tch::no_grad(|| quantize::rounded(layer.op, weights, input));
            Folded {
                weight: straight_through(&weights.weight, &exact.weight),
                bias: straight_through(&weights.bias, &exact.bias),
            }
        });
        rounded.run(image, want_mask, &mut |site, x| match site {
            RoundingSite::Layer(_, activation) => self.steps[&activation].round(&x),
            RoundingSite::MeanPool(activation) => {
                // Ties are frequent here and go up, as in `kernels::pool`: the sum is an integer, and
                // must be one again before it is halved.
                let step = self.steps[&activation].step().detach();
                let exact =
                    tch::no_grad(|| ((((&x / &step) * 4.0).round() + 2.0) / 4.0).floor() * &step);
                straight_through(&x, &exact)
            }
        })
    }

    fn serves_mask_only(&self, name: &str) -> bool {
        serves_mask_only(name)
    }

    fn parts(&self) -> Vec<PartSize> {
        // Normalizations are folded: the weights stand for as many parameters as the float student has.
        let topology = self.folded.topology();
        student::part_sizes(topology, topology.parameters())
    }

    fn paper_parameters(&self) -> Option<i64> {
        student::paper_parameters(self.folded.topology())
    }
}
