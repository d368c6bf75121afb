//! The digital lines READY, BUSY, REJECT and TRIGGER between board and equipment.
//!
//! READY is high while the board takes wafers, BUSY while it classifies one; never both. REJECT is high from the end of
//! an inference whose wafer is not Normal, or that failed, until the next one ends; it is right before BUSY falls. A
//! rising edge of TRIGGER runs the wafer whose map is complete.

use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, Ordering};

use embedded_hal::digital::{ErrorType, OutputPin};
#[cfg(feature = "update")]
use lightwafer_device::Reload;
use lightwafer_runtime::dies::{Class, DieMap, Mask};
use lightwafer_runtime::image::ModelFacts;
use lightwafer_runtime::{Answer, Engine, EngineFailure};
#[cfg(feature = "update")]
use lightwafer_runtime::{SelfTestFailed, StartError};

/// The input TRIGGER.
pub trait Trigger {
    /// Whether there was a rising edge since the last call.
    fn take(&mut self) -> bool;
}

/// For boards without a TRIGGER: never triggers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTrigger;

impl Trigger for NoTrigger {
    fn take(&mut self) -> bool {
        false
    }
}

/// Keeps a rising edge that an interrupt saw until the program asks.
#[derive(Debug, Default)]
pub struct Edge(AtomicBool);

impl Edge {
    /// No edge yet.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Notes a rising edge.
    pub fn rose(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Trigger for &Edge {
    fn take(&mut self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// A pin that does nothing, for boards that have none to spare.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPin;

impl ErrorType for NoPin {
    type Error = Infallible;
}

impl OutputPin for NoPin {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A board's output pins.
#[derive(Debug)]
pub struct Outputs<R, B, J> {
    /// High while the board takes wafers.
    pub ready: R,
    /// High while it classifies one.
    pub busy: B,
    /// High from the end of an inference whose wafer is not Normal until the next one ends.
    pub reject: J,
}

/// An engine that shows on pins what it does. A pin that fails is ignored: the answer matters more.
#[derive(Debug)]
pub struct Signalled<E, R, B, J> {
    engine: E,
    outputs: Outputs<R, B, J>,
}

impl<E: Engine, R: OutputPin, B: OutputPin, J: OutputPin> Signalled<E, R, B, J> {
    /// Shows the engine as idle, or as not ready if it refuses every wafer.
    pub fn new(engine: E, mut outputs: Outputs<R, B, J>, refuses: bool) -> Self {
        let _ = outputs.ready.set_state((!refuses).into());
        let _ = outputs.busy.set_low();
        let _ = outputs.reject.set_low();
        Self { engine, outputs }
    }
}

impl<E: Engine, R: OutputPin, B: OutputPin, J: OutputPin> Engine for Signalled<E, R, B, J> {
    fn facts(&self) -> ModelFacts<'_> {
        self.engine.facts()
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        let _ = self.outputs.ready.set_low();
        let _ = self.outputs.busy.set_high();
        let answer = self.engine.classify(map, mask);
        let normal = answer
            .as_ref()
            .is_ok_and(|answer| answer.class == Class::NORMAL);
        let _ = self.outputs.reject.set_state((!normal).into());
        let _ = self.outputs.busy.set_low();
        // An engine that failed stays not ready until it has answered again.
        let _ = self.outputs.ready.set_state(answer.is_ok().into());
        answer
    }
}

#[cfg(feature = "update")]
impl<E: Reload<'static>, R: OutputPin, B: OutputPin, J: OutputPin> Reload<'static>
    for Signalled<E, R, B, J>
{
    fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        let loaded = self.engine.load(image);
        let _ = self.outputs.ready.set_state(loaded.is_ok().into());
        loaded
    }

    #[inline(never)]
    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        let _ = self.outputs.ready.set_low();
        let _ = self.outputs.busy.set_high();
        let passed = self.engine.self_test(mask);
        let _ = self.outputs.busy.set_low();
        let _ = self.outputs.ready.set_high();
        passed
    }
}
