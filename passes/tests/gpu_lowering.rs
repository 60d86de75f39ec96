//! Lowered for GPUs, tiny models give the graph interpreter's numbers: every format, every ability of a device alone, tables in
//! several sections, and every way to cut a prompt. The interpreter also finds races in workgroup memory.

#[path = "../../ir/tests/llama/mod.rs"]
mod llama;

use std::ops::Range;
use std::time::Duration;

use llama::Llama;
use slmc_ir::graph::weight::{Weight, WeightProvider};
use slmc_ir::graph::{Bounds, DType, Graph};
use slmc_ir::interp::graph::GraphInterp;
use slmc_ir::interp::plan::PlanInterp;
use slmc_ir::kernel::{Space, verify_module};
use slmc_ir::plan::{PackedContent, Plan, verify_plan};
use slmc_ir::target::{Gpu, Target, known};
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::lower::{LowerError, Lowered, lower};
use slmc_passes::manager::{Drive, PassCx, PassSpec, run};
use slmc_passes::pack;

/// Numbers without pattern, the same for a name everywhere; rows of variance 1/K.
struct Noise;

impl WeightProvider for Noise {
    fn rows(&self, weight: &Weight, rows: Range<u32>) -> Result<Vec<f32>, String> {
        let shape = weight.ty.const_shape().ok_or("a symbolic shape")?;
        let columns = *shape.last().ok_or("no shape")?;
        let seed = weight.name.bytes().fold(7u64, |s, b| s.wrapping_mul(31).wrapping_add(u64::from(b)));
        let unit = |i: u64| {
            let x = (seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((x >> 40) as f32) / (1u64 << 23) as f32 - 1.0
        };
        let (middle, reach) = if shape.len() == 2 { (0.0, (3.0 / columns as f32).sqrt()) } else { (1.0, 0.3) };
        let first = u64::from(rows.start) * u64::from(columns);
        Ok((first..u64::from(rows.end) * u64::from(columns)).map(|i| middle + reach * unit(i)).collect())
    }
}

/// A device without abilities and with the least limits.
fn plain() -> Gpu {
    let target = known::find("vulkan-generic").expect("known");
    target.gpu.expect("a GPU target")
}

fn target(gpu: Gpu) -> Target {
    Target { name: "made-up", gpu: Some(gpu), ..known::find("vulkan-generic").expect("known") }
}

fn fused(model: Llama, bounds: Bounds) -> Graph {
    let (mut graph, _) = model.build(bounds);
    let (matches, clock) = (|_: &str, _: &str| Ok(false), || Duration::ZERO);
    let mut cx = PassCx::new(&matches, &clock);
    run(&mut graph, &PassSpec::list(&["fuse"]), GRAPH_PASSES, &mut cx, &mut Drive::default()).expect("fuses");
    graph
}

/// Lowers, verifies and packs.
fn compiled(graph: &Graph, target: &Target) -> (Lowered, Vec<u8>) {
    let mut lowered = lower(graph, target).expect("lowers");
    slmc_passes::memory::plan(&mut lowered.plan, target.binding_align());
    if let Err(faults) = verify_module(&lowered.kernels) {
        panic!("{} faults, first {}", faults.len(), faults[0]);
    }
    if let Err(faults) = verify_plan(&lowered.plan, &lowered.kernels) {
        panic!("{} faults of the plan, first {}", faults.len(), faults[0]);
    }
    within_limits(&lowered, target.gpu.as_ref().expect("a GPU target"));
    let mut weights = vec![0; lowered.plan.weights_bytes as usize];
    for (_, packed) in lowered.plan.packed.iter() {
        let at = packed.offset as usize;
        let out = &mut weights[at..at + packed.bytes as usize];
        pack::pack_blocks(graph, packed, &Noise, 0..pack::block_count(packed), out).expect("packs");
    }
    (lowered, weights)
}

/// No kernel asks for more than the device has.
fn within_limits(lowered: &Lowered, gpu: &Gpu) {
    for (_, kernel) in lowered.kernels.kernels.iter() {
        let name = &kernel.name;
        assert!(kernel.lanes <= gpu.lanes, "{name}: {} lanes", kernel.lanes);
        assert!(kernel.params().count() as u32 <= gpu.storage_buffers, "{name}: {} parameters", kernel.params().count());
        let shared: Vec<u32> =
            kernel.buffers.iter().filter(|(_, b)| b.space == Space::Workgroup).map(|(_, b)| (b.len * b.elem.bytes()).next_multiple_of(16)).collect();
        assert!(shared.iter().sum::<u32>() <= gpu.shared_bytes && shared.len() <= 8, "{name}: workgroup arrays of {shared:?} bytes");
        for (_, b) in kernel.params() {
            let bytes = u64::from(b.len) * u64::from(b.elem.bytes());
            assert!(bytes <= gpu.binding_bytes, "{name}: {} of {bytes} bytes", b.name);
        }
    }
    let align = u64::from(gpu.offset_align);
    let plan = &lowered.plan;
    let offsets = plan.arena.iter().map(|(_, b)| b.offset).chain(plan.packed.iter().map(|(_, p)| p.offset)).chain(plan.kv.iter().map(|k| k.offset));
    assert!(offsets.into_iter().all(|offset| offset.is_multiple_of(align)), "a binding is not aligned to {align}");
}

/// Compares logits of a prompt in chunks with the graph interpreter's: `most` is what they may differ by.
fn agrees(model: &Llama, bounds: Bounds, gpu: Gpu, tokens: u32, chunks: &[u32], most: f32) -> Plan {
    let graph = fused(model.clone(), bounds);
    let target = target(gpu);
    let (lowered, weights) = compiled(&graph, &target);
    let ids: Vec<u32> = (0..tokens).map(|i| (i * 7919 + 13) % model.vocab).collect();
    let mut oracle = GraphInterp::new(&graph, &Noise).expect("sound");
    let hidden = oracle.body(&ids).expect("runs");
    let expected = oracle.head(&hidden).expect("runs");
    let mut session = PlanInterp::new(&lowered.plan, &lowered.kernels, &weights).expect("sound");
    for &chunk in chunks {
        session.reset();
        let found = session.eval(&ids, chunk, true).unwrap_or_else(|e| panic!("chunks of {chunk}: {e}"));
        let found: Vec<f32> = found.into_iter().flatten().collect();
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, |a, b| if b > a || b.is_nan() { b } else { a });
        assert!(worst <= most, "chunks of {chunk}: logits differ by {worst}");
        let last = &found[found.len() - model.vocab as usize..];
        let greatest = last.iter().fold(f32::MIN, |a, &b| a.max(b));
        // Rows of the head are evaluated eight at a time; the pick follows runs of one.
        session.reset();
        let row = session.eval(&ids, chunk, false).expect("runs");
        assert!(row[0].iter().zip(last).all(|(a, b)| (a - b).abs() <= most), "chunks of {chunk}: the last row alone differs");
        let pick = session.pick().expect("runs").expect("GPUs pick");
        assert!(row[0][pick as usize] >= greatest - most && row[0].iter().all(|&x| x <= row[0][pick as usize]), "chunks of {chunk}: token {pick}");
    }
    lowered.plan
}

