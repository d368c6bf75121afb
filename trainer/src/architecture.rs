//! The kinds of network and the names that their checkpoints carry.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::topology::{CLASSES, SIZE, Topology};

/// The student's name, which stands in front of its shape.
pub const STUDENT: &str = "LightWaferSegClassNet";
/// The word behind the shape of a student in quantization-aware training.
const INT8: &str = "int8";
/// The teacher's name, which stands in front of its encoder.
const TEACHER: &str = "DeepLabV3+";

/// A teacher's encoder: a ResNet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoder {
    /// 11 M parameters: what two processor cores can train.
    #[value(name = "resnet18")]
    ResNet18,
    /// 21 M parameters.
    #[value(name = "resnet34")]
    ResNet34,
    /// 24 M parameters.
    #[value(name = "resnet50")]
    ResNet50,
    /// 43 M parameters: the paper's.
    #[value(name = "resnet101")]
    ResNet101,
}

impl Encoder {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ResNet18,
        Self::ResNet34,
        Self::ResNet50,
        Self::ResNet101,
    ];
}

/// Which network.
///
/// As text, here and in checkpoints: `LightWaferSegClassNet 8-16-16-32-64/32-16-16-8` (a student, its shape as
/// [`Topology`] writes it), the same with ` int8` behind it (a student of `trainer quantize`),
/// `DeepLabV3+ ResNet101` (a teacher).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Architecture {
    /// A student in floats.
    Student(Topology),
    /// A student in quantization-aware training.
    Qat(Topology),
    /// A teacher with this encoder.
    Teacher(Encoder),
}

impl Architecture {
    /// The architecture of a checkpoint that carries this name; a file of another program carries none and is
    /// taken for the published student.
    ///
    /// # Errors
    /// In words, for a name of none of ours.
    pub fn of_checkpoint(name: &str) -> Result<Self, String> {
        match name {
            "" => Ok(Self::Student(Topology::default())),
            name => name.parse(),
        }
    }

    /// The shape of a student.
    pub fn topology(&self) -> Option<&Topology> {
        match self {
            Self::Student(topology) | Self::Qat(topology) => Some(topology),
            Self::Teacher(_) => None,
        }
    }

    /// Classes that it tells apart.
    pub fn classes(&self) -> i64 {
        self.topology().map_or(CLASSES, Topology::classes)
    }

    /// The image side of its last training stage by default, in pixels.
    pub fn size(&self) -> i64 {
        self.topology().map_or(SIZE, Topology::size)
    }

    /// Checks that it can take images of `size`×`size` pixels.
    ///
    /// # Errors
    /// In words, when it cannot.
    pub fn fits(&self, size: i64) -> Result<(), String> {
        match self.topology() {
            Some(topology) => topology.fits(size),
            None => crate::topology::check_size(size),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Student(topology) => write!(f, "{STUDENT} {topology}"),
            Self::Qat(topology) => write!(f, "{STUDENT} {topology} {INT8}"),
            Self::Teacher(encoder) => write!(f, "{TEACHER} {encoder:?}"),
        }
    }
}

impl FromStr for Architecture {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("'{text}' is no network that this version knows");
        let (kind, rest) = text.split_once(' ').ok_or_else(unknown)?;
        match kind {
            STUDENT => match rest
                .strip_suffix(INT8)
                .and_then(|rest| rest.strip_suffix(' '))
            {
                Some(shape) => Ok(Self::Qat(shape.parse()?)),
                None => Ok(Self::Student(rest.parse()?)),
            },
            TEACHER => {
                let mut encoders = Encoder::ALL.into_iter();
                let found = encoders.find(|encoder| format!("{encoder:?}") == rest);
                found.map(Self::Teacher).ok_or_else(unknown)
            }
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Architecture {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Architecture> for String {
    fn from(architecture: Architecture) -> Self {
        architecture.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "LightWaferSegClassNet 8-16-16-32-64/32-16-16-8",
            "LightWaferSegClassNet 8-16-16-32-64/32-16-16-8 int8",
            "LightWaferSegClassNet 8-16-32/16-8 size=64 int8",
            "DeepLabV3+ ResNet101",
        ] {
            let architecture: Architecture = name.parse().unwrap();
            assert_eq!(architecture.to_string(), name);
        }
        let published = Architecture::Student(Topology::default());
        assert_eq!(Architecture::of_checkpoint(""), Ok(published));
        for name in [
            "student",
            "LightWaferSegClassNet 8",
            "DeepLabV3+ ResNet19",
            "UNet 8-16/8",
        ] {
            assert!(name.parse::<Architecture>().is_err(), "{name}");
        }
    }
}
