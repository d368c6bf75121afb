//! An engine as quick as thousands of wafers need, whose every answer belongs to one map only.

use fastrand::Rng;
use lightwafer_runtime::dies::{DieMap, Mask};
use lightwafer_runtime::image::{ModelFacts, Rounding};
use lightwafer_runtime::limits::MAX_CHANNELS;
use lightwafer_runtime::{Answer, Engine, EngineFailure, crc32};

/// Answers with numbers drawn from the map: its grid and its CRC-32.
#[derive(Debug, Clone, Copy)]
pub struct HashingEngine {
    /// How many maps it was given.
    pub runs: u32,
    /// The maps that it fails on.
    pub fails: fn(&DieMap<'_>) -> bool,
}

impl HashingEngine {
    /// An engine that answers every map.
    pub fn new() -> Self {
        Self::failing(|_| false)
    }

    /// An engine that fails on some maps.
    pub fn failing(fails: fn(&DieMap<'_>) -> bool) -> Self {
        Self { runs: 0, fails }
    }
}

impl Default for HashingEngine {
    fn default() -> Self {
        Self::new()
    }
}

/// What a [`HashingEngine`] says of a map. Some rows of the mask repeat, some are nearly empty, some are random.
pub fn expected(map: &DieMap<'_>) -> (Answer, Box<Mask>) {
    let mut mask = Box::new(Mask::new());
    let answer = draw(map, &mut mask);
    (answer, mask)
}

fn draw(map: &DieMap<'_>, mask: &mut Mask) -> Answer {
    let grid = (map.rows() as u64) << 48 | (map.cols() as u64) << 32;
    let mut rng = Rng::with_seed(grid | u64::from(crc32(map.packed())));
    let share = rng.u8(..);
    for row in mask.0.chunks_mut(28) {
        row.fill(0);
        if rng.bool() {
            for byte in row {
                if rng.u8(..) < share {
                    *byte = rng.u8(..);
                }
            }
        }
    }
    let logits = std::array::from_fn(|_| rng.i32(-1_000_000..1_000_000));
    let embedding = (0..MAX_CHANNELS).map(|_| rng.i8(..)).collect();
    Answer::from_logits(logits, embedding)
}

impl Engine for HashingEngine {
    /// The largest numbers there are, and a name too long for a message, a character across the cut.
    fn facts(&self) -> ModelFacts<'_> {
        ModelFacts {
            name: "hashing, a name that is far too long to be sent, and then says äöü",
            created: "2026-01-01T00:00:00Z",
            parameters: u32::MAX,
            macs: u64::MAX,
            arena_bytes: u32::MAX,
            model_bytes: u32::MAX,
            rounding: Rounding::SingleUp,
            sha256: [255; 32],
        }
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        self.runs += 1;
        if (self.fails)(map) {
            return Err(EngineFailure);
        }
        Ok(draw(map, mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lightwafer_device::protocol::frame::MAX_TEXT;

    #[test]
    fn the_name_is_cut_within_a_character() {
        let engine = HashingEngine::new();
        assert!(!engine.facts().name.is_char_boundary(MAX_TEXT));
    }
}
