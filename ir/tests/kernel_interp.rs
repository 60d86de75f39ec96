//! The kernel interpreter: every operation on edge values, faults instead of undefined behaviour, lanes and barriers.

use slmc_ir::interp::kernel::{Compiled, FaultKind, Memory, Place, Region, Step, run_grid};
use slmc_ir::kernel::{
    Access, BinaryOp, Buffer, Builtin, CmpOp, Expr, Imm, Kernel, KernelBuilder, Operand, ReduceOp, Scalar, Space, StepBounds, Type, UnaryOp, ValueId,
};

const BOUNDS: StepBounds = StepBounds { t: (1, 8), p: (0, 63), row: (0, 7) };
const STEP: Step = Step { t: 5, p: 7, row: 2 };

fn ty(text: &str) -> Type {
    Type::parse(text).expect("a type")
}

/// Loads one value of each type from a buffer of its own, computes `f` and stores the result; gives the result's bytes.
fn compute(inputs: &[(&str, Vec<u8>)], f: impl FnOnce(&mut KernelBuilder, &[ValueId]) -> ValueId) -> Result<Vec<u8>, FaultKind> {
    let mut k = KernelBuilder::new("op", BOUNDS, [1, 1, 1]);
    let params: Vec<_> = inputs.iter().enumerate().map(|(i, (t, _))| k.param(&format!("in{i}"), ty(t), 1, Access::Read, 64)).collect();
    let out = k.param("out", ty("u8"), 256, Access::Write, 64);
    let values: Vec<_> = params.iter().zip(inputs).map(|(b, (t, _))| k.load(ty(t), *b, 0u32)).collect();
    let result = f(&mut k, &values);
    let mut result = result;
    let mut rt = k.ty(result);
    if rt.scalar == Scalar::Bool {
        let ints = rt.with_scalar(Scalar::U8);
        result = k.expr(ints, Expr::Select(result.into(), Operand::Imm(Imm::Int(1)), Operand::Imm(Imm::Int(0))));
        rt = ints;
    }
    k.store(out, 0u32, result);
    let code = Compiled::new(&k.finish()).unwrap_or_else(|e| panic!("{e:?}"));
    let mut buffers: Vec<Vec<u8>> = inputs.iter().map(|(_, b)| b.clone()).collect();
    buffers.push(vec![0xee; 256]);
    let (mut memory, places) = Memory::of_slices(buffers.iter_mut().map(|b| b.as_mut_slice()).collect());
    run_grid(&code, &mut memory, &places, STEP, [1, 1, 1]).map_err(|f| f.kind)?;
    let out = buffers.pop().expect("the output");
    assert!(out[rt.bytes() as usize..].iter().all(|&b| b == 0xee), "wrote past the value");
    Ok(out[..rt.bytes() as usize].to_vec())
}