/// Abilities of a device, each alone and together, and both widths of workgroups.
fn devices() -> Vec<(&'static str, Gpu)> {
    let wide = Gpu { lanes: 256, shared_bytes: 32 << 10, ..plain() };
    vec![
        ("plain", plain()),
        ("subgroups", Gpu { subgroups: true, ..plain() }),
        ("int_dot", Gpu { int_dot: true, ..plain() }),
        ("f16", Gpu { f16: true, ..plain() }),
        ("wide", wide.clone()),
        ("wide with all", Gpu { subgroups: true, int_dot: true, f16: true, ..wide }),
    ]
}

const BOUNDS: Bounds = Bounds { chunk: 20, ctx: 40 };

#[test]
fn f32_models_agree_on_every_device() {
    for (name, gpu) in devices() {
        println!("{name}");
        agrees(&Llama { layers: 1, ..Llama::tiny() }, BOUNDS, gpu, 23, &[20, 7], 2e-4);
    }
}

#[test]
fn a_prompt_may_be_cut_anywhere() {
    let model = Llama { tied: false, vocab: 41, head_dim: 24, hidden: 72, inner: 40, ..Llama::tiny() };
    agrees(&model, BOUNDS, plain(), 23, &[20, 7, 2, 1], 2e-4);
}

#[test]
fn quantized_models_agree_on_every_device() {
    for (name, gpu) in devices() {
        for (linear, table) in [(DType::Q4 { group: 32 }, DType::Q6), (DType::Q8, DType::Q8)] {
            println!("{name} {linear}");
            let model = Llama { linear, table, quantize: true, kv: DType::F16, head_dim: 32, layers: 1, vocab: 75, ..Llama::tiny() };
            agrees(&model, BOUNDS, gpu.clone(), 12, &[9, 1], 0.03);
        }
    }
}

