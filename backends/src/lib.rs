//! Code generators: kernel IR in, object files and shaders out.
//!
//! A back end is a few methods ([`Backend`]); what a device can do is data in [`Target`]. The result depends on nothing but
//! the module, the target and the options: the same input gives the same bytes, whatever the number of threads.
//! See README.md for the contract of the emitted code and for adding a back end.

#[cfg(any(feature = "cranelift", feature = "llvm"))]
mod cpu;
#[cfg(feature = "cranelift")]
mod cranelift;
#[cfg(feature = "llvm")]
mod llvm;
#[cfg(feature = "naga")]
mod naga;
#[cfg(any(feature = "cranelift", feature = "naga"))]
mod object;
#[cfg(any(feature = "cranelift", feature = "llvm", feature = "naga"))]
mod symbols;

use slmc_ir::diag::Verified;
use slmc_ir::kernel::KernelModule;
use slmc_ir::target::Target;

/// A code generator.
pub trait Backend: Sync {
    /// The name on the command line.
    fn name(&self) -> &'static str;
    /// `target` as this back end can use it: lowering and legalization get this one, so that they never ask for what the back
    /// end lacks, and a bundle asks of a device only what its code uses. By default the target itself.
    fn fit(&self, target: &Target) -> Target {
        target.clone()
    }
    /// Everything in `module` that this back end cannot say for `target`, and in `target` that it does not know; empty if
    /// [`emit`](Backend::emit) will work. Cheap.
    fn unsupported(&self, module: &KernelModule, target: &Target) -> Vec<Unsupported>;
    /// Emits the module.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] with all that [`unsupported`](Backend::unsupported) found, [`BackendError::Bug`] if the
    /// code generator refuses what it should take.
    fn emit(&self, module: Verified<'_, KernelModule>, target: &Target, options: &EmitOptions) -> Result<Artifact, BackendError>;
}

/// What a caller may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitOptions {
    /// The bytes of the symbol `slmc_code`: the binary ABI's code header.
    pub header: Vec<u8>,
    /// Threads to use; changes nothing in the result.
    pub threads: usize,
    /// Whether to give text for people too: assembly, or WGSL of shaders.
    pub listing: bool,
}

impl Default for EmitOptions {
    fn default() -> Self {
        Self { header: Vec::new(), threads: 1, listing: false }
    }
}

/// What a back end made of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Relocatable object files, to be linked together: one per kernel that runs on the host, in the module's order, then the
    /// one that holds the symbols `slmc_code` and `slmc_kernels`.
    pub objects: Vec<ObjectFile>,
    /// Text of all kernels, where asked for.
    pub listing: Option<String>,
    /// The kernels of a GPU; none for a CPU.
    pub shaders: Option<Shaders>,
}

/// The file of a GPU's kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shaders {
    /// Its name: `kernels.spv` or `kernels.metal`.
    pub file: &'static str,
    /// The file. SPIR-V: one module per kernel, one after the other, words in little endian. Metal: one MSL text.
    pub bytes: Vec<u8>,
    /// The kernels, in the module's order.
    pub kernels: Vec<Shader>,
}

/// One kernel in a file of shaders. Parameter i is binding i of descriptor set 0 in Vulkan, buffer slot i in Metal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shader {
    /// The entry point; at most 63 bytes, ASCII.
    pub entry: String,
    /// Where in the file its module starts: for SPIR-V a multiple of 4, for MSL 0.
    pub offset: u64,
    /// Bytes of its module: for SPIR-V a multiple of 4, for MSL those of the whole text.
    pub bytes: u64,
    /// Bytes of each workgroup array that the kernel uses, rounded up to multiples of 16; Metal's threadgroup slots 0, 1, ….
    pub workgroup: Vec<u32>,
    /// Metal's buffer slot of the step (T, P, ROW, 0): the one after the parameters. In Vulkan these 16 bytes are the push
    /// constants at offset 0.
    pub step_slot: u32,
}

/// One object file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFile {
    /// A name for a file, without extension; unique in the artifact.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// The hidden symbols it defines for the other objects.
    pub symbols: Vec<String>,
}

/// Something that a back end cannot do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsupported {
    /// Where: a kernel and a value of it, or a field of the target.
    pub at: String,
    /// What is not there.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.at, self.what, self.hint)
    }
}

/// Why nothing was emitted.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The module or the target asks for what the back end does not have.
    #[error("unsupported by the back end {backend}:{}", lines(.found))]
    Unsupported {
        /// The back end.
        backend: &'static str,
        /// Everything found.
        found: Vec<Unsupported>,
    },
    /// The code generator refused what it should take: a fault of slmc.
    #[error("the back end {backend} failed on {at}: {detail}; this is a bug of slmc")]
    Bug {
        /// The back end.
        backend: &'static str,
        /// Kernel or step.
        at: String,
        /// What was said.
        detail: String,
    },
}

fn lines(found: &[Unsupported]) -> String {
    found.iter().map(|u| format!("\n  {u}")).collect()
}

/// Why there is no back end of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// It exists, but this build lacks it.
    #[error("the back end `{name}` is not part of this build; {enable}")]
    Disabled {
        /// Its name.
        name: &'static str,
        /// How to get it.
        enable: &'static str,
    },
    /// There is no such back end.
    #[error("no back end is named `{name}`; expected one of {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All names, with commas.
        known: String,
    },
}

/// Every back end slmc has, with how a build gets it.
const NAMES: [(&str, &str); 3] = [
    ("cranelift", "build with the default feature `cranelift`"),
    ("llvm", "install the LLVM 19 development package (llvm-19-dev) and build with `--features llvm`"),
    ("naga", "build with the default feature `naga`"),
];

/// The back ends of this build; of those for one kind of device, the one with the fastest code first.
pub fn all() -> Vec<&'static dyn Backend> {
    vec![
        #[cfg(feature = "llvm")]
        &llvm::Llvm,
        #[cfg(feature = "cranelift")]
        &cranelift::Cranelift,
        #[cfg(feature = "naga")]
        &naga::Naga,
    ]
}

/// The back end of a name.
///
/// # Errors
/// [`LookupError::Disabled`] if this build lacks it, [`LookupError::Unknown`] if there is none.
pub fn lookup(name: &str) -> Result<&'static dyn Backend, LookupError> {
    if let Some(backend) = all().into_iter().find(|b| b.name() == name) {
        return Ok(backend);
    }
    match NAMES.iter().find(|(n, _)| *n == name) {
        Some(&(name, enable)) => Err(LookupError::Disabled { name, enable }),
        None => Err(LookupError::Unknown { name: name.into(), known: NAMES.map(|(n, _)| n).join(", ") }),
    }
}

#[cfg(all(test, not(feature = "llvm")))]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_left_out_says_how_to_get_it() {
        let Err(error) = lookup("llvm") else { panic!("found") };
        assert!(error.to_string().contains("--features llvm"), "{error}");
    }
}
