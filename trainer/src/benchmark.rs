//! A benchmark of training: steps a second on synthetic wafers, of the same step that runs take.

use std::time::Instant;

use anyhow::Result;
use lightwafer_maps::synth::every_class;
use serde::Serialize;

use crate::batch::{Source, random_symmetries};
use crate::data::{Data, Protocol, Random};
use crate::meter::{Clock, Meter};
use crate::network::Network;
use crate::optim::AdamW;
use crate::settings::Precision;
use crate::torch_errors;
use crate::training_step::{Draw, Step};

/// Wafers of each class that batches are drawn from.
const PER_CLASS: u32 = 10;
/// The grid of MixedWM38.
const GRID: u16 = 52;

/// The steps to time.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Image side in pixels.
    pub size: i64,
    /// Wafers in a step.
    pub batch: usize,
    /// Number format.
    pub precision: Precision,
    /// The mask's loss is computed in one of this many steps.
    pub mask_every: u32,
    /// Steps before the time is taken.
    pub warm_up: u32,
    /// Steps that are timed.
    pub steps: u32,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speed {
    /// Seconds of the timed steps.
    pub seconds: f64,
    /// Steps a second.
    pub steps_per_second: f64,
    /// Wafers a second.
    pub images_per_second: f64,
    /// Mean class and mask loss of the timed steps: proof that they were computed.
    pub losses: [f64; 2],
}

/// Trains `network` for a few steps with hard losses.
///
/// # Errors
/// Torch's exceptions, such as when memory is short.
pub fn measure(network: &dyn Network, load: &Load) -> Result<Speed> {
    let device = network.vars().device();
    let groups = Vec::from(network.groups()).into_iter();
    let mut optimizers: Vec<_> = groups
        .map(|group| AdamW::new(group.into_iter().map(|(_, tensor)| tensor).collect(), 0.01))
        .collect();
    let source = Source::new(&wafers(), device);
    let step = Step {
        network,
        distiller: None,
        source: &source,
        precision: load.precision,
        smoothing: 0.0,
        device,
    };
    let mut random = Random::new(&[0]);
    let (mut meter, mut clock) = (Meter::new(device), Clock::new(device));
    let mut train = |steps: u32, meter: &mut Meter| {
        torch_errors::guarded(|| {
            for nth in 0..steps {
                let wafers: Vec<_> = (0..load.batch)
                    .map(|_| random.below(source.len()) as u32)
                    .collect();
                let draw = Draw {
                    wafers: &wafers,
                    symmetries: &random_symmetries(&mut random, load.batch),
                    size: load.size,
                    with_mask: nth.is_multiple_of(load.mask_every.max(1)),
                };
                optimizers.iter_mut().for_each(AdamW::zero_grad);
                step.gradients(&draw, 1, meter, &mut clock);
                for (i, optimizer) in optimizers.iter_mut().enumerate() {
                    if i != 1 || draw.with_mask {
                        optimizer.step(1e-3);
                    }
                }
            }
        })
    };
    train(load.warm_up, &mut meter)?;
    // Reading waits until a GPU is done.
    meter.read();
    let started = Instant::now();
    train(load.steps, &mut meter)?;
    let reading = meter.read();
    let seconds = started.elapsed().as_secs_f64().max(1e-9);
    let steps_per_second = f64::from(load.steps) / seconds;
    Ok(Speed {
        seconds,
        steps_per_second,
        images_per_second: steps_per_second * load.batch as f64,
        losses: [reading.class_loss, reading.mask_loss.unwrap_or(f64::NAN)],
    })
}

/// Synthetic wafers of every class.
fn wafers() -> Data {
    let mut wafers = every_class(PER_CLASS, 0, GRID, GRID);
    let labels = wafers.labels.take().unwrap_or_default();
    Data::split(wafers, labels, Protocol::Paper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::Student;
    use crate::topology::Topology;
    use tch::Device;

    #[test]
    fn steps_are_timed_and_learn() {
        let load = |warm_up| Load {
            size: 32,
            batch: 16,
            precision: Precision::F32,
            mask_every: 1,
            warm_up,
            steps: 2,
        };
        let timed = |warm_up| {
            tch::manual_seed(0);
            let student = Student::new(&Topology::default(), Device::Cpu);
            measure(&student, &load(warm_up)).unwrap()
        };
        let (early, late) = (timed(0), timed(30));
        assert!(early.seconds > 0.0 && early.images_per_second > early.steps_per_second);
        assert!(late.losses[1] < early.losses[1], "{early:?} {late:?}");
    }
}
