//! Why a package cannot be made.

use std::path::PathBuf;

use crate::bundle::BundleError;
use crate::link::LinkError;

/// One reason why bundles do not make a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackageFault {
    /// Nothing to package.
    #[error("no bundle is named")]
    None,
    /// A bundle of kernels alone.
    #[error("{}: holds no runtime for {triple}, so there is no library to package", bundle.display())]
    NoRuntime {
        /// The bundle.
        bundle: PathBuf,
        /// Its triple.
        triple: String,
    },
    /// A bundle for a system that the form does not serve.
    #[error("{}: is for {triple}; {expected}", bundle.display())]
    Triple {
        /// The bundle.
        bundle: PathBuf,
        /// Its triple.
        triple: String,
        /// What the form takes.
        expected: &'static str,
    },
    /// Two bundles for one place.
    #[error("{}: is for {slot}, as is {}", bundle.display(), first.display())]
    Double {
        /// The bundle.
        bundle: PathBuf,
        /// The one before it.
        first: PathBuf,
        /// The place.
        slot: String,
    },
    /// Bundles of several models in a form that holds one.
    #[error("{}: is of model {found}, the first bundle of {expected}; this form holds one model", bundle.display())]
    Model {
        /// The bundle.
        bundle: PathBuf,
        /// Its model, as an identifier.
        found: String,
        /// The first bundle's.
        expected: String,
    },
}

/// A package cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A bundle cannot be read or trusted, or the package not be written.
    #[error(transparent)]
    Bundle(BundleError),
    /// The bundles do not make a package.
    #[error("these bundles make no package:{}", faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
    Bundles {
        /// All reasons.
        faults: Vec<PackageFault>,
    },
    /// A file of a bundle cannot be read.
    #[error("{}: {detail}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's message.
        detail: String,
    },
    /// The library that Java calls cannot be linked.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// This build has no bridge to Java for a system.
    #[error("this build of slmc has no bridge to Java for {triple}")]
    NoBridge {
        /// The system.
        triple: String,
    },
    /// The Java compiler failed.
    #[error("{} failed: {words}", program.display())]
    Javac {
        /// The program.
        program: PathBuf,
        /// What it wrote.
        words: String,
    },
    /// A zip archive cannot be written.
    #[error("{path}: {detail}")]
    Zip {
        /// The archive, or the entry in it.
        path: String,
        /// What the writer says.
        detail: String,
    },
}

impl PackageError {
    /// What a user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Bundle(e) => e.hint(),
            Self::Link(e) => e.hint(),
            Self::NoBridge { .. } => Some("slmc doctor says how to get the runtime for that system into a build"),
            Self::Bundles { faults } => faults.iter().find_map(|fault| match fault {
                PackageFault::NoRuntime { .. } => Some("slmc doctor says how to get the runtime for that system into a build"),
                PackageFault::Triple { .. } => Some("leave --format out, or compile the model for such a target: slmc targets"),
                PackageFault::Double { .. } | PackageFault::Model { .. } => {
                    Some("make one package of each; two models of one name are told apart by slmc compile --name")
                }
                PackageFault::None => None,
            }),
            Self::Javac { .. } => Some("the compiler must be that of a JDK 8 or later; JAVA_HOME names one"),
            Self::Read { .. } | Self::Zip { .. } => None,
        }
    }
}
