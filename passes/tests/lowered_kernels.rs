//! Every kernel and plan that lowering makes passes the verifiers and comes back from its text, over formats, geometries and targets.

#[path = "../../ir/tests/llama/mod.rs"]
mod llama;

use std::time::Duration;

use llama::Llama;
use slmc_ir::graph::{Bounds, DType};
use slmc_ir::interp::kernel::{Compiled, Memory, Step, run_grid};
use slmc_ir::kernel::{KernelModule, verify_module};
use slmc_ir::plan::{parse_lowered, print_lowered, verify_plan};
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::lower::lower;
use slmc_passes::manager::{Drive, PassCx, PassSpec, run};

/// Runs every kernel on arbitrary bytes at the corners of its bounds: what the verifier accepted must not fault.
fn run_at_the_corners(kernels: &KernelModule) {
    for (_, kernel) in kernels.kernels.iter() {
        let code = Compiled::new(kernel).expect("sound");
        let b = kernel.bounds;
        let mut state = 1u32;
        let mut buffers: Vec<Vec<u8>> = kernel.params().map(|(_, p)| vec![0; (p.len * p.elem.bytes()) as usize]).collect();
        for byte in buffers.iter_mut().flatten() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Weights never hold -128.
            *byte = ((state >> 24) as u8).max(1).wrapping_add(0x80);
        }
        for t in [b.t.0, b.t.1] {
            let p = b.p.1.min(b.most_p_plus_t() - t);
            let row = b.row.1.min(b.most_row_plus_t() - t);
            let (mut memory, places) = Memory::of_slices(buffers.iter_mut().map(Vec::as_mut_slice).collect());
            if let Err(fault) = run_grid(&code, &mut memory, &places, Step { t, p, row }, kernel.grid) {
                panic!("t = {t}, p = {p}, row = {row}: {fault}");
            }
        }
    }
}

fn check(model: Llama, bounds: Bounds) {
    for target in slmc_ir::target::known::known() {
        let (mut graph, _) = model.build(bounds);
        let (matches, clock) = (|_: &str, _: &str| Ok(false), || Duration::ZERO);
        let mut cx = PassCx::new(&matches, &clock);
        cx.target = Some(&target);
        run(&mut graph, &PassSpec::list(&["fuse"]), GRAPH_PASSES, &mut cx, &mut Drive::default()).expect("fuses");
        let mut lowered = lower(&graph, &target).expect("lowers");
        slmc_passes::memory::plan(&mut lowered.plan, target.binding_align());
        if let Err(faults) = verify_module(&lowered.kernels) {
            let text: Vec<String> = faults.iter().take(12).map(ToString::to_string).collect();
            panic!("{}: {} faults\n{}", target.name, faults.len(), text.join("\n"));
        }
        let text = print_lowered(&lowered.kernels, &lowered.plan);
        let (kernels, plan) = parse_lowered(&text).unwrap_or_else(|e| panic!("{}: {e}", target.name));
        assert!(kernels == lowered.kernels && plan == lowered.plan, "{}: the text form gives something else", target.name);
        assert_eq!(print_lowered(&kernels, &plan), text);
        if model.hidden <= 128 {
            run_at_the_corners(&kernels);
        }
        if let Err(faults) = verify_plan(&lowered.plan, &lowered.kernels) {
            let text: Vec<String> = faults.iter().take(12).map(ToString::to_string).collect();
            panic!("{}: {} faults of the plan\n{}", target.name, faults.len(), text.join("\n"));
        }
    }
}

#[test]
fn f32_models() {
    check(Llama::tiny(), Bounds { chunk: 16, ctx: 64 });
    check(Llama { tied: false, vocab: 41, head_dim: 24, ..Llama::tiny() }, Bounds { chunk: 7, ctx: 61 });
    check(Llama::tiny(), Bounds { chunk: 1, ctx: 1 });
}

#[test]
fn quantized_models() {
    for (linear, table) in [(DType::Q4 { group: 32 }, DType::Q6), (DType::Q8, DType::Q8), (DType::Q4 { group: 64 }, DType::Q4 { group: 64 })] {
        let model = Llama { linear, table, quantize: true, kv: DType::F16, head_dim: 32, hidden: 128, inner: 192, vocab: 203, ..Llama::tiny() };
        check(model, Bounds { chunk: 32, ctx: 100 });
    }
}

#[test]
fn a_model_of_real_size() {
    let model = Llama {
        vocab: 32000,
        hidden: 2048,
        inner: 5632,
        layers: 1,
        heads: 32,
        kv_heads: 4,
        head_dim: 64,
        tied: false,
        linear: DType::Q4 { group: 32 },
        table: DType::Q6,
        kv: DType::F16,
        quantize: true,
        ..Llama::tiny()
    };
    check(model, Bounds { chunk: 256, ctx: 2048 });
}
