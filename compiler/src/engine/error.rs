//! What goes wrong between Rust and the code of a bundle.

use std::path::PathBuf;

use slmc_runtime_stub::fault::Code;

/// An error of [`super::Engine`].
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The shared library cannot be loaded.
    #[error("{path}: the code of the bundle cannot be loaded: {source}")]
    Load {
        /// The library.
        path: PathBuf,
        /// What the loader said.
        source: libloading::Error,
    },
    /// The library lacks a function of `slm.h`.
    #[error("{path}: function `{name}` is missing; expected the code of a bundle that this version of slmc wrote")]
    Symbol {
        /// The library.
        path: PathBuf,
        /// The function.
        name: &'static str,
    },
    /// The bundle's folder cannot be found.
    #[error("{path}: the folder of the bundle cannot be found: {source}")]
    Folder {
        /// As given.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A text that goes to C holds a zero byte.
    #[error("{what} holds a zero byte, which the C interface cannot take")]
    ZeroByte {
        /// Which text.
        what: &'static str,
    },
    /// The stub refused.
    #[error("{message}")]
    Call {
        /// The function of `slm.h`.
        function: &'static str,
        /// Its code, one of [`Code`].
        code: i32,
        /// Its message.
        message: String,
    },
}

impl EngineError {
    /// Whether the stub refused with this code.
    pub fn is(&self, wanted: Code) -> bool {
        matches!(self, Self::Call { code, .. } if *code == wanted as i32)
    }
}
