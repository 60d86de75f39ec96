//! What can be wrong with a folder's tokenizer.

use std::path::PathBuf;

use thiserror::Error;

/// A tokenizer that cannot be compiled. Lists hold every fault found.
#[derive(Debug, Error)]
pub enum TokenizerError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not JSON of the expected form.
    #[error("{}: not the expected JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The tokenizer uses what this compiler does not know.
    #[error("{}: unsupported: {}; supported are BPE over bytes or characters and Unigram, see compiler/README.md", path.display(), items.join("; "))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Each unsupported item by name.
        items: Vec<String>,
    },
    /// The tokenizer contradicts itself.
    #[error("{}: {}", path.display(), items.join("; "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Each fault.
        items: Vec<String>,
    },
}