fn f32s(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}
fn i32s(x: &[i32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}
fn u32s(x: &[u32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}
fn i16s(x: &[i16]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}
fn i8s(x: &[i8]) -> Vec<u8> {
    x.iter().map(|&x| x as u8).collect()
}
fn to_f32s(b: &[u8]) -> Vec<f32> {
    b.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

fn unary(op: UnaryOp, t: &str, bytes: Vec<u8>) -> Vec<u8> {
    compute(&[(t, bytes)], |k, v| k.unary(op, v[0])).expect("no fault")
}
fn binary(op: BinaryOp, t: &str, a: Vec<u8>, b: Vec<u8>) -> Result<Vec<u8>, FaultKind> {
    compute(&[(t, a), (t, b)], |k, v| k.binary(op, v[0], v[1]))
}

#[test]
fn unary_operations() {
    let same = |a: Vec<u8>, b: &[f32]| assert_eq!(a, f32s(b));
    same(unary(UnaryOp::Neg, "f32x4", f32s(&[1.0, -0.0, f32::INFINITY, -2.5])), &[-1.0, 0.0, f32::NEG_INFINITY, 2.5]);
    same(unary(UnaryOp::Abs, "f32x4", f32s(&[1.0, -0.0, f32::NEG_INFINITY, -2.5])), &[1.0, 0.0, f32::INFINITY, 2.5]);
    same(unary(UnaryOp::Round, "f32x8", f32s(&[0.5, 1.5, 2.5, -0.5, -1.5, 1e30, 0.49999997, -2.6])), &[0.0, 2.0, 2.0, -0.0, -2.0, 1e30, 0.0, -3.0]);
    same(unary(UnaryOp::Floor, "f32x4", f32s(&[0.5, -0.5, -1.0, 7.9])), &[0.0, -1.0, -1.0, 7.0]);
    same(unary(UnaryOp::Sqrt, "f32x2", f32s(&[2.0, 0.0])), &[std::f32::consts::SQRT_2, 0.0]);
    same(unary(UnaryOp::Exp, "f32x4", f32s(&[0.0, 1.0, f32::NEG_INFINITY, 200.0])), &[1.0, std::f32::consts::E, 0.0, f32::INFINITY]);
    same(unary(UnaryOp::Tanh, "f32x4", f32s(&[0.0, 50.0, -50.0, 0.5])), &[0.0, 1.0, -1.0, 0.462_117_16]);
    assert_eq!(unary(UnaryOp::Neg, "i8x4", i8s(&[-128, 1, 0, 127])), i8s(&[-128, -1, 0, -127]));
    assert_eq!(unary(UnaryOp::Abs, "i32x2", i32s(&[i32::MIN, -5])), i32s(&[i32::MIN, 5]));
    assert_eq!(unary(UnaryOp::Not, "u8x4", vec![0, 255, 1, 0x0f]), vec![255, 0, 254, 0xf0]);
    assert_eq!(unary(UnaryOp::Not, "i16x2", i16s(&[0, -1])), i16s(&[-1, 0]));
}

#[test]
fn float_arithmetic() {
    let run = |op, a: &[f32; 4], b: &[f32; 4]| to_f32s(&binary(op, "f32x4", f32s(a), f32s(b)).expect("no fault"));
    let inf = f32::INFINITY;
    assert_eq!(run(BinaryOp::Add, &[1.0, 1e38, inf, 0.1], &[2.0, 3e38, 1.0, 0.2]), [3.0, inf, inf, 0.1 + 0.2]);
    assert_eq!(run(BinaryOp::Sub, &[1.0, 0.0, inf, 0.3], &[2.0, 0.0, 1.0, 0.1]), [-1.0, 0.0, inf, 0.3 - 0.1]);
    assert_eq!(run(BinaryOp::Mul, &[3.0, 1e30, -0.0, 1e-30], &[2.0, 1e30, 1.0, 1e-30]), [6.0, inf, -0.0, 0.0]);
    assert_eq!(run(BinaryOp::Div, &[1.0, 1.0, -1.0, 2.0], &[3.0, 0.0, 0.0, 4.0]), [1.0 / 3.0, inf, -inf, 0.5]);
    let nan = f32::NAN;
    assert_eq!(run(BinaryOp::Min, &[1.0, nan, -inf, 4.0], &[2.0, 3.0, 1.0, 4.0]), [1.0, 3.0, -inf, 4.0]);
    assert_eq!(run(BinaryOp::Max, &[1.0, nan, -inf, 4.0], &[2.0, 3.0, 1.0, 5.0]), [2.0, 3.0, 1.0, 5.0]);
}

#[test]
fn half_precision_rounds_after_every_operation() {
    let h = |x: &[f32]| -> Vec<u8> { x.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect() };
    let b = |x: &[f32]| -> Vec<u8> { x.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect() };
    assert_eq!(binary(BinaryOp::Add, "f16x2", h(&[2048.0, 60000.0]), h(&[1.0, 60000.0])), Ok(h(&[2048.0, f32::INFINITY])));
    assert_eq!(binary(BinaryOp::Mul, "bf16x2", b(&[1.007_812_5, 3.0]), b(&[1.007_812_5, 0.5])), Ok(b(&[1.015_625, 1.5])));
    let up = compute(&[("f16x2", h(&[0.1, 6e-8]))], |k, v| k.convert(v[0], Scalar::F32)).expect("no fault");
    assert_eq!(to_f32s(&up), [half::f16::from_f32(0.1).to_f32(), half::f16::from_bits(1).to_f32()]);
    // A tie in f16 that f32 rounding of the fused result must not break: 1 + 2^-11 + 2^-21 lies above the tie.
    let fused = compute(&[("f16x2", h(&[1.0 + 1.0 / 1024.0, 1.0])), ("f16x2", h(&[1.0 / 2048.0, 1.0])), ("f16x2", h(&[1.0, 1.0]))], |k, v| {
        k.fma(v[0], v[1], v[2])
    });
    assert_eq!(fused, Ok(h(&[1.0 + 1.0 / 1024.0, 2.0])));
}

#[test]
fn fma_rounds_once() {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = f32::from_bits(state.rotate_left(7));
        if x.is_finite() { x } else { 1.0 }
    };
    for _ in 0..300 {
        let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..64 {
            let (x, y) = (next(), next());
            a.push(x);
            b.push(y);
            c.push(if i % 2 == 0 { -(x * y) } else { next() });
        }
        let got = compute(&[("f32x64", f32s(&a)), ("f32x64", f32s(&b)), ("f32x64", f32s(&c))], |k, v| k.fma(v[0], v[1], v[2])).expect("no fault");
        for (i, got) in to_f32s(&got).into_iter().enumerate() {
            let want = a[i].mul_add(b[i], c[i]);
            assert!(got == want || (got.is_nan() && want.is_nan()), "fma({}, {}, {}) = {got}, expected {want}", a[i], b[i], c[i]);
        }
    }
}

#[test]
fn integers_wrap_except_u32() {
    let run = |op, t: &str, a: Vec<u8>, b: Vec<u8>| binary(op, t, a, b);
    assert_eq!(run(BinaryOp::Add, "i8x2", i8s(&[127, -1]), i8s(&[1, 1])), Ok(i8s(&[-128, 0])));
    assert_eq!(run(BinaryOp::Sub, "u8x2", vec![0, 9], vec![1, 4]), Ok(vec![255, 5]));
    assert_eq!(run(BinaryOp::Mul, "i16x2", i16s(&[300, -3]), i16s(&[300, 5])), Ok(i16s(&[(300i32 * 300) as i16, -15])));
    assert_eq!(run(BinaryOp::Mul, "i32x2", i32s(&[i32::MAX, 7]), i32s(&[2, -7])), Ok(i32s(&[-2, -49])));
    assert_eq!(run(BinaryOp::Div, "i32x2", i32s(&[-7, i32::MIN]), i32s(&[2, -1])), Ok(i32s(&[-3, i32::MIN])));
    assert_eq!(run(BinaryOp::Div, "i32", i32s(&[-7]), i32s(&[0])), Err(FaultKind::Divisor));
    assert_eq!(run(BinaryOp::Rem, "u32", u32s(&[17]), u32s(&[5])), Ok(u32s(&[2])));
    assert_eq!(run(BinaryOp::Rem, "u32", u32s(&[17]), u32s(&[0])), Err(FaultKind::Divisor));
    assert_eq!(run(BinaryOp::Add, "u32x2", u32s(&[u32::MAX, 1]), u32s(&[1, 1])), Err(FaultKind::Wrap));
    assert_eq!(run(BinaryOp::Add, "u32x2", u32s(&[u32::MAX - 1, 1]), u32s(&[1, 1])), Ok(u32s(&[u32::MAX, 2])));
    assert_eq!(run(BinaryOp::Sub, "u32", u32s(&[1]), u32s(&[2])), Err(FaultKind::Wrap));
    assert_eq!(run(BinaryOp::Mul, "u32", u32s(&[1 << 16]), u32s(&[1 << 16])), Err(FaultKind::Wrap));
    assert_eq!(run(BinaryOp::Min, "i8x2", i8s(&[-1, 3]), i8s(&[1, 2])), Ok(i8s(&[-1, 2])));
    assert_eq!(run(BinaryOp::Max, "u8x2", vec![255, 3], vec![1, 4]), Ok(vec![255, 4]));
}

#[test]
fn bits_and_shifts() {
    assert_eq!(binary(BinaryOp::And, "u8x2", vec![0xf3, 0x0f], vec![0x0f, 0xf0]), Ok(vec![3, 0]));
    assert_eq!(binary(BinaryOp::Or, "u32", u32s(&[0xf0]), u32s(&[0x0f])), Ok(u32s(&[0xff])));
    assert_eq!(binary(BinaryOp::Xor, "i8x2", i8s(&[-1, 5]), i8s(&[1, 5])), Ok(i8s(&[-2, 0])));
    assert_eq!(binary(BinaryOp::Shl, "u8x2", vec![0x81, 1], vec![1, 7]), Ok(vec![2, 128]));
    assert_eq!(binary(BinaryOp::Shl, "u32", u32s(&[0xffff_ffff]), u32s(&[31])), Ok(u32s(&[1 << 31])));
    assert_eq!(binary(BinaryOp::Shr, "i8x2", i8s(&[-128, 64]), i8s(&[7, 6])), Ok(i8s(&[-1, 1])));
    assert_eq!(binary(BinaryOp::Shr, "u8x2", vec![128, 64], vec![7, 6]), Ok(vec![1, 1]));
    assert_eq!(binary(BinaryOp::Shr, "u8x2", vec![128, 64], vec![8, 6]), Err(FaultKind::Shift));
    assert_eq!(binary(BinaryOp::Shl, "i32", i32s(&[1]), i32s(&[-1])), Err(FaultKind::Shift));
}

#[test]
fn comparisons_and_selects() {
    let cmp = |op, t: &str, a: Vec<u8>, b: Vec<u8>| compute(&[(t, a), (t, b)], |k, v| k.cmp(op, v[0], v[1])).expect("no fault");
    let (a, b) = (f32s(&[1.0, f32::NAN, -0.0, 2.0]), f32s(&[2.0, 1.0, 0.0, 2.0]));
    let expected = [
        (CmpOp::Eq, [0, 0, 1, 1]),
        (CmpOp::Ne, [1, 1, 0, 0]),
        (CmpOp::Lt, [1, 0, 0, 0]),
        (CmpOp::Le, [1, 0, 1, 1]),
        (CmpOp::Gt, [0, 0, 0, 0]),
        (CmpOp::Ge, [0, 0, 1, 1]),
    ];
    for (op, want) in expected {
        assert_eq!(cmp(op, "f32x4", a.clone(), b.clone()), want, "{op:?}");
    }
    assert_eq!(cmp(CmpOp::Lt, "i8x2", i8s(&[-1, 1]), i8s(&[1, -1])), [1, 0]);
    assert_eq!(cmp(CmpOp::Lt, "u8x2", vec![255, 1], vec![1, 255]), [0, 1]);
    let picked = compute(&[("i32x4", i32s(&[1, -2, 3, -4])), ("i32x4", i32s(&[9, 9, 9, 9]))], |k, v| {
        let mask = k.cmp(CmpOp::Gt, v[0], 0i32);
        k.select(mask, v[0], v[1])
    });
    assert_eq!(picked, Ok(i32s(&[1, 9, 3, 9])));
    let whole = compute(&[("i32x4", i32s(&[1, -2, 3, -4])), ("i32", i32s(&[0]))], |k, v| {
        let one = k.cmp(CmpOp::Ne, v[1], 0i32);
        k.select(one, v[0], 7i32)
    });
    assert_eq!(whole, Ok(i32s(&[7, 7, 7, 7])));
    let logic = compute(&[("u8x2", vec![1, 200])], |k, v| {
        let (a, b) = (k.cmp(CmpOp::Gt, v[0], 100i32), k.cmp(CmpOp::Gt, v[0], 0i32));
        let both = k.binary(BinaryOp::Xor, a, b);
        k.unary(UnaryOp::Not, both)
    });
    assert_eq!(logic, Ok(vec![0, 1]));
}

#[test]
fn conversions() {
    let conv = |t: &str, bytes: Vec<u8>, to| compute(&[(t, bytes)], |k, v| k.convert(v[0], to)).expect("no fault");
    assert_eq!(conv("f32x4", f32s(&[1.9, -1.9, 127.0, -128.0]), Scalar::I8), i8s(&[1, -1, 127, -128]));
    assert_eq!(conv("f32x2", f32s(&[4e9, 0.99]), Scalar::U32), u32s(&[4_000_000_000, 0]));
    assert_eq!(to_f32s(&conv("i32x2", i32s(&[16_777_217, -5]), Scalar::F32)), [16_777_216.0, -5.0]);
    assert_eq!(to_f32s(&conv("u32x2", u32s(&[u32::MAX, 3]), Scalar::F32)), [4_294_967_296.0, 3.0]);
    assert_eq!(conv("i8x2", i8s(&[-1, 5]), Scalar::U32), u32s(&[u32::MAX, 5]));
    assert_eq!(conv("u8x2", vec![255, 5], Scalar::I32), i32s(&[255, 5]));
    assert_eq!(conv("i32x2", i32s(&[0x1ff, -129]), Scalar::I8), i8s(&[-1, 127]));
    // Halfway between two f16s: to even, and not by way of f32.
    assert_eq!(
        conv("f32x2", f32s(&[2049.0, 2051.0]), Scalar::F16),
        [half::f16::from_f32(2048.0), half::f16::from_f32(2052.0)].map(|x| x.to_le_bytes()).concat()
    );
    assert_eq!(conv("i32", i32s(&[2049]), Scalar::F16), half::f16::from_f32(2048.0).to_le_bytes());
    let bits = compute(&[("u8x8", (1..=8).collect())], |k, v| k.bitcast(v[0], ty("u32x2"))).expect("no fault");
    assert_eq!(bits, (1..=8).collect::<Vec<u8>>());
    let sign = compute(&[("f32", f32s(&[-1.0]))], |k, v| k.bitcast(v[0], ty("u32"))).expect("no fault");
    assert_eq!(sign, u32s(&[0xbf80_0000]));
}

#[test]
fn dot_products() {
    let dot4 = |t: &str, a: Vec<u8>, b: &[i8], max_a| {
        compute(&[("i32x2", i32s(&[10, i32::MAX])), (t, a), ("i8x8", i8s(b))], |k, v| k.dot4(v[0], v[1], v[2], max_a))
    };
    let b = [1, -1, 2, -2, -128, -128, 127, 127];
    assert_eq!(dot4("u8x8", vec![255, 1, 0, 3, 1, 1, 1, 2], &b, 255), Ok(i32s(&[10 + 255 - 1 - 6, i32::MAX.wrapping_add(-256 + 381)])));
    assert_eq!(dot4("i8x8", i8s(&[-128, 1, 0, 3, 0, 0, 0, -1]), &b, 128), Ok(i32s(&[10 - 128 - 1 - 6, i32::MAX - 127])));
    assert_eq!(dot4("u8x8", vec![16, 0, 0, 0, 0, 0, 0, 0], &b, 15), Err(FaultKind::DotBound));
    let dot2 = |ta: &str, a: Vec<u8>, tb: &str, b: Vec<u8>, t: &str| {
        compute(&[(ta, a), (tb, b)], |k, v| k.expr(ty(t), Expr::Dot2(v[0].into(), v[1].into())))
    };
    assert_eq!(dot2("u8x4", vec![255, 1, 2, 3], "i8x4", i8s(&[-128, 1, 5, -1]), "i16x2"), Ok(i16s(&[-32639, 7])));
    assert_eq!(dot2("u8x2", vec![255, 255], "i8x2", i8s(&[127, 127]), "i16"), Err(FaultKind::DotBound));
    assert_eq!(dot2("i16x2", i16s(&[-32768, 2]), "i16x2", i16s(&[-32768, 3]), "i32"), Ok(i32s(&[1 << 30 | 6])));
}

#[test]
fn lane_operations() {
    let four = || ("i32x4", i32s(&[1, 2, 3, 4]));
    assert_eq!(compute(&[four()], |k, v| k.repeat(v[0], 8)), Ok(i32s(&[1, 2, 3, 4, 1, 2, 3, 4])));
    assert_eq!(compute(&[("i32", i32s(&[9]))], |k, v| k.repeat(v[0], 4)), Ok(i32s(&[9; 4])));
    assert_eq!(compute(&[four()], |k, v| k.extract(v[0], 2)), Ok(i32s(&[3])));
    let shuffled = compute(&[four(), ("i32x4", i32s(&[5, 6, 7, 8]))], |k, v| k.shuffle(v[0], v[1], vec![7, 0, 0, 4, 3, 1, 2, 5]));
    assert_eq!(shuffled, Ok(i32s(&[8, 1, 1, 5, 4, 2, 3, 6])));
    assert_eq!(compute(&[four()], |k, v| k.reduce(ReduceOp::Add, v[0])), Ok(i32s(&[10])));
    assert_eq!(compute(&[four()], |k, v| k.reduce(ReduceOp::Max, v[0])), Ok(i32s(&[4])));
    // A tree: (1e8 + -1e8) + (1 + 1), not one after the other.
    let tree = compute(&[("f32x4", f32s(&[1e8, 1.0, -1e8, 1.0]))], |k, v| k.reduce(ReduceOp::Add, v[0])).expect("no fault");
    assert_eq!(to_f32s(&tree), [2.0]);
    let least = compute(&[("f32x2", f32s(&[-1.0, 3.0]))], |k, v| k.reduce(ReduceOp::Min, v[0])).expect("no fault");
    assert_eq!(to_f32s(&least), [-1.0]);
    assert_eq!(compute(&[("u32x2", u32s(&[u32::MAX, 1]))], |k, v| k.reduce(ReduceOp::Add, v[0])), Err(FaultKind::Wrap));
}

/// A kernel whose tiles write `T, P, ROW, x, y, z` and the sum of a loop to rows of the output.
fn tiles() -> Kernel {
    let mut k = KernelBuilder::new("tiles", BOUNDS, [2, 3, 2]);
    let out = k.param("out", ty("u32"), 8 * 12, Access::ReadWrite, 64);
    let [t, p, row] = [Builtin::T, Builtin::P, Builtin::Row].map(|b| k.builtin(b));
    let [x, y, z] = [0, 1, 2].map(|a| k.builtin(Builtin::Grid(a)));
    let zy = k.mul(z, 3u32);
    let zy = k.add(zy, y);
    let tile = k.mul(zy, 2u32);
    let tile = k.add(tile, x);
    let at = k.mul(tile, 8u32);
    for (i, v) in [t, p, row, x, y, z].into_iter().enumerate() {
        let place = k.add(at, i as u32);
        k.store(out, place, v);
    }
    let sum = k.var(ty("u32"), 0u32);
    k.for_(x, t, 2, |k, i| {
        let old = k.get(sum);
        let odd = k.binary(BinaryOp::And, i, 1u32);
        let odd = k.cmp(CmpOp::Eq, odd, 1u32);
        let (plus, plain) = (k.add(old, 100u32), k.add(old, i));
        k.if_else(odd, |k| k.set(sum, plus), |k| k.set(sum, plain));
    });
    k.for_(t, 3u32, 1, |k, _| k.set(sum, 0u32));
    let total = k.get(sum);
    let place = k.add(at, 6u32);
    k.store(out, place, total);
    k.finish()
}

#[test]
fn tiles_steps_loops_and_branches() {
    let code = Compiled::new(&tiles()).expect("sound");
    let mut out = vec![0u8; 4 * 8 * 12];
    let (mut memory, places) = Memory::of_slices(vec![&mut out]);
    run_grid(&code, &mut memory, &places, STEP, [2, 3, 2]).expect("no fault");
    let words: Vec<u32> = out.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
    for z in 0..2u32 {
        for y in 0..3u32 {
            for x in 0..2u32 {
                let at = 8 * ((z * 3 + y) * 2 + x) as usize;
                let sum = if x == 0 { 2 + 4 } else { 200 };
                assert_eq!(words[at..at + 7], [5, 7, 2, x, y, z, sum]);
            }
        }
    }
    let (mut memory, places) = Memory::of_slices(vec![&mut out]);
    let fault = run_grid(&code, &mut memory, &places, Step { t: 9, ..STEP }, [1, 1, 1]).expect_err("t is too large");
    assert_eq!(fault.to_string(), "kernel @tiles, tile [0, 0, 0], lane 0: launch: the launch breaks the kernel's bounds: t = 9 is outside 1..8");
    assert!(run_grid(&code, &mut memory, &places, STEP, [3, 1, 1]).is_err());
    assert!(run_grid(&code, &mut memory, &[], STEP, [1, 1, 1]).is_err());
    let beyond = [Place { region: 0, offset: 8, bytes: 4 * 8 * 12 }];
    assert_eq!(run_grid(&code, &mut memory, &beyond, STEP, [1, 1, 1]).expect_err("outside").kind, FaultKind::Place(0));
}

#[test]
fn memory_faults() {
    let build = |index: u32, store: bool, private: bool| {
        let mut k = KernelBuilder::new("mem", BOUNDS, [1, 1, 1]);
        let a = k.param("a", ty("u8"), 16, Access::ReadWrite, 1);
        let b = k.private("b", ty("f32"), 4);
        let buf = if private { b } else { a };
        if store {
            let v = k.constant(ty("f32x2"), 1.0);
            k.store(buf, index, v);
        } else {
            k.load(ty("f32x2"), buf, index);
        }
        Compiled::new(&k.finish()).expect("sound")
    };
    let run = |code: Compiled| {
        let mut a = vec![0u8; 64];
        let (mut memory, places) = Memory::of_slices(vec![&mut a]);
        run_grid(&code, &mut memory, &places, STEP, [1, 1, 1]).map_err(|f| f.kind)
    };
    for store in [true, false] {
        assert_eq!(run(build(8, store, false)), Ok(()));
        assert_eq!(run(build(9, store, false)), Err(FaultKind::OutOfBounds { start: 9, end: 17, len: 16 }));
        assert_eq!(run(build(3, store, true)), Err(FaultKind::OutOfBounds { start: 12, end: 20, len: 16 }));
    }
    assert_eq!(run(build(2, true, true)), Ok(()));
    assert_eq!(run(build(2, false, true)), Err(FaultKind::Undefined { byte: 8 }));
    let code = build(0, true, false);
    let bytes = [0u8; 64];
    let mut memory = Memory { regions: vec![Region::ReadOnly(&bytes)] };
    let places = [Place { region: 0, offset: 0, bytes: 64 }];
    assert_eq!(run_grid(&code, &mut memory, &places, STEP, [1, 1, 1]).expect_err("read-only").kind, FaultKind::ReadOnly);
    // What one tile wrote to private memory is undefined for the next one.
    let mut k = KernelBuilder::new("forget", BOUNDS, [2, 1, 1]);
    let b = k.private("b", ty("f32"), 1);
    let x = k.builtin(Builtin::Grid(0));
    let first = k.cmp(CmpOp::Eq, x, 0u32);
    k.if_(first, |k| k.store(b, 0u32, 1.0));
    k.load(ty("f32"), b, 0u32);
    let fault = run_grid(&Compiled::new(&k.finish()).expect("sound"), &mut Memory::default(), &[], STEP, [2, 1, 1]).expect_err("undefined");
    assert_eq!((fault.tile, fault.kind), ([1, 0, 0], FaultKind::Undefined { byte: 0 }));
}

#[test]
fn lanes_meet_at_barriers() {
    let mut k = KernelBuilder::new("reverse", BOUNDS, [2, 1, 1]);
    let out = k.param("out", ty("u32"), 8, Access::Write, 64);
    let (x, lane) = (k.builtin(Builtin::Grid(0)), k.builtin(Builtin::Lane));
    let mut kernel = {
        let base = k.mul(x, 4u32);
        let value = k.add(base, lane);
        // Buffer 1 becomes workgroup memory below.
        let shared = k.private("shared", ty("u32"), 4);
        k.store(shared, lane, value);
        k.barrier();
        let three = k.expr(ty("u32"), Expr::Binary(BinaryOp::Sub, 3u32.into(), lane.into()));
        let other = k.load(ty("u32"), shared, three);
        let at = k.add(base, lane);
        k.store(out, at, other);
        k.finish()
    };
    kernel.lanes = 4;
    let mut buffers: Vec<Buffer> = kernel.buffers.iter().map(|(_, b)| b.clone()).collect();
    buffers[1].space = Space::Workgroup;
    kernel.buffers = slmc_ir::arena::Arena::new();
    for b in buffers {
        kernel.buffers.push(b);
    }
    let mut bytes = vec![0u8; 32];
    let (mut memory, places) = Memory::of_slices(vec![&mut bytes]);
    run_grid(&Compiled::new(&kernel).expect("sound"), &mut memory, &places, STEP, [2, 1, 1]).expect("no fault");
    assert_eq!(bytes, u32s(&[3, 2, 1, 0, 7, 6, 5, 4]));
}
