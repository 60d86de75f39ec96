//! Everything that can be wrong with a checkpoint, one value per fault.
//!
//! An import never stops at the first fault: stages push into a `Vec<Fault>` and [`ImportError`] carries the whole
//! list, so that a user repairs a checkpoint in one go. Each message names the file, tensor or key, what was found,
//! what was expected and, where there is one, the way out.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// At most this many faults are spelled out by `Display`; the list itself is complete.
const SHOWN: usize = 400;

/// One thing that is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The operating system refused a read.
    #[error("{}: cannot be read: {detail}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's message.
        detail: String,
    },
    /// The path names no folder.
    #[error("{}: not a folder; give the folder that holds config.json and model.safetensors", path.display())]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// A file that every checkpoint has is absent.
    #[error("{file} is missing: {detail}")]
    MissingFile {
        /// Name of the absent file.
        file: String,
        /// What it is for, or what was found in its place.
        detail: String,
    },
    /// The weights are there only as Python pickles.
    #[error(
        "{}: weights stored as Python pickles are refused, because opening a pickle runs whatever code is in it; \
         convert them on a machine that may run it: \
         `AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)`, then give OUT",
        files.join(", ")
    )]
    Pickle {
        /// Names of the pickle files.
        files: Vec<String>,
    },
    /// A JSON file cannot be parsed or is not what it should be.
    #[error("{file}: {detail}")]
    Json {
        /// Name of the file.
        file: String,
        /// Parser's message with line and column, or the wrong shape.
        detail: String,
    },
    /// The index of a sharded checkpoint names a file that is not there.
    #[error("{shard} is missing: {index} places {tensors} tensors in it (the first is {first}); download it again")]
    MissingShard {
        /// Name of the index file.
        index: String,
        /// Name of the absent shard.
        shard: String,
        /// How many tensors the index places in it.
        tensors: usize,
        /// First of them by name.
        first: String,
    },
    /// Index and shards disagree about one tensor.
    #[error("{index}: {tensor}: {detail}")]
    Index {
        /// Name of the index file.
        index: String,
        /// The tensor.
        tensor: String,
        /// How they disagree.
        detail: String,
    },
    /// The frame of a safetensors file is broken: header length, header text, or file length.
    #[error("{file}: {detail}")]
    Header {
        /// Name of the file.
        file: String,
        /// What is broken.
        detail: String,
    },
    /// One header entry is broken.
    #[error("{file}: tensor {tensor}: {detail}")]
    Entry {
        /// Name of the file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What is broken.
        detail: String,
    },
    /// A tensor is stored in a number format that is no weight format.
    #[error("{file}: tensor {tensor} is stored as {dtype}; only F32, F16 and BF16 weights can be imported")]
    Dtype {
        /// Name of the file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The format's name in the header.
        dtype: String,
    },
    /// A configuration value is absent, of the wrong type or out of range.
    #[error("{file}: {key}: {detail}")]
    Config {
        /// Name of the file.
        file: String,
        /// The key, dotted when nested.
        key: String,
        /// Found and expected.
        detail: String,
    },
    /// A configuration asks for something that is not built.
    #[error("{file}: {key} = {found} is not supported: {detail}")]
    Unsupported {
        /// Name of the file.
        file: String,
        /// The key, dotted when nested.
        key: String,
        /// The value found.
        found: String,
        /// What it means and what is supported instead.
        detail: String,
    },
    /// A read of a tensor that the checkpoint does not have.
    #[error("tensor {tensor} was asked for; the checkpoint has none of that name")]
    NoSuchTensor {
        /// The name asked for.
        tensor: String,
    },
    /// A longer context was asked for than the model was made for.
    #[error("a context of {asked} tokens was asked for; the model was made for at most {most} (max_position_embeddings)")]
    Context {
        /// Tokens asked for.
        asked: usize,
        /// Tokens the model was made for.
        most: usize,
    },
    /// The architecture needs a tensor that the checkpoint lacks.
    #[error("tensor {tensor} is missing: the configuration needs it with shape {}", Shape(expected))]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// Its shape by the configuration.
        expected: Vec<usize>,
    },
    /// The checkpoint holds a tensor that the architecture does not use.
    #[error("tensor {tensor} of shape {} has no place in this architecture: {detail}", Shape(found))]
    SurplusTensor {
        /// The tensor.
        tensor: String,
        /// Its stored shape.
        found: Vec<usize>,
        /// Why it is not expected.
        detail: String,
    },
    /// A tensor has another shape than the configuration implies.
    #[error("tensor {tensor} has shape {}, the configuration needs {}", Shape(found), Shape(expected))]
    Misshapen {
        /// The tensor.
        tensor: String,
        /// Its stored shape.
        found: Vec<usize>,
        /// Its shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor holds values that are no numbers.
    #[error("tensor {tensor} holds {nan} NaN and {infinite} infinite values, the first at element {first}")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// Row-major index of the first such element.
        first: u64,
        /// Count of NaN elements.
        nan: u64,
        /// Count of infinite elements.
        infinite: u64,
    },
    /// The configuration ties two tensors that are stored and differ.
    #[error(
        "tensor {head} differs from {embed} although config.json says tie_word_embeddings = true; \
         set it to false if the head is meant to be separate, or delete {head}"
    )]
    NotTied {
        /// The output head.
        head: String,
        /// The token embedding.
        embed: String,
    },
}

/// A checkpoint that cannot be imported, with every fault found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ImportError {
    /// The checkpoint's folder as given.
    pub dir: PathBuf,
    /// All faults, in the order of the stages that found them; never empty.
    pub faults: Vec<Fault>,
}

impl ImportError {
    /// An error of the faults found in `dir`, each listed once.
    pub fn new(dir: &Path, faults: Vec<Fault>) -> Self {
        let mut unique: Vec<Fault> = Vec::with_capacity(faults.len());
        for fault in faults {
            // Two stages may see the same absent file; tensor faults come one per tensor from a single stage.
            let seen = matches!(fault, Fault::Io { .. } | Fault::NotAFolder { .. } | Fault::MissingFile { .. }) && unique.contains(&fault);
            if !seen {
                unique.push(fault);
            }
        }
        Self { dir: dir.to_owned(), faults: unique }
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(f, "cannot import {}: {count} {noun}", self.dir.display())?;
        for fault in self.faults.iter().take(SHOWN) {
            write!(f, "\n  {fault}")?;
        }
        if count > SHOWN {
            write!(f, "\n  and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

/// Something odd that does not stop an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Name of the file it is about.
    pub file: String,
    /// What is odd and what was done about it.
    pub detail: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.detail)
    }
}

/// Prints a shape as `[2048, 5632]`.
struct Shape<'a>(&'a [usize]);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
