//! Evaluation of the float student on wafers of a data set.

use lightwafer_runtime::wafer::CLASS_COUNT;
use tch::{Kind, Tensor};

use crate::batch::{Batch, Source, Symmetry};
use crate::metrics::{Collector, PixelCounts, Report};
use crate::student::Student;

/// Wafers in one forward pass: more make it no faster.
const BATCH: usize = 32;

/// Evaluates `wafers` at `size`×`size`, each under `symmetry`, with masks if wanted.
/// `stop` is asked between batches; `None` when it says so.
pub fn evaluate(
    student: &Student,
    source: &Source,
    wafers: &[u32],
    size: i64,
    symmetry: Symmetry,
    want_mask: bool,
    stop: &dyn Fn() -> bool,
) -> Option<Report> {
    let mut collector = Collector::default();
    for chunk in wafers.chunks(BATCH) {
        if stop() {
            return None;
        }
        let batch = source.batch(chunk, &[symmetry], size);
        let output = tch::no_grad(|| student.forward(&batch.image, false, want_mask));
        collect(&mut collector, &batch, &output.logits, output.mask.as_ref());
    }
    Some(collector.report())
}

/// Hands a batch's answers to the collector.
fn collect(collector: &mut Collector, batch: &Batch, logits: &Tensor, mask: Option<&Tensor>) {
    let logits: Vec<f32> = flat(&logits.to_kind(Kind::Float));
    let truth: Vec<i64> = Vec::try_from(&batch.class).unwrap_or_default();
    for (scores, truth) in logits.chunks_exact(CLASS_COUNT).zip(truth) {
        let mut row = [0.0; CLASS_COUNT];
        row.copy_from_slice(scores);
        collector.class(row, truth as u8);
    }
    if let Some(mask) = mask {
        let marked = mask.ge(0.0);
        let failing = batch.mask.ge(0.5);
        let count = |t: Tensor| t.sum(Kind::Int64).int64_value(&[]) as u64;
        let both = count(marked.logical_and(&failing));
        let (marked, failing) = (count(marked), count(failing));
        let all = batch.mask.numel() as u64;
        let counts = PixelCounts {
            both,
            marked_only: marked - both,
            failing_only: failing - both,
            neither: all + both - marked - failing,
        };
        collector.mask(counts, batch.mask.size()[0] as usize);
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap_or_default()
}
