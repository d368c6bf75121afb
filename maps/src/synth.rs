//! Synthetic wafer maps of all 38 classes, for tests, demos and machines without data.
//!
//! They imitate MixedWM38, whose background is simulated too: a wafer with a fixed number of failing dies at
//! random places, and on it discs, ringed holes, arcs along the rim, radial bundles and scratches. Random and
//! Near-full are coarser maps resized, as in the data set. So a result on these maps says nothing about real
//! wafers. The same arguments give the same map.

use std::f64::consts::TAU;

use fastrand::Rng;

use lightwafer_runtime::dies::{Class, MAX_GRID, Pattern};

/// Side of the grid whose coordinates all shapes use. Other grids are scaled to it.
const SIDE: f64 = 52.0;
/// Centre and radius of the wafer in these coordinates.
const CENTRE: f64 = 26.0;
const RADIUS: f64 = 25.58;
/// Number of failing dies at random places in every defect class except Random and Near-full, for 52×52.
const BACKGROUND: usize = 400;
/// The same for D+EL+L and D+ER+L.
const THIN_BACKGROUND: usize = 240;

/// `per_class` labelled wafer maps of each of the 38 classes, class after class, of `rows`×`cols` dies.
pub fn every_class(per_class: u32, seed: u64, rows: u16, cols: u16) -> crate::npz::WaferSet {
    let (mut dies, mut labels) = (Vec::new(), Vec::new());
    for class in Class::all() {
        for number in 0..u64::from(per_class) {
            // Neighbouring seeds must not give equal maps.
            let seed = seed.wrapping_mul(1 << 20).wrapping_add(number);
            dies.extend(synthesize(class, seed, rows, cols));
            labels.push(class.index());
        }
    }
    crate::npz::WaferSet {
        rows,
        cols,
        dies,
        labels: Some(labels),
    }
}

/// A wafer map of `class`: `rows`×`cols` dies, row-major, 0 no die, 1 pass, 2 fail.
/// Sides are limited to 1…256.
pub fn synthesize(class: Class, seed: u64, rows: u16, cols: u16) -> Vec<u8> {
    let side = |n: u16| usize::from(n).clamp(1, MAX_GRID);
    // Seeds that differ in few bits must not give similar maps, so mix the bits as SplitMix64 does at its end.
    let mut mixed = seed.wrapping_add(u64::from(class.index() + 1) << 56);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let mut sketch = Sketch::new(side(rows), side(cols), Rng::with_seed(mixed ^ mixed >> 31));
    let has = |pattern: Pattern| class.patterns() & pattern.bit() != 0;
    if has(Pattern::Random) {
        return sketch.coarse(Sketch::random_field);
    }
    if has(Pattern::NearFull) {
        return sketch.coarse(Sketch::near_full_field);
    }
    let edge = has(Pattern::EdgeLoc) || has(Pattern::EdgeRing);
    // In the data set, D+EL+L and D+ER+L have thicker rings on cleaner wafers than the other classes.
    let thick = has(Pattern::Donut) && has(Pattern::Loc) && edge && !has(Pattern::Scratch);
    let failing = if class == Class::NORMAL {
        sketch.rng.usize(20..300)
    } else if thick {
        THIN_BACKGROUND
    } else {
        BACKGROUND
    };
    sketch.background(failing);
    // The hole comes first, because it clears dies.
    if has(Pattern::Donut) {
        sketch.donut(thick);
    }
    if has(Pattern::Center) {
        sketch.center();
    }
    if has(Pattern::EdgeLoc) {
        let mut extent = 50.0 + 130.0 * (sketch.rng.f64() + sketch.rng.f64());
        if class.label() == "EL+L" {
            extent *= 0.65;
        }
        sketch.rim(extent.to_radians());
    }
    if has(Pattern::EdgeRing) {
        sketch.rim(TAU);
    }
    if has(Pattern::Loc) {
        sketch.loc();
    }
    if has(Pattern::Scratch) {
        sketch.scratch();
    }
    sketch.dies
}

