//! Wafer maps from files: `.npz` (many maps of one grid, perhaps with labels) and `.csv` (one map).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lightwafer_runtime::npz::{self, NpzError};
use lightwafer_runtime::wafer::{Class, DieMap, DieMapError, MAX_GRID};
use thiserror::Error;

/// Longest `.csv` file that is read: the largest map with room for spaces and comments.
const MAX_CSV: u64 = 4 << 20;

/// One wafer of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wafer {
    /// The file, as it was named.
    pub input: Arc<Path>,
    /// Position in the file, from 0.
    pub position: usize,
    /// The class in the file's labels.
    pub truth: Option<Class>,
    rows: u16,
    cols: u16,
    packed: Vec<u8>,
}

/// An input file cannot be used.
#[derive(Debug, Error)]
pub enum InputError {
    /// An `.npz` file; the error names it.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A `.csv` file is no map.
    #[error("{}: {reason}", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: CsvError,
    },
    /// A map's dies are not valid.
    #[error("{}, map {position}: {reason}", .path.display())]
    Map {
        /// The file.
        path: PathBuf,
        /// Position in the file.
        position: usize,
        /// What is wrong.
        reason: DieMapError,
    },
    /// The file has no map.
    #[error("{} holds no map", .0.display())]
    Empty(PathBuf),
    /// Neither `.npz` nor `.csv`.
    #[error("{}: unknown kind of file; .npz (arr_0, N×rows×columns) or .csv expected", .0.display())]
    Kind(PathBuf),
}

/// Why text is not a wafer map. Lines and values count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CsvError {
    /// A value is not 0, 1 or 2.
    #[error("line {line}, value {column}: `{text}`; 0 (no die), 1 (pass) or 2 (fail) expected")]
    Value {
        /// The line.
        line: usize,
        /// The value in it.
        column: usize,
        /// What is there.
        text: String,
    },
    /// A row is shorter or longer than the first.
    #[error("line {line} has {found} values, the rows before it have {expected}")]
    Ragged {
        /// The line.
        line: usize,
        /// Values of the first row.
        expected: usize,
        /// Values of this row.
        found: usize,
    },
    /// More rows or columns than a map may have.
    #[error("line {line}: the map is larger than {MAX_GRID}×{MAX_GRID} dies")]
    Grid {
        /// The line.
        line: usize,
    },
    /// No row at all.
    #[error("no map: the file has no values")]
    Empty,
    /// Far longer than any map.
    #[error("the file is longer than any map; {MAX_CSV} bytes at most")]
    TooLong,
    /// Not text.
    #[error("not a text file (byte {0})")]
    Text(usize),
}

impl Wafer {
    /// A wafer of one-byte dies, row-major, 0, 1 or 2.
    ///
    /// # Errors
    /// [`DieMapError`].
    pub fn new(
        input: Arc<Path>,
        position: usize,
        grid: (u16, u16),
        dies: &[u8],
        truth: Option<Class>,
    ) -> Result<Self, DieMapError> {
        let (rows, cols) = grid;
        let mut packed = vec![0; DieMap::packed_len(rows, cols)?];
        DieMap::pack(rows, cols, dies, &mut packed)?;
        Ok(Self {
            input,
            position,
            truth,
            rows,
            cols,
            packed,
        })
    }

    /// The map.
    ///
    /// # Panics
    /// Never: the map was checked when the wafer was made.
    pub fn map(&self) -> DieMap<'_> {
        DieMap::new_checked(self.rows, self.cols, &self.packed).expect("checked in `new`")
    }
}

/// Reads all wafers of a file, by its name's ending: `.npz`, else `.csv` or `.txt`.
///
/// # Errors
/// [`InputError`] names the file and what is wrong with it.
pub fn read(path: &Path) -> Result<Vec<Wafer>, InputError> {
    let ending = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let wafers = match ending.as_str() {
        "npz" => read_npz(path)?,
        "csv" | "txt" => vec![read_csv(path)?],
        _ => return Err(InputError::Kind(path.into())),
    };
    if wafers.is_empty() {
        Err(InputError::Empty(path.into()))
    } else {
        Ok(wafers)
    }
}

