//! Named tensors in a file: safetensors, or what `torch.save(model.state_dict(), …)` writes.
//!
//! Opening a file reads its names and shapes. A tensor's values are read when they are asked for, so that
//! memory is not taken for sizes that a stranger's file only claims.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use safetensors::tensor::{self, SafeTensors};
use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Dtype, View};

/// The first bytes of a file of `torch.save` before PyTorch 1.6: a pickle of its magic number.
const LEGACY: [u8; 14] = [
    0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19,
];
/// Most values that a tensor may have beyond its storage's (an expanded one repeats them).
const EXPANDED: i64 = 1 << 20;

/// The named tensors of a file.
pub struct StateDict {
    file: String,
    tensors: BTreeMap<String, View>,
    source: Source,
}

enum Source {
    Safetensors(Vec<u8>),
    PyTorch(Box<Archive>),
}

impl StateDict {
    /// Reads names and shapes. The format is told from the content, not from the name.
    ///
    /// # Errors
    /// When the file cannot be read, is of neither format, or is damaged; with what to do about it, where something
    /// can be done.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let refused = || format!("{file} cannot be loaded");
        let open = || File::open(path).with_context(|| format!("cannot read {file}"));
        let mut start = Vec::new();
        let head = open()?.take(LEGACY.len() as u64).read_to_end(&mut start);
        head.with_context(|| format!("cannot read {file}"))?;
        let (tensors, source) = if start.starts_with(b"PK") {
            let mut archive = Archive::open(open()?).with_context(refused)?;
            let tensors = archive.tensors().with_context(refused)?;
            (tensors, Source::PyTorch(Box::new(archive)))
        } else if start == LEGACY {
            return Err(legacy(&file));
        } else if start.get(8) == Some(&b'{') {
            let bytes = fs::read(path).with_context(|| format!("cannot read {file}"))?;
            (
                safe(&bytes).with_context(refused)?,
                Source::Safetensors(bytes),
            )
        } else {
            bail!(
                "{file} is neither a safetensors file nor a zip archive of torch.save; weights are \
                 read from these two"
            );
        };
        Ok(Self {
            file,
            tensors,
            source,
        })
    }

    /// The file's path, as given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The tensors' names, sorted. Dictionaries in dictionaries are joined by dots.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.tensors.get(name).map(|view| view.shape.as_slice())
    }

    /// The values of a tensor as contiguous f32 on the CPU; they are finite.
    ///
    /// # Errors
    /// When it is not there, not of floats, its bytes are damaged, or a value is not finite.
    pub fn tensor(&mut self, name: &str) -> Result<Tensor> {
        let tensor = self.values(name);
        tensor.with_context(|| format!("{}: tensor {name}", self.file))
    }

    fn values(&mut self, name: &str) -> Result<Tensor> {
        let view = self.tensors.get(name).context("it is not there")?;
        let kind = match view.dtype {
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::Other(_) => bail!("it is made of integers; floats are needed"),
        };
        let count = view.shape.iter().try_fold(1, |n: i64, d| n.checked_mul(*d));
        let most = EXPANDED.max(i64::try_from(view.elements)?);
        ensure!(
            count.is_some_and(|count| count <= most),
            "its shape {:?} is beyond its {} values",
            view.shape,
            view.elements
        );
        let flat = match &mut self.source {
            Source::Safetensors(bytes) => {
                let file = SafeTensors::deserialize(bytes)?;
                let data = file.tensor(&view.storage)?.data();
                Tensor::from_data_size(data, &[i64::try_from(view.elements)?], kind)
            }
            Source::PyTorch(archive) => archive.storage(view, kind)?,
        };
        let tensor = if count == Some(0) {
            Tensor::zeros(view.shape.as_slice(), (Kind::Float, tch::Device::Cpu))
        } else {
            // Within the storage: `pickle::parse` has checked it.
            flat.as_strided(view.shape.as_slice(), view.stride.as_slice(), view.offset)
                .to_kind(Kind::Float)
                .contiguous()
        };
        let finite = bool::try_from(tensor.isfinite().all())?;
        ensure!(finite, "it holds values that are not finite");
        Ok(tensor)
    }
}

fn legacy(file: &str) -> Error {
    anyhow!(
        "{file} was saved in the format before PyTorch 1.6, which is not read; save it anew:\n  \
         python3 -c \"import sys, torch; torch.save(torch.load(sys.argv[1], map_location='cpu', \
         weights_only=True), sys.argv[2])\" {file} NEW.pth"
    )
}

