//! The engine against a plain reference: whole tensors, PyTorch's weight order, 128-bit rounding.

use fastrand::Rng;
use lightwafer_compiler::layer_specs;
use lightwafer_compiler::schedule::{cheapest, schedules};
use lightwafer_compiler::writer::{LayerSpec, ModelSpec, WriteError, write};
use lightwafer_runtime::dies::{CLASS_COUNT, IMAGE_SIZE, PALETTE, source_index};
use lightwafer_runtime::graph::{IMAGE, NONE, Op};
use lightwafer_runtime::{
    ALIGNMENT, AlignedBox, Arena, DieMap, Engine, EngineError, EngineFailure, FixedEngine, Mask,
    Model, ModelError, StartError, crc32,
};

/// A student of the published shape with random weights and zero points.
fn student(seed: u64) -> ModelSpec {
    let mut random = Rng::with_seed(seed);
    let mut layers: Vec<LayerSpec> = Vec::new();
    let mut add =
        |op, inputs: [u8; 2], height: u16, channels: u16, cin: usize, relu, zp: Option<i8>| {
            let cout = usize::from(channels);
            let (weights, gain) = match op {
                Op::ImageConv3x3 | Op::Conv3x3 => (9 * cin * cout, 9 * cin),
                Op::Depthwise3x3 => (9 * cout, 9),
                Op::TransposedConv2x2 => (4 * cin * cout, cin),
                Op::MaxPool2 | Op::AvgPool2 => (0, 1),
                _ => (cin * cout, cin),
            };
            let pool = matches!(op, Op::MaxPool2 | Op::AvgPool2);
            let image = if op == Op::ImageConv3x3 { 4.0 } else { 1.0 };
            let scale = 1.0 / (gain as f64).sqrt() / 60.0 / image;
            let count = if pool { 0 } else { cout };
            let mut multiplier = |scale: f64| {
                (scale * (0.5 + random.u64(..1000) as f64 / 1000.0) * 4_294_967_296.0) as i32
            };
            let multipliers = match op {
                Op::MaskHead => vec![],
                Op::ClassHead => (0..count).map(|_| multiplier(0.2)).collect(),
                _ => (0..count).map(|_| multiplier(scale)).collect(),
            };
            let bias = (0..count).map(|_| random.i32(-2000..=2000)).collect();
            let zero_point = zp.unwrap_or_else(|| match (relu, random.u64(..3)) {
                (true, 0..2) => -128,
                _ => random.u64(..200) as i8,
            });
            layers.push(LayerSpec {
                op,
                inputs,
                height,
                width: height,
                channels,
                zero_point,
                relu,
                shift: if op == Op::ClassHead { 3 } else { 0 },
                tiles: 0,
                weights: (0..weights).map(|_| random.i8(-127..)).collect(),
                bias,
                multipliers,
                mean_multiplier: (4_294_967_296.0 / f64::from(height).powi(2)) as i32,
            });
            (layers.len() - 1) as u8
        };
    let mut from = IMAGE;
    let (mut cin, mut size) = (3, 224);
    let mut skips = vec![];
    for (block, channels) in [8, 16, 16, 32, 64].into_iter().enumerate() {
        let op = if block == 0 {
            Op::ImageConv3x3
        } else {
            Op::Conv3x3
        };
        let c = usize::from(channels);
        let conv = add(op, [from, NONE], size, channels, cin, true, None);
        let depthwise = add(
            Op::Depthwise3x3,
            [conv, NONE],
            size,
            channels,
            c,
            false,
            None,
        );
        // Skips share their zero point with the up-sampled tensor they meet: −20.
        let zp = Some(-20);
        from = add(
            Op::Pointwise,
            [depthwise, NONE],
            size,
            channels,
            c,
            true,
            zp,
        );
        cin = c;
        if block < 4 {
            skips.push((from, channels));
            size /= 2;
            let pool = if block < 3 {
                Op::MaxPool2
            } else {
                Op::AvgPool2
            };
            from = add(pool, [from, NONE], size, channels, cin, false, zp);
        }
    }
    add(Op::ClassHead, [from, NONE], size, 38, cin, false, Some(-7));
    for channels in [32, 16, 16, 8] {
        let (skip, skip_channels) = skips.pop().unwrap();
        size *= 2;
        let c = usize::from(channels);
        let up = add(
            Op::TransposedConv2x2,
            [from, NONE],
            size,
            channels,
            cin,
            false,
            Some(-20),
        );
        let both = c + usize::from(skip_channels);
        let reduced = add(Op::Pointwise, [up, skip], size, channels, both, true, None);
        let depthwise = add(
            Op::Depthwise3x3,
            [reduced, NONE],
            size,
            channels,
            c,
            false,
            None,
        );
        from = add(
            Op::Pointwise,
            [depthwise, NONE],
            size,
            channels,
            c,
            true,
            None,
        );
        cin = c;
    }
    add(Op::MaskHead, [from, NONE], size, 1, cin, false, Some(0));
    ModelSpec {
        name: "random".to_string(),
        created: "2026-01-01T00:00:00Z".to_string(),
        parameters: 54_239,
        layers,
    }
}

