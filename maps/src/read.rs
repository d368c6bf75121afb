//! Reads wafer maps from files: `.npz` (many maps of one grid, with or without labels) and `.csv` (one map).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lightwafer_runtime::dies::{Class, DieMapError};
use thiserror::Error;

use crate::Wafer;
use crate::csv::{self, CsvError};
use crate::npz::{self, NpzError};

/// Why an input file cannot be used.
#[derive(Debug, Error)]
pub enum InputError {
    /// A problem with an `.npz` file. The inner error names the file.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// A `.csv` file is not a map.
    #[error("{}: {reason}", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: CsvError,
    },
    /// The dies of a map are not valid.
    #[error("{}, map {position}: {reason}", .path.display())]
    Map {
        /// The file.
        path: PathBuf,
        /// Position in the file.
        position: usize,
        /// The problem.
        reason: DieMapError,
    },
    /// The file contains no map.
    #[error("{} holds no map", .0.display())]
    Empty(PathBuf),
    /// The file is neither `.npz` nor `.csv`.
    #[error("{}: unknown kind of file; .npz (arr_0, N×rows×columns) or .csv expected", .0.display())]
    Kind(PathBuf),
}

/// Reads all wafers of a file. The ending of its name selects the reader: `.npz`, or `.csv` and `.txt`.
///
/// # Errors
/// [`InputError`]; it names the file and the problem.
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
    let (grid, dies) = csv::read(path).map_err(|error| match error {
        CsvError::Io(reason) => InputError::Read {
            path: path.into(),
            reason,
        },
        reason => InputError::Csv {
            path: path.into(),
            reason,
        },
    })?;
    Wafer::new(path.into(), 0, grid, &dies, None).map_err(|reason| InputError::Map {
        path: path.into(),
        position: 0,
        reason,
    })
}
