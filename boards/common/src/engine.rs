//! The engine of a board: it runs one model, or refuses every wafer and says why.

use cortex_m::singleton;
use heapless::String;
#[cfg(feature = "update")]
use lightwafer_device::Reload;
use lightwafer_device::protocol::frame::MAX_TEXT;
use lightwafer_runtime::dies::{DieMap, Mask};
use lightwafer_runtime::image::{ModelFacts, Rounding};
use lightwafer_runtime::{
    Answer, Engine, EngineFailure, FixedEngine, SelfTestFailed, Sentence, StartError,
};

use crate::log::Shown;

/// An engine, and the reason where it runs no model.
pub(crate) struct BoardEngine {
    engine: &'static mut FixedEngine<'static, 'static>,
    /// Until the first model is loaded.
    arena: Option<&'static mut [i8]>,
    /// The image that was loaded last.
    image: Option<&'static [u8]>,
    /// The image that failed its self-test, in case it is loaded again.
    failed: Option<&'static [u8]>,
    /// Why it refuses every wafer.
    refusal: Option<String<MAX_TEXT>>,
}

impl BoardEngine {
    /// An engine without a model; `None` the second time.
    pub(crate) fn new(arena: &'static mut [i8]) -> Option<Self> {
        Some(Self {
            engine: idle()?,
            arena: Some(arena),
            image: None,
            failed: None,
            refusal: None,
        })
    }

    /// Whether it refuses every wafer.
    pub(crate) fn refuses(&self) -> bool {
        self.refusal.is_some()
    }

    /// Logs which model it runs.
    #[inline(never)]
    pub(crate) fn describe(&self) {
        let facts = self.engine.facts();
        if !self.refuses() {
            log!(
                info,
                "model {=str}: {=u32} bytes, {=u64} MACs, {=u32} bytes of arena",
                facts.name,
                facts.model_bytes,
                facts.macs,
                facts.arena_bytes
            );
        }
    }

    /// Runs this image from now on, or refuses every wafer.
    #[inline(never)]
    pub(crate) fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        let loaded = match self.arena.take() {
            Some(arena) => self.engine.start(image, arena),
            None => self.engine.load(image),
        };
        self.image = Some(image);
        let failed = |failed: &'static [u8]| core::ptr::eq(failed, image);
        match &loaded {
            Err(error) => self.refuse(error.sentence()),
            Ok(()) if self.failed.is_some_and(failed) => self.refuse(SelfTestFailed.sentence()),
            Ok(()) => self.refusal = None,
        }
        loaded
    }

    /// Classifies the model's golden wafer. If the answer is wrong it refuses every other wafer.
    pub(crate) fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        let passed = self.engine.self_test(mask);
        match &passed {
            Ok(()) => (self.failed, self.refusal) = (None, None),
            Err(error) => {
                self.failed = self.image;
                self.refuse(error.sentence());
            }
        }
        passed
    }

    /// Refuses every wafer from now on.
    #[inline(never)]
    fn refuse(&mut self, reason: Sentence) {
        log!(error, "no engine: {}", Shown(&reason));
        let mut text = String::new();
        // The text is cut where it does not fit; the log has all of it.
        let _ = text.push_str("none: ");
        reason.append_to(&mut text);
        self.refusal = Some(text);
    }
}

/// An engine in a static, since it would take a large part of the stack; `None` the second time.
#[inline(never)]
fn idle() -> Option<&'static mut FixedEngine<'static, 'static>> {
    singleton!(: FixedEngine<'static, 'static> = FixedEngine::idle())
}

impl Engine for BoardEngine {
    fn facts(&self) -> ModelFacts<'_> {
        match &self.refusal {
            None => self.engine.facts(),
            Some(reason) => ModelFacts {
                name: reason,
                created: "",
                parameters: 0,
                macs: 0,
                arena_bytes: 0,
                model_bytes: 0,
                rounding: Rounding::SingleUp,
                sha256: [0; 32],
            },
        }
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        // A model that failed its self-test could run, but must not.
        if self.refuses() {
            return Err(EngineFailure);
        }
        let answer = self.engine.classify(map, mask);
        if let Ok(answer) = &answer {
            log!(
                info,
                "{=usize}x{=usize} dies: class {=str}, {=u32} mask pixels",
                map.rows(),
                map.cols(),
                answer.class.label(),
                mask.count()
            );
        }
        answer
    }
}

#[cfg(feature = "update")]
impl Reload<'static> for BoardEngine {
    fn load(&mut self, image: &'static [u8]) -> Result<(), StartError> {
        BoardEngine::load(self, image)
    }

    fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        BoardEngine::self_test(self, mask)
    }
}
