//! Reads one wafer map from text: a row a line, values 0, 1, 2, separated by commas, semicolons or white space.
//!
//! Empty lines and lines that begin with `#` are skipped. Tables of x, y and bin are not read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lightwafer_runtime::dies::MAX_GRID;
use thiserror::Error;

/// The longest file that is read: the largest map, with room for spaces and comments.
const MAX_CSV: u64 = 4 << 20;

/// Rows and columns of the die grid, and its dies, row-major, 0, 1 or 2 each.
pub type Grid = ((u16, u16), Vec<u8>);

/// Why a text is not a wafer map. Lines and values count from 1.
#[derive(Debug, Error)]
pub enum CsvError {
    /// A value is not 0, 1 or 2.
    #[error("line {line}, value {column}: `{}`; 0 (no die), 1 (pass) or 2 (fail) expected", .text.escape_debug())]
    Value {
        /// The line.
        line: usize,
        /// The position of the value in the line.
        column: usize,
        /// The text of the value.
        text: String,
    },
    /// A row is shorter or longer than the first.
    #[error("line {line} has {found} values, the rows before it have {expected}")]
    Ragged {
        /// The line.
        line: usize,
        /// Number of values in the first row.
        expected: usize,
        /// Number of values in this row.
        found: usize,
    },
    /// The map has more rows or columns than allowed.
    #[error("line {line}: the map is larger than {MAX_GRID}×{MAX_GRID} dies")]
    Grid {
        /// The line.
        line: usize,
    },
    /// The file has no rows.
    #[error("no map: the file has no values")]
    Empty,
    /// The file is longer than any map.
    #[error("the file is longer than any map; {MAX_CSV} bytes at most")]
    TooLong,
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not text.
    #[error("not a text file (byte {0})")]
    Text(usize),
}

/// Reads a file with one map.
///
/// # Errors
/// [`CsvError`]; it names line and value.
pub fn read(path: &Path) -> Result<Grid, CsvError> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_CSV + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CSV {
        return Err(CsvError::TooLong);
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| CsvError::Text(error.utf8_error().valid_up_to()))?;
    parse(&text)
}

/// Parses one map: a row a line, values 0, 1, 2 separated by commas, semicolons or white space.
/// Empty lines and lines that begin with `#` are skipped. Returns ((rows, columns), dies).
///
/// # Errors
/// [`CsvError`]; it names line and value.
pub fn parse(text: &str) -> Result<Grid, CsvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut rows, mut cols) = (0, 0);
    let mut dies = Vec::new();
    for (line, row) in (1..).zip(text.lines()) {
        let row = row.trim();
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        let before = dies.len();
        // Spaces may follow a separator. One separator at the end of a line is allowed.
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
            assert_eq!(parse(text).unwrap(), expected, "{text:?}");
        }
    }

    fn told(text: &str) -> String {
        parse(text).unwrap_err().to_string()
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
            assert_eq!(told(text), error.to_string(), "{text:?}");
        }
        let wide = ["1"; 257].join(",");
        assert_eq!(told(&wide), CsvError::Grid { line: 1 }.to_string());
        let tall = "1\n".repeat(257);
        assert_eq!(told(&tall), CsvError::Grid { line: 257 }.to_string());
        assert!(parse(&"1\n".repeat(256)).is_ok());
    }
}
