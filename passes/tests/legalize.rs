//! Legalization keeps integer results, keeps exp and tanh within their stated accuracy, and leaves nothing illegal.

use slmc_ir::interp::kernel::{Compiled, Memory, Step, run_grid};
use slmc_ir::kernel::{Access, Def, Expr, Kernel, KernelBuilder, KernelModule, Scalar, StepBounds, Type, UnaryOp, ValueId, verify_module};
use slmc_ir::target::{DotKind, Target, known};
use slmc_passes::kernel::legalize::legalize;

fn target(dot: DotKind) -> Target {
    Target { dot, ..known::find("x86_64-avx2").expect("a known target") }
}

fn builder() -> KernelBuilder {
    KernelBuilder::new("k", StepBounds { t: (1, 1), p: (0, 0), row: (0, 0) }, [1, 1, 1])
}

fn run(kernel: &Kernel, inputs: &[Vec<u8>], out: usize) -> Vec<u8> {
    let code = Compiled::new(kernel).expect("a valid kernel");
    let mut inputs = inputs.to_vec();
    let mut result = vec![0; out];
    let mut slices: Vec<&mut [u8]> = inputs.iter_mut().map(Vec::as_mut_slice).collect();
    slices.push(&mut result);
    let (mut memory, places) = Memory::of_slices(slices);
    run_grid(&code, &mut memory, &places, Step { t: 1, p: 0, row: 0 }, [1, 1, 1]).expect("no fault");
    result
}

fn legal(kernel: Kernel, dot: DotKind) -> Kernel {
    legal_for(kernel, &target(dot))
}

fn legal_for(kernel: Kernel, target: &Target) -> Kernel {
    let mut module = KernelModule::default();
    let id = module.kernels.push(kernel);
    legalize(&mut module, target);
    verify_module(&module).expect("legal and valid");
    let again = module.clone();
    legalize(&mut module, target);
    assert_eq!(module, again, "legalizing twice changes nothing");
    module.kernels[id].clone()
}

