//! The stack machine: opcodes, values in arenas, and the globals that may be named.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

/// The type of a storage's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 16-bit IEEE float.
    F16,
    /// bfloat16.
    BF16,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// An integer or a truth value of so many bytes: counters, never weights.
    Other(usize),
}

impl Dtype {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Other(bytes) => bytes,
        }
    }
}

/// The globals of state dicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    fn named(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            ("torch", "LongStorage") => Self::Storage(Dtype::Other(8)),
            ("torch", "IntStorage") => Self::Storage(Dtype::Other(4)),
            ("torch", "ShortStorage") => Self::Storage(Dtype::Other(2)),
            ("torch", "CharStorage" | "ByteStorage" | "BoolStorage") => {
                Self::Storage(Dtype::Other(1))
            }
            _ => return None,
        })
    }
}

/// A value; numbers in the variants are indices into the machine's arenas.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// None, truth values and floats: state dicts have them beside tensors, and nothing here needs them.
    Plain,
    Int(i64),
    Text(&'a str),
    Sequence(usize),
    Dict(usize),
    Global(Global),
    Storage(usize),
    Tensor(usize),
}

#[derive(Debug)]
pub(super) struct Storage<'a> {
    pub(super) dtype: Dtype,
    pub(super) key: &'a str,
    pub(super) elements: i64,
}

#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) storage: usize,
    pub(super) offset: i64,
    /// Sequences.
    pub(super) shape: usize,
    pub(super) stride: usize,
}