/// A whole tensor, `[y][x][c]`.
struct Tensor {
    size: usize,
    channels: usize,
    zero_point: i64,
    values: Vec<i64>,
}

impl Tensor {
    /// The value less its zero point; 0 outside.
    fn real(&self, y: i64, x: i64, c: usize) -> i64 {
        let inside = 0..self.size as i64;
        if !inside.contains(&y) || !inside.contains(&x) {
            return 0;
        }
        self.values[(y as usize * self.size + x as usize) * self.channels + c] - self.zero_point
    }
}

fn rounded(acc: i64, shift: u8, multiplier: i32) -> i64 {
    let product = i128::from(acc) * (1i128 << shift) * i128::from(multiplier);
    (product + (1 << 31)).div_euclid(1 << 32) as i64
}

/// The logits and mask of whole-tensor arithmetic.
fn reference(spec: &ModelSpec, map: &DieMap<'_>) -> ([i32; CLASS_COUNT], Mask) {
    let mut image = Tensor {
        size: 224,
        channels: 3,
        zero_point: 0,
        values: vec![],
    };
    for y in 0..224 {
        for x in 0..224 {
            let die = map.die(
                source_index(y, map.rows(), IMAGE_SIZE),
                source_index(x, map.cols(), IMAGE_SIZE),
            );
            image
                .values
                .extend(PALETTE[usize::from(die)].map(i64::from));
        }
    }
    let (mut logits, mut mask) = ([0; CLASS_COUNT], Mask::new());
    let mut tensors: Vec<Tensor> = vec![];
    for l in &spec.layers {
        let size = usize::from(l.height);
        let cout = usize::from(l.channels);
        let zero_point = i64::from(l.zero_point);
        let inputs: Vec<&Tensor> = match l.inputs {
            [IMAGE, _] => vec![&image],
            [a, NONE] => vec![&tensors[usize::from(a)]],
            [a, b] => vec![&tensors[usize::from(a)], &tensors[usize::from(b)]],
        };
        let cin: usize = inputs.iter().map(|t| t.channels).sum();
        let real = |y: i64, x: i64, c: usize| match c.checked_sub(inputs[0].channels) {
            None => inputs[0].real(y, x, c),
            Some(c) => inputs[1].real(y, x, c),
        };
        let w = |at: usize| i64::from(l.weights[at]);
        let mut values = vec![];
        let low = if l.relu { zero_point } else { -128 };
        let activation = |acc: i64, co: usize| {
            let q = rounded(acc + i64::from(l.bias[co]), l.shift, l.multipliers[co]) + zero_point;
            q.clamp(-128, 127).max(low)
        };
        for (y, x, co) in (0..size as i64)
            .flat_map(|y| (0..size as i64).map(move |x| (y, x)))
            .flat_map(|(y, x)| (0..cout).map(move |co| (y, x, co)))
        {
            let taps = (0..9).map(|k| (k, y + k as i64 / 3 - 1, x + k as i64 % 3 - 1));
            match l.op {
                Op::ImageConv3x3 | Op::Conv3x3 => values.push(activation(
                    taps.flat_map(|t| (0..cin).map(move |ci| (t, ci)))
                        .map(|((k, y, x), ci)| real(y, x, ci) * w((co * cin + ci) * 9 + k))
                        .sum(),
                    co,
                )),
                Op::Depthwise3x3 => {
                    let sum = taps.map(|(k, y, x)| real(y, x, co) * w(co * 9 + k)).sum();
                    values.push(activation(sum, co));
                }
                Op::Pointwise => {
                    let sum = (0..cin).map(|ci| real(y, x, ci) * w(co * cin + ci)).sum();
                    values.push(activation(sum, co));
                }
                Op::TransposedConv2x2 => {
                    let tap = (y % 2 * 2 + x % 2) as usize;
                    let at = |ci| (ci * cout + co) * 4 + tap;
                    let sum = (0..cin).map(|ci| real(y / 2, x / 2, ci) * w(at(ci))).sum();
                    values.push(activation(sum, co));
                }
                Op::MaxPool2 | Op::AvgPool2 => {
                    let four = [(0, 0), (0, 1), (1, 0), (1, 1)]
                        .map(|(dy, dx)| real(2 * y + dy, 2 * x + dx, co) + zero_point);
                    values.push(match l.op {
                        Op::MaxPool2 => *four.iter().max().unwrap(),
                        _ => (four.iter().sum::<i64>() + 2).div_euclid(4),
                    });
                }
                Op::MaskHead => {
                    let acc: i64 = (0..cin).map(|ci| real(y, x, ci) * w(ci)).sum();
                    let bit = u8::from(acc + i64::from(l.bias[0]) >= 0);
                    mask.row_mut(y as usize).unwrap()[x as usize / 8] |= bit << (x % 8);
                }
                Op::ClassHead => {}
            }
        }
        if l.op == Op::ClassHead {
            let sum = |c| {
                (0..14)
                    .flat_map(|y| (0..14).map(move |x| real(y, x, c)))
                    .sum::<i64>()
            };
            let mean = |c| rounded(sum(c), 0, l.mean_multiplier) + zero_point;
            let embedding: Vec<i64> = (0..cin)
                .map(|c| mean(c).clamp(-128, 127) - zero_point)
                .collect();
            for (co, logit) in logits.iter_mut().enumerate() {
                let acc: i64 = (0..cin).map(|c| embedding[c] * w(co * cin + c)).sum();
                *logit = rounded(acc + i64::from(l.bias[co]), l.shift, l.multipliers[co]) as i32;
            }
        }
        tensors.push(Tensor {
            size,
            channels: cout,
            zero_point,
            values,
        });
    }
    (logits, mask)
}

