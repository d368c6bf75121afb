//! All that a page shows.

use super::subject::Subject;
use crate::batch::Source;
use crate::data::Data;
use crate::evaluation::Evaluation;
use crate::run_folder::reader::RunFolder;

/// All that a page shows.
pub struct Material<'a> {
    /// The run.
    pub folder: &'a RunFolder,
    /// The data with its split.
    pub data: &'a Data,
    /// The same on the device.
    pub source: &'a Source,
    /// Teacher and student, as far as there are checkpoints.
    pub subjects: Vec<Subject>,
    /// The evaluation of the int8 image, if the run has one.
    pub int8: Option<Evaluation>,
    /// The parts that are missing, in words.
    pub missing: Vec<String>,
}
