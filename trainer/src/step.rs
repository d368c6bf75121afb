//! The gradients of one step, whole or in parts, and what to say when memory is short.

use anyhow::{Error, anyhow};
use tch::{Device, Kind};

use crate::batch::{Source, Symmetry};
use crate::distill::Distiller;
use crate::guard;
use crate::loss;
use crate::native;
use crate::network::Network;
use crate::progress::{Clock, Meter, Phase};
use crate::settings::Precision;

/// What a step learns from.
pub(crate) struct Draw<'a> {
    /// Positions in the data set.
    pub(crate) wafers: &'a [u32],
    /// How each lies.
    pub(crate) symmetries: &'a [Symmetry],
    /// Image side in pixels.
    pub(crate) size: i64,
    /// Whether the mask's loss is part of it.
    pub(crate) with_mask: bool,
}

/// What computes a step's gradients.
pub(crate) struct Step<'a> {
    pub(crate) network: &'a dyn Network,
    pub(crate) distiller: Option<&'a mut Distiller>,
    pub(crate) source: &'a Source,
    pub(crate) precision: Precision,
    pub(crate) smoothing: f64,
    pub(crate) device: Device,
}

impl Step<'_> {
    /// Adds the gradients of `draw`, computed in `parts` parts, to the variables.
    pub(crate) fn gradients(
        &mut self,
        draw: &Draw<'_>,
        parts: usize,
        meter: &mut Meter,
        clock: &mut Clock,
    ) {
        let part = draw.wafers.len().div_ceil(parts);
        let halves = draw.wafers.chunks(part).zip(draw.symmetries.chunks(part));
        for (wafers, symmetries) in halves {
            let share = wafers.len() as f64 / draw.wafers.len() as f64;
            let batch = self.source.batch(wafers, symmetries, draw.size);
            clock.lap(Phase::Data);
            let teacher = self.distiller.as_mut();
            let soft = teacher.map(|d| d.soft(self.source, &batch, draw.size, draw.with_mask));
            clock.lap(Phase::Teacher);
            let forward = || self.network.forward(&batch.image, true, draw.with_mask);
            let output = native::with_precision(self.precision, self.device, forward);
            let (losses, alpha_feature) = match (&self.distiller, &soft) {
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

    /// `error` with the parts that do fit, found by trying.
    pub(crate) fn what_fits(&mut self, draw: &Draw<'_>, parts: usize, error: Error) -> Error {
        let all = draw.wafers.len();
        let (mut meter, mut clock) = (Meter::new(self.device), Clock::new(self.device));
        let mut try_parts = parts * 2;
        while try_parts <= all.next_power_of_two() {
            let tried = try_parts.min(all);
            if guard::guarded(|| self.gradients(draw, tried, &mut meter, &mut clock)).is_ok() {
                return anyhow!(
                    "{error}\n{all} wafers of {1}×{1} pixels in {parts} part(s) do not fit into memory; {0} at a \
                     time do: give --accumulate {tried} (the same step in parts) or --batch {0}",
                    all.div_ceil(tried),
                    draw.size,
                );
            }
            try_parts *= 2;
        }
        anyhow!(
            "{error}\nnot even one wafer of {0}×{0} pixels fits into memory",
            draw.size
        )
    }
}
