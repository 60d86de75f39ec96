//! Lowered, legalized kernels of whole models: the code of every back end for CPUs against the interpreter, bit for bit, on every
//! x86-64 target that this machine runs; for aarch64, that all of them are emitted.
#![cfg(target_arch = "x86_64")]

#[path = "../../ir/tests/llama/mod.rs"]
mod llama;
#[path = "../../backends/tests/native/mod.rs"]
mod native;

use std::time::{Duration, Instant};

use llama::Llama;
use native::Native;
use slmc_backends::{Artifact, Backend, EmitOptions};
use slmc_ir::arena::Id;
use slmc_ir::graph::{Bounds, DType};
use slmc_ir::interp::kernel::{Compiled, Machine, Memory, Step};
use slmc_ir::kernel::{Kernel, KernelModule, Scalar, verify_module};
use slmc_ir::target::{DotKind, Target, known};
use slmc_passes::graph::GRAPH_PASSES;
use slmc_passes::kernel::legalize::legalize;
use slmc_passes::lower::lower;
use slmc_passes::manager::{Drive, PassCx, PassSpec, run};

fn runs_here(target: &Target) -> bool {
    let basic = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let wide = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq");
    let dot = is_x86_feature_detected!("avx512vnni");
    target.gpu.is_none()
        && target.triple.starts_with("x86_64-")
        && basic
        && (target.vector_bits < 512 || wide)
        && (target.dot != DotKind::U8I8 || dot)
}

fn lowered(model: &Llama, bounds: Bounds, target: &Target) -> KernelModule {
    let (mut graph, _) = model.build(bounds);
    let (matches, clock) = (|_: &str, _: &str| Ok(false), || Duration::ZERO);
    let mut cx = PassCx::new(&matches, &clock);
    cx.target = Some(target);
    run(&mut graph, &PassSpec::list(&["fuse"]), GRAPH_PASSES, &mut cx, &mut Drive::default()).expect("fuses");
    let mut module = lower(&graph, target).expect("lowers").kernels;
    legalize(&mut module, target);
    module
}

/// Kernels by every back end for the target as it can use it.
fn check(model: &Llama, bounds: Bounds) {
    for backend in backends() {
        for target in known::known().iter().filter(|t| runs_here(t)) {
            let target = &backend.fit(target);
            let module = lowered(model, bounds, target);
            let artifact = emitted(backend, &module, target);
            let native = Native::load(&artifact, module.kernels.len());
            for (id, kernel) in module.kernels.iter() {
                compare(backend.name(), target, kernel, native.kernel(id.index()), bounds);
            }
        }
    }
}

/// The back ends for CPUs of this build.
fn backends() -> Vec<&'static dyn Backend> {
    slmc_backends::all().into_iter().filter(|b| b.name() != "naga").collect()
}

fn emitted(backend: &dyn Backend, module: &KernelModule, target: &Target) -> Artifact {
    let verified = verify_module(module).unwrap_or_else(|faults| panic!("{}: {faults:#?}", target.name));
    let start = Instant::now();
    let options = EmitOptions { threads: 2, ..EmitOptions::default() };
    let artifact = backend.emit(verified, target, &options).unwrap_or_else(|e| panic!("{e}"));
    let bytes: usize = artifact.objects.iter().map(|o| o.bytes.len()).sum();
    println!("{}, {}: {} kernels, {} KiB of objects, {:?}", backend.name(), target.name, module.kernels.len(), bytes >> 10, start.elapsed());
    artifact
}

/// 64 bytes at a multiple of 64.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

/// Numbers of sane size whatever the buffer holds: bytes and halves that are positive f16 below 0.5, floats within ±1, indices
/// below 32.
fn fill(kernel: &Kernel) -> Vec<Vec<u8>> {
    let mut state = 3u64;
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let bytes = |b: &slmc_ir::kernel::Buffer, noise: &mut dyn FnMut() -> u32| -> Vec<u8> {
        let count = (b.len * b.elem.bytes()) as usize;
        let mut out = Vec::with_capacity(count + 4);
        while out.len() < count {
            match b.elem.scalar {
                Scalar::F32 => out.extend_from_slice(&((noise() % 2001) as f32 / 1000.0 - 1.0).to_le_bytes()),
                Scalar::U32 => out.extend_from_slice(&(noise() % 32).to_le_bytes()),
                Scalar::I32 => out.extend_from_slice(&((noise() % 8001) as i32 - 4000).to_le_bytes()),
                Scalar::I8 => out.push(((noise() % 255) as i32 - 127) as u8),
                _ => out.push((noise() % 0x38) as u8),
            }
        }
        out.truncate(count);
        out
    };
    kernel.params().map(|(_, b)| bytes(b, &mut noise)).collect()
}

