//! The data set: reading, deduplication, and the stratified split.
//!
//! MixedWM38 repeats about 1,000 maps; a random split puts some of them into both train and test. So equal maps
//! are dropped before splitting, unless the published protocol is asked for. The split depends only on the
//! file's order and [`SPLIT_SEED`].
//!
//! The background of MixedWM38 is simulated; its maps are not real wafer maps. In every defect class except R and NF
//! about 400 of the 2,061 dies fail at random, and Normal maps have 20 to 299 failing dies, all others at least 320.
//! Figures on it say how well a network has learned this data set, not how well it reads the wafers of a fab.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lightwafer_maps::npz::{WaferSet, read_wafers};
use lightwafer_runtime::dies::CLASS_COUNT;
use serde::{Deserialize, Serialize};

/// Seed of every split, so that all models are tested on the same wafers.
pub const SPLIT_SEED: u64 = 42;

/// SplitMix64 (Steele et al., 2014): a small generator whose numbers never change with a library's version.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that depends on all of `parts` and their order.
    pub fn new(parts: &[u64]) -> Self {
        let mut random = Self(0);
        for part in parts {
            random.0 ^= part;
            random.0 = random.draw();
        }
        random
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit` (by multiplication: the bias is below 2⁻³² for our sizes).
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.draw()) * limit as u128) >> 64) as usize
    }

    /// Fisher–Yates, from the back.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// The rule of a split: which wafers of a file are used, and how they are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Equal maps dropped, then 80/10/10 stratified by class.
    Distinct,
    /// As published: 80/10/10 stratified, repeated maps and all.
    Paper,
}

impl Protocol {
    /// The published protocol if `--paper-split` is given.
    pub fn of_flag(paper_split: bool) -> Self {
        if paper_split {
            Self::Paper
        } else {
            Self::Distinct
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Distinct => "distinct maps, 80/10/10 stratified, seed 42",
            Self::Paper => "paper split: repeated maps kept, 80/10/10 stratified, seed 42",
        })
    }
}

/// A part of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The 80 % to learn from.
    Train,
    /// The 10 % to choose by.
    Val,
    /// The 10 % to report on.
    Test,
    /// Every wafer.
    All,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
            Self::All => "all",
        })
    }
}

/// A labelled data set with its split.
pub struct Data {
    /// All wafers of the file.
    pub wafers: WaferSet,
    /// Class of each wafer of the file.
    pub labels: Vec<u8>,
    /// The rule of the split.
    pub protocol: Protocol,
    /// The training part, as positions in the file.
    pub train: Vec<u32>,
    /// The validation part, as positions in the file.
    pub val: Vec<u32>,
    /// The test part, as positions in the file.
    pub test: Vec<u32>,
    /// Wafers that repeat an earlier one.
    pub repeated: usize,
    /// Repeated wafers whose class differs from the first one's.
    pub conflicting: usize,
}

impl Data {
    /// Reads and splits a labelled file.
    ///
    /// # Errors
    /// When the file cannot be read, has no labels, or no wafers.
    pub fn load(path: &Path, protocol: Protocol) -> Result<Self> {
        let mut wafers = read_wafers(path)?;
        let labels = wafers.labels.take().with_context(|| {
            format!(
                "{}: no labels (arr_1); training and evaluation need them",
                path.display()
            )
        })?;
        ensure!(!wafers.is_empty(), "{}: no wafers", path.display());
        Ok(Self::split(wafers, labels, protocol))
    }

    /// Splits wafers that are in memory; `labels` holds one class a wafer.
    pub fn split(wafers: WaferSet, labels: Vec<u8>, protocol: Protocol) -> Self {
        let mut first: HashMap<&[u8], usize> = HashMap::new();
        let mut by_class = vec![Vec::new(); CLASS_COUNT];
        let (mut repeated, mut conflicting) = (0, 0);
        let maps = wafers.dies.chunks_exact(wafers.dies_per_wafer());
        for (i, (dies, &label)) in maps.zip(&labels).enumerate() {
            let known = *first.entry(dies).or_insert(i);
            if known != i {
                repeated += 1;
                conflicting += usize::from(labels[known] != label);
                if protocol == Protocol::Distinct {
                    continue;
                }
            }
            by_class[usize::from(label)].push(i as u32);
        }
        let (mut train, mut val, mut test) = (Vec::new(), Vec::new(), Vec::new());
        for (class, mut members) in by_class.into_iter().enumerate() {
            Random::new(&[SPLIT_SEED, class as u64]).shuffle(&mut members);
            let tenth = (members.len() + 5) / 10;
            test.extend(members.drain(..tenth));
            val.extend(members.drain(..tenth.min(members.len())));
            train.extend(members);
        }
        for part in [&mut train, &mut val, &mut test] {
            part.sort_unstable();
        }
        Self {
            wafers,
            labels,
            protocol,
            train,
            val,
            test,
            repeated,
            conflicting,
        }
    }

    /// The wafers of a part, as positions in the file.
    pub fn part(&self, part: Part) -> Vec<u32> {
        match part {
            Part::Train => self.train.clone(),
            Part::Val => self.val.clone(),
            Part::Test => self.test.clone(),
            Part::All => (0..self.labels.len() as u32).collect(),
        }
    }

    /// The counts in words.
    pub fn describe(&self) -> String {
        format!(
            "{} wafers of {}×{} dies, {} repeated ({} of them under another class); {}: \
             {} train, {} val, {} test",
            self.labels.len(),
            self.wafers.rows,
            self.wafers.cols,
            self.repeated,
            self.conflicting,
            self.protocol,
            self.train.len(),
            self.val.len(),
            self.test.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy(protocol: Protocol) -> Data {
        // 300 maps of two classes; every third repeats the one before.
        let mut dies = Vec::new();
        for i in 0..300u32 {
            let id = if i % 3 == 2 { i - 1 } else { i };
            dies.extend((0..9).map(|bit| 1 + (id >> bit & 1) as u8));
        }
        let labels = (0..300).map(|i| u8::from(i % 3 != 0) * 5).collect();
        let wafers = WaferSet {
            rows: 3,
            cols: 3,
            dies,
            labels: None,
        };
        Data::split(wafers, labels, protocol)
    }

    #[test]
    fn no_map_is_in_two_parts() {
        let data = toy(Protocol::Distinct);
        assert_eq!((data.repeated, data.conflicting), (100, 0));
        assert_eq!(
            (data.train.len(), data.val.len(), data.test.len()),
            (160, 20, 20)
        );
        let mut seen = std::collections::HashSet::new();
        for &i in data.train.iter().chain(&data.val).chain(&data.test) {
            assert!(
                seen.insert(data.wafers.dies(i as usize).to_vec()),
                "map {i} twice"
            );
        }
        for part in [&data.val, &data.test] {
            assert_eq!(
                part.iter()
                    .filter(|i| data.labels[**i as usize] == 5)
                    .count(),
                10
            );
        }
    }

    #[test]
    fn the_paper_split_keeps_everything_and_both_repeat() {
        let data = toy(Protocol::Paper);
        assert_eq!(data.train.len() + data.val.len() + data.test.len(), 300);
        assert_eq!(data.test, toy(Protocol::Paper).test);
        assert_eq!(toy(Protocol::Distinct).test, toy(Protocol::Distinct).test);
    }

    #[test]
    fn a_class_of_one_wafer_is_learned_from() {
        let wafers = WaferSet {
            rows: 1,
            cols: 1,
            dies: vec![2],
            labels: None,
        };
        let data = Data::split(wafers, vec![7], Protocol::Distinct);
        assert_eq!(
            (data.train.len(), data.val.len(), data.test.len()),
            (1, 0, 0)
        );
    }
}
