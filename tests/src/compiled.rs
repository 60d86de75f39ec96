//! A checkpoint compiled in memory, as far as kernels, plan and weights: what conformance tests run.

use std::path::Path;
use std::time::Duration;

use slmc::import::{ImportOptions, Imported, import};
use slmc_ir::plan::Packed;
use slmc_ir::target::Target;
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::lower::{Lowered, lower};
use slmc_passes::manager::{Drive, PassCx, PassSpec, run};
use slmc_passes::{memory, pack};

/// A model ready to be interpreted or emitted.
pub struct Compiled {
    /// The import, its graph optimized.
    pub model: Imported,
    /// Kernels, not yet legalized, and plan.
    pub lowered: Lowered,
    /// The bytes of `weights.bin`.
    pub weights: Vec<u8>,
}

/// Compiles a checkpoint folder with graph passes `passes`, in text form.
///
/// # Panics
/// When anything fails: the tests' inputs are valid.
pub fn compile(dir: &Path, target: &Target, passes: &str, ctx: u32, chunk: u32) -> Compiled {
    let options = ImportOptions { ctx: Some(ctx as usize), chunk, ..ImportOptions::default() };
    let mut model = import(dir, &options).unwrap_or_else(|e| panic!("{e}"));
    let specs = PassSpec::parse_list(passes).unwrap_or_else(|e| panic!("{e}"));
    let matches = |pattern: &str, name: &str| regex::Regex::new(pattern).map(|r| r.is_match(name)).map_err(|e| e.to_string());
    let clock = || Duration::ZERO;
    let mut cx = PassCx::new(&matches, &clock);
    run(&mut model.graph, &specs, GRAPH_PASSES, &mut cx, &mut Drive::default()).unwrap_or_else(|e| panic!("{e}"));
    let mut lowered = lower(&model.graph, target).unwrap_or_else(|e| panic!("{e}"));
    memory::plan(&mut lowered.plan, target.binding_align());
    let mut weights = vec![0; lowered.plan.weights_bytes as usize];
    for (_, packed) in lowered.plan.packed.iter() {
        pack_section(&model, packed, &mut weights);
    }
    Compiled { model, lowered, weights }
}

fn pack_section(model: &Imported, packed: &Packed, weights: &mut [u8]) {
    let at = packed.offset as usize;
    let out = &mut weights[at..at + packed.bytes as usize];
    pack::pack_blocks(&model.graph, packed, &model.checkpoint, 0..pack::block_count(packed), out).unwrap_or_else(|e| panic!("{e}"));
}
