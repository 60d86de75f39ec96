//! What can be wrong with a bundle, and with writing one.

use std::io;
use std::path::{Path, PathBuf};

/// One thing that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The folder or a file cannot be read.
    #[error("{path}: {detail}")]
    Io {
        /// Path in the bundle.
        path: String,
        /// The system's message.
        detail: String,
    },
    /// The manifest is broken.
    #[error("manifest.json: {detail}")]
    Manifest {
        /// How.
        detail: String,
    },
    /// A file of the manifest is not there.
    #[error("{path}: missing")]
    Missing {
        /// Path in the bundle.
        path: String,
    },
    /// A file that the manifest does not know.
    #[error("{path}: not in the manifest; a bundle holds no other files")]
    Unknown {
        /// Path in the bundle.
        path: String,
    },
    /// A file has another size.
    #[error("{path}: {found} bytes, the manifest says {expected}")]
    Size {
        /// Path in the bundle.
        path: String,
        /// On disk.
        found: u64,
        /// In the manifest.
        expected: u64,
    },
    /// A file has other bytes.
    #[error("{path}: changed{}: sha256 {found}, the manifest says {expected}", At(*.chunk))]
    Hash {
        /// Path in the bundle.
        path: String,
        /// The MiB in which it differs, if known.
        chunk: Option<usize>,
        /// On disk.
        found: super::Digest,
        /// In the manifest.
        expected: super::Digest,
    },
    /// The plan and the manifest do not belong together.
    #[error("plan.bin: {detail}")]
    Plan {
        /// How.
        detail: String,
    },
    /// The code is for another machine.
    #[error("the bundle is for {target} ({triple}); {detail}")]
    Machine {
        /// Its target.
        target: String,
        /// Its triple.
        triple: String,
        /// What this machine lacks.
        detail: String,
    },
    /// There is nothing that could run it.
    #[error("the bundle holds kernels and weights for {triple}, but no runtime: the slmc that compiled it had none for that system")]
    NoRuntime {
        /// Its triple.
        triple: String,
    },
    /// The code refers to the network.
    #[error("{path}: the code reaches the network by {symbols}")]
    Network {
        /// Path in the bundle.
        path: String,
        /// The functions.
        symbols: String,
    },
    /// The runtime is too new for this slmc.
    #[error("the bundle needs runtime ABI {found}, this slmc has {have}")]
    Runtime {
        /// Needed.
        found: u32,
        /// Had.
        have: u32,
    },
}

/// Prints the place of a difference.
struct At(Option<usize>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(chunk) => write!(f, " in MiB {chunk}"),
            None => Ok(()),
        }
    }
}

/// A bundle cannot be used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The path is no bundle.
    #[error("{}: {detail}", path.display())]
    NotABundle {
        /// The path.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
    /// The bundle is damaged or not for this machine.
    #[error("{} cannot be trusted: {} {}{}", path.display(), faults.len(), noun(faults.len()), lines(faults))]
    Faults {
        /// The bundle.
        path: PathBuf,
        /// All that is wrong.
        faults: Vec<Fault>,
    },
    /// The output is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output is there and is no bundle, so it is not replaced.
    #[error("{} exists and is not a bundle or package; it is left alone", path.display())]
    Foreign {
        /// The output.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{}: {detail}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's message, with what it means.
        detail: String,
    },
    /// A weight cannot be packed.
    #[error("packing {section}: {detail}")]
    Pack {
        /// The section of `weights.bin`.
        section: String,
        /// What could not be read or packed.
        detail: String,
    },
    /// The plan does not fit the binary format.
    #[error("plan.bin: {detail}")]
    Plan {
        /// How.
        detail: String,
    },
}

impl BundleError {
    pub(super) fn write(path: &Path, error: &io::Error) -> Self {
        let detail = match error.kind() {
            io::ErrorKind::StorageFull => format!("the disk is full ({error})"),
            io::ErrorKind::QuotaExceeded => format!("the disk quota is used up ({error})"),
            io::ErrorKind::FileTooLarge => format!("the file grew beyond what this system or its limits allow ({error})"),
            _ => error.to_string(),
        };
        Self::Write { path: path.to_owned(), detail }
    }

    /// What a user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Exists { .. } => Some("give --force to replace it, or another -o"),
            Self::Foreign { .. } => Some("remove it yourself, or give another -o"),
            Self::Write { .. } => Some("nothing was replaced; make room or choose another place with -o, then try again"),
            Self::Faults { faults, .. } => faults.iter().find_map(|fault| match fault {
                Fault::Machine { .. } | Fault::NoRuntime { .. } => {
                    Some("compile the model for this machine: slmc compile MODEL --target host -o OUT.slm")
                }
                Fault::Hash { .. } | Fault::Size { .. } | Fault::Missing { .. } | Fault::Unknown { .. } | Fault::Manifest { .. } => {
                    Some("copy the bundle again from where it came, or compile it again")
                }
                _ => None,
            }),
            Self::NotABundle { .. } | Self::Pack { .. } | Self::Plan { .. } => None,
        }
    }
}

fn noun(count: usize) -> &'static str {
    if count == 1 { "fault" } else { "faults" }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}