/// Applies a function of f32x16 to numbers, through the interpreter.
fn floats(op: UnaryOp, xs: &[f32]) -> Vec<f32> {
    let n = xs.len().next_multiple_of(16);
    let mut b = builder();
    let float = Type::scalar(Scalar::F32);
    let input = b.param("x", float, n as u32, Access::Read, 64);
    let output = b.param("y", float, n as u32, Access::Write, 64);
    b.for_(0u32, n as u32, 16, |b, i| {
        let x = b.load(Type::vector(Scalar::F32, 16), input, i);
        let y = b.unary(op, x);
        b.store(output, i, y);
    });
    let mut padded = xs.to_vec();
    padded.resize(n, 0.0);
    let bytes: Vec<u8> = padded.iter().flat_map(|x| x.to_le_bytes()).collect();
    let out = run(&legal(b.finish(), DotKind::U8I8), &[bytes], n * 4);
    out.chunks_exact(4).take(xs.len()).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

/// Units in the last place between `y` and the exact value.
fn ulp(y: f32, exact: f64) -> f64 {
    let unit = f64::from(f32::from_bits((exact.abs() as f32).to_bits() + 1)) - f64::from(exact.abs() as f32);
    (f64::from(y) - exact).abs() / unit
}

#[test]
fn exp_is_within_two_ulp() {
    let xs: Vec<f32> = (0..200_000).map(|i| -87.3 + i as f32 * (175.6 / 200_000.0)).chain((0..60).map(|i| 2f32.powi(-i))).collect();
    let worst = xs.iter().zip(floats(UnaryOp::Exp, &xs)).map(|(x, y)| ulp(y, f64::from(*x).exp())).fold(0.0, f64::max);
    assert!(worst <= 2.0, "{worst} ulp");
}

#[test]
fn exp_is_finite_everywhere() {
    let edges = [f32::NEG_INFINITY, -1e30, -88.0, 0.0, 88.7, 1e30, f32::INFINITY, f32::NAN];
    let ys = floats(UnaryOp::Exp, &edges);
    assert!(ys.iter().all(|y| y.is_finite() && *y > 0.0), "{ys:?}");
    assert!(ys[0] < 2e-38 && ys[2] < 2e-38 && ys[3] == 1.0 && ys[6] > 2e38, "{ys:?}");
}

#[test]
fn tanh_is_within_three_ulp() {
    let xs: Vec<f32> = (-100_000..100_000).map(|i| i as f32 * 1.2e-4).chain((1..60).map(|i| -(2f32.powi(-i)))).collect();
    let worst = xs.iter().zip(floats(UnaryOp::Tanh, &xs)).map(|(x, y)| ulp(y, f64::from(*x).tanh())).fold(0.0, f64::max);
    assert!(worst <= 3.0, "{worst} ulp");
    let edges = floats(UnaryOp::Tanh, &[f32::NEG_INFINITY, f32::INFINITY, 0.0, -50.0]);
    assert_eq!(edges, [-1.0, 1.0, 0.0, -1.0]);
}

/// Four chained dot products of 16 lanes, one of whose results is used twice.
fn dots(signed: bool, max_a: u8) -> Kernel {
    let mut b = builder();
    let (of_a, of_b) = (Type::scalar(if signed { Scalar::I8 } else { Scalar::U8 }), Type::scalar(Scalar::I8));
    let a = b.param("a", of_a, 256, Access::Read, 64);
    let w = b.param("b", of_b, 256, Access::Read, 64);
    let out = b.param("out", Type::scalar(Scalar::I32), 32, Access::Write, 64);
    let mut acc: ValueId = b.constant(Type::vector(Scalar::I32, 16), -7i32);
    for j in 0..4u32 {
        let x = b.load(Type::vector(of_a.scalar, 64), a, j * 64);
        let y = b.load(Type::vector(Scalar::I8, 64), w, j * 64);
        acc = b.dot4(acc, x, y, max_a);
        if j == 1 {
            b.store(out, 16u32, acc);
        }
    }
    b.store(out, 0u32, acc);
    b.finish()
}

#[test]
fn integer_dots_stay_exact() {
    let mut state = 9u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    for (signed, max_a) in [(false, 15), (false, 127), (false, 255), (true, 128)] {
        let kernel = dots(signed, max_a);
        for round in 0..20 {
            let mut a: Vec<u8> = (0..256).map(|_| (noise() % (u32::from(max_a) + 1)) as u8).collect();
            let mut b: Vec<u8> = (0..256).map(|_| noise() as u8).collect();
            if round == 0 {
                // Extremes: the largest sums that fit.
                a.fill(if signed { 128 } else { max_a });
                b.fill(128);
            }
            if signed {
                a.iter_mut().for_each(|x| *x = if noise() % 2 == 0 { *x } else { x.wrapping_neg() });
            }
            let inputs = [a, b];
            let expected = run(&kernel, &inputs, 128);
            for dot in [DotKind::U8I8, DotKind::Pairs, DotKind::I8I8, DotKind::Mmla, DotKind::None] {
                let legal = legal(kernel.clone(), dot);
                assert_eq!(run(&legal, &inputs, 128), expected, "{dot:?}, signed {signed}, most {max_a}");
            }
        }
    }
}

#[test]
fn chains_of_small_operands_widen_once() {
    let kernel = legal(dots(false, 15), DotKind::Pairs);
    let widening = kernel.values.iter().filter(|(_, v)| matches!(v.def, Def::Expr(Expr::Dot2(..))) && v.ty.scalar == Scalar::I32).count();
    // Twice, not four times: the value after two links is stored too.
    assert_eq!(widening, 2);
}

/// Converts numbers given as bytes, four at a time, as the kernel says and as it is legalized for a target without instructions for it.
fn converted(from: Scalar, to: Scalar, inputs: Vec<u8>) -> [Vec<u8>; 2] {
    let count = inputs.len() as u32 / from.bytes();
    let mut b = builder();
    let input = b.param("x", Type::scalar(from), count, Access::Read, 64);
    let output = b.param("y", Type::scalar(to), count, Access::Write, 64);
    b.for_(0u32, count, 4, |b, i| {
        let x = b.load(Type::vector(from, 4), input, i);
        let y = b.convert(x, to);
        b.store(output, i, y);
    });
    let kernel = b.finish();
    let without = legal_for(kernel.clone(), &Target { half_convert: false, ..target(DotKind::Pairs) });
    let half = |s: Scalar| matches!(s, Scalar::F16 | Scalar::Bf16);
    for (_, value) in without.values.iter() {
        if let Def::Expr(Expr::Convert(a)) = &value.def {
            let of = without.operand_type(*a).expect("a value");
            assert!(!half(of.scalar) && !half(value.ty.scalar), "{of} to {}", value.ty);
        }
    }
    [kernel, without].map(|kernel| run(&kernel, std::slice::from_ref(&inputs), (count * to.bytes()) as usize))
}

/// Whether the bits of a float of some type are a NaN's.
fn is_nan(scalar: Scalar, bits: u32) -> bool {
    match scalar {
        Scalar::F16 => bits & 0x7fff > 0x7c00,
        Scalar::Bf16 => bits & 0x7fff > 0x7f80,
        Scalar::F32 => f32::from_bits(bits).is_nan(),
        _ => false,
    }
}

#[test]
fn sixteen_bit_floats_convert_to_the_bit() {
    let halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    // Every upper half with lower halves at, below and above what rounds; this includes subnormal numbers, infinities and NaNs.
    let lower = [0u32, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001];
    let singles: Vec<u8> = (0..=u32::from(u16::MAX)).flat_map(|n| lower.map(|l| n << 16 | l)).flat_map(u32::to_le_bytes).collect();
    let bytes: Vec<u8> = (0..=255).collect();
    let cases = [
        (Scalar::F16, Scalar::F32, &halves),
        (Scalar::Bf16, Scalar::F32, &halves),
        (Scalar::F16, Scalar::Bf16, &halves),
        (Scalar::Bf16, Scalar::F16, &halves),
        (Scalar::F32, Scalar::F16, &singles),
        (Scalar::F32, Scalar::Bf16, &singles),
        (Scalar::I8, Scalar::F16, &bytes),
        (Scalar::U8, Scalar::Bf16, &bytes),
        (Scalar::I16, Scalar::Bf16, &halves),
        (Scalar::F16, Scalar::I32, &(0..0x7800u16).flat_map(u16::to_le_bytes).collect()),
    ];
    for (from, to, inputs) in cases {
        let [expected, found] = converted(from, to, inputs.clone());
        let size = to.bytes() as usize;
        let bits = |bytes: &[u8]| bytes.iter().rev().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
        for (i, (e, f)) in expected.chunks_exact(size).zip(found.chunks_exact(size)).enumerate() {
            let (e, f) = (bits(e), bits(f));
            assert!(e == f || is_nan(to, e) && is_nan(to, f), "{from} to {to}, number {i}: {f:#x}, expected {e:#x}");
        }
    }
}
