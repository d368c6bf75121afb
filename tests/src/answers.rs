//! The published model's answers to 38 synthetic wafers, as the first version that published it gave them.
//!
//! `tests/vectors/answers.json` holds CRC-32s, so that a change of a single bit shows, whatever the code around it
//! becomes.

use anyhow::{Context, Result, ensure};
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::dies::{Class, DieMap, Mask};
use lightwafer_runtime::{Answer, crc32};
use serde::Deserialize;

/// A wafer and the answer to it.
#[derive(Deserialize)]
pub struct Recorded {
    /// The wafer's class: it is the synthetic one of this class with seed 0 and 52×52 dies.
    #[serde(rename = "wafer")]
    label: String,
    map: u32,
    class: u8,
    logits: u32,
    scores: u32,
    embedding: u32,
    mask: u32,
}

/// Rows and columns of the wafers.
pub const SIDE: u16 = 52;

/// All 38, in the order of their classes.
///
/// # Errors
/// When the file is damaged.
pub fn recorded() -> Result<Vec<Recorded>> {
    serde_json::from_str(include_str!("../vectors/answers.json")).context("answers.json")
}

impl Recorded {
    /// The wafer's dies, row by row.
    ///
    /// # Errors
    /// When there is no such class.
    pub fn dies(&self) -> Result<Vec<u8>> {
        let class = Class::all().find(|class| class.label() == self.label);
        let class = class.with_context(|| format!("no class {}", self.label))?;
        Ok(synthesize(class, 0, SIDE, SIDE))
    }

    /// Whether `answer` and `mask` are the recorded ones for `map`, to the bit.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, map: &DieMap<'_>, answer: &Answer, mask: &Mask) -> Result<()> {
        let words = |bytes: Vec<[u8; 4]>| crc32(&bytes.concat());
        let embedding: Vec<u8> = answer.embedding.iter().map(|value| *value as u8).collect();
        let pairs = [
            ("the map", self.map, crc32(map.packed())),
            ("the class", self.class.into(), answer.class.index().into()),
            (
                "a logit",
                self.logits,
                words(answer.logits.iter().map(|v| v.to_le_bytes()).collect()),
            ),
            (
                "a score",
                self.scores,
                words(answer.scores.iter().map(|v| v.to_le_bytes()).collect()),
            ),
            ("the embedding", self.embedding, crc32(&embedding)),
            ("the mask", self.mask, crc32(&mask.0)),
        ];
        for (what, expected, found) in pairs {
            ensure!(
                expected == found,
                "{}: {what} is not the recorded one",
                self.label
            );
        }
        Ok(())
    }
}
