//! The order of crates and modules: what stands in a row may use what stands in rows below it, and nothing beside it.
//!
//! Imports point down only. A new crate or module gets its place here; `cargo xtask layers` shows the result.

use super::check::Rows;

/// Crates by their folders; `boards/*` is every folder in `boards` that is not named itself.
pub const CRATES: Rows = &[
    &["xtask", "xtask/peers", "tests", "fuzz"],
    &["trainer", "boards/linux", "boards/*", "examples/embed"],
    &["equipment", "boards/tract", "tests/testkit"],
    &["boards/mps"],
    &["boards/common", "boards/build"],
    &["device", "compiler"],
    &["maps"],
    &["runtime", "boards/list"],
];

/// Modules of the crates that have an order inside, `lib` what the root file defines itself. Modules of modules
/// (`export::fold`) fall under their parent unless they are named.
pub const MODULES: &[(&str, Rows)] = &[
    (
        "device",
        &[&["lib"], &["updater"], &["station", "store"], &["protocol"]],
    ),
    (
        "compiler",
        &[
            &["lib"],
            &["schedule", "specs"],
            &["writer"],
            &["placement"],
        ],
    ),
    (
        "trainer",
        &[
            &["zoo"],
            &["train", "report", "paper_comparison", "benchmark"],
            &["training_step", "progress", "onnx"],
            &["run_folder"],
            &["distill", "manifest", "class_comparison", "export"],
            &["eval", "meter", "evaluation"],
            &[
                "student", "teacher", "weights", "loss", "native", "stage", "config",
            ],
            &[
                "network",
                "settings",
                "checkpoint",
                "image_eval",
                "data_statistics",
            ],
            &["architecture", "batch", "contact_sheet"],
            &["topology", "data", "metrics", "optim"],
            &["files", "paper_figures", "tensorboard", "torch_errors"],
        ],
    ),
    (
        "maps",
        &[
            &["lib"],
            &["read"],
            &["csv", "synth"],
            &["npz"],
            &["canvas", "file", "wafer"],
        ],
    ),
    (
        "runtime",
        &[
            &["lib"],
            &["engine"],
            &["answer"],
            &["image"],
            &["plan"],
            &["kernels"],
            &["graph"],
            &["dies"],
            &["aligned", "checksum", "limits", "sentence"],
        ],
    ),
];
