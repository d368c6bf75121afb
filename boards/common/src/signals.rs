//! READY and BUSY: what the equipment sees of a board without a word on the serial line.
//!
//! READY is high while the board takes wafers, BUSY while it classifies one; never both.

use embedded_hal::digital::OutputPin;
#[cfg(feature = "update")]
use lightwafer_runtime::exec::{SelfTestFailed, StartError};
use lightwafer_runtime::model::ModelFacts;
#[cfg(feature = "update")]
use lightwafer_runtime::store::Reload;
use lightwafer_runtime::wafer::{DieMap, Mask};
use lightwafer_runtime::{Answer, Engine, EngineFailure};

/// An engine whose work shows on two pins. Pins that fail are ignored: the answer matters more.
#[derive(Debug)]
pub struct Signalled<E, R, B> {
    engine: E,
    ready: R,
    busy: B,
}

impl<E: Engine, R: OutputPin, B: OutputPin> Signalled<E, R, B> {
    /// Shows the engine as idle, or as not ready at all when it will refuse every wafer.
    pub fn new(engine: E, mut ready: R, mut busy: B, refuses: bool) -> Self {
        let _ = ready.set_state((!refuses).into());
        let _ = busy.set_low();
        Self {
            engine,
            ready,
            busy,
        }
    }
}

impl<E: Engine, R: OutputPin, B: OutputPin> Engine for Signalled<E, R, B> {
    fn facts(&self) -> ModelFacts<'_> {
        self.engine.facts()
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        let _ = self.ready.set_low();
        let _ = self.busy.set_high();
        let answer = self.engine.classify(map, mask);
        let _ = self.busy.set_low();
        // An engine that failed stays not ready until it has answered again.
        let _ = self.ready.set_state(answer.is_ok().into());
        answer
    }
}

#[cfg(feature = "update")]
impl<E: Reload<'static>, R: OutputPin, B: OutputPin> Reload<'static> for Signalled<E, R, B> {
    fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        let loaded = self.engine.load(image);
        let _ = self.ready.set_state(loaded.is_ok().into());
        loaded
    }

    #[inline(never)]
    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        let _ = self.ready.set_low();
        let _ = self.busy.set_high();
        let passed = self.engine.self_test(mask);
        let _ = self.busy.set_low();
        let _ = self.ready.set_high();
        passed
    }
}
