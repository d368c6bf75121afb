//! The plan of one training stage: the number of its steps, and the wafers that each step learns from.
//!
//! Everything random in a step (order, symmetries, dropout) is a function of the seed, the stage and the step's
//! number, so that a resumed run takes the same steps.

use crate::batch::{Symmetry, random_symmetries};
use crate::data::Random;
use crate::settings::{Settings, Stage};

/// A stage of a run on a training part of known length.
pub(crate) struct StagePlan {
    /// Image side in pixels.
    pub(crate) size: i64,
    /// Steps of the whole stage.
    pub(crate) steps: u64,
    /// Its position among the run's stages.
    number: u64,
    batch: usize,
    per_epoch: u64,
    peak: f64,
    settings: Settings,
}

/// One step of a plan.
pub(crate) struct PlannedStep {
    /// Positions of the wafers in the data set.
    pub(crate) wafers: Vec<u32>,
    /// The symmetry of each.
    pub(crate) symmetries: Vec<Symmetry>,
    /// Whether the mask's loss is part of the step.
    pub(crate) with_mask: bool,
    /// The seed of torch's generator in the step.
    pub(crate) seed: i64,
    /// The learning rate.
    pub(crate) rate: f64,
}

/// The training wafers in the order of one epoch.
#[derive(Default)]
pub(crate) struct Order(Option<(u64, Vec<u32>)>);

impl StagePlan {
    /// The stage at position `number` of a run on `wafers` training wafers.
    pub(crate) fn new(stage: Stage, number: usize, settings: &Settings, wafers: usize) -> Self {
        let batch = stage.batch.unwrap_or(settings.batch).clamp(1, wafers);
        let per_epoch = (wafers / batch) as u64;
        Self {
            size: stage.size,
            steps: ((stage.epochs * per_epoch as f64).round() as u64).max(1),
            number: number as u64,
            batch,
            per_epoch,
            peak: stage.rate.unwrap_or(settings.rate),
            settings: settings.clone(),
        }
    }

    /// Epochs done after `steps` steps.
    pub(crate) fn epochs(&self, steps: u64) -> f64 {
        steps as f64 / self.per_epoch as f64
    }

    /// Whether an epoch, or the stage, ends after `steps` steps.
    pub(crate) fn ends_epoch(&self, steps: u64) -> bool {
        steps > 0 && (steps.is_multiple_of(self.per_epoch) || steps == self.steps)
    }

    /// Whether the stage ends after `steps` steps, or after `stale` validations without a better one.
    pub(crate) fn is_over(&self, steps: u64, stale: u32) -> bool {
        steps >= self.steps || stale >= self.settings.patience.unwrap_or(u32::MAX)
    }

    /// The step that follows after `steps` steps, with wafers of the training part `train`. `order` keeps the order of
    /// the epoch from step to step.
    pub(crate) fn step(&self, steps: u64, train: &[u32], order: &mut Order) -> PlannedStep {
        let seed = self.settings.seed;
        let (epoch, at) = (steps / self.per_epoch, (steps % self.per_epoch) as usize);
        if order.0.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let mut wafers = train.to_vec();
            Random::new(&[seed, 1, self.number, epoch]).shuffle(&mut wafers);
            order.0 = Some((epoch, wafers));
        }
        let wafers = order.0.as_ref().map_or(train, |(_, wafers)| wafers);
        let mut random = Random::new(&[seed, 2, self.number, steps]);
        let done = steps as f64 / self.steps as f64;
        PlannedStep {
            wafers: wafers[at * self.batch..(at + 1) * self.batch].to_vec(),
            symmetries: random_symmetries(&mut random, self.batch),
            with_mask: steps.is_multiple_of(self.settings.mask_every.max(1)),
            seed: random.draw() as i64,
            rate: self.settings.schedule.rate(self.peak, done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::topology::Topology;

    #[test]
    fn each_epoch_has_every_wafer_once_and_a_step_is_always_the_same() {
        let settings = Settings {
            mask_every: 2,
            ..Settings::of(Architecture::Student(Topology::default()))
        };
        let train: Vec<u32> = (100..110).collect();
        let stage = "32x1.5/5".parse().unwrap();
        let plan = StagePlan::new(stage, 0, &settings, train.len());
        assert_eq!((plan.steps, plan.epochs(3)), (3, 1.5));
        assert!(plan.ends_epoch(2) && plan.ends_epoch(3) && !plan.ends_epoch(1));
        assert!(plan.is_over(3, 0) && !plan.is_over(2, 7));
        let mut order = Order::default();
        let steps: Vec<_> = (0..2).map(|at| plan.step(at, &train, &mut order)).collect();
        let mut seen = [&steps[0].wafers[..], &steps[1].wafers].concat();
        seen.sort_unstable();
        assert_eq!(seen, train);
        assert!(steps[0].with_mask && !steps[1].with_mask);
        let again = plan.step(1, &train, &mut Order::default());
        assert_eq!(again.wafers, steps[1].wafers);
        assert_eq!((again.seed, again.rate), (steps[1].seed, steps[1].rate));
    }
}
