//! Small random networks that follow the rules of the model image, from a fuzzer's bytes.
//!
//! The shape comes from the bytes, value for value, so that a mutation changes one thing; weights come from
//! a generator seeded by them. Most are accepted by the writer; those that are not are no finding.

use arbitrary::{Result, Unstructured};
use fastrand::Rng;
use lightwafer_compiler::writer::{LayerSpec, ModelSpec};
use lightwafer_runtime::dies::{CLASS_COUNT, IMAGE_SIZE};
use lightwafer_runtime::graph::{IMAGE, NONE, Op};
use lightwafer_runtime::internals::plan::tiles::most;

/// Most layers before the way back up.
const MAX_STEPS: u8 = 12;
/// From so many multiply-accumulates on, layers are small: the reference takes its time.
const MANY_MACS: u64 = 8_000_000;

/// How a layer's numbers are drawn.
#[derive(Clone, Copy)]
enum Style {
    /// All over int8, with multipliers that spread activations over their range.
    Spread,
    /// The extremes of int8, alternating or not.
    Extreme,
    /// Mostly zeros.
    Sparse,
    /// Anything the format can say.
    Any,
}

struct Builder<'u, 'b> {
    u: &'u mut Unstructured<'b>,
    random: Rng,
    layers: Vec<LayerSpec>,
    /// Multiply-accumulates so far.
    macs: u64,
    /// Whether a layer is read by a depthwise convolution, or by anything else.
    read: Vec<(bool, bool)>,
}