#[test]
fn codes_stand_in_workgroup_memory_as_halves_where_a_device_has_halves_but_multiplies_no_bytes() {
    let tiles = |gpu: Gpu, quantize: bool| {
        let linear = if quantize { DType::Q4 { group: 32 } } else { DType::F16 };
        let table = if quantize { DType::Q6 } else { DType::F16 };
        let graph = fused(Llama { linear, table, quantize, head_dim: 32, ..Llama::tiny() }, BOUNDS);
        let (lowered, _) = compiled(&graph, &target(gpu));
        let kernels = lowered.kernels.kernels.iter();
        let buffers = kernels.flat_map(|(_, k)| k.buffers.iter().map(|(_, b)| (b.name.clone(), b.elem, b.len * b.elem.bytes())).collect::<Vec<_>>());
        let tiles: Vec<(String, String, u32)> =
            buffers.filter(|(name, ..)| name.ends_with("_tile")).map(|(name, elem, bytes)| (name, elem.to_string(), bytes)).collect();
        assert!(tiles.len() >= 10, "each product of prefill has two");
        tiles
    };
    let is_all = |tiles: &[(String, String, u32)], elem: &str| tiles.iter().all(|(_, e, _)| e == elem);
    let halves = Gpu { f16: true, ..plain() };
    let (wide, narrow) = (tiles(plain(), true), tiles(halves.clone(), true));
    assert!(is_all(&wide, "f32x4"));
    assert!(is_all(&narrow, "f16x8"));
    assert!(is_all(&tiles(Gpu { int_dot: true, ..halves.clone() }, true), "i8x16"));
    assert!(is_all(&tiles(halves, false), "f32x4"), "activations that are not quantized need f32");
    let weights = |tiles: &[(String, String, u32)]| tiles.iter().find(|(name, ..)| name == "weight_tile").map_or(0, |t| t.2);
    assert!(weights(&narrow) * 9 <= weights(&wide) * 5, "{} and {} bytes", weights(&narrow), weights(&wide));
}

#[test]
fn codes_in_halves_give_the_very_numbers_that_codes_in_f32_give() {
    for linear in [DType::Q4 { group: 32 }, DType::Q4 { group: 64 }, DType::Q8] {
        let table = if linear == DType::Q8 { DType::Q8 } else { DType::Q6 };
        let model = Llama { linear, table, quantize: true, hidden: 64, inner: 64, head_dim: 32, layers: 1, vocab: 75, ..Llama::tiny() };
        let graph = fused(model.clone(), BOUNDS);
        let logits = |gpu: Gpu| -> Vec<u32> {
            let (lowered, weights) = compiled(&graph, &target(gpu));
            let mut session = PlanInterp::new(&lowered.plan, &lowered.kernels, &weights).expect("sound");
            let ids: Vec<u32> = (0..13).map(|i| (i * 7919 + 13) % model.vocab).collect();
            session.eval(&ids, 13, true).expect("runs").into_iter().flatten().map(f32::to_bits).collect()
        };
        assert_eq!(logits(Gpu { f16: true, ..plain() }), logits(plain()), "{linear}");
    }
}

#[test]
fn large_groups_and_unquantized_formats_agree() {
    let wide = Gpu { lanes: 256, shared_bytes: 32 << 10, int_dot: true, ..plain() };
    for gpu in [plain(), Gpu { f16: true, ..plain() }, wide] {
        for (linear, table, quantize) in [
            (DType::Q4 { group: 64 }, DType::Q4 { group: 64 }, true),
            (DType::Q4 { group: 128 }, DType::Q8, true),
            (DType::F16, DType::F16, false),
            (DType::Bf16, DType::Bf16, false),
        ] {
            println!("{linear} {table} {gpu:?}");
            let model = Llama {
                linear,
                table,
                quantize,
                kv: DType::F16,
                hidden: 128,
                inner: 128,
                heads: 2,
                kv_heads: 1,
                head_dim: 64,
                layers: 1,
                ..Llama::tiny()
            };
            agrees(&model, BOUNDS, gpu.clone(), 10, &[10, 1], if quantize { 0.03 } else { 2e-3 });
        }
    }
}

