//! An open, verified bundle on its device: what sessions share.

use core::ffi::CStr;

use crate::bundle::Bundle;
use crate::device::{Device, Opening, Settings};
use crate::fault::{Code, Fault, Outcome};
use crate::plan::Plan;
use crate::platform::{cpu, unix};
use crate::pool::{MAX_THREADS, Pool};
use crate::tokenizer::Tokenizer;
use crate::verify::{Trust, Wish, verify};
use crate::walk::Kernels;

/// How to open a bundle.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions<'a> {
    /// Threads; 0 = what the plan says, and if that is 0, one for each core.
    pub threads: u32,
    /// What to verify.
    pub wish: Wish<'a>,
    /// 1 more than the number of the device to run on; 0 = the best one.
    pub device: u32,
    /// How to drive it.
    pub settings: Settings<'a>,
}

/// The CPU features of this machine, bits of [`crate::abi::feature`].
pub fn machine_features() -> u64 {
    cpu::features()
}

/// A model ready for sessions. It borrows the mapped files, so it is closed before them.
pub struct Model<'b> {
    bundle: &'b Bundle,
    plan: Plan<'b>,
    device: Device<'b>,
    trust: Trust,
    tokenizer: Option<Tokenizer<'b>>,
    load_ns: u64,
}

impl<'b> Model<'b> {
    /// Starts the threads, verifies the files and opens the device. `bundle` was opened with the header of these `kernels`.
    ///
    /// # Errors
    /// Those of [`Pool::new`], [`verify`] and [`Device::open`]; [`Code::Format`] for a tokenizer of another version.
    pub fn open(bundle: &'b Bundle, kernels: Kernels, options: OpenOptions<'_>) -> Outcome<Self> {
        let start = unix::clock_ns();
        let plan = bundle.plan();
        let threads = match (options.threads, plan.header.threads) {
            (0, 0) => unix::cores().min(MAX_THREADS as u32),
            (0, planned) => planned.min(unix::cores()).clamp(1, MAX_THREADS as u32),
            (given, _) => given,
        };
        let pool = Pool::new(threads)?;
        let trust = verify(bundle, &pool, options.wish)?;
        let file = bundle.tokenizer();
        let tokenizer = match file.entry.bytes {
            0 => None,
            _ => Some(
                Tokenizer::open(file.map.bytes())
                    .map_err(|error| Fault::new(Code::Format, file.name, error.message()).hint("compile the model again"))?,
            ),
        };
        let opening = Opening { bundle, plan: &plan, kernels, number: options.device, cache_dir: options.wish.cache_dir, settings: options.settings };
        let device = Device::open(&opening, pool)?;
        let load_ns = unix::clock_ns() - start;
        Ok(Self { bundle, plan, device, trust, tokenizer, load_ns })
    }

    /// The files.
    pub fn bundle(&self) -> &'b Bundle {
        self.bundle
    }

    /// The plan.
    pub fn plan(&self) -> &Plan<'b> {
        &self.plan
    }

    /// What runs the plan.
    pub fn device(&self) -> &Device<'b> {
        &self.device
    }

    /// How the files came to be trusted.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// The tokenizer, if the bundle has one.
    pub fn tokenizer(&self) -> Option<Tokenizer<'b>> {
        self.tokenizer
    }

    /// Time that [`Model::open`] took, nanoseconds.
    pub fn load_ns(&self) -> u64 {
        self.load_ns
    }

    /// Opens the bundle's folder for these kernels on this machine.
    ///
    /// # Errors
    /// Those of [`Bundle::open`].
    pub fn open_files(dir: &CStr, kernels: Kernels) -> Outcome<Bundle> {
        Bundle::open(dir, kernels.header(), machine_features())
    }
}