struct Sketch {
    rng: Rng,
    rows: usize,
    cols: usize,
    dies: Vec<u8>,
}

impl Sketch {
    fn new(rows: usize, cols: usize, rng: Rng) -> Self {
        let mut sketch = Self {
            rng,
            rows,
            cols,
            dies: vec![0; rows * cols],
        };
        sketch.paint(|y, x, die| {
            if (y - CENTRE).hypot(x - CENTRE) <= RADIUS {
                *die = 1;
            }
        });
        sketch
    }

    /// Calls `each` with the position of every die, in 52×52 coordinates.
    fn paint(&mut self, mut each: impl FnMut(f64, f64, &mut u8)) {
        let at = |i: usize, n: usize| (i as f64 + 0.5) * SIDE / n as f64 - 0.5;
        let cols = self.cols;
        for (i, die) in self.dies.iter_mut().enumerate() {
            each(at(i / cols, self.rows), at(i % cols, cols), die);
        }
    }

    /// Number of dies of this grid for one die of a 52×52 grid.
    fn scale(&self) -> f64 {
        (self.rows * self.cols) as f64 / (SIDE * SIDE)
    }

    /// A uniform random number in `low`…`high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.rng.f64()
    }

    /// Makes the die at a position (in 52×52 coordinates) fail, if there is one.
    fn fail(&mut self, y: f64, x: f64) {
        let at = |v: f64, n: usize| {
            let i = ((v + 0.5) * n as f64 / SIDE).floor();
            (i >= 0.0 && i < n as f64).then_some(i as usize)
        };
        if let (Some(row), Some(col)) = (at(y, self.rows), at(x, self.cols))
            && let Some(die @ 1) = self.dies.get_mut(row * self.cols + col)
        {
            *die = 2;
        }
    }

    /// Makes exactly this number of dies (for 52×52) fail, at random places.
    fn background(&mut self, failing: usize) {
        let mut places: Vec<usize> = (0..self.dies.len())
            .filter(|i| self.dies[*i] == 1)
            .collect();
        self.rng.shuffle(&mut places);
        let count = (failing as f64 * self.scale()).round() as usize;
        for &at in places.iter().take(count) {
            self.dies[at] = 2;
        }
    }

    /// A point near the middle, for Center and Donut.
    fn middle(&mut self) -> (f64, f64) {
        (self.between(21.5, 31.5), self.between(21.5, 31.5))
    }

    /// Center: a full disc with a sharp edge.
    fn center(&mut self) {
        let ((cy, cx), radius) = (self.middle(), self.between(2.2, 8.8));
        self.paint(|y, x, die| {
            if *die == 1 && (y - cy).hypot(x - cx) <= radius {
                *die = 2;
            }
        });
    }

    /// Donut: a clean hole, and around it a ring with a frayed outer edge.
    fn donut(&mut self, thick: bool) {
        let (cy, cx) = self.middle();
        let (hole, width) = if thick {
            (self.between(2.2, 8.0), self.between(3.4, 8.0))
        } else {
            (self.between(2.6, 8.8), self.between(2.6, 7.1))
        };
        let mut rng = self.rng.fork();
        self.paint(|y, x, die| {
            let beyond = (y - cy).hypot(x - cx) - hole;
            if *die == 0 {
                return;
            }
            if beyond < -0.6 {
                *die = 1;
            } else if rng.f64() < 0.985 / (1.0 + ((beyond - width) / 0.62).exp()) {
                *die = 2;
            }
        });
    }

    /// Failing dies along the rim, over an arc of `extent` radians; its two outer rows are the densest.
    fn rim(&mut self, extent: f64) {
        let start = self.between(0.0, TAU);
        let density = self.between(0.5, 1.6);
        let mut rng = self.rng.fork();
        self.paint(|y, x, die| {
            let radius = (y - CENTRE).hypot(x - CENTRE);
            let weight = match radius {
                r if r < 23.0 => return,
                r if r < 23.5 => 0.04,
                r if r < 24.5 => 1.0,
                r if r < 25.0 => 2.6,
                _ => 2.2,
            };
            let angle = ((y - CENTRE).atan2(x - CENTRE) - start).rem_euclid(TAU);
            if *die == 1 && angle <= extent && rng.f64() > (-density * weight).exp() {
                *die = 2;
            }
        });
    }

    /// A bundle of radial strokes between middle and rim.
    fn loc(&mut self) {
        let angle = self.between(0.0, TAU);
        let extent = (14.0 + 34.0 * (self.rng.f64() + self.rng.f64())).to_radians();
        // More strokes on finer grids keep the density: a stroke covers a smaller share of their dies.
        let fine = self.scale().sqrt().max(1.0);
        let strokes = extent * self.between(20.0, 42.0) * fine;
        for _ in 0..strokes as usize {
            let angle = angle + extent * (self.rng.f64() - 0.5);
            let (inner, outer) = (self.between(11.5, 19.0), self.between(19.5, 25.0));
            self.stroke(angle, inner, outer);
        }
    }

    fn stroke(&mut self, angle: f64, inner: f64, outer: f64) {
        let step = 0.5 * SIDE / self.rows.max(self.cols).max(52) as f64;
        let (sin, cos) = angle.sin_cos();
        let mut radius = inner;
        while radius <= outer {
            self.fail(CENTRE + radius * sin, CENTRE + radius * cos);
            radius += step;
        }
    }

    /// A thin arc from one side of the rim to its bottom.
    fn scratch(&mut self) {
        let left = self.rng.bool();
        let y0 = self.between(25.0, 41.0);
        let x0 = CENTRE - (RADIUS * RADIUS - (y0 - CENTRE).powi(2)).max(0.0).sqrt();
        let x1 = self.between(23.0, 33.0);
        let y1 = CENTRE + (RADIUS * RADIUS - (x1 - CENTRE).powi(2)).max(0.0).sqrt();
        let (dy, dx) = (y1 - y0, x1 - x0);
        let length = dy.hypot(dx).max(1.0);
        let sag = self.between(1.5, 3.5);
        let (begin, end) = (self.between(0.0, 0.06), self.between(0.94, 1.0));
        // One die wide on 52×52, and proportionally wide on finer grids.
        let fine = self.scale().max(1.0);
        let spread = if fine > 1.0 { 0.8 } else { 0.0 };
        let steps = (length * 2.0 * fine) as usize;
        for i in 0..=steps {
            let t = begin + (end - begin) * i as f64 / steps.max(1) as f64;
            let bend = 4.0 * t * (1.0 - t) * sag;
            let y = y0 + dy * t - dx / length * bend;
            let x = x0 + dx * t + dy / length * bend;
            let x = if left { x } else { SIDE - x };
            if self.rng.f64() < 0.95 {
                let (dy, dx) = (self.rng.f64() - 0.5, self.rng.f64() - 0.5);
                self.fail(y + spread * dy, x + spread * dx);
            }
            if self.rng.f64() < 0.05 {
                self.fail(y, x + 1.0);
            }
        }
    }

    /// A map of a coarser grid, resized like an image: the value between no die and fail becomes pass.
    fn coarse(mut self, field: impl Fn(&mut Self) -> Box<dyn Fn(f64, f64) -> f64>) -> Vec<u8> {
        let fails = field(&mut self);
        // The sides of the coarse grid, in dies. The result is at least as fine.
        let (h, w) = (self.between(25.0, 38.0), self.between(25.0, 38.0));
        let (h, w) = (h.round() as usize, w.round() as usize);
        let mut source = vec![0.0; h * w];
        for (i, value) in source.iter_mut().enumerate() {
            let unit = |i: usize, n: usize| (2 * i + 1) as f64 / n as f64 - 1.0;
            let (y, x) = (unit(i / w, h), unit(i % w, w));
            // A little over 1, so that the outermost dies touch the sides of the grid.
            if y.hypot(x) <= 1.015 {
                *value = if self.rng.f64() < fails(y, x) {
                    2.0
                } else {
                    1.0
                };
            }
        }
        let at = |i: usize, from: usize, to: usize| {
            let position = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
            let first = (position as usize).min(from - 1);
            (first, (first + 1).min(from - 1), position - first as f64)
        };
        let (rows, cols) = (self.rows, self.cols);
        let resized = (0..rows * cols).map(|i| {
            let (y0, y1, fy) = at(i / cols, h, rows);
            let (x0, x1, fx) = at(i % cols, w, cols);
            let row = |y: usize| source[y * w + x0] * (1.0 - fx) + source[y * w + x1] * fx;
            (row(y0) * (1.0 - fy) + row(y1) * fy).round() as u8
        });
        resized.collect()
    }

    /// Random: failing dies everywhere, denser in some places.
    fn random_field(&mut self) -> Box<dyn Fn(f64, f64) -> f64> {
        let base = 0.30 + 0.17 * (self.rng.f64() + self.rng.f64());
        let (angle, slope) = (self.between(0.0, TAU), self.between(0.0, 0.22));
        let rim = self.between(-0.05, 0.3);
        let core = self.between(-0.1, 0.3);
        Box::new(move |y, x| {
            let r = y.hypot(x);
            base + slope * (y * angle.sin() + x * angle.cos())
                + if r > 0.85 { rim } else { 0.0 }
                + core * (0.5 - r)
        })
    }

    /// Near-full: nearly all dies fail; one side may be spared.
    fn near_full_field(&mut self) -> Box<dyn Fn(f64, f64) -> f64> {
        let base = 1.0 - 0.25 * self.rng.f64().powi(2);
        let (angle, limit) = (self.between(0.0, TAU), self.between(0.35, 1.25));
        let spared = self.between(0.0, 0.6);
        Box::new(move |y, x| {
            let along = y * angle.sin() + x * angle.cos();
            if along > limit { base * spared } else { base }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(dies: &[u8]) -> f64 {
        let failing = dies.iter().filter(|d| **d == 2).count();
        failing as f64 / dies.iter().filter(|d| **d != 0).count().max(1) as f64
    }

    #[test]
    fn every_class_of_every_grid_is_a_map_and_repeats() {
        for class in Class::all() {
            for (rows, cols) in [(52, 52), (1, 1), (3, 200), (26, 31), (256, 256)] {
                let dies = synthesize(class, 7, rows, cols);
                assert_eq!(dies.len(), usize::from(rows) * usize::from(cols));
                assert!(dies.iter().all(|die| *die <= 2));
                assert_eq!(dies, synthesize(class, 7, rows, cols));
            }
            assert_ne!(synthesize(class, 1, 52, 52), synthesize(class, 2, 52, 52));
        }
    }

    /// Mean share of failing dies in MixedWM38, by class.
    #[test]
    fn as_many_dies_fail_as_in_the_data_set() {
        let data_set = [
            ("Normal", 0.078),
            ("C", 0.237),
            ("D", 0.291),
            ("EL", 0.243),
            ("ER", 0.289),
            ("L", 0.242),
            ("NF", 0.830),
            ("S", 0.210),
            ("R", 0.465),
            ("C+EL+L+S", 0.344),
            ("D+ER+L+S", 0.447),
        ];
        for (label, expected) in data_set {
            let class = Class::all().find(|c| c.label() == label).unwrap();
            let sum: f64 = (0..200)
                .map(|seed| share(&synthesize(class, seed, 52, 52)))
                .sum();
            let mean = sum / 200.0;
            assert!(
                (mean - expected).abs() < 0.02,
                "{label}: {mean:.3}, the data set has {expected}"
            );
        }
    }

    #[test]
    fn the_disc_is_the_data_sets() {
        let dies = synthesize(Class::NORMAL, 0, 52, 52);
        assert_eq!(dies.iter().filter(|d| **d != 0).count(), 2061);
    }
}