#[test]
fn heads_that_are_no_whole_groups_agree() {
    for (head_dim, quantize) in [(80, true), (80, false), (20, true), (20, false), (6, false)] {
        println!("{head_dim} {quantize}");
        let linear = if quantize { DType::Q8 } else { DType::F32 };
        let hidden = if quantize { 96 } else { 70 };
        let heads = if quantize { 8 } else { 3 };
        let kv_heads = if quantize { 2 } else { 3 };
        let table = linear;
        let model = Llama { linear, table, quantize, kv: DType::F16, hidden, heads, kv_heads, head_dim, layers: 1, ..Llama::tiny() };
        agrees(&model, BOUNDS, plain(), 9, &[9, 1], if quantize { 0.03 } else { 2e-3 });
    }
}

#[test]
fn attention_over_a_long_cache_is_combined_from_spans() {
    let model = Llama { head_dim: 32, heads: 2, kv_heads: 1, layers: 1, ..Llama::tiny() };
    // The last token is decoded behind more positions than a span has.
    let plan = agrees(&model, Bounds { chunk: 528, ctx: 1100 }, plain(), 529, &[528], 2e-4);
    assert!(plan.decode.len() > plan.prefill.len(), "decode has a dispatch more");
}

#[test]
fn matrices_greater_than_a_binding_are_split_by_rows() {
    for quantize in [false, true] {
        let (linear, table) = if quantize { (DType::Q4 { group: 32 }, DType::Q6) } else { (DType::F32, DType::F32) };
        let model = Llama { linear, table, quantize, vocab: 331, layers: 1, tied: false, head_dim: 32, ..Llama::tiny() };
        let gpu = Gpu { binding_bytes: if quantize { 12 << 10 } else { 40 << 10 }, ..plain() };
        let plan = agrees(&model, Bounds { chunk: 8, ctx: 16 }, gpu, 11, &[8, 1], if quantize { 0.03 } else { 2e-4 });
        let matrices = plan.packed.iter().filter(|(_, p)| matches!(p.content, PackedContent::Matrix { .. })).count();
        assert!(matrices > 6, "{matrices} matrices");
        assert!(plan.head_one.len() > 1 && plan.decode.len() > 6);
    }
}

#[test]
fn devices_far_from_the_usual_ones_agree() {
    let model = Llama { linear: DType::Q4 { group: 32 }, table: DType::Q6, quantize: true, head_dim: 32, layers: 1, ..Llama::tiny() };
    for (lanes, shared_bytes) in [(32, 16 << 10), (64, 12 << 10), (512, 16 << 10)] {
        println!("{lanes} lanes, {shared_bytes} bytes");
        agrees(&model, Bounds { chunk: 8, ctx: 16 }, Gpu { lanes, shared_bytes, ..plain() }, 10, &[8, 1], 0.03);
    }
}

#[test]
fn what_a_device_lacks_is_named() {
    let graph = fused(Llama::tiny(), Bounds { chunk: 8, ctx: 16 });
    for (gpu, reason) in [
        (Gpu { storage_buffers: 6, ..plain() }, "its kernel takes 7 storage buffers, the target has 6"),
        (Gpu { shared_bytes: 1 << 10, ..plain() }, "bytes of workgroup memory, the target has 1024"),
    ] {
        match lower(&graph, &target(gpu)) {
            Err(LowerError::Unsupported(reasons)) => assert!(reasons.iter().any(|r| r.contains(reason)), "{reasons:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_no_binding_holds_is_named() {
    let graph = fused(Llama::tiny(), Bounds { chunk: 8, ctx: 4096 });
    let made_up = target(Gpu { binding_bytes: 64 << 10, ..plain() });
    match lower(&graph, &made_up) {
        Err(LowerError::Unsupported(reasons)) => {
            assert!(reasons.iter().any(|r| r.contains("kv 0") && r.contains("binds at most 65536 bytes")), "{reasons:?}");
        }
        other => panic!("{other:?}"),
    }
}
