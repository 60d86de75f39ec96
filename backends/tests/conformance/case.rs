//! A case: a kernel, its inputs and how to compare what it writes.

use crate::native::Native;
pub use crate::numbers::{Gen, numbers};
use slmc_backends::{Backend, EmitOptions};
use slmc_ir::interp::kernel::{Compiled, Memory, Step, run_grid};
use slmc_ir::kernel::{Access, Kernel, KernelBuilder, KernelModule, Scalar, StepBounds, Type, ValueId, verify_module};
use slmc_ir::target::{DotKind, Target};

/// What the step gives in every case.
pub const STEP: Step = Step { t: 5, p: 7, row: 2 };
/// Bounds that allow it.
pub const BOUNDS: StepBounds = StepBounds { t: (1, 8), p: (0, 16), row: (0, 4) };
/// Vectors that an expression is tried on.
const ROUNDS: u32 = 24;

/// One kernel with data.
pub struct Case {
    pub kernel: Kernel,
    /// The bytes of each parameter.
    pub buffers: Vec<Vec<u8>>,
    /// Tiles along x and y.
    pub grid: [u32; 3],
    /// Only for targets whose `dot4` is u8·i8.
    pub vnni: bool,
}

/// A kernel that applies `f` to vectors loaded from one parameter per input and stores what it gives.
pub fn apply(name: &str, inputs: &[(Type, Gen)], f: impl FnOnce(&mut KernelBuilder, &[ValueId]) -> ValueId) -> Case {
    let mut b = KernelBuilder::new(name, BOUNDS, [1, 1, 1]);
    let mut buffers = Vec::new();
    let mut params = Vec::new();
    for (i, (ty, gen_)) in inputs.iter().enumerate() {
        let len = ROUNDS * u32::from(ty.lanes);
        params.push(b.param(&format!("in{i}"), Type::scalar(ty.scalar), len, Access::Read, 64));
        buffers.push(numbers(ty.scalar, len, *gen_, i as u64 + 1));
    }
    // The result's type is known once f ran: an i32 for bool, else its own; the longest is 64 lanes of 4 bytes.
    let out = b.param("out", Type::scalar(Scalar::U8), ROUNDS * 256, Access::Write, 64);
    b.for_(0u32, ROUNDS, 1, |b, round| {
        let mut values = Vec::new();
        for (param, (ty, _)) in params.iter().zip(inputs) {
            let at = b.mul(round, u32::from(ty.lanes));
            values.push(b.load(*ty, *param, at));
        }
        let mut result = f(b, &values);
        if b.ty(result).scalar == Scalar::Bool {
            let ints = b.ty(result).with_scalar(Scalar::I32);
            let (one, zero) = (b.constant(ints, 1i32), b.constant(ints, 0i32));
            result = b.select(result, one, zero);
        }
        let at = b.mul(round, 256u32);
        // A NaN may have any bits: store a fixed one.
        if b.ty(result).scalar == Scalar::F32 {
            let nan = b.cmp(slmc_ir::kernel::CmpOp::Ne, result, result);
            let fixed = b.constant(b.ty(result), 12345.0f32);
            result = b.select(nan, fixed, result);
        }
        b.store(out, at, result);
    });
    buffers.push(vec![0; ROUNDS as usize * 256]);
    Case { kernel: b.finish(), buffers, grid: [1, 1, 1], vnni: false }
}

/// Whether this machine has the target's features.
pub fn runs_here(target: &Target) -> bool {
    let basic = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let wide = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512dq");
    let dot = is_x86_feature_detected!("avx512vnni");
    basic && (target.vector_bits < 512 || wide) && (target.dot != DotKind::U8I8 || dot)
}

