//! What `trainer export --int8` reports: ranges and how they were chosen, and how the image compares.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use lightwafer_runtime::image::Model;
use serde::Serialize;
use serde_json::{Value, json};
use trainer::export::Exported;
use trainer::export::calibrate::Method;

/// How an image's answers compare with its checkpoint's.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Agreement {
    /// Validation wafers.
    pub wafers: usize,
    /// Of these, those with the same class.
    pub same_classes: usize,
    /// Share of mask pixels that are alike.
    pub same_mask_pixels: f64,
    /// Root mean square of the logits' differences.
    pub logits_rms: f64,
}

/// An image that was written.
pub struct Written {
    /// Where to.
    pub output: PathBuf,
    /// The image and its ranges.
    pub exported: Exported,
    /// Absent without validation wafers.
    pub agreement: Option<Agreement>,
}

impl Written {
    /// For machines.
    pub fn json(&self) -> Result<Value> {
        let exported = &self.exported;
        let model = Model::new_checked(&exported.image)?;
        let header = model.header();
        let choice = |at| exported.choices.iter().find(|(v, _)| *v == at).map(|c| c.1);
        let tensors = exported.ranges.iter().map(|(value, range)| {
            json!({ "tensor": value.name(), "range": range, "chosen": choice(*value) })
        });
        Ok(json!({
            "output": self.output.display().to_string(), "bytes": exported.image.len(),
            "parameters": header.parameters, "macs": header.macs, "arena_bytes": header.arena_bytes,
            "equalization": exported.equalization, "tensors": tensors.collect::<Vec<_>>(),
            "against_checkpoint": self.agreement,
        }))
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = table(&self.exported);
        if let Ok(model) = Model::new_checked(&self.exported.image) {
            let header = model.header();
            let _ = writeln!(
                text,
                "{}: {} bytes, {} parameters, {} multiply-accumulates, {} bytes of arena",
                self.output.display(),
                self.exported.image.len(),
                header.parameters,
                header.macs,
                header.arena_bytes
            );
        }
        if let Some(agreement) = &self.agreement {
            let _ = writeln!(
                text,
                "against the checkpoint on {} validation wafers: {} same classes, {:.4} % same mask pixels, \
                 logits off by {:.3} (root mean square)",
                agreement.wafers,
                agreement.same_classes,
                100.0 * agreement.same_mask_pixels,
                agreement.logits_rms
            );
        }
        text
    }
}

/// Every tensor's range and how it was chosen.
pub fn table(exported: &Exported) -> String {
    let mut text = String::new();
    if exported.choices.is_empty() {
        let _ = writeln!(
            text,
            "{:<22}{:>12}{:>12}  (learned)",
            "tensor", "scale", "zero point"
        );
        for (value, range) in &exported.ranges {
            let name = format!("{value:?}");
            let _ = writeln!(
                text,
                "{name:<22}{:>12.6}{:>12}",
                range.scale, range.zero_point
            );
        }
        return text;
    }
    let _ = writeln!(
        text,
        "{:<22}{:>22}{:>12}{:>12}{:>8}{:>19}{:>21}{:>23}",
        "tensor",
        "values",
        "scale",
        "zero point",
        "taken",
        "SQNR, MSE/KL",
        "divergence, MSE/KL",
        "effect, MSE/KL"
    );
    for (value, choice) in &exported.choices {
        let (low, high) = choice.extremes;
        let (mse, kl) = (&choice.mse, &choice.kl);
        let _ = writeln!(
            text,
            "{:<22}{:>22}{:>12.6}{:>12}{:>8}{:>19}{:>21}{:>23}",
            format!("{value:?}"),
            format!("{low:.3} … {high:.3}"),
            choice.affine.scale,
            choice.affine.zero_point,
            match choice.method {
                Method::Mse => "MSE",
                Method::Kl => "KL",
            },
            format!("{:.1} / {:.1} dB", mse.sqnr_db, kl.sqnr_db),
            format!("{:.5} / {:.5}", mse.divergence, kl.divergence),
            format!("{:.2e} / {:.2e}", mse.effect, kl.effect),
        );
    }
    if let Some(equalization) = &exported.equalization {
        let _ = writeln!(
            text,
            "channels evened out: {} (effect of all rounding with it {:.2e}, without {:.2e})",
            if equalization.used { "yes" } else { "no" },
            equalization.effect_with,
            equalization.effect_without
        );
    }
    text
}