#[derive(Default)]
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pub(super) sequences: Vec<Vec<Value<'a>>>,
    pub(super) dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub(super) storages: Vec<Storage<'a>>,
    pub(super) tensors: Vec<Tensor>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            ..Default::default()
        }
    }

    /// Runs to the end; gives the value that is left on the stack.
    pub(super) fn run(&mut self) -> Result<Value<'a>> {
        loop {
            let start = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)
                .with_context(|| format!("its pickle, at byte {start}"))?;
        }
    }

    /// Runs an opcode: those that push a constant here, the others in [`Machine::combine`] and
    /// [`Machine::name`].
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // PROTO, FRAME
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Plain),
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Plain);
            }
            b'K' => {
                let value = self.byte()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => self.long()?,
            b'X' => {
                let length = self.number()?;
                self.text(length as usize)?;
            }
            0x8c => {
                let length = self.byte()?;
                self.text(length.into())?;
            }
            b')' | b']' => self.sequence(Vec::new()),
            b'}' => self.dict(),
            _ => return self.combine(opcode),
        }
        Ok(())
    }

    /// Runs an opcode that makes one value of several.
    fn combine(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b't' => {
                let items = self.marked()?;
                self.sequence(items);
            }
            0x85..=0x87 => {
                let items = self.last(usize::from(opcode - 0x84))?;
                self.sequence(items);
            }
            b'a' => {
                let items = self.last(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.marked()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.set(&items)?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set(&items)?;
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            _ => return self.name(opcode),
        }
        Ok(())
    }

    /// Runs an opcode that names a global or a storage, or keeps a value for later.
    fn name(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.last(2)?;
                let [Value::Text(module), Value::Text(name)] = names[..] else {
                    bail!("a global's name is no text");
                };
                self.global(module, name)?;
            }
            b'q' => {
                let slot = self.byte()?;
                self.keep(slot.into())?;
            }
            b'r' => {
                let slot = self.number()?;
                self.keep(slot)?;
            }
            0x94 => self.keep(u32::try_from(self.memo.len())?)?,
            b'h' => {
                let slot = self.byte()?;
                self.recall(slot.into())?;
            }
            b'j' => {
                let slot = self.number()?;
                self.recall(slot)?;
            }
            b'Q' => self.persistent()?,
            _ => bail!("opcode {opcode:#04x}, which a state dict does not need"),
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).context("it is cut off")?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn number(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// LONG1: a number of bytes, then a little-endian two's complement of that length.
    fn long(&mut self) -> Result<()> {
        let length = self.byte()?;
        let digits = self.take(length.into())?;
        ensure!(digits.len() <= 8, "a number of {length} bytes");
        let sign = digits.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut value = [if sign { 0xff } else { 0 }; 8];
        value[..digits.len()].copy_from_slice(digits);
        self.stack.push(Value::Int(i64::from_le_bytes(value)));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<()> {
        let text = std::str::from_utf8(self.take(length)?).context("text that is not UTF-8")?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(length.context("it is cut off")?)?;
        self.at += 1;
        std::str::from_utf8(line).context("a name that is not UTF-8")
    }

    fn pop(&mut self) -> Result<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        ensure!(
            self.stack.len() > floor,
            "a value is used that is not there"
        );
        self.stack
            .pop()
            .context("a value is used that is not there")
    }

    fn last(&mut self, count: usize) -> Result<Vec<Value<'a>>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count);
        let from = from.filter(|from| *from >= floor);
        Ok(self
            .stack
            .split_off(from.context("a value is used that is not there")?))
    }

    fn marked(&mut self) -> Result<Vec<Value<'a>>> {
        let mark = self
            .marks
            .pop()
            .context("a mark is used that is not there")?;
        ensure!(mark <= self.stack.len(), "values before a mark were used");
        Ok(self.stack.split_off(mark))
    }

    fn sequence(&mut self, items: Vec<Value<'a>>) {
        self.stack.push(Value::Sequence(self.sequences.len()));
        self.sequences.push(items);
    }

    fn dict(&mut self) {
        self.stack.push(Value::Dict(self.dicts.len()));
        self.dicts.push(Vec::new());
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Result<()> {
        let list = self.pop()?;
        self.stack.push(list);
        let Value::Sequence(list) = list else {
            bail!("something is appended to what is no list");
        };
        self.sequences[list].extend(items);
        Ok(())
    }

    fn set(&mut self, items: &[Value<'a>]) -> Result<()> {
        let dict = self.pop()?;
        self.stack.push(dict);
        let Value::Dict(dict) = dict else {
            bail!("an entry is set in what is no dictionary");
        };
        let (pairs, rest) = items.as_chunks::<2>();
        ensure!(rest.is_empty(), "a key has no value");
        self.dicts[dict].extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let global = Global::named(module, name).with_context(|| {
            format!(
                "it asks for {module}.{name}, which no state dict needs; it was not run. Save what \
             the model's state_dict() returns, alone"
            )
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn keep(&mut self, slot: u32) -> Result<()> {
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<()> {
        let value = self.memo.get(&slot);
        let value = *value.with_context(|| format!("memo {slot} is used before it is set"))?;
        self.stack.push(value);
        Ok(())
    }

    /// `('storage', type, key, device, elements)`: a storage in a file of its own.
    fn persistent(&mut self) -> Result<()> {
        let Value::Sequence(parts) = self.pop()? else {
            bail!("a persistent id is no tuple");
        };
        let [
            Value::Text("storage"),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            Value::Text(_device),
            Value::Int(elements),
        ] = self.sequences[parts][..]
        else {
            bail!("a persistent id is no storage");
        };
        self.stack.push(Value::Storage(self.storages.len()));
        self.storages.push(Storage {
            dtype,
            key,
            elements,
        });
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let parts = self.last(2)?;
        let [Value::Global(global), Value::Sequence(arguments)] = parts[..] else {
            bail!("what is called is no function, or not with a tuple");
        };
        match (global, &self.sequences[arguments][..]) {
            (Global::OrderedDict, []) => self.dict(),
            (
                Global::RebuildTensor,
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Sequence(shape),
                    Value::Sequence(stride),
                    ..,
                ],
            ) => {
                self.stack.push(Value::Tensor(self.tensors.len()));
                self.tensors.push(Tensor {
                    storage,
                    offset,
                    shape,
                    stride,
                });
            }
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => self.stack.push(*tensor),
            _ => bail!("{global:?} is called with what it does not take"),
        }
        Ok(())
    }

    /// Attributes of an ordered dictionary: PyTorch keeps versions of modules there.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        let target = self.pop()?;
        ensure!(
            matches!(target, Value::Dict(_)),
            "attributes are set on what is no dictionary"
        );
        self.stack.push(target);
        Ok(())
    }
}
