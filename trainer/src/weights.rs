//! Starts a teacher from weights that other programs trained: `--encoder-weights`.
//!
//! Files of torchvision, timm and segmentation_models.pytorch need no conversion: tensors go to the
//! teacher's variables **by name**. Those three call a ResNet's tensors alike (`layer1.0.bn1.weight`),
//! behind prefixes such as `encoder.`, `backbone.` or `state_dict.model.`: the prefix is found by looking
//! for the ResNet. Where it ends in `encoder.`, its siblings `decoder.`, `segmentation_head.` and
//! `class_head.` are taken too, each as a whole or not at all.
//!
//! An encoder variable that the file cannot fill is an error, raised before anything is overwritten; tensors of the
//! file that were not used are listed.
//!
//! Weights trained on ImageNet expect its normalized colours. The teacher's images have colours in 0…1; its
//! batch normalization adapts as it trains.

pub mod pickle;
mod state_dict;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail, ensure};

pub use state_dict::StateDict;

use crate::architecture::{Architecture, Encoder};
use crate::network::Network;

/// Tensors that every ResNet of the three libraries has: its first one, and one of its first block.
const MARKS: [&str; 2] = ["conv1.weight", "layer1.0.conv1.weight"];
/// The begin of the names of the teacher's encoder.
const ENCODER: &str = "encoder.";
/// The begin of the names of its other parts, which a file may hold.
const OTHERS: [&str; 3] = ["decoder.", "segmentation_head.", "class_head."];

/// The report of a loaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The file's path, as given.
    pub file: String,
    /// The prefix of the encoder's names in the file.
    pub prefix: String,
    /// Tensors that were loaded, by part of the teacher.
    pub tensors: BTreeMap<&'static str, usize>,
    /// Trainable parameters in them.
    pub parameters: usize,
    /// Parts that keep their fresh weights, and why.
    pub fresh: Vec<(&'static str, String)>,
    /// Names of the file that were not used.
    pub unused: Vec<String>,
}

impl Loaded {
    /// In words, some lines.
    pub fn describe(&self) -> String {
        let of = |(part, count): (&&str, &usize)| format!("{part}* {count}");
        let parts: Vec<_> = self.tensors.iter().map(of).collect();
        let mut text = format!(
            "encoder weights: {}: {} tensors, {} trainable parameters ({}), the encoder's from '{}*'",
            self.file,
            self.tensors.values().sum::<usize>(),
            self.parameters,
            parts.join(", "),
            self.prefix
        );
        for (part, why) in &self.fresh {
            let _ = write!(text, "\nencoder weights: {part}* starts fresh: {why}");
        }
        if !self.unused.is_empty() {
            let _ = write!(
                text,
                "\nencoder weights: not used of the file: {}",
                grouped(&self.unused).join(", ")
            );
        }
        text
    }
}

/// Starts a fresh teacher's encoder from `file`, or leaves its fresh weights; prints which to stderr.
///
/// # Errors
/// As [`load_encoder`].
pub fn start_encoder(teacher: &dyn Network, file: Option<&Path>) -> Result<()> {
    match file {
        Some(file) => eprintln!("{}", load_encoder(teacher, file)?.describe()),
        None => eprintln!(
            "encoder weights: none given (--encoder-weights): the encoder trains from scratch"
        ),
    }
    Ok(())
}

/// Copies a file's weights into a teacher, by name.
///
/// # Errors
/// When the file cannot be read, holds no ResNet or several, or does not fill every variable of the
/// encoder; the variables that it does not fill are listed, and the teacher is as it was.
pub fn load_encoder(teacher: &dyn Network, file: &Path) -> Result<Loaded> {
    let mut dict = StateDict::read(file)?;
    let prefix = prefix(&dict)?;
    let root = prefix.strip_suffix(ENCODER);
    // Names in the file by the teacher's.
    let source = |name: &str| match (name.strip_prefix(ENCODER), root) {
        (Some(name), _) => Some(format!("{prefix}{name}")),
        (None, Some(root)) => Some(format!("{root}{name}")),
        (None, None) => None,
    };
    let variables: BTreeMap<_, _> = teacher.vars().variables().into_iter().collect();
    let mut loaded = Loaded {
        file: dict.file().to_owned(),
        tensors: BTreeMap::new(),
        parameters: 0,
        fresh: Vec::new(),
        unused: Vec::new(),
        prefix: prefix.clone(),
    };
    let mut chosen = Vec::new();
    for part in [ENCODER].into_iter().chain(OTHERS) {
        let ours = variables.iter().filter(|(name, _)| name.starts_with(part));
        let ours: Vec<_> = ours.collect();
        let mut lacking = Lacking::default();
        let mut pairs = Vec::new();
        for (name, variable) in ours.iter().copied() {
            let theirs = source(name);
            match theirs.as_ref().and_then(|theirs| dict.shape(theirs)) {
                None => lacking.absent.push(name.as_str()),
                Some(shape) if shape != variable.size() => lacking.shapes.push(format!(
                    "{name}: {shape:?} in the file, {:?} needed",
                    variable.size()
                )),
                Some(_) => pairs.extend(theirs.map(|theirs| (theirs, variable))),
            }
        }
        if lacking.count() == 0 {
            loaded.tensors.insert(part, pairs.len());
            chosen.extend(pairs);
        } else if part == ENCODER {
            let all: Vec<_> = ours.iter().map(|(name, _)| name.as_str()).collect();
            bail!(
                "{}: {} of the encoder's {} variables cannot be filled, and none was:\n  {}{}",
                loaded.file,
                lacking.count(),
                all.len(),
                lacking.lines(&all).join("\n  "),
                hint(&dict, &prefix, teacher)
            );
        } else if pairs.is_empty() && lacking.shapes.is_empty() {
            loaded.fresh.push((part, "not in the file".into()));
        } else {
            let (count, all) = (lacking.count(), ours.len());
            let why = format!("the file does not fit {count} of its {all} variables");
            loaded.fresh.push((part, why));
        }
    }
    let used: std::collections::BTreeSet<_> = chosen.iter().map(|(name, _)| name).collect();
    let unused = dict
        .names()
        .filter(|name| !used.contains(&(*name).to_owned()));
    loaded.unused = unused.map(str::to_owned).collect();
    // Every value is read before the first is overwritten.
    let mut values = Vec::new();
    for (name, variable) in chosen {
        values.push((variable.shallow_clone(), dict.tensor(&name)?));
        if variable.requires_grad() {
            loaded.parameters += variable.numel();
        }
    }
    tch::no_grad(|| values.iter_mut().for_each(|(to, from)| to.copy_(from)));
    Ok(loaded)
}

