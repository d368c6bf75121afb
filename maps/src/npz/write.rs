//! Writes `.npz` files: streamed to a temporary name, renamed when they are complete.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{NpzError, NpzErrorKind, Result, WaferSet, at_path};
use crate::file::AtomicFile;
use lightwafer_runtime::dies::{Class, IMAGE_SIZE, Mask, PATTERN_COUNT};

/// An archive that is written to a file.
type Archive = ZipWriter<BufWriter<AtomicFile>>;

fn create(path: &Path) -> Result<Archive> {
    Ok(ZipWriter::new(BufWriter::new(AtomicFile::create(path)?)))
}

fn finish(archive: Archive) -> Result<()> {
    let file = archive.finish()?.into_inner();
    Ok(file.map_err(|error| error.into_error())?.commit()?)
}

fn start_u8(zip: &mut Archive, array: &str, shape: &[usize]) -> Result<()> {
    let bytes = shape.iter().fold(1u64, |n, d| n.saturating_mul(*d as u64));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(bytes >= u64::from(u32::MAX) / 2);
    zip.start_file(format!("{array}.npy"), options)?;
    let shape: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let mut text = format!(
        "{{'descr': '|u1', 'fortran_order': False, 'shape': ({}), }}",
        shape.trim_end()
    );
    // NumPy aligns the data to 64 bytes and ends the header with a line feed.
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    zip.write_all(b"\x93NUMPY\x01\x00")?;
    zip.write_all(&(text.len() as u16).to_le_bytes())?;
    zip.write_all(text.as_bytes())?;
    Ok(())
}

/// Writes wafers and labels as uint8 in the layout that [`read_wafers`](super::read_wafers) reads.
///
/// # Errors
/// [`NpzError`]; it names the file and the error of the file system.
pub fn write_wafers(path: &Path, set: &WaferSet) -> Result<(), NpzError> {
    at_path(path, write(path, set))
}

fn write(path: &Path, set: &WaferSet) -> Result<()> {
    let mut zip = create(path)?;
    start_u8(
        &mut zip,
        "arr_0",
        &[set.len(), set.rows.into(), set.cols.into()],
    )?;
    zip.write_all(&set.dies)?;
    if let Some(labels) = &set.labels {
        start_u8(&mut zip, "arr_1", &[labels.len(), PATTERN_COUNT])?;
        for &label in labels {
            let bits = Class::new(label).map_or(0, Class::patterns);
            zip.write_all(&core::array::from_fn::<u8, PATTERN_COUNT, _>(|i| {
                bits >> i & 1
            }))?;
        }
    }
    finish(zip)
}

/// Writes masks one at a time as `arr_0`, uint8 (N, 224, 224), 0 or 1.
///
/// The file appears when [`MaskWriter::finish`] succeeds. If the writer is dropped before that, no file remains.
pub struct MaskWriter {
    path: PathBuf,
    archive: Archive,
    expected: u64,
    written: u64,
}

impl MaskWriter {
    /// Makes a writer of `count` masks to `path`.
    ///
    /// # Errors
    /// [`NpzError`] if the file cannot be created.
    pub fn create(path: &Path, count: usize) -> Result<Self, NpzError> {
        let new = || {
            let mut archive = create(path)?;
            start_u8(&mut archive, "arr_0", &[count, IMAGE_SIZE, IMAGE_SIZE])?;
            Ok(Self {
                path: path.into(),
                archive,
                expected: count as u64,
                written: 0,
            })
        };
        at_path(path, new())
    }

    /// Appends one mask.
    ///
    /// # Errors
    /// [`NpzError`] if the file cannot be written.
    pub fn push(&mut self, mask: &Mask) -> Result<(), NpzError> {
        let mut pixels = Vec::with_capacity(IMAGE_SIZE * IMAGE_SIZE);
        for byte in mask.0 {
            pixels.extend((0..8).map(|bit| byte >> bit & 1));
        }
        self.written += 1;
        at_path(
            &self.path,
            self.archive.write_all(&pixels).map_err(Into::into),
        )
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// [`NpzErrorKind::MaskCount`] if the number of masks is not the announced one; those of [`MaskWriter::push`].
    pub fn finish(self) -> Result<(), NpzError> {
        let result = if self.written == self.expected {
            finish(self.archive)
        } else {
            Err(NpzErrorKind::MaskCount {
                expected: self.expected,
                found: self.written,
            })
        };
        at_path(&self.path, result)
    }
}