/// Whether a back end that splits no vectors and has no conversions of 16-bit floats has to take a case: what [`Backend::fit`] and
/// legalization keep from it is refused, with these words.
fn within(backend: &dyn Backend, target: &Target, case: &Case) -> bool {
    const OTHERS: [&str; 6] = ["a value of type", "conversion of", "a shift of", "Div of", "Rem of", "products of"];
    let mut module = KernelModule::default();
    module.kernels.push(case.kernel.clone());
    let found = backend.unsupported(&module, target);
    for fault in &found {
        let expected = backend.name() == "cranelift" && OTHERS.iter().any(|other| fault.what.starts_with(other));
        assert!(expected, "{} refuses {}: {fault}", backend.name(), case.kernel.name);
    }
    found.is_empty()
}

/// Emits all cases for a target and compares each with the interpreter. Returns how many there were.
pub fn check_on(backend: &dyn Backend, target: &Target, cases: &[Case]) -> usize {
    let cases: Vec<&Case> = cases.iter().filter(|c| (!c.vnni || target.dot == DotKind::U8I8) && within(backend, target, c)).collect();
    let mut module = KernelModule::default();
    for case in &cases {
        module.kernels.push(case.kernel.clone());
    }
    let verified = verify_module(&module).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let options = EmitOptions { header: b"a header".to_vec(), threads: 2, listing: false };
    let artifact = backend.emit(verified, target, &options).unwrap_or_else(|e| panic!("{e}"));
    let native = Native::load(&artifact, cases.len());
    assert_eq!(native.header(8), b"a header");
    for (i, case) in cases.iter().enumerate() {
        let expected = interpret(case);
        let mut found: Vec<Vec<Line>> = case.buffers.iter().map(|b| aligned(b)).collect();
        let bindings: Vec<*mut u8> = found.iter_mut().map(|b| b.as_mut_ptr().cast()).collect();
        let step = [STEP.t, STEP.p, STEP.row, 0];
        for y in 0..case.grid[1] {
            for x in 0..case.grid[0] {
                // SAFETY: the bindings are buffers of the kernel's lengths at multiples of 64, and the tile lies in its grid.
                unsafe { native.kernel(i)(bindings.as_ptr(), &step, x, y, 0) }
            }
        }
        for (p, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let found: Vec<u8> = found.iter().flat_map(|l| l.0).take(expected.len()).collect();
            if let Some(at) = expected.iter().zip(&found).position(|(a, b)| a != b) {
                let line = at / 4 * 4;
                panic!(
                    "{}, {}, kernel {}, parameter {p}, byte {at}: found {:x?}, expected {:x?}\n{}",
                    backend.name(),
                    target.name,
                    case.kernel.name,
                    &found[line..(line + 8).min(found.len())],
                    &expected[line..(line + 8).min(found.len())],
                    case.kernel
                );
            }
        }
    }
    cases.len()
}

/// The instructions of one case.
#[cfg(feature = "cranelift")]
pub fn listing(backend: &dyn Backend, target: &Target, case: &Case) -> String {
    let mut module = KernelModule::default();
    module.kernels.push(case.kernel.clone());
    let verified = verify_module(&module).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let artifact = backend.emit(verified, target, &EmitOptions { listing: true, ..EmitOptions::default() }).unwrap_or_else(|e| panic!("{e}"));
    artifact.listing.unwrap_or_default()
}

/// 64 bytes at a multiple of 64.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

fn aligned(bytes: &[u8]) -> Vec<Line> {
    bytes.chunks(64).map(|c| Line(std::array::from_fn(|i| c.get(i).copied().unwrap_or(0)))).collect()
}

fn interpret(case: &Case) -> Vec<Vec<u8>> {
    let code = Compiled::new(&case.kernel).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let mut buffers = case.buffers.clone();
    let (mut memory, places) = Memory::of_slices(buffers.iter_mut().map(Vec::as_mut_slice).collect());
    run_grid(&code, &mut memory, &places, STEP, case.grid).unwrap_or_else(|fault| panic!("{fault}\n{}", case.kernel));
    buffers
}
