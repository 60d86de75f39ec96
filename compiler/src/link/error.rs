//! What can go wrong when linking.

use std::path::PathBuf;

/// Linking failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No lld was found.
    #[error("no linker found: looked for {looked}")]
    NoLinker {
        /// Every place that was tried.
        looked: String,
    },
    /// The linker asked for does not run.
    #[error("linker {}: {detail}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's message.
        detail: String,
    },
    /// The linker gave up.
    #[error("linker {} failed ({status}): {words}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// Its exit status.
        status: String,
        /// What it wrote on standard error.
        words: String,
    },
    /// Shared objects can be linked for ELF targets only.
    #[error("no way to link for {triple}: known are x86-64 and arm64 with the GNU C library or Android's")]
    Triple {
        /// The triple.
        triple: String,
    },
    /// An object is not what it should be.
    #[error("{what} is not a readable object file: {detail}")]
    Object {
        /// Which object.
        what: String,
        /// The reader's message.
        detail: String,
    },
    /// The code calls functions that are not offered to bundles.
    #[error("the code uses functions that no bundle may use: {}", names.join(", "))]
    Forbidden {
        /// Their names.
        names: Vec<String>,
    },
    /// A temporary file could not be written or read.
    #[error("{what}: {detail}")]
    Io {
        /// Which file.
        what: String,
        /// The system's message.
        detail: String,
    },
}

impl LinkError {
    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        Self::Io { what: what.to_owned(), detail: error.to_string() }
    }

    /// What a user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoLinker { .. } | Self::Start { .. } => {
                Some("install lld (Debian, Ubuntu: apt-get install lld; macOS: brew install lld) or name one with --linker PATH")
            }
            Self::Io { .. } => Some("temporary files go to the folder that TMPDIR names; give it room"),
            Self::Failed { .. } | Self::Triple { .. } | Self::Object { .. } | Self::Forbidden { .. } => None,
        }
    }
}
