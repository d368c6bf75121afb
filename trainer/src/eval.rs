//! Evaluation of a float network on wafers of a data set.

use lightwafer_runtime::dies::CLASS_COUNT;
use tch::{Device, Kind, Tensor};

use crate::batch::{Batch, Source, Symmetry};
use crate::metrics::{Collector, PixelCounts, Report};
use crate::native;
use crate::network::{Network, Output};
use crate::settings::Precision;

/// Wafers in one forward pass: more make a processor no faster.
const BATCH: usize = 32;
/// The same on a GPU.
const GPU_BATCH: usize = 256;

/// Wafers in one forward pass on `device`.
pub(crate) fn batch_size(device: Device) -> usize {
    if device == Device::Cpu {
        BATCH
    } else {
        GPU_BATCH
    }
}

/// How wafers are shown to a network.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Image side in pixels, a multiple of 16.
    pub size: i64,
    /// How every wafer lies.
    pub symmetry: Symmetry,
    /// Whether masks are wanted.
    pub mask: bool,
    /// Number format.
    pub precision: Precision,
}

impl View {
    /// Wafers as they are, with masks, in f32.
    pub fn plain(size: i64) -> Self {
        Self {
            size,
            symmetry: 0,
            mask: true,
            precision: Precision::F32,
        }
    }
}

/// Evaluates `wafers`. `stop` is asked between batches; `None` when it says so.
pub fn evaluate(
    network: &dyn Network,
    source: &Source,
    wafers: &[u32],
    view: View,
    stop: &dyn Fn() -> bool,
) -> Option<Report> {
    let mut collector = Collector::default();
    run(network, source, wafers, view, stop, &mut |batch, output| {
        collect(&mut collector, batch, output);
    })?;
    Some(collector.report())
}

/// Runs `network` over `wafers` and hands every batch and its output to `each`, in order.
/// `stop` is asked between batches; `None` when it says so.
pub fn run(
    network: &dyn Network,
    source: &Source,
    wafers: &[u32],
    view: View,
    stop: &dyn Fn() -> bool,
    each: &mut dyn FnMut(&Batch, &Output),
) -> Option<()> {
    let device = network.vars().device();
    for chunk in wafers.chunks(batch_size(device)) {
        if stop() {
            return None;
        }
        let batch = source.batch(chunk, &[view.symmetry], view.size);
        let forward = || network.forward(&batch.image, false, view.mask);
        let output = tch::no_grad(|| native::with_precision(view.precision, device, forward));
        each(&batch, &output);
    }
    Some(())
}

/// Hands a batch's answers to the collector.
pub fn collect(collector: &mut Collector, batch: &Batch, output: &Output) {
    let Output { logits, mask, .. } = output;
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
