//! Evaluation of a float network on wafers of a data set.

use lightwafer_runtime::dies::CLASS_COUNT;
use tch::{Device, Kind, Tensor};

use crate::batch::{Batch, Source, Symmetry};
use crate::metrics::{Collector, PixelCounts, Report};
use crate::native;
use crate::network::{Network, Output};
use crate::settings::Precision;

/// Wafers in one forward pass; a processor is not faster with more.
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

/// The form in which wafers are shown to a network.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Image side in pixels, a multiple of 16.
    pub size: i64,
    /// The symmetry of every wafer.
    pub symmetry: Symmetry,
    /// Whether masks are wanted.
    pub mask: bool,
    /// Number format.
    pub precision: Precision,
}

impl View {
    /// Wafers not turned, with masks, in f32.
    pub fn plain(size: i64) -> Self {
        Self {
            size,
            symmetry: 0,
            mask: true,
            precision: Precision::F32,
        }
    }
}

/// Evaluates `wafers`. `stop` is asked between batches; `None` when it asks to end.
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
/// `stop` is asked between batches; `None` when it asks to end.
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
    let truth: Vec<i64> = Vec::try_from(&batch.class).unwrap_or_default();
    for (logits, truth) in logit_rows(output).into_iter().zip(truth) {
        collector.class(logits, truth as u8);
    }
    for counts in pixel_counts(batch, output) {
        collector.mask(counts, 1);
    }
}

/// The class logits of each wafer.
pub fn logit_rows(output: &Output) -> Vec<[f32; CLASS_COUNT]> {
    let logits = output.logits.to_kind(Kind::Float);
    let flat: Vec<f32> = Vec::try_from(logits.contiguous().view([-1])).unwrap_or_default();
    flat.as_chunks().0.to_vec()
}

/// The pixel counts of each wafer's mask; empty if there are no masks.
pub fn pixel_counts(batch: &Batch, output: &Output) -> Vec<PixelCounts> {
    let Some(mask) = &output.mask else {
        return Vec::new();
    };
    let (marked, failing) = (mask.ge(0.0), batch.mask.ge(0.5));
    let count = |t: &Tensor| {
        let each = t.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Int64);
        Vec::<i64>::try_from(each).unwrap_or_default()
    };
    let both = count(&marked.logical_and(&failing));
    let (marked, failing) = (count(&marked), count(&failing));
    let pixels = batch.mask.get(0).numel() as u64;
    let wafers = both.into_iter().zip(marked).zip(failing);
    let each = wafers.map(|((both, marked), failing)| {
        let (both, marked, failing) = (both as u64, marked as u64, failing as u64);
        PixelCounts {
            both,
            marked_only: marked - both,
            failing_only: failing - both,
            neither: pixels + both - marked - failing,
        }
    });
    each.collect()
}
