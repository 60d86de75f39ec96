//! `manifest.json`: what a bundle is and for whom, with the digests of everything else in it.
//!
//! The text is canonical: the fields in the order of these types, two spaces of indentation, one line feed at the end;
//! a manifest that reads well but is written otherwise is refused. Its last field, `digest`, is the SHA-256 of all
//! bytes before that field's name.

use serde::{Deserialize, Serialize};

use super::Digest;
use super::digest::FileDigest;
use super::kernel_work::KernelEntry;

/// The version of this format.
pub const FORMAT_VERSION: u32 = 1;

/// The whole of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Whose weights these are.
    pub model: Model,
    /// What the code runs on.
    pub target: TargetInfo,
    /// Least version of the runtime ABI that can run it.
    pub minimum_runtime: u32,
    /// How weights are stored.
    pub quantization: Quantization,
    /// What running takes.
    pub memory: Memory,
    /// Most tokens in the cache.
    pub context: u32,
    /// What the length of the context decided about the model, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decided_by_context: Vec<String>,
    /// Most tokens in one step.
    pub prefill_chunk: u32,
    /// What the kernels take, by their number in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<KernelEntry>,
    /// Every other file of the bundle, by path.
    pub files: Vec<FileEntry>,
    /// What the code can reach.
    pub privacy: Privacy,
    /// How it was made.
    pub build: Build,
    /// SHA-256 of all bytes before this field.
    pub digest: Digest,
}

/// Whose weights a bundle holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name, by default that of the checkpoint's folder.
    pub name: String,
    /// The checkpoint's `architectures[0]`.
    pub architecture: String,
    /// Elements of all weights, shared ones once.
    pub parameters: u64,
    /// As far as the checkpoint states it.
    pub licence: Option<String>,
    /// SHA-256 over names, types and contents of all source tensors.
    pub source_digest: Digest,
}

/// What a bundle's code runs on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetInfo {
    /// The target as given, with its overrides.
    pub name: String,
    /// LLVM triple.
    pub triple: String,
    /// CPU that the code was tuned for.
    pub cpu: String,
    /// CPU features without which the code does not run.
    pub features: Vec<String>,
    /// Code generator.
    pub backend: String,
    /// The file with the runtime and, on CPUs, the kernels; none where the slmc that compiled had no runtime for the triple.
    pub runtime: Option<String>,
    /// How all names of a static library begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol_prefix: Option<String>,
    /// What runs the kernels where that is not the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuInfo>,
}

/// What a GPU must have to run a bundle's kernels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuInfo {
    /// `vulkan` (1.1 or later) or `metal`.
    pub api: String,
    /// The file with the kernels.
    pub kernels: String,
    /// Features beyond the interface's own: `subgroups`, `f16`, `int_dot`.
    pub features: Vec<String>,
    /// Invocations of the largest workgroup.
    pub invocations: u32,
    /// Workgroup memory of the kernel that takes most, bytes.
    pub workgroup_bytes: u64,
    /// Buffers of the kernel that binds most.
    pub storage_buffers: u32,
    /// Bytes of the largest binding.
    pub binding_bytes: u64,
}

/// How weights are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// The scheme asked for.
    pub scheme: String,
    /// Format of the KV cache.
    pub kv: String,
    /// Bits of `weights.bin` per parameter, padding and tables included.
    pub bits_per_weight: f64,
    /// The format of every weight.
    pub tensors: Vec<TensorFormat>,
}

/// The format of one weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFormat {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<u32>,
    /// Its format in the bundle.
    pub dtype: String,
}

/// What running a bundle takes, bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Mapped weights.
    pub weights: u64,
    /// Activations of a session.
    pub arena: u64,
    /// Cache for each token of context.
    pub kv_per_token: u64,
    /// Cache of a session.
    pub kv: u64,
    /// All of it, with one session.
    pub peak: u64,
}

/// A file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path in the bundle, with `/`.
    pub path: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256 of the whole.
    pub sha256: Digest,
    /// SHA-256 of each MiB, for files that the stub maps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Digest>,
}

/// What a bundle's code can reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Every function that the code takes from outside.
    pub undefined_symbols: Vec<String>,
    /// Those of them that reach a network: always none.
    pub network_symbols: Vec<String>,
}

/// How a bundle was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Version of slmc.
    pub compiler: String,
    /// The linker's version line.
    pub linker: String,
    /// Options that shaped the result, as on the command line.
    pub options: Vec<String>,
    /// Passes that ran, in order.
    pub passes: Vec<String>,
}

impl TargetInfo {
    /// In words, what a device must have.
    pub fn needs(&self) -> String {
        let mut out = self.triple.clone();
        if !self.features.is_empty() {
            out.push_str(&format!(", CPU features {}", self.features.join(", ")));
        }
        if let Some(gpu) = &self.gpu {
            let features = if gpu.features.is_empty() { "no optional feature".to_owned() } else { gpu.features.join(", ") };
            out.push_str(&format!(
                "; a {} GPU with {features}, workgroups of {} invocations and {} bytes, {} buffers of up to {} bytes",
                gpu.api, gpu.invocations, gpu.workgroup_bytes, gpu.storage_buffers, gpu.binding_bytes
            ));
        }
        if self.runtime.is_none() {
            out.push_str("; the app brings the runtime");
        }
        out
    }
}

impl FileEntry {
    /// The entry of a file; `chunked` keeps the digests of its pieces.
    pub fn new(path: &str, digest: &FileDigest, chunked: bool) -> Self {
        let chunks = if chunked { digest.chunks.clone() } else { Vec::new() };
        Self { path: path.to_owned(), bytes: digest.bytes, sha256: digest.sha256, chunks }
    }
}

impl Manifest {
    /// The canonical text with `digest` computed anew (and stored).
    pub fn seal(&mut self) -> String {
        let text = self.text();
        self.digest = Digest::of(&text.as_bytes()[..digest_at(&text)]);
        self.text()
    }

    /// Reads canonical text.
    ///
    /// # Errors
    /// Says in words what is wrong: no JSON, wrong fields, another format version, not canonical, digest wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let version: Version = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if version.format_version != FORMAT_VERSION {
            return Err(format!("format version {} (this slmc reads {FORMAT_VERSION})", version.format_version));
        }
        let manifest: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if manifest.text() != text {
            return Err("was changed after it was written (the text is not in canonical form)".to_owned());
        }
        let found = Digest::of(&text.as_bytes()[..digest_at(text)]);
        if found != manifest.digest {
            return Err(format!("was changed after it was written (digest {found}, stated {})", manifest.digest));
        }
        Ok(manifest)
    }

    /// What `plan.bin` records of the manifest: SHA-256 of the canonical text without the entry for `plan.bin` and up to
    /// `digest`. (The two files cannot hold each other's hash.)
    pub fn identity(&self) -> Digest {
        let mut without = self.clone();
        without.files.retain(|file| file.path != super::PLAN);
        let text = without.text();
        Digest::of(&text.as_bytes()[..digest_at(&text)])
    }

    /// The entry of a file.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.path == path)
    }

    fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("invariant: plain data becomes JSON");
        text.push('\n');
        text
    }
}

/// Where the field `digest` begins in canonical text.
fn digest_at(text: &str) -> usize {
    text.rfind("\"digest\"").expect("invariant: the text has a digest")
}
