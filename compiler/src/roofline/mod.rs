//! How near a bundle comes to the limits of the machine that runs it, kernel by kernel (the roofline of Williams, Waterman and
//! Patterson, CACM 52(4), 2009).
//!
//! Times come from the runtime, which launches the kernels of a step one at a time; what they take from the manifest; the limits from a
//! [`probe`] that is compiled for the bundle's target by the same code generator and run by the same runtime on as many threads.

pub mod chart;
pub mod probe;

use std::collections::BTreeMap;

use slmc_ir::plan::{Launched, work};

use crate::bundle::Manifest;
use crate::engine::{Engine, EngineError, EngineOptions, KernelTime};
use crate::pipeline::{self, CompileError, CompileOptions};
use crate::target::{TargetError, TargetSpec};

/// Runs of the probe; the fastest counts.
const PROBE_RUNS: u32 = 7;

/// Limits of a machine, a second.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Limits {
    /// Bytes read from memory.
    pub bytes: f64,
    /// Multiply-adds of bytes.
    pub byte_products: f64,
    /// Operations on floats.
    pub float_ops: f64,
}

/// The launches of one kernel in a step.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Class {
    /// The kernel's name.
    pub name: String,
    /// How often it is launched.
    pub launches: u32,
    /// Nanoseconds of all launches, the median of the steps that were measured.
    pub ns: u64,
    /// Bytes between memory and processor.
    pub bytes: u64,
    /// Multiply-adds of bytes.
    pub byte_products: u64,
    /// Operations on floats.
    pub float_ops: u64,
}

/// What limits a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Reading memory.
    Memory,
    /// Byte products.
    Dot,
    /// Float operations.
    Float,
}

/// Limits that cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The manifest names a target that this slmc does not know.
    #[error("the limits of target {name} cannot be measured: {source}")]
    Target {
        /// As in the manifest.
        name: String,
        /// Why.
        source: TargetError,
    },
    /// Kernels of a GPU.
    #[error("the limits of a GPU cannot be measured yet, only those of a processor")]
    Gpu,
    /// The probe does not compile.
    #[error("the probe of the machine's limits: {0}")]
    Compile(#[from] CompileError),
    /// The probe does not run.
    #[error("the probe of the machine's limits: {0}")]
    Run(#[from] EngineError),
    /// No room for the probe.
    #[error("no temporary folder for the probe of the machine's limits: {0}")]
    Folder(#[from] std::io::Error),
}

impl Class {
    /// Seconds.
    pub fn seconds(&self) -> f64 {
        self.ns as f64 / 1e9
    }

    /// The least time that the limits allow, seconds, and which of them it is.
    pub fn least(&self, limits: &Limits) -> (f64, Bound) {
        let times = [
            (self.bytes as f64 / limits.bytes, Bound::Memory),
            (self.byte_products as f64 / limits.byte_products, Bound::Dot),
            (self.float_ops as f64 / limits.float_ops, Bound::Float),
        ];
        times.into_iter().fold((0.0, Bound::Memory), |most, time| if time.0 > most.0 { time } else { most })
    }
}

/// The classes of a step of `tokens` tokens with `cached` in the cache, slowest first. `times` has one list for each step measured.
pub fn classes(manifest: &Manifest, times: &[Vec<KernelTime>], cached: u32) -> Vec<Class> {
    let mut by_kernel: BTreeMap<u32, (u32, Vec<u64>)> = BTreeMap::new();
    for time in times.iter().flatten() {
        let entry = by_kernel.entry(time.kernel).or_insert((time.launches, Vec::new()));
        entry.1.push(time.ns);
    }
    let mut classes: Vec<Class> = by_kernel
        .into_iter()
        .map(|(kernel, (launches, mut ns))| {
            ns.sort_unstable();
            let entry = manifest.kernels.get(kernel as usize);
            let work = entry.and_then(|entry| entry.at(cached));
            let all = |one: Option<u64>| one.unwrap_or(0) * u64::from(launches);
            Class {
                name: entry.map_or_else(|| format!("kernel {kernel}"), |entry| entry.name.clone()),
                launches,
                ns: ns[ns.len() / 2],
                bytes: all(work.map(|w| w.bytes)),
                byte_products: all(work.map(|w| w.byte_products)),
                float_ops: all(work.map(|w| w.float_ops)),
            }
        })
        .collect();
    classes.sort_by(|a, b| b.ns.cmp(&a.ns).then_with(|| a.name.cmp(&b.name)));
    classes
}

/// The limits of this machine for a bundle's target and code generator on `threads` threads.
///
/// # Errors
/// [`ProbeError`].
pub fn limits(manifest: &Manifest, threads: u32) -> Result<Limits, ProbeError> {
    let name = &manifest.target.name;
    let spec = TargetSpec::parse(name).map_err(|source| ProbeError::Target { name: name.clone(), source })?;
    if spec.target.gpu.is_some() {
        return Err(ProbeError::Gpu);
    }
    let folder = tempfile::tempdir()?;
    let mut options = CompileOptions::new(folder.path().to_owned(), folder.path().to_owned(), spec);
    options.backend = Some(manifest.target.backend.clone());
    let program = probe::program(&options.target.target);
    let kernels = program.kernels.kernels.iter().map(|(_, kernel)| kernel);
    let counted: Vec<_> = kernels
        .map(|kernel| {
            let work = work(kernel, Launched { t: 1, p: 0, grid: kernel.grid });
            (work.traffic(kernel) as f64, work.byte_products as f64, work.float_ops as f64)
        })
        .collect();
    pipeline::compile_program(program, &options, folder.path())?;
    let mut engine = Engine::open(folder.path(), &EngineOptions { threads, ..EngineOptions::default() })?;
    let mut least = vec![u64::MAX; counted.len()];
    for _ in 0..PROBE_RUNS {
        engine.reset()?;
        for time in engine.profile(&[0])? {
            let best = &mut least[time.kernel as usize];
            *best = time.ns.clamp(1, *best);
        }
    }
    let rate = |kernel: usize, amount: f64| amount * 1e9 / least[kernel] as f64;
    Ok(Limits {
        bytes: rate(probe::kernel::READ, counted[probe::kernel::READ].0),
        byte_products: rate(probe::kernel::DOT, counted[probe::kernel::DOT].1),
        float_ops: rate(probe::kernel::FMA, counted[probe::kernel::FMA].2),
    })
}