/// The prefix of a ResNet's names in the file.
fn prefix(dict: &StateDict) -> Result<String> {
    let [first, second] = MARKS;
    let prefixes: Vec<_> = dict
        .names()
        .filter_map(|name| name.strip_suffix(first))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .filter(|prefix| dict.shape(&format!("{prefix}{second}")).is_some())
        .collect();
    ensure!(
        prefixes.len() <= 1,
        "{} holds {} ResNets, under {}: save the one that is meant alone",
        dict.file(),
        prefixes.len(),
        prefixes.join(" and ")
    );
    let Some(prefix) = prefixes.first() else {
        let names: Vec<_> = dict.names().map(str::to_owned).collect();
        bail!(
            "{} holds no ResNet of torchvision, timm or segmentation_models.pytorch ({first}, {second}, \
             …); it holds {}",
            dict.file(),
            match names.is_empty() {
                true => "no tensors".into(),
                false => grouped(&names).join(", "),
            }
        );
    };
    Ok((*prefix).to_owned())
}

/// Variables that the file cannot fill.
#[derive(Default)]
struct Lacking<'a> {
    absent: Vec<&'a str>,
    shapes: Vec<String>,
}

impl Lacking<'_> {
    fn count(&self) -> usize {
        self.absent.len() + self.shapes.len()
    }

    /// One line for each variable; one line for a block that is wholly absent.
    fn lines(&self, all: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut blocks: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in &self.absent {
            let block: Vec<_> = name.split('.').take(3).collect();
            blocks.entry(block.join(".") + ".").or_default().push(name);
        }
        for (block, absent) in blocks {
            let whole = all.iter().filter(|name| name.starts_with(&block)).count();
            if absent.len() > 1 && absent.len() == whole {
                lines.push(format!("{block}*: not in the file ({whole} variables)"));
            } else {
                lines.extend(absent.iter().map(|name| format!("{name}: not in the file")));
            }
        }
        lines.extend(self.shapes.iter().cloned());
        lines
    }
}

/// The encoder that the file holds, if it is another than the teacher's.
fn hint(dict: &StateDict, prefix: &str, teacher: &dyn Network) -> String {
    let has = |name: &str| dict.shape(&format!("{prefix}{name}")).is_some();
    let counts = [1, 2, 3, 4].map(|layer| {
        let block = |i: &usize| has(&format!("layer{layer}.{i}.conv1.weight"));
        (0..).take_while(block).count()
    });
    let expansion = if has("layer1.0.conv3.weight") { 4 } else { 1 };
    let mut encoders = Encoder::ALL.into_iter();
    let found = encoders.find(|e| e.blocks() == counts && e.expansion() == expansion);
    match found {
        Some(found) if Architecture::Teacher(found) != teacher.architecture() => {
            format!(
                "\nthe file holds a {found:?}: --encoder {}",
                format!("{found:?}").to_lowercase()
            )
        }
        _ => String::new(),
    }
}

/// Names grouped by their begin; counters of batch normalization are a group of their own.
fn grouped(names: &[String]) -> Vec<String> {
    const COUNTERS: &str = "num_batches_tracked";
    let (counters, rest): (Vec<_>, Vec<_>) = names
        .iter()
        .partition(|name| name.rsplit('.').next() == Some(COUNTERS));
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in rest {
        let group = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(group, _)| group);
        groups.entry(group).or_default().push(name);
    }
    // A few large groups are easier to read than many small ones.
    if groups.len() > 12 {
        let mut large: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in groups.into_values().flatten() {
            let group = name.split('.').next().unwrap_or(name);
            large.entry(group).or_default().push(name);
        }
        groups = large;
    }
    let mut lines: Vec<_> = groups
        .into_iter()
        .map(|(group, names)| match names[..] {
            [name] => name.to_owned(),
            _ => format!("{group}.* ({})", names.len()),
        })
        .collect();
    if !counters.is_empty() {
        lines.push(format!("{COUNTERS} ({})", counters.len()));
    }
    lines
}
