//! Measures training steps: their losses, and where their time goes.

use std::time::Instant;

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::loss::Losses;

/// Sums over the steps since the last reading. They stay on the device until they are read, so that a GPU
/// never waits for a number that nobody reads.
pub(crate) struct Meter {
    /// Sums of the class loss, the mask loss, the feature loss, and of right answers.
    sums: Tensor,
    /// The steps, and for right answers the wafers, in each of these sums.
    counts: [f64; 4],
    images: usize,
    since: Instant,
}

/// The means that a [`Meter`] gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) class_loss: f64,
    pub(crate) mask_loss: Option<f64>,
    pub(crate) feature_loss: Option<f64>,
    pub(crate) accuracy: f64,
    pub(crate) images_per_second: f64,
}

impl Meter {
    pub(crate) fn new(device: Device) -> Self {
        Self {
            sums: Tensor::zeros([4], (Kind::Float, device)),
            counts: [0.0; 4],
            images: 0,
            since: Instant::now(),
        }
    }

    /// Measures the speed from here on.
    pub(crate) fn restart(&mut self) {
        (self.images, self.since) = (0, Instant::now());
    }

    /// Adds losses, weighted with their `share` of a step, and the right answers among `wafers`.
    pub(crate) fn add(&mut self, losses: &Losses, share: f64, right: &Tensor, wafers: usize) {
        let zero = losses.class.zeros_like();
        let or = |loss: &Option<Tensor>| match loss {
            Some(loss) => loss.detach() * share,
            None => zero.shallow_clone(),
        };
        let class = losses.class.detach() * share;
        let (mask, feature) = (or(&losses.mask), or(&losses.feature));
        self.sums += Tensor::stack(&[class, mask, feature, right.to_kind(Kind::Float)], 0);
        self.counts[0] += share;
        self.counts[1] += losses.mask.as_ref().map_or(0.0, |_| share);
        self.counts[2] += losses.feature.as_ref().map_or(0.0, |_| share);
        self.counts[3] += wafers as f64;
        self.images += wafers;
    }

    /// The means since the last reading.
    pub(crate) fn read(&mut self) -> Reading {
        let sums: Vec<f32> = Vec::try_from(&self.sums).unwrap_or_default();
        let mean = |i: usize| {
            sums.get(i)
                .map_or(f64::NAN, |s| f64::from(*s) / self.counts[i])
        };
        let some = |i: usize| (self.counts[i] > 0.0).then(|| mean(i));
        let reading = Reading {
            class_loss: mean(0),
            mask_loss: some(1),
            feature_loss: some(2),
            accuracy: mean(3),
            images_per_second: self.images as f64 / self.since.elapsed().as_secs_f64().max(1e-9),
        };
        let _ = self.sums.zero_();
        self.counts = [0.0; 4];
        reading
    }
}

impl Reading {
    pub(crate) fn is_finite(&self) -> bool {
        let soft = self.mask_loss.unwrap_or(0.0) + self.feature_loss.unwrap_or(0.0);
        (self.class_loss + soft).is_finite()
    }

    pub(crate) fn words(&self) -> String {
        let mask = self
            .mask_loss
            .map_or("-".into(), |loss| format!("{loss:.4}"));
        format!(
            "{:.0} img/s, class loss {:.4}, mask loss {mask}, accuracy {:.1} %",
            self.images_per_second,
            self.class_loss,
            100.0 * self.accuracy
        )
    }
}

/// The shares of a step's time, from the steps that were timed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Shares {
    /// Drawing, turning and rendering wafers.
    pub(crate) data: f64,
    /// Asking the teacher.
    pub(crate) teacher: f64,
    pub(crate) forward: f64,
    pub(crate) backward: f64,
    pub(crate) optimizer: f64,
}

/// A part of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    Data,
    Teacher,
    Forward,
    Backward,
    Optimizer,
}

/// Times the phases of some steps. A GPU works asynchronously, so a timed step waits for it after each phase; the
/// other steps do not.
pub(crate) struct Clock {
    device: Device,
    seconds: Shares,
    last: Option<Instant>,
}

impl Clock {
    pub(crate) fn new(device: Device) -> Self {
        Self {
            device,
            seconds: Shares::default(),
            last: None,
        }
    }

    /// Begins a step, which is timed or not.
    pub(crate) fn step(&mut self, timed: bool) {
        self.last = timed.then(|| self.now());
    }

    /// Counts the time since the last call to `phase`.
    pub(crate) fn lap(&mut self, phase: Phase) {
        let Some(last) = self.last else { return };
        let now = self.now();
        let seconds = (now - last).as_secs_f64();
        *match phase {
            Phase::Data => &mut self.seconds.data,
            Phase::Teacher => &mut self.seconds.teacher,
            Phase::Forward => &mut self.seconds.forward,
            Phase::Backward => &mut self.seconds.backward,
            Phase::Optimizer => &mut self.seconds.optimizer,
        } += seconds;
        self.last = Some(now);
    }

    fn now(&self) -> Instant {
        if let Device::Cuda(index) = self.device {
            tch::Cuda::synchronize(index as i64);
        }
        Instant::now()
    }

    /// Shares of the timed steps' time; all zero when none was timed.
    pub(crate) fn shares(&self) -> Shares {
        let Shares {
            data,
            teacher,
            forward,
            backward,
            optimizer,
        } = self.seconds;
        let all = (data + teacher + forward + backward + optimizer).max(1e-12);
        let share = |seconds: f64| (seconds / all * 1e4).round() / 1e4;
        Shares {
            data: share(data),
            teacher: share(teacher),
            forward: share(forward),
            backward: share(backward),
            optimizer: share(optimizer),
        }
    }
}
