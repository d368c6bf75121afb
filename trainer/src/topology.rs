//! The shape of a student, written once: its blocks, channels, pools, image size and classes.
//!
//! A student is a U-Net. Its encoder is a row of blocks with a 2×2 pool between neighbours. The mean of the last
//! block's output is the embedding, which the class head reads. Its decoder has one block a pool: each doubles the
//! rows and columns, joins the encoder block of that size (the skip connection), and the last one feeds the mask
//! head. [`layers`] spells this out layer by layer; the student, folding, quantizing and the ONNX writer walk over
//! that list, so none of them repeats the shape.
//!
//! As text, the published shape is `8-16-16-32-64/32-16-16-8`: channels of the encoder's blocks, then of the
//! decoder's, deepest first. Values other than the defaults follow: `8-16-32/16-8 pools=max-max size=64`.

pub mod layers;

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use lightwafer_runtime::dies::{CLASS_COUNT, IMAGE_SIZE};
use lightwafer_runtime::limits::{MAX_CHANNELS, MAX_LAYERS};
use serde::{Deserialize, Serialize};

pub use layers::{Activation, COLOURS, Layer, Part, Pool, Source, walk};

/// Classes of the data sets that are read.
pub const CLASSES: i64 = CLASS_COUNT as i64;
/// Side of the images that model images (.lw) are made for, in pixels; also the largest that networks train on.
pub const SIZE: i64 = IMAGE_SIZE as i64;
/// The published networks halve an image four times, so a side must be a multiple of this.
const SIZE_STEP: i64 = 16;

const ENCODER: [i64; 5] = [8, 16, 16, 32, 64];
const DECODER: [i64; 4] = [32, 16, 16, 8];

/// Checks the side of images, in pixels.
///
/// # Errors
/// In words, for a side that no network can take.
pub fn check_size(size: i64) -> Result<(), String> {
    if size % SIZE_STEP == 0 && (SIZE_STEP..=SIZE).contains(&size) {
        Ok(())
    } else {
        Err(format!(
            "size {size} is no multiple of {SIZE_STEP} in {SIZE_STEP}…{SIZE}"
        ))
    }
}

/// The published choice for `count` pools: maxima, and means in the last one, whose input has the fewest pixels.
fn usual_pools(count: usize) -> Vec<Pool> {
    let mut pools = vec![Pool::Max; count];
    if let Some(last) = pools.last_mut() {
        *last = Pool::Average;
    }
    pools
}

/// The shape of a student. A value of this type is consistent: [`Topology::new`] has checked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Topology {
    size: i64,
    classes: i64,
    encoder: Vec<i64>,
    pools: Vec<Pool>,
    decoder: Vec<i64>,
}

impl Default for Topology {
    /// The published student.
    fn default() -> Self {
        Self {
            size: SIZE,
            classes: CLASSES,
            encoder: ENCODER.into(),
            pools: usual_pools(DECODER.len()),
            decoder: DECODER.into(),
        }
    }
}

impl Topology {
    /// A shape from flags or a TOML table.
    ///
    /// # Errors
    /// In words, for a shape that no board could run or whose parts do not fit each other.
    pub fn new(given: &TopologyOverrides) -> Result<Self, String> {
        let mut topology = Self::default();
        if let Some(encoder) = &given.encoder {
            topology.encoder.clone_from(encoder);
            topology.pools = usual_pools(encoder.len().saturating_sub(1));
        }
        if let Some(pools) = &given.pools {
            topology.pools.clone_from(pools);
        }
        if let Some(decoder) = &given.decoder {
            topology.decoder.clone_from(decoder);
        }
        if let Some(size) = given.image_size {
            topology.size = size;
        }
        topology.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let wrong = |what: String| Err(format!("{self}: {what}"));
        let (blocks, most) = (self.encoder.len(), MAX_CHANNELS as i64);
        if blocks < 2 {
            return wrong("an encoder of two blocks or more is needed".into());
        }
        if self.decoder.len() + 1 != blocks {
            return wrong(format!(
                "{blocks} encoder blocks need {} decoder blocks, {} are given",
                blocks - 1,
                self.decoder.len()
            ));
        }
        if self.pools.len() + 1 != blocks {
            return wrong(format!(
                "{blocks} encoder blocks need {} pools, {} are given",
                blocks - 1,
                self.pools.len()
            ));
        }
        let mut channels = self.encoder.iter().chain(&self.decoder);
        if let Some(bad) = channels.find(|c| *c % 4 != 0 || !(4..=most).contains(*c)) {
            return wrong(format!(
                "a block of {bad} channels; boards take multiples of 4 in 4…{most}"
            ));
        }
        if self.classes < 2 {
            return wrong(format!("{} classes; two or more are needed", self.classes));
        }
        self.fits(self.size)?;
        let layers = self.layers().len();
        if layers > MAX_LAYERS {
            return wrong(format!("{layers} layers; boards take at most {MAX_LAYERS}"));
        }
        Ok(self)
    }

