//! Why a compile failed, and what to do about it.

use std::path::{Path, PathBuf};

use crate::bundle::BundleError;
use crate::import::ImportError;
use crate::link::LinkError;
use crate::tokenizer::TokenizerError;
use slmc_backends::{BackendError, LookupError};
use slmc_passes::lower::LowerError;
use slmc_passes::manager::PipelineError;

/// A compile failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// An unknown quantization scheme.
    #[error("no quantization scheme is called {name:?}; there are {known}")]
    Quant {
        /// What was asked for.
        name: String,
        /// All there are.
        known: String,
    },
    /// A wrong `--keep`.
    #[error("--keep {text:?}: {detail}")]
    Keep {
        /// What was given.
        text: String,
        /// What is wrong.
        detail: String,
    },
    /// An unknown phase.
    #[error("cannot stop after {name:?}; the phases are {known}")]
    Phase {
        /// What was asked for.
        name: String,
        /// All there are.
        known: String,
    },
    /// No code generator.
    #[error(transparent)]
    Backend(#[from] LookupError),
    /// This build generates no CPU code at all.
    #[error("this build of slmc has no code generator for CPUs")]
    NoBackend,
    /// Threads could not be started.
    #[error("cannot start {threads} threads: {detail}")]
    Threads {
        /// How many.
        threads: usize,
        /// The system's message.
        detail: String,
    },
    /// The checkpoint.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The graph passes.
    #[error(transparent)]
    Passes(#[from] PipelineError),
    /// Lowering.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// Lowering made kernels that the verifier refuses: a bug.
    #[error("bug in slmc: lowering made kernels that are not valid:\n{}", faults.join("\n"))]
    Kernels {
        /// What the verifier says.
        faults: Vec<String>,
    },
    /// Code generation.
    #[error(transparent)]
    Code(#[from] BackendError),
    /// The runtime for this target is not in this build.
    #[error("this build of slmc has no runtime for {triple} (it has {have})")]
    NoStub {
        /// The triple.
        triple: String,
        /// The triples there are.
        have: String,
    },
    /// Linking.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Tokenizer and model do not fit.
    #[error("tokenizer.json has {tokenizer} ids, the model's embedding only {model} rows; they do not belong together")]
    Vocabulary {
        /// Ids of the tokenizer.
        tokenizer: u32,
        /// Rows of the embedding.
        model: u32,
    },
    /// The bundle would take more memory than the target has.
    #[error("the bundle would take {need} at run time ({detail}), the target's budget is {budget}")]
    Memory {
        /// Peak.
        need: String,
        /// Its parts.
        detail: String,
        /// The budget.
        budget: String,
    },
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A dump could not be written.
    #[error("{}: {detail}", path.display())]
    Dump {
        /// The file or folder.
        path: PathBuf,
        /// The system's message.
        detail: String,
    },
}

impl CompileError {
    pub(super) fn dump(path: &Path, error: &std::io::Error) -> Self {
        Self::Dump { path: path.to_owned(), detail: error.to_string() }
    }

    /// What a user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoBackend => Some(
                "build slmc with its default features, or install LLVM 19 (Debian, Ubuntu: apt-get install llvm-19-dev) and build with `--features llvm`",
            ),
            Self::NoStub { .. } => Some("run `rustup target add TRIPLE` with that triple, then build slmc again"),
            Self::Memory { .. } => Some("take a smaller --ctx, a smaller --quant, or raise the budget: --target NAME,memory=4G"),
            Self::Link(e) => e.hint(),
            Self::Bundle(e) => e.hint(),
            _ => None,
        }
    }
}
