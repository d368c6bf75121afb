//! The student's losses without a teacher: cross entropy for the class, BCE + Dice for the mask.

use tch::{Kind, Reduction, Tensor};

/// Mean cross entropy of logits (B, 38) against classes (B).
pub fn class(logits: &Tensor, class: &Tensor) -> Tensor {
    logits.to_kind(Kind::Float).cross_entropy_loss::<Tensor>(
        class,
        None,
        Reduction::Mean,
        -100,
        0.0,
    )
}

/// Mean binary cross entropy plus mean Dice loss of mask logits against a mask of zeros and ones,
/// both (B, 1, S, S). Dice is soft, per wafer, smoothed by one pixel so that an empty mask counts.
pub fn mask(logits: &Tensor, mask: &Tensor) -> Tensor {
    let logits = logits.to_kind(Kind::Float);
    let bce = logits.binary_cross_entropy_with_logits::<Tensor>(mask, None, None, Reduction::Mean);
    let probability = logits.sigmoid();
    let sum = |t: Tensor| t.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
    let both = sum(&probability * mask) * 2.0 + 1.0;
    let all = sum(probability + mask) + 1.0;
    bce + (1.0 - (both / all).mean(Kind::Float))
}
