//! The gradients of one training step, whole or in parts; and advice when memory is short.

use anyhow::{Error, anyhow};
use tch::{Device, Kind};

use crate::batch::{Source, Symmetry};
use crate::distill::Distiller;
use crate::loss;
use crate::meter::{Clock, Meter, Phase};
use crate::native;
use crate::network::Network;
use crate::settings::Precision;
use crate::torch_errors;

/// The wafers that a step learns from.
pub(crate) struct Draw<'a> {
    /// Positions in the data set.
    pub(crate) wafers: &'a [u32],
    /// The symmetry of each.
    pub(crate) symmetries: &'a [Symmetry],
    /// Image side in pixels.
    pub(crate) size: i64,
    /// Whether the mask's loss is part of it.
    pub(crate) with_mask: bool,
}

/// Computes a step's gradients.
pub(crate) struct Step<'a> {
    pub(crate) network: &'a dyn Network,
    pub(crate) distiller: Option<&'a Distiller>,
    pub(crate) source: &'a Source,
    pub(crate) precision: Precision,
    pub(crate) smoothing: f64,
    pub(crate) device: Device,
}

impl Step<'_> {
    /// Adds the gradients of `draw`, computed in `parts` parts, to the variables.
    pub(crate) fn gradients(
        &self,
        draw: &Draw<'_>,
        parts: usize,
        meter: &mut Meter,
        clock: &mut Clock,
    ) {
        let part = draw.wafers.len().div_ceil(parts);
        let parts = draw.wafers.chunks(part).zip(draw.symmetries.chunks(part));
        for (wafers, symmetries) in parts {
            let share = wafers.len() as f64 / draw.wafers.len() as f64;
            let batch = self.source.batch(wafers, symmetries, draw.size);
            clock.lap(Phase::Data);
            let ask = |d: &Distiller| d.soft(self.source, &batch, draw.size, draw.with_mask);
            let soft = self.distiller.map(ask);
            clock.lap(Phase::Teacher);
            let forward = || self.network.forward(&batch.image, true, draw.with_mask);
            let output = native::with_precision(self.precision, self.device, forward);
            let (losses, alpha_feature) = match (self.distiller, &soft) {
                (Some(distiller), Some(soft)) => {
                    let projected = distiller.project(&output.embedding);
                    let settings = &distiller.settings;
                    let losses = loss::distilled(
                        &output,
                        &batch.class,
                        &batch.mask,
                        self.smoothing,
                        soft,
                        projected.as_ref(),
                        settings,
                    );
                    (losses, settings.alpha_feature)
                }
                _ => (
                    loss::hard(&output, &batch.class, &batch.mask, self.smoothing),
                    0.0,
                ),
            };
            clock.lap(Phase::Forward);
            (losses.total(alpha_feature) * share).backward();
            clock.lap(Phase::Backward);
            let right = output.logits.argmax(1, false).eq_tensor(&batch.class);
            meter.add(&losses, share, &right.sum(Kind::Int64), wafers.len());
        }
    }

    /// `error`, and the number of wafers that does fit, found by trying ever smaller parts.
    pub(crate) fn what_fits(&self, draw: &Draw<'_>, parts: usize, error: Error) -> Error {
        let all = draw.wafers.len();
        let (mut meter, mut clock) = (Meter::new(self.device), Clock::new(self.device));
        let mut part = all.div_ceil(parts);
        while part > 1 {
            part = part.div_ceil(2);
            let few = Draw {
                wafers: &draw.wafers[..part],
                symmetries: &draw.symmetries[..part],
                ..*draw
            };
            if torch_errors::guarded(|| self.gradients(&few, 1, &mut meter, &mut clock)).is_ok() {
                return anyhow!(
                    "{error}\n{all} wafers of {0}×{0} pixels in {parts} part(s) do not fit into memory; {part} \
                     at a time do: give --accumulate {1} (the same step in parts) or --batch {part}",
                    draw.size,
                    all.div_ceil(part),
                );
            }
        }
        anyhow!(
            "{error}\nnot even one wafer of {0}×{0} pixels fits into memory",
            draw.size
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Architecture, Encoder};
    use crate::batch::Source;
    use crate::data::{Data, Protocol};
    use crate::network::{Output, PartSize};
    use crate::topology::CLASSES;
    use lightwafer_maps::npz::WaferSet;
    use tch::{Tensor, nn};

    /// A network that runs out of memory with more than `fits` wafers.
    struct Small {
        vars: nn::VarStore,
        bias: Tensor,
        fits: i64,
    }

    impl Network for Small {
        fn architecture(&self) -> Architecture {
            Architecture::Teacher(Encoder::ResNet18)
        }

        fn vars(&self) -> &nn::VarStore {
            &self.vars
        }

        fn forward(&self, image: &Tensor, _train: bool, _want_mask: bool) -> Output {
            let wafers = image.size()[0];
            if wafers > self.fits {
                // As tch panics when CUDA's allocator throws.
                panic!(
                    "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB\\nException raised from malloc\")"
                );
            }
            Output {
                logits: self.bias.expand([wafers, CLASSES], false),
                mask: None,
                embedding: Tensor::zeros([wafers, 1], (Kind::Float, Device::Cpu)),
            }
        }

        fn serves_mask_only(&self, _name: &str) -> bool {
            false
        }

        fn parts(&self) -> Vec<PartSize> {
            Vec::new()
        }

        fn paper_parameters(&self) -> Option<i64> {
            None
        }
    }

    fn what_is_said(fits: i64) -> String {
        let wafers = WaferSet {
            rows: 1,
            cols: 1,
            dies: vec![1; 12],
            labels: None,
        };
        let data = Data::split(wafers, vec![0; 12], Protocol::Paper);
        let source = Source::new(&data, Device::Cpu);
        let vars = nn::VarStore::new(Device::Cpu);
        let bias = vars.root().zeros("bias", &[CLASSES]);
        let step = Step {
            network: &Small { vars, bias, fits },
            distiller: None,
            source: &source,
            precision: Precision::F32,
            smoothing: 0.0,
            device: Device::Cpu,
        };
        let draw = Draw {
            wafers: &(0..12).collect::<Vec<_>>(),
            symmetries: &[0; 12],
            size: 16,
            with_mask: false,
        };
        let (mut meter, mut clock) = (Meter::new(Device::Cpu), Clock::new(Device::Cpu));
        match torch_errors::guarded(|| step.gradients(&draw, 1, &mut meter, &mut clock)) {
            Ok(()) => "fits".into(),
            Err(error) => {
                assert!(torch_errors::is_out_of_memory(&error), "{error}");
                step.what_fits(&draw, 1, error).to_string()
            }
        }
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        assert_eq!(what_is_said(12), "fits");
        let text = what_is_said(4);
        assert!(
            text.contains("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "{text}"
        );
        assert!(!text.contains("Exception raised"), "{text}");
        assert!(
            text.contains("--accumulate 4") && text.contains("--batch 3"),
            "{text}"
        );
        assert!(what_is_said(0).contains("not even one wafer"));
    }
}
