//! The figures that the LightWaferSegClassNet paper publishes, for comparison with ours.
//!
//! Its split keeps repeated maps and its test set is another random draw, so these are figures of two experiments
//! and not of one.

/// One row of its Table 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The model and how it was trained.
    pub name: &'static str,
    /// Validation Dice.
    pub val_dice: f64,
    /// Validation accuracy, 0…1.
    pub val_accuracy: f64,
    /// Dice on test wafers turned by 90°.
    pub turned_dice: f64,
    /// Accuracy on test wafers turned by 90°.
    pub turned_accuracy: f64,
}

/// Table 1: teacher, student with hard losses only, distilled student.
pub const TABLE_1: [Row; 3] = [
    Row {
        name: "Teacher (DeepLabV3+)",
        val_dice: 0.982,
        val_accuracy: 0.985,
        turned_dice: 0.975,
        turned_accuracy: 0.978,
    },
    Row {
        name: "Student, hard losses only",
        val_dice: 0.945,
        val_accuracy: 0.921,
        turned_dice: 0.910,
        turned_accuracy: 0.885,
    },
    Row {
        name: "Student, distilled",
        val_dice: 0.968,
        val_accuracy: 0.964,
        turned_dice: 0.952,
        turned_accuracy: 0.951,
    },
];

/// The figures on the test set, from the paper's text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// Accuracy, 0…1.
    pub accuracy: f64,
    /// Macro F1.
    pub f1: f64,
    /// One-vs-rest AUC.
    pub auc: f64,
    /// Pixel accuracy, where it is given.
    pub pixel_accuracy: Option<f64>,
    /// Dice.
    pub dice: f64,
    /// Intersection over union.
    pub iou: f64,
}

/// The teacher on the test set.
pub const TEACHER: Test = Test {
    accuracy: 0.9891,
    f1: 0.9885,
    auc: 0.9997,
    pixel_accuracy: None,
    dice: 0.9562,
    iou: 0.9160,
};

/// The distilled student on the test set.
pub const STUDENT: Test = Test {
    accuracy: 0.9790,
    f1: 0.9763,
    auc: 0.9997,
    pixel_accuracy: Some(0.9961),
    dice: 0.9916,
    iou: 0.9833,
};

/// Table 2: parameters of teacher and student ("approx.").
pub const PARAMETERS: [f64; 2] = [46_700_000.0, 67_000.0];
/// Table 2: megabytes of weights.
pub const MEGABYTES: [f64; 2] = [178.0, 0.26];
