//! Reads and writes wafer maps and masks in NumPy's `.npz` format, in the layout in which
//! [MixedWM38](https://github.com/Junliangwangdhu/WaferMap) was published.
//!
//! `arr_0` holds the dies, (N, rows, columns), in any integer type and either byte order. `arr_1`, if present,
//! holds the multi-hot labels, (N, 8). Files are untrusted: sizes are checked before memory is allocated, and
//! every error names the file, the array, the index and the value. Files are written under a temporary name and
//! renamed when they are complete.

mod error;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

pub use error::{NpzError, NpzErrorKind};
pub use write::{MaskWriter, write_wafers};

use lightwafer_runtime::dies::{Class, MAX_GRID, PATTERN_COUNT, die_from_mixedwm38};

/// The most dies in one file: 2 GiB in memory.
pub const MAX_DIES: u64 = 1 << 31;
/// The most wafers in one file.
pub const MAX_WAFERS: u64 = 1 << 20;
/// The longest header of an array that is read.
const MAX_HEADER: usize = 4096;

/// Wafer maps of one grid, with their classes if known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaferSet {
    /// Rows of the die grid, 1…256.
    pub rows: u16,
    /// Columns of the die grid, 1…256.
    pub cols: u16,
    /// Die states 0, 1, 2: N·rows·cols values, row-major, one wafer after the other.
    pub dies: Vec<u8>,
    /// Class numbers 0…37, one for each wafer.
    pub labels: Option<Vec<u8>>,
}

impl WaferSet {
    /// Number of wafers in the set.
    pub fn len(&self) -> usize {
        self.dies.len() / self.dies_per_wafer()
    }

    /// Whether the set has no wafer.
    pub fn is_empty(&self) -> bool {
        self.dies.is_empty()
    }

    /// Number of dies of one wafer.
    pub fn dies_per_wafer(&self) -> usize {
        (usize::from(self.rows) * usize::from(self.cols)).max(1)
    }

    /// The dies of wafer `i`, row-major; empty if there is no such wafer.
    pub fn dies(&self, i: usize) -> &[u8] {
        self.dies
            .chunks_exact(self.dies_per_wafer())
            .nth(i)
            .unwrap_or(&[])
    }
}

type Result<T, E = NpzErrorKind> = core::result::Result<T, E>;

fn at_path<T>(path: &Path, result: Result<T>) -> Result<T, NpzError> {
    result.map_err(|kind| NpzError {
        path: path.into(),
        kind,
    })
}

/// Reads wafers and, if present, labels.
///
/// # Errors
/// [`NpzError`]; it names the file and the problem.
pub fn read_wafers(path: &Path) -> Result<WaferSet, NpzError> {
    at_path(path, read(path))
}

fn read(path: &Path) -> Result<WaferSet> {
    let mut zip = ZipArchive::new(BufReader::new(File::open(path)?))?;
    let labelled = zip.index_for_name("arr_1.npy").is_some();

    let array = "arr_0";
    let mut entry = open(&mut zip, array)?;
    let header = Header::read(&mut entry, array)?;
    let side = 1..=MAX_GRID as u64;
    let (wafers, rows, cols) = match header.shape[..] {
        [n, r, c] if side.contains(&r) && side.contains(&c) => (n, r, c),
        _ => {
            let expected = "(N, rows, columns), each side 1 to 256,";
            return Err(NpzErrorKind::Shape {
                array,
                found: header.shape,
                expected,
            });
        }
    };
    let per_wafer = (rows * cols) as usize;
    let total = wafers.saturating_mul(rows * cols);
    if total > MAX_DIES {
        return Err(NpzErrorKind::TooLarge { dies: total });
    }
    // Each wafer takes memory of its own, also one of a single die.
    if wafers > MAX_WAFERS {
        return Err(NpzErrorKind::TooManyWafers { wafers });
    }
    // Reserve only what a file of this size can plausibly hold. The vector grows while data is read.
    let mut dies = Vec::with_capacity((total as usize).min(1 << 24));
    header.values(&mut entry, array, total, |value| {
        let die = die_from_mixedwm38(value).ok_or(NpzErrorKind::Die {
            wafer: dies.len() / per_wafer,
            die: dies.len() % per_wafer,
            value,
        })?;
        dies.push(die);
        Ok(())
    })?;
    drop(entry);

    let labels = if labelled {
        Some(read_labels(&mut zip, wafers)?)
    } else {
        None
    };
    Ok(WaferSet {
        rows: rows as u16,
        cols: cols as u16,
        dies,
        labels,
    })
}

fn read_labels<R: Read + Seek>(zip: &mut ZipArchive<R>, wafers: u64) -> Result<Vec<u8>> {
    let array = "arr_1";
    let mut entry = open(zip, array)?;
    let header = Header::read(&mut entry, array)?;
    if header.shape != [wafers, PATTERN_COUNT as u64] {
        let expected = "(N, 8) with the N of arr_0";
        return Err(NpzErrorKind::Shape {
            array,
            found: header.shape,
            expected,
        });
    }
    let mut labels = Vec::with_capacity((wafers as usize).min(1 << 20));
    let (mut row, mut at) = ([0; PATTERN_COUNT], 0);
    header.values(&mut entry, array, wafers * PATTERN_COUNT as u64, |value| {
        if let Some(column) = row.get_mut(at) {
            *column = value;
        }
        at += 1;
        if at == PATTERN_COUNT {
            at = 0;
            let binary = row.iter().all(|v| matches!(v, 0 | 1));
            let bits = row
                .iter()
                .rev()
                .fold(0u8, |bits, v| bits << 1 | (*v == 1) as u8);
            let class = binary.then(|| Class::from_patterns(bits)).flatten();
            let class = class.ok_or(NpzErrorKind::Label {
                wafer: labels.len(),
                found: row,
            })?;
            labels.push(class.index());
        }
        Ok(())
    })?;
    Ok(labels)
}

