//! TensorBoard event files: scalars by tag and step, beside a run's log.
//!
//! A file is a TFRecord sequence (length, its masked CRC-32C, data, its masked CRC-32C) of `Event`
//! protocol buffers, as TensorFlow's `event.proto` and `summary.proto` define them. A resumed run
//! begins another file in the same folder; TensorBoard joins them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An event file that is appended to.
#[derive(Debug)]
pub struct Events {
    file: File,
    path: PathBuf,
}

impl Events {
    /// Begins a new event file in `folder`.
    ///
    /// # Errors
    /// When the file system refuses, with the path.
    pub fn begin(folder: &Path) -> Result<Self> {
        let now = now();
        // TensorBoard looks for `tfevents` in the name and reads files in its order.
        let name = format!(
            "events.out.tfevents.{:010}.{}",
            now as u64,
            std::process::id()
        );
        let path = folder.join(name);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let mut events = Self { file, path };
        events.write(&Event {
            wall_time: now,
            step: 0,
            file_version: Some("brain.Event:2".into()),
            summary: None,
        })?;
        Ok(events)
    }

    /// Adds the values of one step.
    ///
    /// # Errors
    /// When the file system refuses, with the path.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let value = values.iter().map(|(tag, value)| Scalar {
            tag: (*tag).into(),
            simple_value: *value as f32,
        });
        self.write(&Event {
            wall_time: now(),
            step: step as i64,
            file_version: None,
            summary: Some(Summary {
                value: value.collect(),
            }),
        })
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        let record = framed(&event.encode_to_vec());
        let written = self.file.write_all(&record);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// A TFRecord.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked_crc(data).to_le_bytes());
    record
}

/// TFRecord's masking: the CRC of data that itself contains CRCs would be weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_and_hold_what_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::begin(dir.path()).unwrap();
        events
            .scalars(7, &[("train/class_loss", 0.5), ("val/accuracy", 0.75)])
            .unwrap();
        let bytes = std::fs::read(&events.path).unwrap();
        let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let crc = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            assert_eq!(crc(8), masked_crc(&rest[..8]));
            assert_eq!(crc(12 + length), masked_crc(&rest[12..12 + length]));
            found.push(Event::decode(&rest[12..12 + length]).unwrap());
            rest = &rest[16 + length..];
        }
        assert_eq!(found[0].file_version.as_deref(), Some("brain.Event:2"));
        let values = &found[1].summary.as_ref().unwrap().value;
        assert_eq!(found[1].step, 7);
        assert_eq!(
            (values[1].tag.as_str(), values[1].simple_value),
            ("val/accuracy", 0.75)
        );
        // The CRC's check value (RFC 3720, B.4: 32 bytes of zeros).
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    }
}
