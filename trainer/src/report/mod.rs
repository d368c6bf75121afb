//! `trainer report`: one HTML page about a run, which loads nothing from elsewhere.

mod charts;
mod material;
mod page;
mod pictures;
mod subject;

use std::path::Path;

use anyhow::Result;
use tch::Device;

use crate::batch::Source;
use crate::data::Data;
use crate::network::Network;
use crate::run_folder::reader::RunFolder;
use material::Material;
use subject::Subject;

/// Opens a checkpoint: its network, and the image side to show it.
pub type Open = dyn Fn(&Path) -> Result<(Box<dyn Network>, i64)>;

/// Measures the networks in `folder` on `device` and makes the page. `say` gets lines for people meanwhile. `None` when
/// `stop` asks to end.
///
/// # Errors
/// When a checkpoint or an evaluation cannot be read.
pub fn make(
    folder: &RunFolder,
    data: &Data,
    device: Device,
    open: &Open,
    stop: &dyn Fn() -> bool,
    say: &dyn Fn(&str),
) -> Result<Option<String>> {
    let source = Source::new(data, device);
    let mut material = Material {
        folder,
        data,
        source: &source,
        subjects: Vec::new(),
        int8: folder.evaluation("int8")?,
        missing: Vec::new(),
    };
    for name in ["student", "teacher"] {
        let Some(training) = folder.training(name) else {
            let text = format!("no {name} was trained in this run");
            material.missing.push(text);
            continue;
        };
        let Some(checkpoint) = &training.checkpoint else {
            let text = format!("the {name} has no best checkpoint yet");
            material.missing.push(text);
            continue;
        };
        let wafers = data.test.len();
        say(&format!("asking the {name} about {wafers} test wafers"));
        let bytes = std::fs::metadata(checkpoint).map_or(0, |file| file.len());
        let opened = open(checkpoint)?;
        match Subject::measure(training.name, opened, bytes, data, &source, stop) {
            Some(subject) => material.subjects.push(subject),
            None => return Ok(None),
        }
    }
    for (found, what) in [
        (
            material.int8.is_some(),
            "evaluation of an int8 image (eval-int8.json)",
        ),
        (
            folder.manifest.is_some(),
            "manifest with machine, data and configuration (run.json)",
        ),
    ] {
        if !found {
            material.missing.push(format!("no {what}"));
        }
    }
    Ok(Some(page::page(&material)))
}