fn read_npz(path: &Path) -> Result<Vec<Wafer>, InputError> {
    let set = npz::read_wafers(path)?;
    let input: Arc<Path> = path.into();
    let truth = |at: usize| Class::new(*set.labels.as_ref()?.get(at)?);
    let wafer = |(at, dies)| {
        Wafer::new(input.clone(), at, (set.rows, set.cols), dies, truth(at)).map_err(|reason| {
            InputError::Map {
                path: path.into(),
                position: at,
                reason,
            }
        })
    };
    set.dies
        .chunks_exact(set.dies_per_wafer())
        .enumerate()
        .map(wafer)
        .collect()
}

fn read_csv(path: &Path) -> Result<Wafer, InputError> {
    let failed = |reason| InputError::Read {
        path: path.into(),
        reason,
    };
    let wrong = |reason| InputError::Csv {
        path: path.into(),
        reason,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_CSV + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_CSV {
        return Err(wrong(CsvError::TooLong));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| wrong(CsvError::Text(error.utf8_error().valid_up_to())))?;
    let (grid, dies) = parse_csv(&text).map_err(wrong)?;
    Wafer::new(path.into(), 0, grid, &dies, None).map_err(|reason| InputError::Map {
        path: path.into(),
        position: 0,
        reason,
    })
}

/// Parses one map: a row a line, values 0, 1, 2 separated by commas, semicolons or white space.
/// Empty lines and lines that begin with `#` are skipped. Gives ((rows, columns), dies).
///
/// # Errors
/// [`CsvError`] names line and value.
pub fn parse_csv(text: &str) -> Result<((u16, u16), Vec<u8>), CsvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut rows, mut cols) = (0, 0);
    let mut dies = Vec::new();
    for (line, row) in (1..).zip(text.lines()) {
        let row = row.trim();
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        let before = dies.len();
        // Separators may be followed by spaces; one at the end of a line is forgiven.
        let row = row.strip_suffix([',', ';']).unwrap_or(row);
        let values: Vec<&str> = if row.contains([',', ';']) {
            row.split([',', ';']).map(str::trim).collect()
        } else {
            row.split_whitespace().collect()
        };
        for (column, text) in (1..).zip(values) {
            dies.push(match text {
                "0" => 0,
                "1" => 1,
                "2" => 2,
                _ => {
                    let text = text.chars().take(20).collect();
                    return Err(CsvError::Value { line, column, text });
                }
            });
        }
        let found = dies.len() - before;
        rows += 1;
        if found > MAX_GRID || rows > MAX_GRID {
            return Err(CsvError::Grid { line });
        }
        if rows == 1 {
            cols = found;
        } else if found != cols {
            return Err(CsvError::Ragged {
                line,
                expected: cols,
                found,
            });
        }
    }
    if dies.is_empty() {
        return Err(CsvError::Empty);
    }
    Ok(((rows as u16, cols as u16), dies))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_comments_and_line_ends() {
        let expected = ((2, 3), vec![0, 1, 2, 2, 1, 0]);
        for text in [
            "0,1,2\n2,1,0\n",
            "0;1;2\r\n2; 1; 0",
            "\u{feff}# tool 7\n\n0 1 2\n2\t1  0\n",
            "0, 1, 2,\n 2,1,0,\n",
        ] {
            assert_eq!(parse_csv(text).as_ref(), Ok(&expected), "{text:?}");
        }
    }

    #[test]
    fn errors_name_line_and_value() {
        let value = |line, column, text: &str| CsvError::Value {
            line,
            column,
            text: text.into(),
        };
        for (text, error) in [
            ("", CsvError::Empty),
            ("# nothing\n\n", CsvError::Empty),
            ("0,1\n0,3\n", value(2, 2, "3")),
            ("0,1\n\n0,x1\n", value(3, 2, "x1")),
            ("0,,1\n", value(1, 2, "")),
            ("-1 0\n", value(1, 1, "-1")),
            (
                "0,1\n0,1,2\n",
                CsvError::Ragged {
                    line: 2,
                    expected: 2,
                    found: 3,
                },
            ),
        ] {
            assert_eq!(parse_csv(text), Err(error), "{text:?}");
        }
        let wide = ["1"; 257].join(",");
        assert_eq!(parse_csv(&wide), Err(CsvError::Grid { line: 1 }));
        let tall = "1\n".repeat(257);
        assert_eq!(parse_csv(&tall), Err(CsvError::Grid { line: 257 }));
        assert!(parse_csv(&"1\n".repeat(256)).is_ok());
    }
}