    /// Checks that the student can take images of `size`×`size` pixels.
    ///
    /// # Errors
    /// In words, when it cannot.
    pub fn fits(&self, size: i64) -> Result<(), String> {
        check_size(size)?;
        let step = 1i64 << self.pools.len().min(32);
        if size % step == 0 {
            Ok(())
        } else {
            Err(format!(
                "size {size} is no multiple of {step}, which {} pools need",
                self.pools.len()
            ))
        }
    }

    /// Checks that a student of this shape can become a model image (.lw).
    ///
    /// # Errors
    /// In words, when it cannot.
    pub fn for_boards(&self) -> Result<(), String> {
        if (self.size, self.classes) == (SIZE, CLASSES) {
            return Ok(());
        }
        Err(format!(
            "a student of {} classes on {1}×{1} pixels; boards run {CLASSES} classes on {SIZE}×{SIZE}",
            self.classes, self.size
        ))
    }

    /// Side of the images that the student is made for, in pixels. It can be trained on smaller ones.
    pub fn size(&self) -> i64 {
        self.size
    }

    /// Classes that it tells apart.
    pub fn classes(&self) -> i64 {
        self.classes
    }

    /// Values of its embedding.
    pub fn embedding(&self) -> i64 {
        self.encoder.last().copied().unwrap_or_default()
    }

    /// Its layers, in the order they are computed.
    pub fn layers(&self) -> Vec<Layer> {
        let (encoder, pools, decoder) = (&self.encoder, &self.pools, &self.decoder);
        layers::list(self.size, self.classes, encoder, pools, decoder)
    }

    /// Trainable parameters of the encoder, of the decoder with the mask head, and of the class head.
    pub fn parameters(&self) -> [i64; 3] {
        let mut counts = [0; 3];
        for layer in self.layers() {
            let part = match layer.part {
                Part::ClassHead => 2,
                _ if layer.serves_mask_only() => 1,
                _ => 0,
            };
            counts[part] += layer.parameters();
        }
        counts
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |channels: &[i64]| {
            let channels: Vec<_> = channels.iter().map(i64::to_string).collect();
            channels.join("-")
        };
        write!(f, "{}/{}", joined(&self.encoder), joined(&self.decoder))?;
        if self.pools != usual_pools(self.encoder.len().saturating_sub(1)) {
            let name = |pool: &Pool| {
                pool.to_possible_value()
                    .map(|value| value.get_name().to_owned())
            };
            let pools: Vec<_> = self.pools.iter().filter_map(name).collect();
            write!(f, " pools={}", pools.join("-"))?;
        }
        if self.size != SIZE {
            write!(f, " size={}", self.size)?;
        }
        if self.classes != CLASSES {
            write!(f, " classes={}", self.classes)?;
        }
        Ok(())
    }
}

