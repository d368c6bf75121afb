//! Why an `.npz` file cannot be read or written. Errors name file, array, index and value.

use std::path::PathBuf;
use std::{fmt, io};

use zip::result::ZipError;

use super::{MAX_DIES, MAX_WAFERS};
use lightwafer_runtime::dies::PATTERN_COUNT;

/// Why a file cannot be read or written.
#[derive(Debug)]
pub struct NpzError {
    /// The file.
    pub path: PathBuf,
    /// The problem.
    pub kind: NpzErrorKind,
}

/// A problem with an `.npz` file.
#[derive(Debug)]
pub enum NpzErrorKind {
    /// The file system returned an error, or the data ends early.
    Io(io::Error),
    /// The file is not a zip archive, or is damaged.
    Zip(ZipError),
    /// An array is missing.
    Missing {
        /// The name of the array.
        array: &'static str,
    },
    /// An array's header cannot be read.
    Header {
        /// The array.
        array: &'static str,
        /// The problem.
        reason: &'static str,
    },
    /// The values of an array are not integers.
    Type {
        /// The array.
        array: &'static str,
        /// The type's name in NumPy.
        found: String,
    },
    /// An array has a wrong shape.
    Shape {
        /// The array.
        array: &'static str,
        /// Its shape.
        found: Vec<u64>,
        /// The expected shape.
        expected: &'static str,
    },
    /// The array is larger than [`MAX_DIES`].
    TooLarge {
        /// Number of dies by the header.
        dies: u64,
    },
    /// The array holds more wafers than [`MAX_WAFERS`].
    TooManyWafers {
        /// Number of wafers by the header.
        wafers: u64,
    },
    /// The array ends early, or bytes follow it.
    Length {
        /// The array.
        array: &'static str,
        /// Whether bytes are missing; otherwise there are too many.
        short: bool,
    },
    /// A die is none of 0, 1, 2, 3.
    Die {
        /// The number of the wafer.
        wafer: usize,
        /// Row-major position in the wafer.
        die: usize,
        /// The value.
        value: i64,
    },
    /// A label is neither 0 nor 1, or the set of patterns is not one of the 38 classes.
    Label {
        /// The number of the wafer.
        wafer: usize,
        /// The row of the label array.
        found: [i64; PATTERN_COUNT],
    },
    /// The number of masks written is not the announced number.
    MaskCount {
        /// Announced masks.
        expected: u64,
        /// Written masks.
        found: u64,
    },
}

impl fmt::Display for NpzError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        use NpzErrorKind as K;
        match &self.kind {
            K::Io(e) => write!(f, "{e}"),
            K::Zip(e) => write!(f, "not a readable .npz (zip) file: {e}"),
            K::Missing { array } => write!(f, "no array {array}.npy in the file"),
            K::Header { array, reason } => write!(f, "{array}: {reason}"),
            K::Type { array, found } => {
                write!(
                    f,
                    "{array}: values of type '{}'; an integer type is needed",
                    found.escape_debug()
                )
            }
            K::Shape {
                array,
                found,
                expected,
            } => {
                write!(f, "{array}: shape {found:?}; {expected} expected")
            }
            K::TooLarge { dies } => {
                write!(
                    f,
                    "arr_0: {dies} dies; at most {MAX_DIES} in one file: split it"
                )
            }
            K::TooManyWafers { wafers } => {
                write!(
                    f,
                    "arr_0: {wafers} wafers; at most {MAX_WAFERS} in one file: split it"
                )
            }
            K::Length { array, short: true } => {
                write!(
                    f,
                    "{array}: the data ends before the shape is full: is the file cut short?"
                )
            }
            K::Length {
                array,
                short: false,
            } => write!(f, "{array}: bytes follow the data"),
            K::Die { wafer, die, value } => write!(
                f,
                "arr_0: wafer {wafer}, die {die} is {value}; 0 (no die), 1 (pass), 2 (fail) or 3 (noise) expected"
            ),
            K::Label { wafer, found } => {
                write!(
                    f,
                    "arr_1: wafer {wafer} is labelled {found:?}, none of the 38 classes"
                )
            }
            K::MaskCount { expected, found } => {
                write!(f, "{found} masks were written, {expected} announced")
            }
        }
    }
}

impl std::error::Error for NpzError {
    // The text already contains that of the inner error.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            NpzErrorKind::Io(e) => e.source(),
            NpzErrorKind::Zip(e) => e.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for NpzErrorKind {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<ZipError> for NpzErrorKind {
    fn from(e: ZipError) -> Self {
        match e {
            ZipError::Io(e) => Self::Io(e),
            e => Self::Zip(e),
        }
    }
}
