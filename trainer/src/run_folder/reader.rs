//! Reads a run's folder for reports. The files are untrusted, and any of them may be missing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{TRAININGS, best, evaluation, image, log};
use crate::architecture::Architecture;
use crate::evaluation::Evaluation;
use crate::manifest::Manifest;

/// One training of a run.
#[derive(Debug, Clone)]
pub struct Training {
    /// `teacher` or `student`.
    pub name: &'static str,
    /// Its best checkpoint, if it is there.
    pub checkpoint: Option<PathBuf>,
    /// Its log, line by line.
    pub log: Vec<Value>,
}

/// A run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    /// Its folder.
    pub path: PathBuf,
    /// The manifest.
    pub manifest: Option<Manifest>,
    /// The trainings in it: teacher, student, or both.
    pub trainings: Vec<Training>,
    /// The int8 image.
    pub image: Option<PathBuf>,
}

impl RunFolder {
    /// Reads a run made by `trainer run`, or the folder of a single training.
    ///
    /// # Errors
    /// When there is nothing of a run in it, or a file of it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let mut trainings = Vec::new();
        for name in TRAININGS {
            trainings.extend(Training::read(name, &path.join(name))?);
        }
        if let Some(mut alone) = Training::read("student", path)? {
            if matches!(alone.architecture(), Some(Architecture::Teacher(_))) {
                alone.name = "teacher";
            }
            trainings.push(alone);
        }
        ensure!(
            !trainings.is_empty(),
            "{}: no run is here (no log.jsonl, teacher/ or student/)",
            path.display()
        );
        let image = image(&path.join("student"));
        Ok(Self {
            manifest: json(&Manifest::path(path))?,
            image: image.exists().then_some(image),
            trainings,
            path: path.into(),
        })
    }

    /// The training of this name.
    pub fn training(&self, name: &str) -> Option<&Training> {
        self.trainings.iter().find(|training| training.name == name)
    }

    /// The evaluation of this name; none if the file is missing.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn evaluation(&self, name: &str) -> Result<Option<Evaluation>> {
        let path = evaluation(&self.path, name);
        path.exists().then(|| Evaluation::read(&path)).transpose()
    }
}

impl Training {
    fn read(name: &'static str, path: &Path) -> Result<Option<Self>> {
        let log = log(path);
        let Some(text) = text(&log)? else {
            return Ok(None);
        };
        // A process that is cut off may leave half a line at the end.
        let lines: Vec<&str> = text.lines().collect();
        let mut values = Vec::new();
        for (i, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(value) => values.push(value),
                Err(_) if i + 1 == lines.len() => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("{}: line {} is no JSON", log.display(), i + 1));
                }
            }
        }
        let checkpoint = best(path);
        Ok(Some(Self {
            name,
            checkpoint: checkpoint.exists().then_some(checkpoint),
            log: values,
        }))
    }

    /// Lines of one event.
    pub fn events(&self, event: &str) -> impl Iterator<Item = &Value> {
        self.log.iter().filter(move |line| line["event"] == event)
    }

    /// The first start: settings and data.
    pub fn start(&self) -> Option<&Value> {
        self.events("start").next()
    }

    /// The network that is trained, as far as the log tells.
    pub fn architecture(&self) -> Option<Architecture> {
        self.start()?["network"].as_str()?.parse().ok()
    }

    /// Whether a teacher taught it.
    pub fn is_distilled(&self) -> bool {
        self.start()
            .is_some_and(|start| !start["settings"]["distill"].is_null())
    }

    /// Seconds of training, validations included, as far as the log tells.
    pub fn seconds(&self) -> Option<f64> {
        self.log
            .iter()
            .rev()
            .find_map(|line| line["seconds"].as_f64())
    }
}

fn text(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let parse = |text: String| {
        serde_json::from_str(&text).with_context(|| format!("{} cannot be read", path.display()))
    };
    text(path)?.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_and_missing_parts_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let error = RunFolder::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no run is here"), "{error}");
        let log = log(dir.path());
        fs::write(
            &log,
            "{\"event\":\"start\",\"network\":\"DeepLabV3+ ResNet18\",\"settings\":{}}\n{\"ev",
        )
        .unwrap();
        let folder = RunFolder::read(dir.path()).unwrap();
        let training = &folder.trainings[0];
        assert_eq!((folder.trainings.len(), training.log.len()), (1, 1));
        assert_eq!(training.name, "teacher");
        assert!(!training.is_distilled() && folder.manifest.is_none());
        fs::write(&log, "half\n{}\n").unwrap();
        let error = format!("{:#}", RunFolder::read(dir.path()).unwrap_err());
        assert!(error.contains("line 1"), "{error}");
        fs::write(&log, "{}\n").unwrap();
        assert_eq!(
            RunFolder::read(dir.path()).unwrap().trainings[0].name,
            "student"
        );
        fs::write(dir.path().join("run.json"), "{").unwrap();
        assert!(RunFolder::read(dir.path()).is_err());
    }
}
