//! The losses: against labels and masks, and against a teacher.
//!
//! L = L_cls + L_seg + α_feat·L_feat, as in the paper; each of the first two is a mix of a hard and a soft part.
//! The paper writes KL(softmax(z_s/T) ‖ softmax(z_t/T)). Here the direction is the usual one of
//! distillation (Hinton et al., 2015), with the teacher's distribution as the target:
//! Σ p_t·(log p_t − log p_s).

use tch::{Kind, Reduction, Tensor};

use crate::network::Output;
use crate::settings::Distillation;

/// A teacher's answer about a batch.
#[derive(Debug)]
pub struct Soft {
    /// Class logits, (B, classes).
    pub logits: Tensor,
    /// Mask logits, (B, 1, S, S), where the student learns its mask from them.
    pub mask: Option<Tensor>,
    /// Pooled features, (B, F), where they are compared.
    pub embedding: Option<Tensor>,
}

/// The parts of a step's loss, each a mean over the batch.
#[derive(Debug)]
pub struct Losses {
    /// L_cls.
    pub class: Tensor,
    /// L_seg, in steps with a mask.
    pub mask: Option<Tensor>,
    /// L_feat, unweighted, where features are compared.
    pub feature: Option<Tensor>,
}

impl Losses {
    /// The sum, with the feature loss weighted by `alpha_feature`.
    pub fn total(&self, alpha_feature: f64) -> Tensor {
        let mask = self.mask.as_ref().map(Tensor::shallow_clone);
        let feature = self.feature.as_ref().map(|f| f * alpha_feature);
        let others = [mask, feature].into_iter().flatten();
        others.fold(self.class.shallow_clone(), |sum, loss| sum + loss)
    }
}

/// Hard losses only.
pub fn hard(output: &Output, target: &Tensor, failing: &Tensor, smoothing: f64) -> Losses {
    Losses {
        class: class(&output.logits, target, smoothing),
        mask: output.mask.as_ref().map(|logits| mask(logits, failing)),
        feature: None,
    }
}

/// Hard and soft losses; `projected` is W·embedding of the student, (B, F).
pub fn distilled(
    output: &Output,
    target: &Tensor,
    failing: &Tensor,
    smoothing: f64,
    soft: &Soft,
    projected: Option<&Tensor>,
    settings: &Distillation,
) -> Losses {
    let hard = hard(output, target, failing, smoothing);
    let mix = |hard: Tensor, soft: Tensor, share: f64| hard * (1.0 - share) + soft * share;
    let t = settings.temperature;
    let soft_mask = output
        .mask
        .as_ref()
        .zip(soft.mask.as_ref())
        .map(|(s, t_logits)| soft_mask(s, t_logits, t));
    Losses {
        class: mix(
            hard.class,
            soft_class(&output.logits, &soft.logits, t),
            settings.alpha_class,
        ),
        mask: match (hard.mask, soft_mask) {
            (Some(hard), Some(soft)) => Some(mix(hard, soft, settings.alpha_mask)),
            (hard, _) => hard,
        },
        feature: projected
            .zip(soft.embedding.as_ref())
            .map(|(s, t)| feature(s, t)),
    }
}

/// Mean cross entropy of logits (B, classes) against classes (B).
pub fn class(logits: &Tensor, class: &Tensor, smoothing: f64) -> Tensor {
    logits.to_kind(Kind::Float).cross_entropy_loss::<Tensor>(
        class,
        None,
        Reduction::Mean,
        -100,
        smoothing,
    )
}

/// Mean binary cross entropy plus mean Dice loss of mask logits against a mask of zeros and ones,
/// both (B, 1, S, S). Dice is soft, per wafer, and smoothed by one pixel so that it is defined for an empty mask.
pub fn mask(logits: &Tensor, mask: &Tensor) -> Tensor {
    let logits = logits.to_kind(Kind::Float);
    let bce = logits.binary_cross_entropy_with_logits::<Tensor>(mask, None, None, Reduction::Mean);
    let probability = logits.sigmoid();
    let sum = |t: Tensor| t.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
    let both = sum(&probability * mask) * 2.0 + 1.0;
    let all = sum(probability + mask) + 1.0;
    bce + (1.0 - (both / all).mean(Kind::Float))
}

