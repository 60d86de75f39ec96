//! A Hugging Face checkpoint on disk: its tensors by name, read piece by piece.
//!
//! Opening reads headers only. Reads are positioned, so one `Checkpoint` serves all threads at once, and nothing is
//! mapped or held: memory is what the caller asks for plus one block.

use super::{
    fault::{Fault, ImportError},
    folder, header,
    stored::StoredDtype,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Bytes read at a time: small enough to be converted while still in the second-level cache.
pub(super) const READ_BLOCK: usize = 256 << 10;

/// One stored tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the checkpoint.
    pub name: String,
    /// How its elements are stored.
    pub dtype: StoredDtype,
    /// Its shape, outermost dimension first; rows lie one after the other.
    pub shape: Vec<usize>,
    /// Index into [`Checkpoint::files`].
    pub file: usize,
    /// Start of its bytes from the start of the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl TensorInfo {
    /// Number of rows: the first dimension, 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Elements per row: the product of all dimensions but the first; 0 in a tensor without elements.
    pub fn row_len(&self) -> usize {
        (self.elements() as usize).checked_div(self.rows()).unwrap_or(0)
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.len / self.dtype.size() as u64
    }
}

/// An open checkpoint folder.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    names: Vec<String>,
    files: Vec<File>,
    tensors: Vec<TensorInfo>,
}

impl Checkpoint {
    /// Opens the checkpoint in `dir`: `config.json` and `model.safetensors` or the shards of
    /// `model.safetensors.index.json`.
    ///
    /// # Errors
    /// Every fault of the folder, the index and all headers at once.
    pub fn open(dir: &Path) -> Result<Self, ImportError> {
        let mut faults = Vec::new();
        let checkpoint = Self::open_collecting(dir, &mut faults);
        if faults.is_empty() { Ok(checkpoint) } else { Err(ImportError::new(dir, faults)) }
    }

    /// As [`Checkpoint::open`], holding what could be read, so that an import can go on looking for faults.
    pub(super) fn open_collecting(dir: &Path, faults: &mut Vec<Fault>) -> Self {
        let layout = folder::layout(dir, faults);
        let mut checkpoint = Self { dir: dir.to_owned(), names: Vec::new(), files: Vec::new(), tensors: Vec::new() };
        for name in layout.files {
            let path = dir.join(&name);
            match File::open(&path) {
                Ok(file) => {
                    let number = checkpoint.files.len();
                    let found = header::read(&file, &name, faults);
                    checkpoint.tensors.extend(found.into_iter().map(|stored| TensorInfo {
                        name: stored.name,
                        dtype: stored.dtype,
                        shape: stored.shape,
                        file: number,
                        offset: stored.offset,
                        len: stored.len,
                    }));
                    checkpoint.names.push(name);
                    checkpoint.files.push(file);
                }
                Err(error) => faults.push(Fault::Io { path, detail: error.to_string() }),
            }
        }
        checkpoint.tensors.sort_by(|a, b| (&a.name, a.file).cmp(&(&b.name, b.file)));
        if let Some(index) = layout.index {
            checkpoint.check_index(&index, faults);
        }
        checkpoint
    }

    /// The folder as given.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Names of the weight files in the folder.
    pub fn files(&self) -> &[String] {
        &self.names
    }

    /// All tensors, sorted by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let at = self.tensors.binary_search_by(|t| t.name.as_str().cmp(name)).ok()?;
        self.tensors.get(at)
    }

    /// Replaces the content of `out` by rows `rows` of a tensor, converted to f32.
    ///
    /// # Errors
    /// An unknown name, rows outside the tensor, or a failed read.
    pub fn read_rows_f32(&self, name: &str, rows: Range<usize>, out: &mut Vec<f32>) -> Result<(), ImportError> {
        let info = self.known(name)?;
        if rows.start > rows.end || rows.end > info.rows() {
            return Err(self.error(Fault::Entry {
                file: self.names[info.file].clone(),
                tensor: name.to_owned(),
                detail: format!("rows {}..{} were asked for, it has {}", rows.start, rows.end, info.rows()),
            }));
        }
        let row_bytes = (info.row_len() * info.dtype.size()) as u64;
        let start = rows.start as u64 * row_bytes;
        let end = rows.end as u64 * row_bytes;
        out.clear();
        out.reserve(rows.len() * info.row_len());
        let mut block = vec![0u8; READ_BLOCK.min((end - start) as usize)];
        self.read_blocks(info, start..end, &mut block, |bytes| {
            info.dtype.extend_f32(bytes, out);
        })
        .map_err(|fault| self.error(fault))
    }

    /// The stored bytes of a tensor, little-endian in its own dtype.
    ///
    /// # Errors
    /// An unknown name or a failed read.
    pub fn read_raw(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let info = self.known(name)?;
        let mut bytes = vec![0u8; info.len as usize];
        self.read_at(info, 0, &mut bytes).map_err(|fault| self.error(fault))?;
        Ok(bytes)
    }

    /// Hands the bytes `range` of a tensor to `take` in blocks of `block.len()`, in order. The block's length must be
    /// a multiple of the element size.
    pub(super) fn read_blocks(&self, info: &TensorInfo, range: Range<u64>, block: &mut [u8], mut take: impl FnMut(&[u8])) -> Result<(), Fault> {
        let mut at = range.start;
        while at < range.end {
            let len = (range.end - at).min(block.len() as u64) as usize;
            let bytes = &mut block[..len];
            self.read_at(info, at, bytes)?;
            take(bytes);
            at += len as u64;
        }
        Ok(())
    }

    fn read_at(&self, info: &TensorInfo, at: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        self.files[info.file].read_exact_at(bytes, info.offset + at).map_err(|error| Fault::Entry {
            file: self.names[info.file].clone(),
            tensor: info.name.clone(),
            detail: format!("cannot be read at byte {}: {error}", info.offset + at),
        })
    }

    fn known(&self, name: &str) -> Result<&TensorInfo, ImportError> {
        self.tensor(name).ok_or_else(|| self.error(Fault::NoSuchTensor { tensor: name.to_owned() }))
    }

    /// An error of one fault in this checkpoint.
    pub(super) fn error(&self, fault: Fault) -> ImportError {
        ImportError::new(&self.dir, vec![fault])
    }

    /// The index and the shards that are there must list the same tensors.
    fn check_index(&self, index: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
        // A shard that is absent, or whose header is broken, has its own fault.
        let mut readable = BTreeSet::new();
        let mut last = usize::MAX;
        for tensor in &self.tensors {
            if tensor.file != last {
                last = tensor.file;
                readable.insert(self.names[last].as_str());
            }
        }
        let mut disagree = |tensor: &str, detail: String| {
            faults.push(Fault::Index { index: folder::INDEX.to_owned(), tensor: tensor.to_owned(), detail });
        };
        for (tensor, shard) in index {
            let first = self.tensors.partition_point(|t| t.name < *tensor);
            let holders: Vec<&str> = self.tensors[first..].iter().take_while(|t| t.name == *tensor).map(|t| self.names[t.file].as_str()).collect();
            if readable.contains(shard.as_str()) && !holders.contains(&shard.as_str()) {
                disagree(tensor, format!("{shard} does not hold it"));
            }
            for holder in holders.into_iter().filter(|h| h != shard) {
                disagree(tensor, format!("placed in {shard}, but {holder} holds it too"));
            }
        }
        for tensor in &self.tensors {
            if !index.contains_key(&tensor.name) {
                disagree(&tensor.name, format!("{} holds it, the index does not list it", self.names[tensor.file]));
            }
        }
    }
}
