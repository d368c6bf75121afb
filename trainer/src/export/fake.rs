//! The student as the integer network computes it, in floats that have a gradient: what `trainer quantize`
//! trains.
//!
//! Batch normalization is folded. Weights and biases are rounded as [`super::quantize`] rounds them, their
//! gradient passes straight through. Activations are rounded and clipped wherever the runtime requantizes, in
//! steps that are learned (LSQ: Esser et al., 2020; gradients scaled by 1/√(N·127) for N values a wafer).
//! What is left between this and the image's answers is the order in which floats are summed: a value may
//! fall on the other side of a rounding.
//!
//! Checkpoints hold `<layer>.weight` and `.bias` of every folded layer (`encoder.0.first`, `…depthwise`,
//! `…pointwise`, `decoder.0.up`, `class_head`, …) and for every int8 tensor, named after the layer that makes it,
//! `<layer>.log_step`, the natural logarithm of the real value of one step, and `<layer>.zero_point`.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use tch::{Device, Tensor, nn};

use super::calibrate::Affine;
use super::fold::{Folded, FoldedStudent, Place, Value};
use super::quantize;
use crate::network::{Network, Output, PartSize};
use crate::student::{self, Student};

/// The name that its checkpoints carry.
pub const ARCHITECTURE: &str = "LightWaferSegClassNet 8-16-16-32-64/32-16-16-8 int8";

/// A tensor's learned step, and its zero point.
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

/// `exact` in value, `through` in gradient.
fn straight_through(through: &Tensor, exact: &Tensor) -> Tensor {
    through + (exact - through).detach()
}

/// The quantized student and its variables.
pub struct FakeStudent {
    vars: nn::VarStore,
    folded: FoldedStudent,
    steps: HashMap<Value, Steps>,
}

impl FakeStudent {
    /// A student whose weights and steps are to be loaded or put in by [`start`].
    ///
    /// # Panics
    /// Never: a fresh student has all tensors of a student.
    pub fn new(device: Device) -> Self {
        let tensors = crate::checkpoint::tensors(Student::new(Device::Cpu).vars());
        let mut folded = match FoldedStudent::new(&tensors.into_iter().collect()) {
            Ok(folded) => folded,
            Err(error) => unreachable!("a fresh student: {error}"),
        };
        let vars = nn::VarStore::new(device);
        for (name, layer) in folded.layers_mut() {
            let path = name.split('.').fold(vars.root(), |path, part| path / part);
            layer.weight = path.var_copy("weight", &layer.weight);
            layer.bias = path.var_copy("bias", &layer.bias);
        }
        let steps = Value::all().into_iter().map(|value| {
            let name = value.name();
            let path = name.split('.').fold(vars.root(), |path, part| path / part);
            let steps = Steps {
                log_step: path.zeros("log_step", &[1]),
                zero_point: path.zeros_no_train("zero_point", &[1]),
            };
            (value, steps)
        });
        let steps = steps.collect();
        Self {
            vars,
            folded,
            steps,
        }
    }

    /// One that starts as `folded` with the ranges of `affine`.
    ///
    /// # Errors
    /// A value without a range.
    pub fn of(folded: FoldedStudent, affine: &HashMap<Value, Affine>) -> Result<Self> {
        let fake = Self::new(Device::Cpu);
        start(&fake.vars, folded, affine)?;
        Ok(fake)
    }

    /// The folded layers as they are trained, detached, on the processor.
    pub fn folded(&self) -> FoldedStudent {
        self.layers(|layer, _, _| Folded {
            weight: layer.weight.detach().to_device(Device::Cpu),
            bias: layer.bias.detach().to_device(Device::Cpu),
        })
    }

    /// Computes in 64-bit floats from here on, whose sums are exact: the image's answers, bit for bit but
    /// for ties. Several times slower.
    pub fn to_double(&mut self) {
        self.vars.double();
    }

    /// The learned ranges.
    pub fn affine(&self) -> HashMap<Value, Affine> {
        let each = |(value, steps): (&Value, &Steps)| (*value, steps.affine());
        self.steps.iter().map(each).collect()
    }

    /// Every layer through `f`, which also gets its output channels' dimension and its input's step.
    fn layers(&self, f: impl Fn(&Folded, i64, f64) -> Folded) -> FoldedStudent {
        let step = |value: Value| self.steps[&value].affine().scale;
        self.folded
            .each(|layer, input, axis| f(layer, axis, input.map_or(Affine::IMAGE.scale, step)))
    }
}

/// Puts layers and ranges into the variables of a quantized student.
///
/// # Errors
/// A value without a range, or variables of another network.
pub fn start(
    vars: &nn::VarStore,
    mut folded: FoldedStudent,
    affine: &HashMap<Value, Affine>,
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
    for (name, layer) in folded.layers_mut() {
        put(format!("{name}.weight"), &layer.weight)?;
        put(format!("{name}.bias"), &layer.bias)?;
    }
    for value in Value::all() {
        let affine = affine
            .get(&value)
            .with_context(|| format!("{value:?} was not calibrated"))?;
        let one = |x: f64| Tensor::from_slice(&[x as f32]);
        put(
            format!("{}.log_step", value.name()),
            &one(affine.scale.ln()),
        )?;
        let zero = f64::from(affine.zero_point);
        put(format!("{}.zero_point", value.name()), &one(zero))?;
    }
    Ok(())
}

impl Network for FakeStudent {
    fn architecture(&self) -> String {
        ARCHITECTURE.into()
    }

    fn vars(&self) -> &nn::VarStore {
        &self.vars
    }

    fn forward(&self, image: &Tensor, _train: bool, want_mask: bool) -> Output {
        let rounded = self.layers(|layer, axis, input| {
            let exact = tch::no_grad(|| quantize::rounded(layer, axis as usize, input));
            Folded {
                weight: straight_through(&layer.weight, &exact.weight),
                bias: straight_through(&layer.bias, &exact.bias),
            }
        });
        rounded.run(image, want_mask, &mut |place, x| match place {
            Place::Value(value) => self.steps[&value].round(&x),
            Place::MeanPool(level) => {
                // Ties are frequent here and go up, as in `kernels::pool`: the sum is an integer, and
                // must be one again before it is halved.
                let step = self.steps[&Value::Skip(level)].step().detach();
                let exact =
                    tch::no_grad(|| ((((&x / &step) * 4.0).round() + 2.0) / 4.0).floor() * &step);
                straight_through(&x, &exact)
            }
        })
    }

    fn serves_mask_only(&self, name: &str) -> bool {
        name.starts_with("decoder.") || name.starts_with("mask_head.")
    }

    fn parts(&self) -> Vec<PartSize> {
        // Normalizations are folded: the weights stand for as many parameters as the float student has.
        Student::new(Device::Cpu).parts()
    }

    fn paper_parameters(&self) -> Option<i64> {
        Some(student::PARAMETER_BUDGET)
    }
}
