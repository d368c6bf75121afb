//! Why an `.npz` file could not be read or written: file, array, index and value.

use std::path::PathBuf;
use std::{fmt, io};

use zip::result::ZipError;

use super::MAX_DIES;
use lightwafer_runtime::dies::PATTERN_COUNT;

/// Why a file could not be read or written.
#[derive(Debug)]
pub struct NpzError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: NpzErrorKind,
}

/// What is wrong with an `.npz` file.
#[derive(Debug)]
pub enum NpzErrorKind {
    /// The file system refused, or the data ends early.
    Io(io::Error),
    /// Not a zip archive, or a damaged one.
    Zip(ZipError),
    /// An array is missing.
    Missing {
        /// Its name.
        array: &'static str,
    },
    /// An array's header cannot be read.
    Header {
        /// The array.
        array: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// An array's values are not integers.
    Type {
        /// The array.
        array: &'static str,
        /// NumPy's name of the type.
        found: String,
    },
    /// An array has another shape than its layout says.
    Shape {
        /// The array.
        array: &'static str,
        /// Its shape.
        found: Vec<u64>,
        /// What was expected.
        expected: &'static str,
    },
    /// The array is larger than [`MAX_DIES`].
    TooLarge {
        /// Dies that the header announces.
        dies: u64,
    },
    /// The array ends early, or bytes follow it.
    Length {
        /// The array.
        array: &'static str,
        /// Whether bytes are missing (or too many).
        short: bool,
    },
    /// A die is none of 0, 1, 2, 3.
    Die {
        /// Wafer.
        wafer: usize,
        /// Row-major position in the wafer.
        die: usize,
        /// The value.
        value: i64,
    },
    /// A label is neither 0 nor 1, or a set of patterns that is none of the 38 classes.
    Label {
        /// Wafer.
        wafer: usize,
        /// The row of the label array.
        found: [i64; PATTERN_COUNT],
    },
    /// Another number of masks was written than was announced.
    MaskCount {
        /// Announced.
        expected: u64,
        /// Written.
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
                    "{array}: values of type '{found}'; an integer type is needed"
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
    // The text says already what the inner error says.
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