fn open<'a, R: Read + Seek>(
    zip: &'a mut ZipArchive<R>,
    array: &'static str,
) -> Result<impl Read + use<'a, R>> {
    match zip.by_name(&format!("{array}.npy")) {
        Ok(entry) => Ok(entry),
        Err(ZipError::FileNotFound) => Err(NpzErrorKind::Missing { array }),
        Err(e) => Err(e.into()),
    }
}

/// The header of an array in NumPy's `.npy` format, versions 1 to 3.
struct Header {
    shape: Vec<u64>,
    signed: bool,
    big_endian: bool,
    /// Bytes of a value: 1, 2, 4 or 8.
    size: usize,
}

impl Header {
    fn read(from: &mut impl Read, array: &'static str) -> Result<Self> {
        let bad = |reason| NpzErrorKind::Header { array, reason };
        let mut start = [0; 8];
        fill(from, &mut start, array)?;
        let [magic @ .., major, _] = start;
        if magic != *b"\x93NUMPY" {
            return Err(bad("not a NumPy array (wrong first bytes)"));
        }
        let mut length = [0; 4];
        match major {
            1 => fill(from, &mut length[..2], array)?,
            2 | 3 => fill(from, &mut length, array)?,
            _ => return Err(bad("an unknown version of the .npy format")),
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_HEADER {
            return Err(bad("its header is too long"));
        }
        let mut text = vec![0; length];
        fill(from, &mut text, array)?;
        let text = str::from_utf8(&text).map_err(|_| bad("its header is not text"))?;

        let value = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}'"))?;
            Some(rest.trim_start().strip_prefix(':')?.trim_start())
        };
        let order = value("fortran_order").ok_or(bad("its header has no 'fortran_order'"))?;
        if !order.starts_with("False") {
            return Err(bad(
                "it is in Fortran order; save numpy.ascontiguousarray(a) instead",
            ));
        }
        let shape = value("shape")
            .and_then(|s| Some(s.strip_prefix('(')?.split_once(')')?.0))
            .ok_or(bad("its header has no 'shape'"))?;
        let shape = shape.split(',').map(str::trim).filter(|s| !s.is_empty());
        let shape = shape
            .map(|s| s.parse::<u64>())
            .collect::<core::result::Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| bad("its shape is not a tuple of numbers"))?;

        let descr = value("descr").ok_or(bad("its header has no 'descr'"))?;
        let descr = descr
            .strip_prefix('\'')
            .and_then(|d| Some(d.split_once('\'')?.0));
        let descr = descr.ok_or(bad("it holds structures, not integers"))?;
        let wrong = || NpzErrorKind::Type {
            array,
            found: descr.into(),
        };
        let mut letters = descr.chars();
        let (order, kind) = (letters.next(), letters.next());
        let size = letters.as_str().parse().unwrap_or(0);
        let (signed, known) = match kind {
            Some('i') => (true, matches!(size, 1 | 2 | 4 | 8)),
            Some('u') => (false, matches!(size, 1 | 2 | 4 | 8)),
            Some('b') => (false, size == 1),
            _ => (false, false),
        };
        let big_endian = match order {
            Some('>') => true,
            Some('<' | '|') => false,
            Some('=') => cfg!(target_endian = "big"),
            _ => return Err(wrong()),
        };
        if !known {
            return Err(wrong());
        }
        Ok(Self {
            shape,
            signed,
            big_endian,
            size,
        })
    }

    /// Calls `each` with each of the `count` values that follow, and checks that nothing comes after them.
    fn values(
        &self,
        from: &mut impl Read,
        array: &'static str,
        count: u64,
        mut each: impl FnMut(i64) -> Result<()>,
    ) -> Result<()> {
        const CHUNK: u64 = 1 << 15;
        let mut bytes = vec![0; CHUNK as usize * self.size];
        let mut left = count;
        while left > 0 {
            let now = left.min(CHUNK);
            left -= now;
            let chunk = bytes.get_mut(..now as usize * self.size).unwrap_or(&mut []);
            fill(from, chunk, array)?;
            for value in chunk.chunks_exact(self.size) {
                each(self.value(value))?;
            }
        }
        // Reading to the end also makes the archive check its CRC.
        match from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(NpzErrorKind::Length {
                array,
                short: false,
            }),
        }
    }

    /// One value. A value above `i64::MAX` becomes `i64::MAX`, which no array may contain.
    fn value(&self, bytes: &[u8]) -> i64 {
        let join = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        let bits = match self.big_endian {
            true => bytes.iter().fold(0, join),
            false => bytes.iter().rev().fold(0, join),
        };
        if self.signed {
            let unused = 64 - 8 * self.size as u32;
            (bits << unused) as i64 >> unused
        } else {
            i64::try_from(bits).unwrap_or(i64::MAX)
        }
    }
}

fn fill(from: &mut impl Read, to: &mut [u8], array: &'static str) -> Result<()> {
    from.read_exact(to).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => NpzErrorKind::Length { array, short: true },
        _ => NpzErrorKind::Io(e),
    })
}
