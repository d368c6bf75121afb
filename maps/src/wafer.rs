//! The map of one wafer, and where it came from.

use std::path::Path;
use std::sync::Arc;

use lightwafer_runtime::dies::{Class, DieMap, DieMapError};

/// One wafer of an input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wafer {
    /// The file, as the user named it.
    pub input: Arc<Path>,
    /// Position in the file, from 0.
    pub position: usize,
    /// The class in the labels of the file.
    pub truth: Option<Class>,
    rows: u16,
    cols: u16,
    packed: Vec<u8>,
}

impl Wafer {
    /// Makes a wafer from one-byte dies, row-major, 0, 1 or 2 each.
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

    /// Whether the map has a die: not all its values are 0.
    pub fn has_dies(&self) -> bool {
        self.packed.iter().any(|dies| *dies != 0)
    }

    /// The map.
    ///
    /// # Panics
    /// Never: the map was checked when the wafer was made.
    pub fn map(&self) -> DieMap<'_> {
        DieMap::new_checked(self.rows, self.cols, &self.packed).expect("checked in `new`")
    }
}