/// T²·KL of class logits (B, classes), the teacher's distribution as the target.
pub fn soft_class(student: &Tensor, teacher: &Tensor, t: f64) -> Tensor {
    let student = (student.to_kind(Kind::Float) / t).log_softmax(-1, Kind::Float);
    let teacher = (teacher.to_kind(Kind::Float) / t).log_softmax(-1, Kind::Float);
    let wafers = student.size()[0].max(1) as f64;
    student.kl_div(&teacher, Reduction::Sum, true) * (t * t / wafers)
}

/// T²·BCE of mask logits (B, 1, S, S), the teacher's probabilities as the target.
pub fn soft_mask(student: &Tensor, teacher: &Tensor, t: f64) -> Tensor {
    let target = (teacher.to_kind(Kind::Float) / t).sigmoid();
    let student = student.to_kind(Kind::Float) / t;
    student.binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::Mean)
        * (t * t)
}

/// 1 − cosine of two (B, F), mean over the batch.
pub fn feature(student: &Tensor, teacher: &Tensor) -> Tensor {
    let [student, teacher] = [student, teacher].map(|t| t.to_kind(Kind::Float));
    let cosine = Tensor::cosine_similarity(&student, &teacher, 1, 1e-8);
    1.0 - cosine.mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(tensor: &Tensor, expected: f64) {
        let found = tensor.double_value(&[]);
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }

    #[test]
    fn soft_losses_match_the_formulas_by_hand() {
        let s = [[0.5f64, -1.0, 2.0], [0.0, 3.0, -2.0]];
        let t = [[1.0f64, 0.0, -1.0], [0.5, 2.5, 0.0]];
        let tensor = |v: &[[f64; 3]; 2]| Tensor::from_slice2(v).to_kind(Kind::Float);
        let softmax = |row: &[f64; 3]| {
            let e = row.map(|v| (v / 4.0).exp());
            let sum: f64 = e.iter().sum();
            e.map(|v| v / sum)
        };
        let mut kl = 0.0;
        for (s, t) in s.iter().zip(&t) {
            let (ps, pt) = (softmax(s), softmax(t));
            kl += ps
                .iter()
                .zip(pt)
                .map(|(s, t)| t * (t / s).ln())
                .sum::<f64>();
        }
        near(&soft_class(&tensor(&s), &tensor(&t), 4.0), 16.0 * kl / 2.0);
        near(&soft_class(&tensor(&s), &tensor(&s), 4.0), 0.0);

        let sigmoid = |v: f64| 1.0 / (1.0 + (-v / 4.0).exp());
        let bce = s.iter().flatten().zip(t.iter().flatten()).map(|(&s, &t)| {
            -(sigmoid(t) * sigmoid(s).ln() + (1.0 - sigmoid(t)) * (1.0 - sigmoid(s)).ln())
        });
        near(
            &soft_mask(&tensor(&s), &tensor(&t), 4.0),
            16.0 * bce.sum::<f64>() / 6.0,
        );

        let cosine = |a: &[f64; 3], b: &[f64; 3]| {
            let dot = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let mean = (cosine(&s[0], &t[0]) + cosine(&s[1], &t[1])) / 2.0;
        near(&feature(&tensor(&s), &tensor(&t)), 1.0 - mean);
    }

    #[test]
    fn shares_mix_hard_and_soft() {
        let output = Output {
            logits: Tensor::from_slice2(&[[1.0f32, 0.0]]),
            mask: None,
            embedding: Tensor::zeros([1, 2], (Kind::Float, tch::Device::Cpu)),
        };
        let (target, failing) = (Tensor::from_slice(&[0i64]), Tensor::from_slice(&[0f32]));
        let soft = Soft {
            logits: Tensor::from_slice2(&[[0.0f32, 2.0]]),
            mask: None,
            embedding: None,
        };
        let mut settings = Distillation {
            teacher: "t".into(),
            temperature: 2.0,
            alpha_class: 0.25,
            alpha_mask: 0.5,
            alpha_feature: 0.0,
            views: 1,
            teacher_size: None,
            cache: true,
        };
        let class_loss = |settings: &Distillation| {
            let losses = distilled(&output, &target, &failing, 0.0, &soft, None, settings);
            losses.total(0.3).double_value(&[])
        };
        let mixed = class_loss(&settings);
        let hard = class(&output.logits, &target, 0.0).double_value(&[]);
        settings.alpha_class = 1.0;
        let soft_only = class_loss(&settings);
        assert!((mixed - (0.75 * hard + 0.25 * soft_only)).abs() < 1e-6);
    }
}
