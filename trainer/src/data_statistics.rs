//! Statistics of a labelled file: counts by class and part, repeated maps, and maps that are in two parts.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use lightwafer_runtime::dies::{CLASS_COUNT, Class};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Device;

use crate::batch::turned_places;
use crate::data::{Data, Part, Protocol};

/// The statistics of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataStatistics {
    /// Wafers of the file.
    pub wafers: usize,
    /// Rows of the die grid.
    pub rows: u16,
    /// Columns of the die grid.
    pub cols: u16,
    /// Dies of all wafers by state: none, pass, fail (MixedWM38's value 3 reads as fail).
    pub dies: [u64; 3],
    /// The rule of the split.
    pub protocol: Protocol,
    /// By class number.
    pub classes: Vec<ClassCounts>,
    /// Wafers that repeat an earlier one, die for die.
    pub repeated: usize,
    /// Of these, wafers whose class differs from the first one's.
    pub conflicting: usize,
    /// Wafers that repeat an earlier one only when turned or mirrored.
    pub repeated_turned: usize,
    /// Pairs of parts that share maps.
    pub leaks: Vec<Leak>,
    /// Findings that deserve attention, in words.
    pub warnings: Vec<String>,
}

/// Wafers of one class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// Its name.
    pub class: &'static str,
    /// In the file.
    pub all: usize,
    /// In the training part.
    pub train: usize,
    /// In the validation part.
    pub val: usize,
    /// In the test part.
    pub test: usize,
    /// In the file, repeating an earlier map.
    pub repeated: usize,
}

/// Wafers of one part whose map is in another part too: of the test part in the training or the validation part, of
/// the validation part in the training part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// The part.
    pub part: &'static str,
    /// The other part.
    pub from: &'static str,
    /// Wafers of `part` whose map is in `from`, die for die.
    pub same: usize,
    /// Wafers of `part` whose map is in `from` turned or mirrored, and not die for die.
    pub turned: usize,
}

type Hash = [u8; 32];

/// Two hashes of every wafer: of its map, and of the smallest of its eight turned and mirrored forms.
fn hashes(data: &Data) -> Vec<(Hash, Hash)> {
    let (rows, cols) = (i64::from(data.wafers.rows), i64::from(data.wafers.cols));
    let places = turned_places(rows, cols, Device::Cpu).view([-1]);
    let places = Vec::<i64>::try_from(places).unwrap_or_default();
    let dies = data.wafers.dies_per_wafer();
    let hash = |bytes: &[u8]| Hash::from(Sha256::digest(bytes));
    let both = |i: usize| {
        let map = data.wafers.dies(i);
        // Odd quarter turns swap the sides: only forms of the same shape are compared byte by byte.
        let forms = places
            .chunks_exact(dies)
            .enumerate()
            .map(|(symmetry, places)| {
                let swapped = u8::from(symmetry % 2 == 1 && rows != cols);
                let turned = places.iter().map(|place| map[*place as usize]);
                [swapped].into_iter().chain(turned).collect::<Vec<u8>>()
            });
        (hash(map), hash(&forms.min().unwrap_or_default()))
    };
    (0..data.labels.len()).map(both).collect()
}