fn compare(backend: &str, target: &Target, kernel: &Kernel, code: native::KernelFn, bounds: Bounds) {
    let b = kernel.bounds;
    let most_p = b.p.1.min(bounds.ctx - b.t.0);
    for step in [Step { t: b.t.1, p: b.p.0, row: b.row.0 }, Step { t: b.t.0, p: most_p, row: b.row.1 }] {
        let mut expected = fill(kernel);
        let mut found: Vec<Vec<Line>> =
            expected.iter().map(|b| b.chunks(64).map(|c| Line(std::array::from_fn(|i| c.get(i).copied().unwrap_or(0)))).collect()).collect();
        let compiled = Compiled::new(kernel).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let (mut memory, places) = Memory::of_slices(expected.iter_mut().map(Vec::as_mut_slice).collect());
        let mut machine = Machine::new(&compiled);
        let bindings: Vec<*mut u8> = found.iter_mut().map(|b| b.as_mut_ptr().cast()).collect();
        let numbers = [step.t, step.p, step.row, 0];
        // The first and last tiles of each axis.
        let ends = |n: u32| if n < 3 { (0..n).collect() } else { vec![0, n / 2, n - 1] };
        for z in ends(kernel.grid[2]) {
            for y in ends(kernel.grid[1]) {
                for x in ends(kernel.grid[0]) {
                    machine.tile(&mut memory, &places, step, [x, y, z]).unwrap_or_else(|fault| panic!("{backend}, {}: {fault}", target.name));
                    // SAFETY: the bindings are buffers of the kernel's lengths at multiples of 64, and the tile lies in its grid.
                    unsafe { code(bindings.as_ptr(), &numbers, x, y, z) }
                }
            }
        }
        drop(memory);
        for (p, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let found: Vec<u8> = found.iter().flat_map(|l| l.0).take(expected.len()).collect();
            let differ = expected.iter().zip(&found).position(|(a, b)| a != b);
            assert!(differ.is_none(), "{backend}, {}, kernel @{}, {step:?}: parameter {p} differs at byte {differ:?}", target.name, kernel.name);
        }
    }
}

/// aarch64 without and with a dot product, ELF and Mach-O.
const ARMS: [&str; 3] = ["linux-arm64", "android-arm64-dotprod", "mac-m1"];

/// Models of every format.
fn models() -> Vec<(Llama, Bounds)> {
    let wide = |linear, table, kv| Llama { linear, table, quantize: true, kv, head_dim: 32, hidden: 128, inner: 192, vocab: 1003, ..Llama::tiny() };
    let bounds = Bounds { chunk: 32, ctx: 100 };
    let mut models = vec![
        (Llama::tiny(), Bounds { chunk: 16, ctx: 64 }),
        (Llama { tied: false, vocab: 41, head_dim: 24, ..Llama::tiny() }, Bounds { chunk: 7, ctx: 61 }),
        (Llama { linear: DType::F16, table: DType::F16, kv: DType::F16, ..Llama::tiny() }, Bounds { chunk: 16, ctx: 64 }),
    ];
    let formats =
        [(DType::Q4 { group: 32 }, DType::Q6), (DType::Q6, DType::Q6), (DType::Q8, DType::Q8), (DType::Q4 { group: 64 }, DType::Q4 { group: 64 })];
    models.push((wide(DType::Q4 { group: 32 }, DType::Q6, DType::Q8), bounds));
    models.push((Llama { kv: DType::Q8, head_dim: 24, ..Llama::tiny() }, Bounds { chunk: 7, ctx: 61 }));
    models.extend(formats.map(|(linear, table)| (wide(linear, table, DType::F16), bounds)));
    models
}

#[test]
fn models_of_every_format() {
    for (model, bounds) in models() {
        check(&model, bounds);
    }
}

/// Cranelift's verifier passes over every function.
#[test]
fn cranelift_emits_every_format_for_aarch64() {
    let backend = slmc_backends::lookup("cranelift").expect("the feature cranelift");
    for name in ARMS {
        let target = backend.fit(&known::find(name).expect("a known target"));
        for (model, bounds) in models() {
            let module = lowered(&model, bounds, &target);
            let artifact = emitted(backend, &module, &target);
            assert_eq!(artifact.objects.len(), module.kernels.len() + 1);
        }
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
    check(&model, Bounds { chunk: 256, ctx: 2048 });
}
