//! Which kernels a board would run for each layer of a model, worked out on a host.
//!
//! An inference is replayed with [`Observer`] in place of the kernels. It is asked for the same rows, with the same
//! shapes and at the same places of the arena, as the kernels of a board, and asks the same functions
//! ([`crate::kernels::path`]) that choose a kernel there.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;

use serde::{Serialize, Serializer};

use super::{FixedEngine, Memory};
use crate::AlignedBox;
use crate::dies::Mask;
use crate::graph::{Op, channels_in};
use crate::image::Model;
use crate::kernels::path::{self, Isa, KernelPath, SlowReason};
use crate::kernels::row::CodeRow;
use crate::kernels::row::Segment;
use crate::kernels::{Kernels, Output, Quantization};
use crate::plan::order;

/// The kernels that compute the rows of a layer on a board.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RowPaths {
    /// Number of rows that a fast kernel computes. Rows of every tile count.
    pub fast: u32,
    /// Number of rows that the general kernel computes.
    pub general: u32,
    /// Number of rows that the reference kernel computes.
    pub reference: u32,
    /// Why not all rows are computed by a fast kernel; the reason of the slowest rows.
    pub reason: Option<SlowReason>,
}

impl RowPaths {
    /// Whether a fast kernel computes all rows.
    pub const fn all_fast(&self) -> bool {
        self.general == 0 && self.reference == 0
    }

    /// The slowest kernel of any row, by name.
    pub const fn slowest(&self) -> &'static str {
        match (self.general, self.reference) {
            (0, 0) => "fast",
            (_, 0) => "general",
            _ => "reference",
        }
    }

    fn add(&mut self, path: KernelPath) {
        match path {
            KernelPath::Fast => self.fast += 1,
            KernelPath::General(reason) => {
                self.general += 1;
                if self.reference == 0 {
                    self.reason = Some(reason);
                }
            }
            KernelPath::Reference(reason) => {
                self.reference += 1;
                self.reason = Some(reason);
            }
        }
    }
}

/// `fast`, or the slower kernels, how many of the rows they compute if not all, and why.
impl fmt::Display for RowPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.fast + self.general + self.reference;
        let kinds = [(self.general, "general"), (self.reference, "reference")];
        if self.all_fast() {
            f.write_str("fast")?;
        }
        let mut separator = "";
        for (rows, name) in kinds {
            if rows == all && rows > 0 {
                write!(f, "{name}")?;
            } else if rows > 0 {
                write!(f, "{separator}{name} for {rows} of {all} rows")?;
                separator = ", ";
            }
        }
        self.reason.map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl Serialize for SlowReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A layer, and how boards compute it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LayerKernels {
    /// Position of the layer.
    pub layer: usize,
    /// Its operator.
    pub op: Op,
    /// Columns of the output.
    pub width: u16,
    /// Rows of the output.
    pub height: u16,
    /// Channels of all inputs.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: u16,
    /// Multiply-accumulates of an inference; without those of tiles' halos.
    pub macs: u64,
    /// On boards with the DSP extension.
    pub dsp: RowPaths,
    /// On boards with Helium.
    pub helium: RowPaths,
}

/// How boards compute each layer of a model. Its text is a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct KernelTable {
    /// The layers in order.
    pub layers: Vec<LayerKernels>,
}

impl KernelTable {
    /// The table of a model.
    pub fn of(model: &Model<'_>) -> Self {
        let [dsp, helium] = [Isa::Dsp, Isa::Helium].map(|isa| paths(model, isa));
        let both = dsp.into_iter().zip(helium);
        let layers = model.layers().iter().zip(both).enumerate();
        let rows = layers.map(|(at, (layer, (dsp, helium)))| {
            let inputs = channels_in(model.layers(), layer);
            let columns = match layer.op {
                Op::ClassHead => 1,
                _ => layer.width,
            };
            LayerKernels {
                layer: at,
                op: layer.op,
                width: layer.width,
                height: layer.height,
                inputs,
                outputs: layer.channels,
                macs: layer.macs(inputs, columns),
                dsp,
                helium,
            }
        });
        Self {
            layers: rows.collect(),
        }
    }
}

