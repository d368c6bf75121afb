//! A trained network as the page shows it: its answers about the test part.

use tch::{Device, Kind, Tensor};

use crate::architecture::Architecture;
use crate::batch::Source;
use crate::data::Data;
use crate::eval::{self, View};
use crate::metrics::{Collector, Report, argmax, softmax};
use crate::network::{Network, PartSize};

/// A network's answers about every wafer of the test part.
pub struct Subject {
    /// `teacher` or `student`.
    pub name: &'static str,
    /// The network.
    pub architecture: Architecture,
    /// Image side that it was shown.
    pub size: i64,
    /// Its parameters by part.
    pub parts: Vec<PartSize>,
    /// Bytes of its checkpoint.
    pub bytes: u64,
    /// The wafers, as positions in the data set.
    pub wafers: Vec<u32>,
    /// The class of each.
    pub truth: Vec<u8>,
    /// Class probabilities of each.
    pub scores: Vec<Vec<f32>>,
    /// Dice of each one's mask.
    pub dice: Vec<f32>,
    /// The place of each wafer on a plane; similar embeddings are near each other.
    pub places: Vec<[f32; 2]>,
    /// Values of an embedding.
    pub features: usize,
    /// The metrics.
    pub report: Report,
    network: Box<dyn Network>,
}

/// A network's mask of a wafer and the true one, 0 or 1, row-major.
pub(crate) struct Masks {
    pub(crate) size: usize,
    pub(crate) predicted: Vec<u8>,
    pub(crate) truth: Vec<u8>,
}

impl Subject {
    /// Runs the network of a training over the test part, on images of `size`×`size` pixels; `bytes` is the size of its
    /// checkpoint. `None` when `stop` asks to end.
    pub fn measure(
        name: &'static str,
        (network, size): (Box<dyn Network>, i64),
        bytes: u64,
        data: &Data,
        source: &Source,
        stop: &dyn Fn() -> bool,
    ) -> Option<Self> {
        let (mut scores, mut dice, mut embeddings) = (Vec::new(), Vec::new(), Vec::new());
        let mut collector = Collector::default();
        let view = View::plain(size);
        eval::run(
            &*network,
            source,
            &data.test,
            view,
            stop,
            &mut |batch, output| {
                eval::collect(&mut collector, batch, output);
                let rows = eval::logit_rows(output).into_iter();
                scores.extend(rows.map(|row| softmax(&row).iter().map(|p| *p as f32).collect()));
                let counts = eval::pixel_counts(batch, output).into_iter();
                dice.extend(counts.map(|counts| counts.dice() as f32));
                embeddings.push(output.embedding.to_kind(Kind::Float).to_device(Device::Cpu));
            },
        )?;
        let embeddings = Tensor::cat(&embeddings, 0);
        let labels = data.test.iter().map(|wafer| data.labels[*wafer as usize]);
        Some(Self {
            name,
            architecture: network.architecture(),
            size,
            parts: network.parts(),
            bytes,
            wafers: data.test.clone(),
            truth: labels.collect(),
            scores,
            dice,
            places: places(&embeddings),
            features: embeddings.size()[1] as usize,
            report: collector.report(),
            network,
        })
    }

    /// The class of the highest score of wafer `i`, and its score.
    pub(crate) fn answer(&self, i: usize) -> (usize, f32) {
        let class = argmax(&self.scores[i]);
        (class, self.scores[i][class])
    }

    /// Masks of one wafer of the data set.
    pub(crate) fn masks(&self, source: &Source, wafer: u32) -> Masks {
        let batch = source.batch(&[wafer], &[0], self.size);
        let output = tch::no_grad(|| self.network.forward(&batch.image, false, true));
        let bytes = |t: Tensor| {
            let flat = t.to_kind(Kind::Uint8).contiguous().view([-1]);
            Vec::<u8>::try_from(flat).unwrap_or_default()
        };
        Masks {
            size: self.size as usize,
            predicted: output
                .mask
                .map(|mask| bytes(mask.ge(0.0)))
                .unwrap_or_default(),
            truth: bytes(batch.mask.ge(0.5)),
        }
    }
}

/// t-SNE (van der Maaten, 2014) of embeddings (N, F) after a principal component analysis to at most 32
/// values. It starts from the first two components, so that a page made again is the same.
fn places(embeddings: &Tensor) -> Vec<[f32; 2]> {
    let wafers = embeddings.size()[0] as usize;
    if wafers < 5 {
        return vec![[0.0; 2]; wafers];
    }
    let centred = embeddings - embeddings.mean_dim([0i64].as_slice(), true, Kind::Float);
    let kept = embeddings.size()[1].min(32);
    let (_, vectors) = centred.transpose(0, 1).matmul(&centred).linalg_eigh("L");
    let components = centred
        .matmul(&vectors.flip([1]).narrow(1, 0, kept))
        .contiguous();
    let scale = components.abs().max().double_value(&[]).max(1e-12);
    let start = (components.narrow(1, 0, 2.min(kept)) / scale * 1e-2).contiguous();
    let flat = |t: &Tensor| Vec::<f32>::try_from(t.contiguous().view([-1])).unwrap_or_default();
    let values = flat(&components);
    let samples: Vec<&[f32]> = values.chunks_exact(kept as usize).collect();
    if kept < 2 {
        return flat(&start).into_iter().map(|x| [x, 0.0]).collect();
    }
    let distance = |a: &&[f32], b: &&[f32]| {
        a.iter()
            .zip(*b)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f32>()
            .sqrt()
    };
    let perplexity = 30f32.min((wafers as f32 - 1.0) / 4.0);
    let placed = bhtsne::tSNE::<f32, &[f32], 2>::new(&samples)
        .perplexity(perplexity)
        .epochs(500)
        .initial_embedding(flat(&start))
        .barnes_hut(0.6, distance)
        .embedding();
    placed.chunks_exact(2).map(|p| [p[0], p[1]]).collect()
}