impl FromStr for Topology {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!("network '{text}': {what}; 8-16-16-32-64/32-16-16-8 is the published one")
        };
        let channels = |list: &str| {
            let numbers = list.split('-').map(str::parse);
            numbers
                .collect::<Result<Vec<i64>, _>>()
                .map_err(|_| wrong("channels are no numbers"))
        };
        let mut words = text.split(' ');
        let shape = words.next().unwrap_or_default();
        let (encoder, decoder) = shape.split_once('/').ok_or_else(|| wrong("no '/'"))?;
        let mut topology = Self {
            encoder: channels(encoder)?,
            decoder: channels(decoder)?,
            ..Self::default()
        };
        topology.pools = usual_pools(topology.encoder.len() - 1);
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| wrong("no '='"))?;
            let number = || value.parse().map_err(|_| wrong("no number"));
            match key {
                "size" => topology.size = number()?,
                "classes" => topology.classes = number()?,
                "pools" => {
                    let pools = value.split('-').map(|name| Pool::from_str(name, false));
                    let pools = pools.collect::<Result<_, _>>();
                    topology.pools = pools.map_err(|_| wrong("pools are max or average"))?;
                }
                _ => return Err(wrong("an unknown word")),
            }
        }
        topology.checked()
    }
}

impl TryFrom<String> for Topology {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Topology> for String {
    fn from(topology: Topology) -> Self {
        topology.to_string()
    }
}

/// A shape from flags or from the TOML table `[topology]`. A value that is not given is that of the published student.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TopologyOverrides {
    /// Channels of the encoder's blocks, multiples of 4 [default: 8,16,16,32,64].
    #[arg(long, value_delimiter = ',', value_name = "CHANNELS")]
    pub encoder: Option<Vec<i64>>,
    /// Channels of the decoder's blocks, deepest first, one block fewer than the encoder has
    /// [default: 32,16,16,8].
    #[arg(long, value_delimiter = ',', value_name = "CHANNELS")]
    pub decoder: Option<Vec<i64>>,
    /// Pools between the encoder's blocks [default: max, and average in the last one].
    #[arg(long, value_delimiter = ',', value_enum, value_name = "POOLS")]
    pub pools: Option<Vec<Pool>>,
    /// Side of the images that the student is made for, in pixels. Boards take 224 [default: 224].
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_shape_are_one() {
        let published: Topology = "8-16-16-32-64/32-16-16-8".parse().unwrap();
        assert_eq!(published, Topology::default());
        assert_eq!(published.to_string(), "8-16-16-32-64/32-16-16-8");
        assert_eq!(published.parameters().iter().sum::<i64>(), 54_239);
        for text in [
            "8-12/16",
            "4-8-16/16-8 pools=average-max",
            "8-16/8 size=64",
            "8-16/8 size=64 classes=9",
        ] {
            let topology: Topology = text.parse().unwrap();
            assert_eq!(topology.to_string(), text);
        }
    }

    #[test]
    fn shapes_that_do_not_hold_together_are_refused_in_words() {
        for (text, expected) in [
            ("", "no '/'"),
            ("8-16", "no '/'"),
            ("8/", "no numbers"),
            ("8-x/8", "no numbers"),
            ("8-16-32/8", "need 2 decoder blocks, 1 are given"),
            ("8-18/8", "18 channels"),
            ("8-128/8", "128 channels"),
            ("8-16/8 pools=max-max", "need 1 pools, 2 are given"),
            ("8-16/8 pools=min", "max or average"),
            ("8-16/8 size=100", "no multiple of 16"),
            ("8-16/8 size=448", "no multiple of 16 in 16…224"),
            ("8-16/8 classes=1", "two or more"),
            ("8-16/8 depth=1", "unknown word"),
            (
                "8-8-8-8-8-8/8-8-8-8-8 size=112",
                "no multiple of 32, which 5 pools need",
            ),
            ("8-8-8-8-8-8-8/8-8-8-8-8-8 size=192", "53 layers"),
        ] {
            let error = text.parse::<Topology>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_line_of_toml_gives_another_width_or_depth() {
        let of = |text: &str| Topology::new(&toml::from_str(text).unwrap());
        let wide = of("encoder = [16, 16, 32, 32, 64]").unwrap();
        assert_eq!(wide.to_string(), "16-16-32-32-64/32-16-16-8");
        let flat = of("encoder = [8, 16, 32]\ndecoder = [16, 8]").unwrap();
        assert_eq!(flat.to_string(), "8-16-32/16-8");
        assert!(of("encoder = [8, 16, 32]").unwrap_err().contains("need 2"));
        assert_eq!(of(""), Ok(Topology::default()));
    }
}