fn random_map(random: &mut Rng, rows: u16, cols: u16) -> Vec<u8> {
    (0..usize::from(rows) * usize::from(cols))
        .map(|_| random.u8(..3))
        .collect()
}

#[test]
fn rows_in_rings_give_what_whole_tensors_give() {
    let mut random = Rng::with_seed(99);
    let grids = [(52, 52), (1, 1), (256, 256), (3, 200)];
    for (seed, (rows, cols)) in grids.into_iter().enumerate() {
        // Seeds of networks whose masks are neither empty nor full.
        let spec = student(seed as u64 + 16);
        let dies = random_map(&mut random, rows, cols);
        let mut packed = vec![0; DieMap::packed_len(rows, cols).unwrap()];
        let map = DieMap::pack(rows, cols, &dies, &mut packed).unwrap();
        let image = write(&spec, &map).unwrap();
        let model = Model::new_checked(&image).unwrap();
        let again = ModelSpec {
            layers: layer_specs(&model),
            ..spec.clone()
        };
        assert_eq!(again.layers[5].weights, spec.layers[5].weights);
        assert!(write(&again, &map).as_ref() == Ok(&image));
        let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
        arena.fill(77);
        assert!(arena.len() <= 340_000, "arena {}", arena.len());
        assert_eq!(model.header().macs, 98_209_408);
        let mut engine = FixedEngine::new(model, &mut arena).unwrap();
        let mut mask = Mask::new();
        let answer = engine.infer(&map, &mut mask);
        let (logits, expected) = reference(&spec, &map);
        assert_eq!(answer.logits, logits);
        assert!(mask == expected, "mask differs");
        assert!(
            (1..50_175).contains(&mask.count()),
            "a mask that tells nothing"
        );
        // A second wafer in between leaves no trace.
        engine.infer(&DieMap::new_checked(1, 1, &[2]).unwrap(), &mut mask);
        assert_eq!(engine.infer(&map, &mut mask), answer);
        assert!(mask == expected);
        assert_eq!(engine.self_test(&mut mask), Ok(()));
    }
}

