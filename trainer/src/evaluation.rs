//! The file that `trainer eval --json` prints and `trainer run` leaves: a model's figures on a part of the data.
//!
//! The layout has a number, [`SCHEMA`]. A reader refuses a file of another one and names the command that makes a
//! new one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::{Part, Protocol};
use crate::metrics::Report;
use crate::network::PartSize;
use crate::settings::Precision;

/// The number of the layout.
pub const SCHEMA: u32 = 1;

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The file that was measured.
    pub checkpoint: String,
    /// The model in it.
    pub model: Model,
    /// The data set and its split, in words.
    pub data: String,
    /// How the data was split.
    pub protocol: Protocol,
    /// The part of the split.
    pub part: Part,
    /// The figures.
    pub views: Views,
}

/// The figures on the wafers of the part, by how the wafers lay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Views {
    /// As they are in the file.
    pub plain: Report,
    /// Rotated by 90°, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_90: Option<Report>,
}

/// The model that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Model {
    /// A checkpoint, run by libtorch.
    Checkpoint {
        /// Its architecture.
        name: String,
        /// Side of the images that it was shown, in pixels.
        size: i64,
        /// Bytes of the file.
        bytes: u64,
        /// Trainable parameters.
        parameters: i64,
        /// The same by part.
        parts: Vec<PartSize>,
        /// Number format of its convolutions.
        precision: Precision,
        /// Image side of its last training stage, in pixels.
        trained_at_size: i64,
        /// Epochs that it was trained.
        epochs: f64,
    },
    /// A model image, run by the engine that boards run.
    ModelImage {
        /// The model's name.
        name: String,
        /// Side of its images, in pixels.
        size: i64,
        /// Bytes of the file.
        bytes: u64,
        /// Trainable parameters before quantization.
        parameters: i64,
        /// Multiply-accumulates of an inference.
        macs: u64,
        /// Bytes of arena that an inference needs.
        arena_bytes: u32,
    },
}

impl Model {
    /// The model's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Checkpoint { name, .. } | Self::ModelImage { name, .. } => name,
        }
    }

    /// Trainable parameters.
    pub fn parameters(&self) -> i64 {
        match self {
            Self::Checkpoint { parameters, .. } | Self::ModelImage { parameters, .. } => {
                *parameters
            }
        }
    }

    /// The facts in one line.
    pub fn describe(&self) -> String {
        match self {
            Self::Checkpoint {
                name,
                size,
                bytes,
                parameters,
                precision,
                epochs,
                ..
            } => format!(
                "{name}, {parameters} parameters, {bytes} bytes, trained for {epochs:.1} epochs, measured at \
                 {size}×{size} in {precision}"
            ),
            Self::ModelImage {
                name,
                size,
                bytes,
                parameters,
                macs,
                arena_bytes,
            } => format!(
                "{name}, int8 image of {bytes} bytes for {size}×{size}, {parameters} parameters, {macs} \
                 multiply-accumulates, {arena_bytes} bytes of arena"
            ),
        }
    }
}

impl Evaluation {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no evaluation, or has another layout; then with the command that makes a new one.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
        Self::parse(&bytes).with_context(|| format!("{name} cannot be used"))
    }

    /// As [`Evaluation::read`], from the file's bytes.
    ///
    /// # Errors
    /// As there.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        const FOREIGN: &str = "it is not what `trainer eval --json` prints";
        let value: Value = serde_json::from_slice(bytes).context(FOREIGN)?;
        let schema = value.get("schema").and_then(Value::as_u64);
        if schema != Some(SCHEMA.into()) {
            let checkpoint = value.get("checkpoint").and_then(Value::as_str);
            let Some(checkpoint) = checkpoint else {
                bail!(FOREIGN);
            };
            let layout = schema.map_or("an older one".into(), |schema| schema.to_string());
            bail!(
                "its layout is {layout}, and this version reads layout {SCHEMA}; make a new file: \
                 trainer eval --checkpoint {checkpoint} --data DATA --json"
            );
        }
        serde_json::from_value(value).context(FOREIGN)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// Only errors of the JSON writer.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// The headline figures, one line a view.
    pub fn lines(&self) -> Vec<String> {
        let part = self.part;
        let line = |how: &str, report: &Report| {
            format!("{} {part} wafers{how}: {}", report.wafers, report.line())
        };
        let mut lines = vec![line("", &self.views.plain)];
        let rotated = self.views.rotated_90.as_ref();
        lines.extend(rotated.map(|report| line(", rotated by 90°", report)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", Evaluation::parse(text.as_bytes()).unwrap_err())
    }

    #[test]
    fn files_of_another_layout_name_the_command_that_makes_a_new_one() {
        let old = error(r#"{ "checkpoint": "a.lw", "wafers": { "as they are": {} } }"#);
        assert!(
            old.contains("older") && old.contains("trainer eval --checkpoint a.lw --data"),
            "{old}"
        );
        let new = error(r#"{ "schema": 2, "checkpoint": "a.lw" }"#);
        assert!(new.contains("layout is 2"), "{new}");
        for text in [
            "",
            "{}",
            "[1]",
            r#"{ "schema": 1 }"#,
            r#"{ "schema": "1" }"#,
        ] {
            assert!(
                error(text).contains("not what `trainer eval --json` prints"),
                "{text}"
            );
        }
    }

    #[test]
    fn the_published_evaluations_are_read_and_written_alike() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/light");
        for (name, accuracy) in [("float", 98.46), ("int8", 98.49), ("teacher", 98.24)] {
            let path = folder.join(format!("eval-{name}.json"));
            let evaluation = Evaluation::read(&path).unwrap();
            let found = 100.0 * evaluation.views.plain.accuracy;
            assert!((found - accuracy).abs() < 0.006, "{name}: {found}");
            assert!(evaluation.views.rotated_90.is_some());
            let again = Evaluation::parse(evaluation.json().unwrap().as_bytes()).unwrap();
            assert_eq!(again, evaluation);
        }
    }
}
