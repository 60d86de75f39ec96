//! What is refused, all of it at once; and that what is not refused is emitted: kernels of the repository's tests and random
//! ones.

use crate::case::{BOUNDS, Case, Gen, emit, numbers, target};
use crate::device::check;
use crate::spirv::words;
use crate::{random, spirv};
use slmc_backends::{BackendError, EmitOptions, lookup};
use slmc_ir::arena::Id;
use slmc_ir::kernel::{Access, BinaryOp, Builtin, CmpOp, KernelBuilder, KernelModule, ReduceOp, Scalar, Type, UnaryOp, verify_module};
use slmc_ir::plan::Program;
use slmc_ir::target::{GpuApi, Target, known};
use std::path::Path;

const F32: Type = Type::scalar(Scalar::F32);

/// What the back end says of one kernel, one finding a line.
fn said(kernel: KernelBuilder, target: &Target) -> String {
    let mut module = KernelModule::default();
    module.kernels.push(kernel.finish());
    let verified = verify_module(&module).unwrap_or_else(|faults| panic!("{faults:#?}\n{module}"));
    let backend = lookup("naga").expect("the feature naga");
    let found = backend.unsupported(&module, target);
    match backend.emit(verified, target, &EmitOptions::default()) {
        Err(BackendError::Unsupported { found: again, .. }) => assert_eq!(found, again),
        Err(e) => panic!("{e}"),
        Ok(_) => assert!(found.is_empty(), "emitted in spite of {found:?}"),
    }
    found.iter().map(|u| format!("{u}\n")).collect()
}

/// Each of `parts` in a line of its own, and no other line.
fn demand(text: &str, parts: &[&str]) {
    for part in parts {
        assert_eq!(text.lines().filter(|line| line.contains(part)).count(), 1, "{part} in:\n{text}");
    }
    assert_eq!(text.lines().count(), parts.len(), "{text}");
}

#[test]
fn limits_of_the_device_are_named_all_at_once() {
    let mut b = KernelBuilder::new("large", BOUNDS, [70_000, 1, 1]);
    b.lanes(256);
    for i in 0..17 {
        let _ = b.param(&format!("p{i}"), F32, 16, Access::Read, 64);
    }
    let _ = b.param("wide", F32, 40 << 20, Access::Read, 64);
    let _ = b.param("none", F32, 0, Access::Read, 64);
    let _ = b.private("own", F32, 5000);
    for i in 0..9 {
        let _ = b.workgroup(&format!("w{i}"), F32, 500);
    }
    let text = said(b, &target(GpuApi::Vulkan, true));
    let parts = [
        "256 lanes",
        "[70000, 1, 1]",
        "19 parameters",
        "18000 bytes",
        "9 workgroup arrays",
        "20000 bytes",
        "167772160 bytes",
        "%none: an empty buffer",
    ];
    demand(&text, &parts);
}

#[test]
fn types_and_operations_that_gpus_lack_are_named_with_a_way_out() {
    let mut b = KernelBuilder::new("hard", BOUNDS, [1, 1, 1]);
    let ty = Type::vector;
    let bytes = b.param("bytes", ty(Scalar::I8, 16), 8, Access::ReadWrite, 64);
    let eights = b.param("eights", ty(Scalar::F32, 8), 8, Access::ReadWrite, 64);
    let words = b.param("words", Type::INDEX, 8, Access::ReadWrite, 64);
    let v = b.load(ty(Scalar::F32, 8), eights, 0u32);
    b.store(eights, 1u32, v);
    let v = b.load(ty(Scalar::I8, 16), bytes, 0u32);
    let sum = b.add(v, v);
    b.store(bytes, 0u32, sum);
    let truth = b.cmp(CmpOp::Lt, v, 3i32);
    b.store(bytes, 0u32, v);
    let _ = truth;
    let amount = b.binary(BinaryOp::And, v, 7i32);
    let _ = b.binary(BinaryOp::Shl, v, amount);
    let one = b.load(Type::INDEX, words, 0u32);
    b.store(bytes, 0u32, one);
    let pair = b.load(ty(Scalar::U32, 2), words, 0u32);
    b.store(words, 0u32, pair);
    let wide = b.convert(one, Scalar::F32);
    let _ = b.unary(UnaryOp::Exp, wide);
    let _ = b.load(ty(Scalar::Bf16, 2), words, 0u32);
    let text = said(b, &target(GpuApi::Metal, false));
    demand(
        &text,
        &[
            "%eights: the type f32x8",
            "v0: the type f32x8",
            "arithmetic on i8x16",
            "v3: the type boolx16",
            "a shift of i8x16 by other than a constant",
            "a store of u32 to a buffer of i8x16",
            "a load of u32x2 from a buffer of u32",
            "a store of u32x2 to a buffer of u32",
            "exp and tanh",
            "v10: the type bf16x2",
            "a load of bf16x2 from a buffer of u32",
        ],
    );
}

