//! Opening a bundle for the commands that run it: checked first, then loaded.

use std::env;
use std::path::{Path, PathBuf};

use slmc::bundle::{Bundle, Depth};
use slmc::engine::{Engine, EngineError, EngineOptions};
use slmc_runtime_stub::fault::Code;

use super::device::DeviceArgs;
use crate::report::Failure;

/// A bundle that was checked, and its code, loaded.
pub struct Opened {
    /// The bundle.
    pub bundle: Bundle,
    /// A model with one session.
    pub engine: Engine,
}

impl Opened {
    /// Checks everything but weights and tokenizer, then lets the stub check these and opens a session.
    pub fn open(dir: &Path, args: &DeviceArgs) -> Result<Self, Failure> {
        Self::with_stamps(dir, args, cache_folder("stamps"))
    }

    /// As [`Opened::open`], for a bundle that is opened once: its stamp is not kept.
    pub fn open_unstamped(dir: &Path, args: &DeviceArgs) -> Result<Self, Failure> {
        Self::with_stamps(dir, args, None)
    }

    fn with_stamps(dir: &Path, args: &DeviceArgs, cache_dir: Option<PathBuf>) -> Result<Self, Failure> {
        let bundle = Bundle::open(dir)?;
        bundle.verify(Depth::BeforeLoad, true)?;
        let device = args.number(&bundle.manifest)?;
        let options = EngineOptions { threads: args.threads.unwrap_or(0), cache_dir, device, ..EngineOptions::default() };
        let engine = Engine::open(dir, &options)?;
        Ok(Self { bundle, engine })
    }

    /// Fails unless `tokens` more than `held` fit the context.
    pub fn check_room(&self, tokens: usize) -> Result<(), Failure> {
        let context = self.engine.info().context;
        if tokens <= context as usize {
            return Ok(());
        }
        let failure = Failure::new(format_args!("{tokens} tokens do not fit the bundle's context of {context}"));
        Err(failure.hint("give less text, or compile with a larger --ctx"))
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let is_too_long = error.is(Code::Buffer) || error.is(Code::ContextFull);
        let is_device = error.is(Code::Device);
        let failure = Self::new(error);
        if is_device {
            failure.hint("`slmc devices` says what there is; `--device vulkan:N` takes another one, `slmc compile --target` another kind")
        } else if is_too_long {
            failure.hint("the text is longer than the bundle's context holds: give less, or compile with a larger --ctx")
        } else {
            failure
        }
    }
}

/// A folder of slmc's in the user's cache folder, if there is one. `stamps` has those of verified bundles, so that a bundle is hashed once.
pub fn cache_folder(name: &str) -> Option<PathBuf> {
    let given = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")))?;
    let folder = cache.join("slmc").join(name);
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}
