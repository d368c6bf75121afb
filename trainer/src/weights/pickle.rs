//! Reads the pickle of a PyTorch state dict without executing anything.
//!
//! A pickle is a program for a small stack machine, and unpickling a stranger's file in Python can run any code.
//! This reader knows the opcodes that `torch.save` writes for dictionaries of tensors and
//! the dozen globals that they name; anything else is refused by its name.
//!
//! The bytes are untrusted. [`parse`] does not panic and its recursion has a limit. Its memory is a
//! small multiple of the pickle's length: values are indices into arenas, so nesting costs no stack when
//! they are dropped, and a value that is used twice is kept once.

mod machine;

use anyhow::{Context, Result, bail, ensure};

pub use machine::Dtype;
use machine::{Machine, Tensor, Value};

/// The most bytes of a pickle, which holds names and shapes: many times the need of a deep network.
pub const LIMIT: usize = 8 << 20;
/// Most dictionaries and lists around a tensor.
const DEPTH: usize = 16;
/// The most values that are searched for tensors: many times the need of a deep network.
const VISITS: usize = 1 << 16;
/// Most bytes of a key.
const KEY: usize = 256;
/// Most dimensions of a tensor.
const RANK: usize = 8;

/// A tensor as the pickle describes it: a view of a storage, proven to lie within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The storage's name in the archive.
    pub storage: String,
    /// Its elements.
    pub dtype: Dtype,
    /// How many it has.
    pub elements: usize,
    /// The element that the view begins at.
    pub offset: i64,
    /// Size by dimension.
    pub shape: Vec<i64>,
    /// Elements from one index to the next, by dimension.
    pub stride: Vec<i64>,
}

/// The tensors of a pickle under the keys that lead to them, joined by dots, in the file's order.
///
/// # Errors
/// When the pickle is cut off, too long, nested too deeply, names a global or an opcode that state dicts
/// do not need, or holds a tensor outside its storage; with the place or the name.
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, View)>> {
    ensure!(
        bytes.len() <= LIMIT,
        "its pickle has {} bytes; a state dict's has {LIMIT} at most",
        bytes.len()
    );
    let mut machine = Machine::new(bytes);
    let root = machine.run()?;
    let mut found = Vec::new();
    let mut visits = 0;
    machine.collect(root, &mut Vec::new(), &mut found, &mut visits)?;
    Ok(found)
}

impl<'a> Machine<'a> {
    /// Adds the tensors in `value`, which `path` leads to.
    fn collect(
        &self,
        value: Value<'a>,
        path: &mut Vec<String>,
        found: &mut Vec<(String, View)>,
        visits: &mut usize,
    ) -> Result<()> {
        *visits += 1;
        ensure!(*visits <= VISITS, "it holds more than {VISITS} values");
        ensure!(
            path.len() <= DEPTH,
            "it is nested deeper than {DEPTH} levels, at {}",
            path.join(".")
        );
        let mut enter = |key: String, value| {
            path.push(key);
            self.collect(value, path, found, visits)?;
            path.pop();
            Ok(())
        };
        match value {
            Value::Dict(dict) => self.dicts[dict].iter().try_for_each(|(key, value)| {
                let key = match key {
                    Value::Text(text) if text.len() <= KEY => (*text).to_owned(),
                    Value::Text(text) => bail!("it has a key of {} bytes", text.len()),
                    Value::Int(number) => number.to_string(),
                    _ => "?".to_owned(),
                };
                enter(key, *value)
            }),
            Value::Sequence(items) => {
                let mut items = self.sequences[items].iter().enumerate();
                items.try_for_each(|(i, value)| enter(i.to_string(), *value))
            }
            Value::Tensor(tensor) => {
                let name = path.join(".");
                let view = self.view(&self.tensors[tensor]);
                let view = view.with_context(|| format!("tensor {name}"))?;
                found.push((name, view));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn view(&self, tensor: &Tensor) -> Result<View> {
        let storage = &self.storages[tensor.storage];
        let numbers = |sequence: usize| {
            let items = self.sequences[sequence].iter();
            let items = items.map(|item| match item {
                Value::Int(number) if *number >= 0 => Ok(*number),
                _ => bail!("its shape is not made of numbers from zero"),
            });
            items.collect::<Result<Vec<i64>>>()
        };
        let rank = self.sequences[tensor.shape].len();
        ensure!(
            rank <= RANK && rank == self.sequences[tensor.stride].len(),
            "its shape has {rank} dimensions and {} strides",
            self.sequences[tensor.stride].len()
        );
        let (shape, stride) = (numbers(tensor.shape)?, numbers(tensor.stride)?);
        // The last element that the view reaches; none when it has none.
        let mut last = Some(tensor.offset);
        for (size, step) in shape.iter().zip(&stride) {
            let reach = size.saturating_sub(1).checked_mul(*step);
            last = last.zip(reach).and_then(|(a, b)| a.checked_add(b));
        }
        let fits = last.is_some_and(|last| last < storage.elements);
        ensure!(
            storage.elements >= 0 && tensor.offset >= 0 && (fits || shape.contains(&0)),
            "it reaches outside its storage of {} elements",
            storage.elements
        );
        Ok(View {
            storage: storage.key.to_owned(),
            dtype: storage.dtype,
            elements: usize::try_from(storage.elements)?,
            offset: tensor.offset,
            shape,
            stride,
        })
    }
}
