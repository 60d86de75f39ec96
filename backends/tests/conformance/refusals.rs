//! What is refused, all of it at once; and that the same input gives the same bytes.

use crate::case::BOUNDS;
use slmc_backends::{BackendError, EmitOptions, LookupError, lookup};
use slmc_ir::kernel::{Access, KernelBuilder, KernelModule, Scalar, Type, UnaryOp, verify_module};
#[cfg(feature = "llvm")]
use slmc_ir::target::Target;
use slmc_ir::target::known;

/// Three kernels that double a vector of some lanes.
fn module(lanes: u16) -> KernelModule {
    let mut module = KernelModule::default();
    for name in ["one", "two", "three"] {
        let mut b = KernelBuilder::new(name, BOUNDS, [1, 1, 1]);
        let data = b.param("data", Type::scalar(Scalar::F32), 64, Access::ReadWrite, 64);
        let v = b.load(Type::vector(Scalar::F32, lanes), data, 0u32);
        let v = b.mul(v, 2.0f32);
        b.store(data, 16u32, v);
        module.kernels.push(b.finish());
    }
    module
}

#[cfg(feature = "llvm")]
#[test]
fn unsupported_names_everything() {
    let mut module = module(16);
    let mut b = KernelBuilder::new("hard", BOUNDS, [1, 1, 1]);
    let data = b.param("data", Type::scalar(Scalar::U8), 256, Access::ReadWrite, 64);
    let _ = b.private("huge", Type::scalar(Scalar::F32), 1 << 16);
    let floats = b.load(Type::vector(Scalar::F32, 8), data, 0u32);
    let e = b.unary(UnaryOp::Exp, floats);
    b.store(data, 0u32, e);
    let halves = b.load(Type::vector(Scalar::F16, 8), data, 64u32);
    let sum = b.add(halves, halves);
    b.store(data, 64u32, sum);
    let (x, y) = (b.load(Type::vector(Scalar::U8, 32), data, 0u32), b.load(Type::vector(Scalar::I8, 32), data, 32u32));
    let acc = b.constant(Type::vector(Scalar::I32, 8), 0i32);
    let dot = b.dot4(acc, x, y, 255);
    b.store(data, 128u32, dot);
    module.kernels.push(b.finish());

    let known = known::find("x86_64-avx2").expect("a known target");
    let target = Target { cpu: "z80", features: [known.features.clone(), vec!["floppy"]].concat(), ..known };
    let verified = verify_module(&module).unwrap_or_else(|f| panic!("{f:#?}"));
    let backend = lookup("llvm").expect("the feature llvm");
    let Err(BackendError::Unsupported { found, .. }) = backend.emit(verified, &target, &EmitOptions::default()) else {
        panic!("emitted");
    };
    let text: String = found.iter().map(|u| format!("{u}\n")).collect();
    for part in ["z80", "floppy", "private arrays", "exp and tanh", "arithmetic on f16x8", "dot4"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(found.len(), 6, "{text}");
}

#[test]
fn products_of_byte_matrices_are_refused_where_there_are_none() {
    let mut b = KernelBuilder::new("tiles", BOUNDS, [1, 1, 1]);
    let data = b.param("data", Type::scalar(Scalar::I8), 64, Access::ReadWrite, 64);
    let bytes = b.load(Type::vector(Scalar::I8, 16), data, 0u32);
    let acc = b.constant(Type::vector(Scalar::I32, 4), 0i32);
    let sums = b.mmla(acc, bytes, bytes);
    b.store(data, 32u32, sums);
    let mut module = KernelModule::default();
    module.kernels.push(b.finish());
    let refused = |backend: &dyn slmc_backends::Backend, target: &str| {
        let target = known::find(target).expect("a known target");
        backend.unsupported(&module, &backend.fit(&target)).iter().any(|u| u.what == "mmla")
    };
    for backend in slmc_backends::all() {
        assert!(refused(backend, if backend.name() == "naga" { "vulkan-desktop" } else { "x86_64-avx2" }), "{}", backend.name());
        if backend.name() != "naga" {
            assert_eq!(refused(backend, "linux-arm64-i8mm"), backend.name() == "cranelift", "{}", backend.name());
        }
    }
}

/// Without Cranelift's view of the target and legalization, everything that they keep from it is refused.
#[cfg(feature = "cranelift")]
#[test]
fn cranelift_refuses_what_its_target_does_not_have() {
    let mut module = module(16);
    let mut b = KernelBuilder::new("hard", BOUNDS, [1, 1, 1]);
    let data = b.param("data", Type::scalar(Scalar::U8), 256, Access::ReadWrite, 64);
    let _ = b.private("huge", Type::scalar(Scalar::F32), 1 << 16);
    let halves = b.load(Type::vector(Scalar::F16, 4), data, 64u32);
    let floats = b.convert(halves, Scalar::F32);
    let e = b.unary(UnaryOp::Tanh, floats);
    b.store(data, 0u32, e);
    let (x, y) = (b.load(Type::vector(Scalar::U8, 16), data, 0u32), b.load(Type::vector(Scalar::I8, 16), data, 32u32));
    let acc = b.constant(Type::vector(Scalar::I32, 4), 0i32);
    let dot = b.dot4(acc, x, y, 255);
    b.store(data, 128u32, dot);
    let quotient = b.div(dot, 3i32);
    b.store(data, 160u32, quotient);
    module.kernels.push(b.finish());

    let verified = verify_module(&module).unwrap_or_else(|f| panic!("{f:#?}"));
    let backend = lookup("cranelift").expect("the feature cranelift");
    let known = known::find("x86_64-avx2").expect("a known target");
    let Err(BackendError::Unsupported { found, .. }) = backend.emit(verified, &known, &EmitOptions::default()) else {
        panic!("emitted");
    };
    let text: String = found.iter().map(|u| format!("{u}\n")).collect();
    let parts = [
        "feature `f16c`",
        "vectors of 256 bits",
        "value of type f32x16",
        "private arrays",
        "conversion of f16x4",
        "tanh",
        "dot4 of u8",
        "Div of i32x4",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    // Two values of f32x16 in each of three kernels.
    assert_eq!(found.len(), parts.len() + 5, "{text}");
}

#[test]
fn same_bytes_whatever_the_threads() {
    let module = module(4);
    let verified = verify_module(&module).unwrap_or_else(|f| panic!("{f:#?}"));
    for backend in crate::backends() {
        let target = backend.fit(&known::find("x86_64-avx512vnni").expect("a known target"));
        let emit = |threads, listing| {
            let options = EmitOptions { header: vec![7; 64], threads, listing };
            backend.emit(verified, &target, &options).unwrap_or_else(|e| panic!("{e}"))
        };
        let one = emit(1, true);
        for threads in [1, 2, 7] {
            assert_eq!(emit(threads, false).objects, one.objects);
        }
        let listing = one.listing.unwrap_or_default();
        assert!(["slmc_k_one", "slmc_k_two", "slmc_k_three"].iter().all(|name| listing.contains(name)), "{listing}");
        let names: Vec<&str> = one.objects.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["slmc_k_one", "slmc_k_two", "slmc_k_three", "slmc_table"]);
    }
}

#[test]
fn unknown_back_ends_are_named() {
    assert!(matches!(lookup("fortran"), Err(LookupError::Unknown { .. })));
}