/// A network with one mask head and one class head.
///
/// # Errors
/// When the bytes are used up.
pub fn arbitrary(u: &mut Unstructured<'_>) -> Result<ModelSpec> {
    let random = Rng::with_seed(u.arbitrary()?);
    let mut b = Builder {
        u,
        random,
        layers: Vec::new(),
        macs: 0,
        read: Vec::new(),
    };
    let channels = b.channels(IMAGE_SIZE as u16)?;
    let mut at = b.add(Op::ImageConv3x3, [IMAGE, NONE], IMAGE_SIZE as u16, channels)?;
    let steps = b.u.int_in_range(0..=MAX_STEPS)?;
    for _ in 0..steps {
        if b.macs < MANY_MACS || b.size(at) < 56 {
            at = b.step(at)?;
        }
    }
    // The class head somewhere on the way that the mask head will go.
    let early = b.u.arbitrary()?;
    if early {
        at = b.class_head(at)?;
    }
    while b.size(at) < IMAGE_SIZE as u16 {
        let size = b.size(at) * 2;
        at = b.planar_done(at)?;
        let channels = b.channels(size)?;
        at = b.add(Op::TransposedConv2x2, [at, NONE], size, channels)?;
        if b.macs < MANY_MACS && b.u.arbitrary()? {
            at = b.step_same(at)?;
        }
    }
    if !early {
        at = b.class_head(at)?;
    }
    at = b.planar_done(at)?;
    b.add(Op::MaskHead, [at, NONE], IMAGE_SIZE as u16, 1)?;
    Ok(ModelSpec {
        name: "fuzzed".to_owned(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        parameters: 1,
        layers: b.layers,
    })
}

/// Cuts a network into stages and tiles, wherever only the layer at the cut is read behind it.
///
/// # Errors
/// When the bytes are used up.
pub fn cut(u: &mut Unstructured<'_>, spec: &mut ModelSpec) -> Result<()> {
    let layers = &mut spec.layers;
    let mut first = 0;
    for at in 0..layers.len() {
        let last = at + 1 == layers.len();
        let inside = |input: &u8| (first..at).contains(&usize::from(*input));
        let crossed = |l: &LayerSpec| l.inputs.iter().any(inside);
        let head = matches!(layers[at].op, Op::Depthwise3x3 | Op::ClassHead);
        if !last && (head || layers[at + 1..].iter().any(crossed) || !u.ratio(1, 4)?) {
            continue;
        }
        // What the class head reads is computed once.
        let class = layers.iter().find(|l| l.op == Op::ClassHead);
        let once = class.is_some_and(|l| (first..=at).contains(&usize::from(l.inputs[0])));
        let most = if once { 1 } else { most(layers[at].width) };
        layers[at].tiles = u.int_in_range(1..=most as u8)?;
        first = at + 1;
    }
    Ok(())
}

impl Builder<'_, '_> {
    fn size(&self, at: u8) -> u16 {
        self.layers[usize::from(at)].height
    }

    /// Fewer where the image is large: the reference is slow.
    fn channels(&mut self, size: u16) -> Result<u16> {
        let most = match size {
            113.. if self.macs > MANY_MACS || !self.u.ratio(1, 4)? => 1,
            113.. => 3,
            57.. => 4,
            _ => 16,
        };
        Ok(4 * self.u.int_in_range(1..=most)?)
    }

    /// What only depthwise convolutions may read from here on is read by one, so that others can follow.
    fn planar_done(&mut self, at: u8) -> Result<u8> {
        match self.read[usize::from(at)].0 {
            true => self.depthwise(at),
            false => Ok(at),
        }
    }

    fn depthwise(&mut self, at: u8) -> Result<u8> {
        let from = &self.layers[usize::from(at)];
        let (size, channels) = (from.height, from.channels);
        self.add(Op::Depthwise3x3, [at, NONE], size, channels)
    }

    fn class_head(&mut self, at: u8) -> Result<u8> {
        let at = self.planar_done(at)?;
        let size = self.size(at);
        self.add(Op::ClassHead, [at, NONE], size, CLASS_COUNT as u16)?;
        Ok(at)
    }

    fn step(&mut self, at: u8) -> Result<u8> {
        let size = self.size(at);
        match self.u.int_in_range(0..=3u8)? {
            0 | 1 if size.is_multiple_of(2) && size > 56 => {
                let at = self.planar_done(at)?;
                let channels = self.layers[usize::from(at)].channels;
                self.add(Op::MaxPool2, [at, NONE], size / 2, channels)
            }
            0 if size.is_multiple_of(2) && size > 7 => {
                let at = self.planar_done(at)?;
                let channels = self.layers[usize::from(at)].channels;
                let op = match self.u.arbitrary()? {
                    true => Op::MaxPool2,
                    false => Op::AvgPool2,
                };
                self.add(op, [at, NONE], size / 2, channels)
            }
            1 if size < IMAGE_SIZE as u16 && self.u.ratio(1, 3)? => {
                let at = self.planar_done(at)?;
                let channels = self.channels(size * 2)?;
                self.add(Op::TransposedConv2x2, [at, NONE], size * 2, channels)
            }
            _ => self.step_same(at),
        }
    }

    /// A layer that keeps the size.
    fn step_same(&mut self, at: u8) -> Result<u8> {
        let size = self.size(at);
        let only_others = !self.read[usize::from(at)].1;
        let writes_planes = matches!(
            self.layers[usize::from(at)].op,
            Op::ImageConv3x3 | Op::Conv3x3 | Op::Depthwise3x3 | Op::Pointwise
        );
        match self.u.int_in_range(0..=2u8)? {
            0 if only_others && writes_planes => self.depthwise(at),
            1 => {
                let at = self.planar_done(at)?;
                let channels = self.channels(size)?;
                self.add(Op::Conv3x3, [at, NONE], size, channels)
            }
            _ => {
                let at = self.planar_done(at)?;
                let second = self.partner(at)?;
                let channels = self.channels(size)?;
                self.add(Op::Pointwise, [at, second], size, channels)
            }
        }
    }

    /// An earlier layer to concatenate with, or none.
    fn partner(&mut self, at: u8) -> Result<u8> {
        let own = &self.layers[usize::from(at)];
        let (height, zero_point) = (own.height, own.zero_point);
        let fits: Vec<u8> = (0..at)
            .filter(|&other| {
                let layer = &self.layers[usize::from(other)];
                let buffer = !matches!(layer.op, Op::ClassHead | Op::MaskHead);
                let planar = self.read[usize::from(other)].0;
                buffer && !planar && layer.height == height && layer.zero_point == zero_point
            })
            .collect();
        if fits.is_empty() || self.u.arbitrary()? {
            return Ok(NONE);
        }
        self.u.choose(&fits).copied()
    }

    fn add(&mut self, op: Op, inputs: [u8; 2], size: u16, channels: u16) -> Result<u8> {
        let given = |input: u8| match input {
            IMAGE => 3,
            NONE => 0,
            at => usize::from(self.layers[usize::from(at)].channels),
        };
        let (cin, cout) = (given(inputs[0]) + given(inputs[1]), usize::from(channels));
        let pool = matches!(op, Op::MaxPool2 | Op::AvgPool2);
        let (weights, length) = match op {
            Op::ImageConv3x3 | Op::Conv3x3 => (9 * cin * cout, 9 * cin),
            Op::Depthwise3x3 => (9 * cout, 9),
            Op::TransposedConv2x2 => (4 * cin * cout, cin),
            Op::MaxPool2 | Op::AvgPool2 => (0, 1),
            Op::Pointwise | Op::MaskHead | Op::ClassHead => (cin * cout, cin),
        };
        let style = match self.u.int_in_range(0..=7u8)? {
            0 => Style::Extreme,
            1 => Style::Sparse,
            2 => Style::Any,
            _ => Style::Spread,
        };
        let zero_point = match (pool, self.u.int_in_range(0..=3u8)?) {
            (true, _) => self.layers[usize::from(inputs[0])].zero_point,
            // Equal ones let layers be concatenated.
            (_, 0 | 1) => -20,
            (_, 2) => -128,
            _ => self.u.arbitrary()?,
        };
        let shift = match (style, self.u.int_in_range(0..=7u8)?) {
            (Style::Any, shift) => shift,
            (_, 0) => 1,
            _ => 0,
        };
        let relu = self.u.arbitrary()?;
        let random = &mut self.random;
        let weight = |random: &mut Rng| {
            let bits = random.u64(..);
            match style {
                Style::Spread | Style::Any => bits as i8,
                Style::Extreme => [-128, 127, 127, -128][bits as usize % 4],
                Style::Sparse if bits.is_multiple_of(8) => (bits >> 8) as i8,
                Style::Sparse => 0,
            }
        };
        let weights: Vec<i8> = (0..weights).map(|_| weight(random)).collect();
        let records = if pool { 0 } else { cout };
        let bias = |random: &mut Rng| match style {
            Style::Any => (random.u64(..) as i32) >> (random.u64(..) % 32),
            _ => random.u64(..) as i32 % 4001,
        };
        let bias = (0..records).map(|_| bias(random)).collect();
        let image = if op == Op::ImageConv3x3 { 4.0 } else { 1.0 };
        let scale = 1.0 / (length as f64).sqrt() / 60.0 / image;
        let multiplier = |random: &mut Rng| match style {
            Style::Any => (random.u64(..) as i32 & i32::MAX) >> (random.u64(..) % 31),
            _ => {
                let spread = 0.5 + (random.u64(..) % 1000) as f64 / 1000.0;
                (scale * spread * 4_294_967_296.0).min(f64::from(i32::MAX)) as i32
            }
        };
        let count = if op == Op::MaskHead { 0 } else { records };
        let multipliers = (0..count).map(|_| multiplier(random)).collect();
        let mean_multiplier = match style {
            Style::Any => random.u64(..) as i32 & i32::MAX,
            _ => (4_294_967_295.0 / f64::from(size).powi(2)).min(f64::from(i32::MAX)) as i32,
        };
        self.macs += (weights.len() as u64) * u64::from(size).pow(2);
        for input in inputs {
            if let Some((depthwise, other)) = self.read.get_mut(usize::from(input)) {
                match op {
                    Op::Depthwise3x3 => *depthwise = true,
                    _ => *other = true,
                }
            }
        }
        self.read.push((false, false));
        self.layers.push(LayerSpec {
            op,
            inputs,
            height: size,
            width: size,
            channels,
            zero_point,
            relu,
            shift,
            tiles: 0,
            weights,
            bias,
            multipliers,
            mean_multiplier,
        });
        Ok((self.layers.len() - 1) as u8)
    }
}