#[test]
fn what_a_target_lacks_is_refused_there_and_taken_elsewhere() {
    let able = || {
        let mut b = KernelBuilder::new("able", BOUNDS, [1, 1, 1]);
        b.lanes(32);
        let bytes = b.param("bytes", Type::vector(Scalar::I8, 4), 32, Access::Read, 64);
        let sums = b.param("sums", Type::scalar(Scalar::I32), 32, Access::Write, 64);
        let halves = b.param("halves", Type::vector(Scalar::F16, 2), 32, Access::ReadWrite, 64);
        let lane = b.builtin(Builtin::Lane);
        let v = b.load(Type::vector(Scalar::I8, 4), bytes, lane);
        let zero = b.constant(Type::scalar(Scalar::I32), 0i32);
        let sum = b.dot4(zero, v, v, 128);
        let sum = b.subgroup(ReduceOp::Add, sum);
        b.store(sums, lane, sum);
        let v = b.load(Type::vector(Scalar::F16, 2), halves, lane);
        let v = b.add(v, v);
        b.store(halves, lane, v);
        let _ = b.builtin(Builtin::Subgroups);
        b
    };
    for api in [GpuApi::Vulkan, GpuApi::Metal] {
        demand(&said(able(), &target(api, true)), &[]);
        let text = said(able(), &target(api, false));
        demand(&text, &["arithmetic on f16x2", "dot4", "subgroup add", ": subgroups"]);
    }
}

#[test]
fn a_target_without_a_gpu_is_refused() {
    let cpu = known::find("x86_64-avx2").expect("a known target");
    demand(&said(KernelBuilder::new("any", BOUNDS, [1, 1, 1]), &cpu), &["it has no GPU"]);
    let strange = Target { triple: "riscv64-unknown-none-elf", ..target(GpuApi::Vulkan, true) };
    demand(&said(KernelBuilder::new("any", BOUNDS, [1, 1, 1]), &strange), &["objects for `riscv64-unknown-none-elf`"]);
}

/// Emits a module for every GPU target; it must be refused or valid.
fn never_fails(module: &KernelModule, taken: &mut usize, refused: &mut usize) {
    let backend = lookup("naga").expect("the feature naga");
    let targets = known::known().into_iter().filter(|t| t.gpu.is_some());
    for target in targets.chain([target(GpuApi::Vulkan, true), target(GpuApi::Metal, false)]) {
        if backend.unsupported(module, &target).is_empty() {
            let artifact = emit(module, &target, true);
            *taken += 1;
            if target.gpu.as_ref().is_some_and(|gpu| gpu.api == GpuApi::Vulkan) {
                for (i, (_, kernel)) in module.kernels.iter().enumerate() {
                    spirv::check(&words(&artifact, i), &kernel.name);
                }
            }
        } else {
            *refused += 1;
        }
    }
}

#[test]
fn kernels_of_the_repositorys_tests_are_emitted_or_refused() {
    fn texts(folder: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder of filetests").flatten() {
            let path = entry.path();
            if path.is_dir() {
                texts(&path, out);
            } else if path.extension().is_some_and(|e| e == "slmir") {
                out.push(std::fs::read_to_string(&path).expect("a filetest is text"));
            }
        }
    }
    let mut all = Vec::new();
    texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/filetests"), &mut all);
    let (mut taken, mut refused) = (0, 0);
    for text in all {
        // Expectations and faults that the tests are about stand in some; those are no programs.
        let Some(start) = text.find("slmir 0") else { continue };
        let Ok(program) = Program::parse(&text[start..]) else { continue };
        for (_, kernel) in program.kernels.kernels.iter() {
            let mut one = KernelModule::default();
            one.kernels.push(kernel.clone());
            if verify_module(&one).is_ok() {
                never_fails(&one, &mut taken, &mut refused);
            }
        }
    }
    assert!(taken > 20 && refused > 20, "{taken} emitted, {refused} refused");
}

#[test]
fn random_kernels_are_emitted_or_refused() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..300 {
        let mut module = KernelModule::default();
        module.kernels.push(random::kernel(seed, false));
        if verify_module(&module).is_ok() {
            never_fails(&module, &mut taken, &mut refused);
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} emitted, {refused} refused");
}

#[test]
fn random_kernels_of_integers_compute_what_the_interpreter_does() {
    let backend = lookup("naga").expect("the feature naga");
    let mut cases = Vec::new();
    for seed in 0..400 {
        let kernel = random::kernel(seed, true);
        let mut module = KernelModule::default();
        module.kernels.push(kernel.clone());
        if verify_module(&module).is_ok() && backend.unsupported(&module, &target(GpuApi::Vulkan, true)).is_empty() {
            let inputs = kernel.buffers.iter().map(|(id, b)| {
                let lanes = u32::from(b.elem.lanes) * b.len;
                numbers(b.elem.scalar, lanes, Gen::Any, seed + u64::from(id.index() as u32))
            });
            cases.push(Case::new(kernel.clone(), inputs.collect(), [1, 1, 1]));
        }
    }
    assert!(cases.len() > 100, "{} kernels", cases.len());
    check(true, &cases);
}
