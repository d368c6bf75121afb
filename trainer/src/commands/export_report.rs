//! The report of `trainer export`: the ranges and how they were chosen, the image's size, the kernels that boards run for
//! each layer, and how far the image's answers are from the checkpoint's.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use lightwafer_runtime::KernelTable;
use lightwafer_runtime::image::Model;
use serde::Serialize;
use serde_json::{Value, json};
use trainer::export::calibrate::Method;
use trainer::export::{Equalization, Exported, QuantizedTensor};

/// How an image's answers compare with its checkpoint's.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Agreement {
    /// Validation wafers.
    pub wafers: usize,
    /// Of these, wafers with the same class.
    pub same_classes: usize,
    /// Share of mask pixels that are equal.
    pub same_mask_pixels: f64,
    /// Root mean square of the logits' differences.
    pub logits_rms: f64,
}

/// An image that was written.
pub struct Written {
    /// Its file.
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
        Ok(json!({
            "kernels": KernelTable::of(&model), "output": self.output.display().to_string(), "bytes": exported.image.len(),
            "parameters": header.parameters, "macs": header.macs, "arena_bytes": header.arena_bytes,
            "equalization": exported.equalization, "tensors": exported.tensors,
            "against_checkpoint": self.agreement,
        }))
    }

    /// For people.
    pub fn text(&self) -> Result<String> {
        let mut text = table(&self.exported);
        let model = Model::new_checked(&self.exported.image)?;
        let header = model.header();
        writeln!(
            text,
            "{}: {} bytes, {} parameters, {} multiply-accumulates, {} bytes of arena",
            self.output.display(),
            self.exported.image.len(),
            header.parameters,
            header.macs,
            header.arena_bytes
        )?;
        write!(text, "\n{}\n", KernelTable::of(&model))?;
        if let Some(agreement) = &self.agreement {
            writeln!(
                text,
                "compared with the checkpoint on {} validation wafers: {} same classes, {:.4} % same mask pixels, \
                 logits off by {:.3} (root mean square)",
                agreement.wafers,
                agreement.same_classes,
                100.0 * agreement.same_mask_pixels,
                agreement.logits_rms
            )?;
        }
        Ok(text)
    }
}

/// Every tensor's range and how it was chosen.
pub fn table(exported: &Exported) -> String {
    let learned = exported
        .tensors
        .iter()
        .all(|tensor| tensor.chosen.is_none());
    let mut text = if learned {
        learned_ranges(&exported.tensors)
    } else {
        chosen_ranges(&exported.tensors)
    };
    if let Some(Equalization {
        used,
        effect_with,
        effect_without,
    }) = exported.equalization
    {
        let _ = writeln!(
            text,
            "cross-layer equalization: {} (effect of all rounding with it {effect_with:.2e}, without \
             {effect_without:.2e})",
            if used { "used" } else { "not used" },
        );
    }
    text
}

fn learned_ranges(tensors: &[QuantizedTensor]) -> String {
    let mut text = format!(
        "{:<22}{:>12}{:>12}  (learned)\n",
        "tensor", "scale", "zero point"
    );
    for QuantizedTensor { name, range, .. } in tensors {
        let _ = writeln!(
            text,
            "{name:<22}{:>12.6}{:>12}",
            range.scale, range.zero_point
        );
    }
    text
}

fn chosen_ranges(tensors: &[QuantizedTensor]) -> String {
    let mut text = format!(
        "{:<22}{:>22}{:>12}{:>12}{:>8}{:>19}{:>21}{:>23}\n",
        "tensor",
        "values",
        "scale",
        "zero point",
        "taken",
        "SQNR, MSE/KL",
        "divergence, MSE/KL",
        "effect, MSE/KL"
    );
    for tensor in tensors {
        let Some(choice) = &tensor.chosen else {
            continue;
        };
        let (low, high) = choice.extremes;
        let (mse, kl) = (&choice.mse, &choice.kl);
        let _ = writeln!(
            text,
            "{:<22}{:>22}{:>12.6}{:>12}{:>8}{:>19}{:>21}{:>23}",
            tensor.name,
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
    text
}