/// The tensors of a safetensors file.
fn safe(bytes: &[u8]) -> Result<BTreeMap<String, View>> {
    let file = SafeTensors::deserialize(bytes).context("it is a damaged safetensors file")?;
    let tensors = file.iter().map(|(name, tensor)| {
        let dtype = match tensor.dtype() {
            tensor::Dtype::F16 => Dtype::F16,
            tensor::Dtype::BF16 => Dtype::BF16,
            tensor::Dtype::F32 => Dtype::F32,
            tensor::Dtype::F64 => Dtype::F64,
            other => Dtype::Other(other.bitsize() / 8),
        };
        let shape = tensor.shape().iter().map(|d| i64::try_from(*d));
        let shape = shape.collect::<Result<Vec<_>, _>>()?;
        let mut stride = vec![1; shape.len()];
        for i in (1..shape.len()).rev() {
            stride[i - 1] = i64::saturating_mul(stride[i], shape[i].max(1));
        }
        let view = View {
            storage: name.to_owned(),
            dtype,
            elements: shape.iter().product::<i64>().try_into()?,
            offset: 0,
            shape,
            stride,
        };
        Ok((name.to_owned(), view))
    });
    tensors.collect()
}

/// The zip archive that `torch.save` writes: `NAME/data.pkl` and the storages `NAME/data/KEY`.
struct Archive<R = BufReader<File>> {
    zip: ZipArchive<R>,
    /// `NAME/`.
    prefix: String,
    bytes: u64,
    /// The storage read last: some files keep all tensors in one.
    last: Option<(String, Tensor)>,
}

impl Archive {
    fn open(file: File) -> Result<Self> {
        let bytes = file.metadata()?.len();
        Self::new(BufReader::new(file), bytes)
    }
}

impl<R: Read + Seek> Archive<R> {
    fn new(reader: R, bytes: u64) -> Result<Self> {
        let zip = ZipArchive::new(reader).context("it is a damaged zip archive")?;
        let names: Vec<&[u8]> = zip.file_names_raw().collect();
        let with = |end: &[u8]| {
            names
                .iter()
                .filter_map(|name| name.strip_suffix(end))
                .collect()
        };
        let (pickles, scripts): (Vec<_>, Vec<_>) = (with(b"data.pkl"), with(b"constants.pkl"));
        ensure!(
            scripts.is_empty(),
            "it is a TorchScript archive; save its weights: torch.save(torch.jit.load(FILE).state_dict(), \
             'NEW.pth')"
        );
        let [prefix] = pickles[..] else {
            bail!(
                "it is a zip archive with {} files data.pkl; torch.save writes one",
                pickles.len()
            );
        };
        let prefix = std::str::from_utf8(prefix).context("its data.pkl has no readable name")?;
        let prefix = prefix.to_owned();
        let mut archive = Self {
            zip,
            prefix,
            bytes,
            last: None,
        };
        if archive
            .zip
            .index_for_name(&archive.name("byteorder"))
            .is_some()
        {
            let order = archive.member("byteorder", 16)?;
            ensure!(
                order == b"little",
                "it was saved on a big-endian machine, whose order of bytes is not read"
            );
        }
        Ok(archive)
    }

    fn name(&self, member: &str) -> String {
        format!("{}{member}", self.prefix)
    }

    /// A member's bytes, checked against the archive's CRC-32.
    fn member(&mut self, member: &str, limit: u64) -> Result<Vec<u8>> {
        let name = self.name(member);
        let all = self.bytes;
        let mut read = || {
            let mut entry = self.zip.by_name(&name)?;
            // Uncompressed, as torch.save writes it, so that no more is read than the file has.
            ensure!(
                entry.compression() == CompressionMethod::Stored,
                "it is compressed"
            );
            let size = entry.size();
            ensure!(
                size <= limit && size <= all,
                "it has {size} bytes; {} at most are expected",
                limit.min(all)
            );
            let mut bytes = Vec::with_capacity(usize::try_from(size)?);
            entry.by_ref().take(size + 1).read_to_end(&mut bytes)?;
            ensure!(bytes.len() as u64 == size, "it is cut off");
            Ok(bytes)
        };
        read().with_context(|| format!("its member {name}"))
    }

    fn tensors(&mut self) -> Result<BTreeMap<String, View>> {
        let bytes = self.member("data.pkl", pickle::LIMIT as u64)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in pickle::parse(&bytes)? {
            let twice = tensors.insert(name.clone(), view).is_some();
            ensure!(!twice, "it holds tensor {name} twice");
        }
        Ok(tensors)
    }

    /// A storage as a flat tensor.
    fn storage(&mut self, view: &View, kind: Kind) -> Result<Tensor> {
        if let Some((key, flat)) = &self.last
            && *key == view.storage
            && flat.kind() == kind
            && flat.numel() == view.elements
        {
            return Ok(flat.shallow_clone());
        }
        let expected = view.elements.checked_mul(view.dtype.bytes());
        let expected = expected.context("its storage's size overflows")?;
        let bytes = self.member(&format!("data/{}", view.storage), expected as u64)?;
        ensure!(
            bytes.len() == expected,
            "its storage has {} bytes; {expected} are needed",
            bytes.len()
        );
        let flat = Tensor::from_data_size(&bytes, &[i64::try_from(view.elements)?], kind);
        self.last = Some((view.storage.clone(), flat.shallow_clone()));
        Ok(flat)
    }
}