#[test]
fn damaged_images_are_refused_by_name() {
    let spec = student(1);
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let image = write(&spec, &map).unwrap();
    let refuse = |bytes: &[u8]| Model::new_checked(bytes).unwrap_err();
    for cut in (0..image.len()).step_by(97) {
        assert!(
            matches!(refuse(&image[..cut]), ModelError::Length { .. }),
            "cut at {cut}"
        );
    }
    let mut random = Rng::with_seed(3);
    for _ in 0..300 {
        let mut bytes = image.clone();
        let at = random.u64(..bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.u64(..8);
        Model::new_checked(&bytes).unwrap_err();
    }
    // A class head on a layer that the mask does not need would never see its input.
    let mut aside = spec.clone();
    let head = aside
        .layers
        .iter()
        .position(|l| l.op == Op::ClassHead)
        .unwrap();
    let mut extra = aside.layers[head - 1].clone();
    extra.inputs = [head as u8 - 2, NONE];
    aside.layers[head].inputs[0] = head as u8;
    aside.layers.insert(head, extra);
    for layer in &mut aside.layers[head + 2..] {
        for input in layer
            .inputs
            .iter_mut()
            .filter(|i| (head as u8..IMAGE).contains(i))
        {
            *input += 1;
        }
    }
    assert_eq!(
        write(&aside, &map),
        Err(WriteError::Model(ModelError::Heads))
    );

    let long = AlignedBox::from([&image[..], &[0]].concat());
    assert!(matches!(refuse(&long), ModelError::Length { .. }));

    let mut small = Arena::<1000>::new();
    let model = Model::new_checked(&image).unwrap();
    assert!(matches!(
        FixedEngine::new(model, small.bytes()),
        Err(EngineError::Arena { given: 1000, .. })
    ));
}

/// What kernels would be slow on, or fault on, is refused: image, arena, and what lies inside the image.
#[test]
fn memory_that_begins_on_no_word_is_refused_by_name() {
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let image = write(&student(1), &map).unwrap();
    let mut room = AlignedBox::zeroed(image.len() + ALIGNMENT);
    let mut arena = AlignedBox::zeroed(400_000 + ALIGNMENT);
    for beyond in 0..ALIGNMENT {
        let moved = &mut room[beyond..beyond + image.len()];
        moved.copy_from_slice(&image);
        let model = Model::new_checked(moved);
        if beyond > 0 {
            assert_eq!(model.unwrap_err(), ModelError::Alignment { beyond });
        }
        let engine = FixedEngine::new(Model::new_checked(&image).unwrap(), &mut arena[beyond..]);
        match beyond {
            0 => assert!(engine.is_ok()),
            _ => assert_eq!(engine.unwrap_err(), EngineError::Alignment { beyond }),
        }
    }
    // A header that is one byte longer moves the data off its words.
    let mut bytes = image.to_vec();
    let header = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
    bytes.insert(24 + header, 0);
    bytes[10..12].copy_from_slice(&(header as u16 + 1).to_le_bytes());
    let length = bytes.len() as u32;
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    let body = bytes.len() - 4;
    let crc = crc32(&bytes[..body]);
    bytes[body..].copy_from_slice(&crc.to_le_bytes());
    let refused = Model::new_checked(&AlignedBox::from(bytes)).unwrap_err();
    assert_eq!(refused, ModelError::Data(0));
}

/// Bytes with a right CRC but hostile content: never a panic, whatever is accepted runs.
#[test]
fn hostile_images_with_a_right_crc_never_panic() {
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let image = write(&student(2), &map).unwrap();
    let mut random = Rng::with_seed(11);
    let (mut refused, mut ran) = (0, 0);
    for _ in 0..3000 {
        let mut bytes = image.clone();
        let body = bytes.len() - 4;
        // Mostly the header and layers, where structure is.
        let reach = if random.u64(..4) == 0 {
            body as u64
        } else {
            700
        };
        for _ in 0..=random.u64(..3) {
            let at = 24 + random.u64(..reach - 24) as usize;
            bytes[at] = random.u8(..);
        }
        let crc = crc32(&bytes[..body]);
        bytes[body..].copy_from_slice(&crc.to_le_bytes());
        match Model::new_checked(&bytes) {
            Err(_) => refused += 1,
            Ok(model) if ran < 12 => {
                let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
                let mut engine = FixedEngine::new(model, &mut arena).unwrap();
                engine.infer(&map, &mut Mask::new());
                ran += 1;
            }
            Ok(_) => {}
        }
    }
    assert!(refused > 100 && ran > 0, "{refused} refused, {ran} ran");
}

#[test]
fn an_engine_refuses_wafers_until_it_is_started() {
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let image = write(&student(3), &map).unwrap();
    let needed = Model::new_checked(&image).unwrap().header().arena_bytes as usize;
    let damaged = &image[..image.len() - 1];
    let (mut arenas, mut mask) = ([(); 3].map(|()| AlignedBox::zeroed(needed)), Mask::new());
    let [first, second, third] = &mut arenas;
    let mut engine = FixedEngine::idle();
    assert_eq!(engine.classify(&map, &mut mask), Err(EngineFailure));
    assert!(matches!(
        engine.start(damaged, first),
        Err(StartError::Model(ModelError::Length { .. }))
    ));
    assert!(matches!(
        engine.start(&image, &mut second[..100]),
        Err(StartError::Engine(EngineError::Arena { given: 100, .. }))
    ));
    assert_eq!(engine.classify(&map, &mut mask), Err(EngineFailure));
    assert_eq!(engine.start(&image, third), Ok(()));
    let answer = engine.classify(&map, &mut mask).unwrap();
    assert_eq!(answer.logits[..], engine.model().golden().logits[..]);
}

#[test]
fn impossible_tiles_are_refused_by_name() {
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let refuse = |tiles: &[(usize, u8)]| {
        let mut spec = student(4);
        for &(at, tiles) in tiles {
            spec.layers[at].tiles = tiles;
        }
        write(&spec, &map).map(|_| ())
    };
    let model = |error| Err(WriteError::Model(error));
    let mask_head = student(4).layers.len() - 1;
    // The class head would see its input several times.
    assert_eq!(refuse(&[(mask_head, 2)]), model(ModelError::Heads));
    assert_eq!(
        refuse(&[(mask_head, 29)]),
        model(ModelError::Tiles(mask_head))
    );
    // A depthwise convolution is never a target, nor is a class head.
    assert_eq!(refuse(&[(17, 1)]), model(ModelError::Tiles(17)));
    assert_eq!(refuse(&[(19, 1)]), model(ModelError::Tiles(19)));
    // Level 0's skip is read by the decoder, so that it cannot end within the first stage.
    assert!(matches!(
        refuse(&[(3, 1)]),
        Err(WriteError::Model(ModelError::Inputs(_)))
    ));
}

#[test]
fn every_schedule_gives_the_same_bits() {
    let mut random = Rng::with_seed(11);
    let spec = student(3);
    let plain = schedules(&spec.layers).unwrap();
    assert!(plain.len() >= 3, "{}", plain.len());
    assert_eq!(plain[0].layers, spec.layers);
    let maps: Vec<_> = [(52, 52), (7, 90), (224, 1)]
        .map(|(rows, cols)| {
            let dies = random_map(&mut random, rows, cols);
            let mut packed = vec![0; DieMap::packed_len(rows, cols).unwrap()];
            DieMap::pack(rows, cols, &dies, &mut packed).unwrap();
            (rows, cols, packed)
        })
        .into();
    let mut expected = Vec::new();
    for schedule in &plain {
        let spec = ModelSpec {
            layers: schedule.layers.clone(),
            ..spec.clone()
        };
        let golden = DieMap::new_checked(maps[0].0, maps[0].1, &maps[0].2).unwrap();
        let image = write(&spec, &golden).unwrap();
        let model = Model::new_checked(&image).unwrap();
        assert_eq!(model.header().arena_bytes as usize, schedule.arena_bytes);
        assert_eq!(model.header().macs, schedule.macs);
        // From any schedule all are found again.
        let again = schedules(&layer_specs(&model)).unwrap();
        let same = again
            .iter()
            .map(|s| (s.arena_bytes, s.macs))
            .eq(plain.iter().map(|s| (s.arena_bytes, s.macs)));
        assert!(same, "{} {}", schedule.recomputed, schedule.tiles);
        let mut arena = AlignedBox::zeroed(schedule.arena_bytes);
        let mut engine = FixedEngine::new(model, &mut arena).unwrap();
        let answers: Vec<_> = maps
            .iter()
            .map(|(rows, cols, packed)| {
                let map = DieMap::new_checked(*rows, *cols, packed).unwrap();
                let mut mask = Mask::new();
                (engine.infer(&map, &mut mask), mask)
            })
            .collect();
        if expected.is_empty() {
            expected = answers;
        } else {
            for (answer, expected) in answers.iter().zip(&expected) {
                let which = (schedule.recomputed, schedule.tiles);
                assert_eq!(answer.0, expected.0, "{which:?}");
                assert!(answer.1.0 == expected.1.0, "{which:?}");
            }
        }
    }
    // Less memory for more arithmetic; a budget takes what is cheapest in it, or names the smallest.
    assert!(plain[1].arena_bytes < plain[0].arena_bytes && plain[1].macs > plain[0].macs);
    let all = plain[0].arena_bytes;
    assert_eq!(cheapest(&plain, all).unwrap().recomputed, 0);
    assert_eq!(cheapest(&plain, all - 1).unwrap().recomputed, 1);
    let smallest = plain.iter().map(|s| s.arena_bytes).min().unwrap();
    assert_eq!(cheapest(&plain, smallest - 1).unwrap_err(), smallest);
    // In tiles 64 KiB are enough.
    assert!(cheapest(&plain, 64 << 10).unwrap().tiles > 1);
}

#[test]
fn first_convolutions_of_different_weights_are_refused() {
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let mut spec = student(5);
    let twice = schedules(&spec.layers).unwrap();
    spec.layers = twice[1].layers.clone();
    assert!(write(&spec, &map).is_ok());
    let is_first = |layer: &LayerSpec| layer.op == Op::ImageConv3x3;
    let second = spec.layers.iter().rposition(is_first).unwrap();
    spec.layers[second].weights[0] ^= 1;
    assert_eq!(
        write(&spec, &map).map(|_| ()),
        Err(WriteError::Model(ModelError::Table(second)))
    );
}