/// The maps of `part` that are in `from` too.
fn leak(
    data: &Data,
    hashes: &[(Hash, Hash)],
    part: (&'static str, Part),
    from: (&'static str, Part),
) -> Leak {
    let (mut exact, mut forms) = (HashSet::new(), HashSet::new());
    for wafer in data.part(from.1) {
        let (hash, form) = &hashes[wafer as usize];
        exact.insert(hash);
        forms.insert(form);
    }
    let (mut same, mut turned) = (0, 0);
    for wafer in data.part(part.1) {
        let (hash, form) = &hashes[wafer as usize];
        let is_same = exact.contains(hash);
        same += usize::from(is_same);
        turned += usize::from(!is_same && forms.contains(form));
    }
    Leak {
        part: part.0,
        from: from.0,
        same,
        turned,
    }
}

/// Counts in a file that was read and split.
pub fn statistics(data: &Data) -> DataStatistics {
    let mut dies = [0; 3];
    for die in &data.wafers.dies {
        dies[usize::from((*die).min(2))] += 1;
    }
    let hashes = hashes(data);
    let mut classes: Vec<ClassCounts> = Class::all()
        .map(|class| ClassCounts {
            class: class.label(),
            ..Default::default()
        })
        .collect();
    let (mut exact, mut turned) = (HashMap::new(), HashMap::new());
    let mut repeated_turned = 0;
    for (i, (hash, form)) in hashes.iter().enumerate() {
        let class = &mut classes[usize::from(data.labels[i])];
        class.all += 1;
        let same = exact.insert(hash, i).is_some();
        class.repeated += usize::from(same);
        repeated_turned += usize::from(turned.insert(form, i).is_some() && !same);
    }
    let parts = [
        ("train", Part::Train),
        ("val", Part::Val),
        ("test", Part::Test),
    ];
    for (name, part) in parts {
        for wafer in data.part(part) {
            let class = &mut classes[usize::from(data.labels[wafer as usize])];
            *match name {
                "train" => &mut class.train,
                "val" => &mut class.val,
                _ => &mut class.test,
            } += 1;
        }
    }
    let leaks =
        [(2, 0), (2, 1), (1, 0)].map(|(part, from)| leak(data, &hashes, parts[part], parts[from]));
    let mut statistics = DataStatistics {
        wafers: data.labels.len(),
        rows: data.wafers.rows,
        cols: data.wafers.cols,
        dies,
        protocol: data.protocol,
        classes,
        repeated: data.repeated,
        conflicting: data.conflicting,
        repeated_turned,
        leaks: leaks.to_vec(),
        warnings: Vec::new(),
    };
    statistics.warnings = statistics.warn();
    statistics
}

impl DataStatistics {
    fn warn(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let names = |what: &dyn Fn(&ClassCounts) -> bool| {
            let found = self.classes.iter().filter(|class| what(class));
            found
                .map(|class| class.class)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut warn = |names: String, text: &str| {
            if !names.is_empty() {
                warnings.push(format!("{text}: {names}"));
            }
        };
        warn(names(&|c| c.all == 0), "no wafers of these classes");
        warn(
            names(&|c| c.all > 0 && c.test == 0),
            "no test wafers of these classes: not measured",
        );
        warn(
            names(&|c| (1..10).contains(&c.all)),
            "fewer than ten wafers of these classes",
        );
        if self.conflicting > 0 {
            warnings.push(format!(
                "{} repeated maps carry another class than the first",
                self.conflicting
            ));
        }
        for leak in self.leaks.iter().filter(|leak| leak.same > 0) {
            warnings.push(format!(
                "{} {} wafers are in the {} part too",
                leak.same, leak.part, leak.from
            ));
        }
        warnings
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{} wafers of {}×{} dies: {} no die, {} pass, {} fail\n{}\n\n",
            self.wafers,
            self.rows,
            self.cols,
            self.dies[0],
            self.dies[1],
            self.dies[2],
            self.protocol
        );
        let most = self
            .classes
            .iter()
            .map(|class| class.all)
            .max()
            .unwrap_or(0)
            .max(1);
        let _ = writeln!(
            text,
            "{:<10}{:>7}{:>7}{:>6}{:>6}{:>10}",
            "class", "all", "train", "val", "test", "repeated"
        );
        for class in &self.classes {
            let bar = "█".repeat((class.all * 40).div_ceil(most));
            let ClassCounts {
                class,
                all,
                train,
                val,
                test,
                repeated,
            } = class;
            let _ = writeln!(
                text,
                "{class:<10}{all:>7}{train:>7}{val:>6}{test:>6}{repeated:>10}  {bar}"
            );
        }
        debug_assert_eq!(self.classes.len(), CLASS_COUNT);
        let _ = writeln!(
            text,
            "\nrepeated die for die: {} ({} under another class); repeated turned or mirrored: {}",
            self.repeated, self.conflicting, self.repeated_turned
        );
        for leak in &self.leaks {
            let Leak {
                part,
                from,
                same,
                turned,
            } = leak;
            let _ = writeln!(
                text,
                "{part} wafers that are in {from} too: {same}; turned or mirrored: {turned}"
            );
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }
}