impl fmt::Display for KernelTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>5}  {:<17} {:>7} {:>8} {:>11}  {:<9}  Helium",
            "layer", "operator", "output", "channels", "MACs", "DSP"
        )?;
        for row in &self.layers {
            let op = format!("{:?}", row.op);
            let output = format!("{}×{}", row.height, row.width);
            let channels = format!("{}→{}", row.inputs, row.outputs);
            writeln!(
                f,
                "{:>5}  {op:<17} {output:>7} {channels:>8} {:>11}  {:<9}  {}",
                row.layer,
                row.macs,
                row.dsp.slowest(),
                row.helium.slowest()
            )?;
        }
        for row in &self.layers {
            let (at, dsp, helium) = (row.layer, &row.dsp, &row.helium);
            if dsp == helium && !dsp.all_fast() {
                writeln!(f, "layer {at}: {dsp}")?;
                continue;
            }
            for (name, paths) in [("DSP", dsp), ("Helium", helium)] {
                if !paths.all_fast() {
                    writeln!(f, "layer {at}, {name}: {paths}")?;
                }
            }
        }
        Ok(())
    }
}

/// The rows of each layer by the kernels of `isa`.
fn paths(model: &Model<'_>, isa: Isa) -> Vec<RowPaths> {
    let mut paths = alloc::vec![RowPaths::default(); model.layers().len()];
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let Some(map) = model.golden_map() else {
        return paths;
    };
    let mut memory = Memory {
        arena: Some(&mut arena),
        ..FixedEngine::idle().memory
    };
    let mut mask = Mask::new();
    memory.clear();
    order::for_each_row(model.layers(), |step| {
        let mut observer = Observer { isa, path: None };
        memory.take(model, step, &map, &mut mask, &mut observer);
        let is_class_head = model
            .layers()
            .get(step.at)
            .is_some_and(|l| l.op == Op::ClassHead);
        // Its sums are no kernel's.
        let path = match observer.path {
            None if is_class_head => Some(observer.none()),
            path => path,
        };
        if let (Some(paths), Some(path)) = (paths.get_mut(step.at), path) {
            paths.add(path);
        }
    });
    paths
}

/// Looks at the rows that kernels are asked for, and computes none.
struct Observer {
    isa: Isa,
    /// How the last row would have been computed.
    path: Option<KernelPath>,
}

impl Observer {
    /// The path of an operator that no instruction set has a kernel for.
    const fn none(&self) -> KernelPath {
        KernelPath::Reference(match self.isa {
            Isa::Portable => SlowReason::Isa,
            _ => SlowReason::Operator,
        })
    }
}

impl Kernels for Observer {
    fn dense(
        &mut self,
        segments: &[Segment<'_>],
        _weights: &[u8],
        _records: &[u8],
        quantization: Quantization,
        _scratch: &mut [i8],
        out: Output<'_>,
    ) {
        self.path = Some(path::dense(self.isa, segments, &quantization, &out));
    }

    fn depthwise(
        &mut self,
        rows: [&[i8]; 3],
        _weights: &[u8],
        _records: &[u8],
        quantization: Quantization,
        out: Output<'_>,
    ) {
        let starts = rows.map(|row| row.as_ptr().addr());
        self.path = Some(path::depthwise(self.isa, starts, &quantization, &out));
    }

    fn image(
        &mut self,
        _codes: [&CodeRow; 3],
        _table: &[i8],
        _records: &[u8],
        quantization: Quantization,
        out: Output<'_>,
    ) {
        self.path = Some(path::image(self.isa, &quantization, &out));
    }

    fn max(&mut self, _rows: [&[i8]; 2], channels: usize, out: &mut [i8]) {
        self.path = Some(path::max(self.isa, channels, out.len()));
    }

    fn mean(&mut self, _rows: [&[i8]; 2], _channels: usize, _out: &mut [i8]) {
        self.path = Some(self.none());
    }

    fn mask(
        &mut self,
        _row: &[i8],
        channels: usize,
        _weights: &[u8],
        _records: &[u8],
        out: &mut [u8],
    ) {
        self.path = Some(path::mask(self.isa, channels, out.len()));
    }
}
