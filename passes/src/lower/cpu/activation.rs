//! Activations between kernels: how rows that feed a `linear` lie in the arena, and the code that writes them.
//!
//! Rows are f32, or a8g32: values i8 [T, K], scales f32 [T, K/32] and start values i32 [T, K/32], `−8·Σa` of each group.
//! With a split norm, sums of squares f32 [T, K/32] come with them.

use slmc_ir::kernel::{Access, BinaryOp, BufId, CmpOp, KernelBuilder, ReduceOp, Scalar, Type, UnaryOp, ValueId};

use crate::lower::activation::{ActShape, GROUP, SplitNorm};

/// Parameters of a kernel through which it reads or writes activations.
#[derive(Debug, Clone, Copy)]
pub enum ActParams {
    /// Quantized.
    A8 {
        /// i8 [rows, K].
        q: BufId,
        /// f32 [rows, K/32].
        s: BufId,
        /// i32 [rows, K/32].
        z: BufId,
    },
    /// f32 [rows, K rounded up to 32].
    F32 {
        /// The rows.
        x: BufId,
    },
}

/// Sizes in bytes of the buffers that hold such activations, in the order of [`params`].
pub fn buffers(shape: &ActShape) -> Vec<(&'static str, u64)> {
    let (rows, groups) = (u64::from(shape.rows), u64::from(shape.groups()));
    let mut out = if shape.quantized {
        vec![("q", rows * u64::from(shape.stride())), ("scale", rows * groups * 4), ("start", rows * groups * 4)]
    } else {
        vec![("x", rows * u64::from(shape.stride()) * 4)]
    };
    if shape.norm.is_some() {
        out.push(("squares", rows * groups * 4));
    }
    out
}

/// Declares the parameters; the second is the sums of squares.
pub fn params(shape: &ActShape, b: &mut KernelBuilder, access: Access) -> (ActParams, Option<BufId>) {
    let groups = shape.rows * shape.groups();
    let f32s = Type::scalar(Scalar::F32);
    let act = if shape.quantized {
        let q = b.param("act_q", Type::scalar(Scalar::I8), shape.rows * shape.stride(), access, 64);
        let s = b.param("act_scale", f32s, groups, access, 64);
        let z = b.param("act_start", Type::scalar(Scalar::I32), groups, access, 64);
        ActParams::A8 { q, s, z }
    } else {
        ActParams::F32 { x: b.param("act", f32s, shape.rows * shape.stride(), access, 64) }
    };
    let squares = shape.norm.map(|_| b.param("act_squares", f32s, groups, access, 64));
    (act, squares)
}

/// `1 / sqrt(mean(x²) + eps)` of a row from its sums of squares.
pub fn inverse_rms(b: &mut KernelBuilder, shape: &ActShape, norm: SplitNorm, squares: BufId, row: ValueId, lanes: u16) -> ValueId {
    let f32s = Type::scalar(Scalar::F32);
    let groups = shape.groups();
    let base = b.mul(row, groups);
    let whole = groups / u32::from(lanes);
    let mut total: Option<ValueId> = None;
    if whole > 0 {
        let mut sum = b.load(Type::vector(Scalar::F32, lanes), squares, base);
        for i in 1..whole {
            let at = b.add(base, i * u32::from(lanes));
            let v = b.load(Type::vector(Scalar::F32, lanes), squares, at);
            sum = b.add(sum, v);
        }
        total = Some(b.reduce(ReduceOp::Add, sum));
    }
    for i in whole * u32::from(lanes)..groups {
        let at = b.add(base, i);
        let v = b.load(f32s, squares, at);
        total = Some(match total {
            Some(t) => b.add(t, v),
            None => v,
        });
    }
    let total = total.expect("invariant: a row has at least one group");
    norm.factor(b, total)
}

/// A group of 32 values in a8g32.
#[derive(Debug)]
pub struct Quantized {
    /// Its scale, f32.
    pub scale: ValueId,
    /// Its codes, i32 vectors as the values were given.
    pub ints: Vec<ValueId>,
}

/// Quantizes a group of 32 values, given as vectors of equal lanes.
pub fn quantize_group(b: &mut KernelBuilder, values: &[ValueId]) -> Quantized {
    let lanes = b.ty(values[0]).lanes;
    let mut most = b.unary(UnaryOp::Abs, values[0]);
    for &v in &values[1..] {
        let m = b.unary(UnaryOp::Abs, v);
        most = b.max(most, m);
    }
    let most = b.reduce(ReduceOp::Max, most);
    // Below this the inverse would overflow; such a group is zero for every purpose.
    let some = b.cmp(CmpOp::Gt, most, 1e-30f32);
    let scale = b.mul(most, 1.0 / 127.0);
    let scale = b.select(some, scale, 0.0f32);
    let top = b.constant(Type::scalar(Scalar::F32), 127.0f32);
    let inverse = b.div(top, most);
    let inverse = b.select(some, inverse, 0.0f32);
    let inverse = b.repeat(inverse, lanes);
    let ints = values
        .iter()
        .map(|&v| {
            let scaled = b.mul(v, inverse);
            let rounded = b.unary(UnaryOp::Round, scaled);
            b.convert(rounded, Scalar::I32)
        })
        .collect();
    Quantized { scale, ints }
}

/// Writes 32 features of a row: group `group` of row `row`, given as vectors of equal lanes.
pub fn store_group(b: &mut KernelBuilder, act: &ActParams, shape: &ActShape, row: ValueId, group: ValueId, values: &[ValueId]) {
    let lanes = b.ty(values[0]).lanes;
    let feature = b.mul(group, GROUP);
    let at = b.mul(row, shape.stride());
    let at = b.add(at, feature);
    match *act {
        ActParams::F32 { x } => {
            for (i, &v) in values.iter().enumerate() {
                let to = b.add(at, i as u32 * u32::from(lanes));
                b.store(x, to, v);
            }
        }
        ActParams::A8 { q, s, z } => {
            let Quantized { scale, ints } = quantize_group(b, values);
            let mut sum: Option<ValueId> = None;
            for (i, int) in ints.into_iter().enumerate() {
                let byte = b.convert(int, Scalar::I8);
                let to = b.add(at, i as u32 * u32::from(lanes));
                b.store(q, to, byte);
                sum = Some(match sum {
                    Some(t) => b.add(t, int),
                    None => int,
                });
            }
            let sum = b.reduce(ReduceOp::Add, sum.expect("invariant: a group has values"));
            let start = b.binary(BinaryOp::Mul, sum, -8i32);
            let g = b.mul(row, shape.groups());
            let g = b.add(g, group);
            b.store(s, g, scale);
            b.store(z, g, start);
        }
    }
}

/// Writes 32 features of a residual row as activations: multiplied by the norm's weight, with their sum of squares.
#[derive(Debug)]
pub struct NormedOutput {
    /// Where to.
    pub act: ActParams,
    /// Their shape.
    pub shape: ActShape,
    /// Sums of squares, f32 [rows, K/32].
    pub squares: BufId,
    /// The norm's weight, f32 [K rounded up to 32].
    pub weight: BufId,
}

impl NormedOutput {
    /// Declares the parameters: norm weight, then the activations written.
    pub fn declare(b: &mut KernelBuilder, shape: ActShape) -> Self {
        let weight = b.param("norm", Type::scalar(Scalar::F32), shape.stride(), Access::Read, 64);
        let (act, squares) = params(&shape, b, Access::Write);
        Self { act, shape, squares: squares.expect("invariant: these activations are normed"), weight }
    }

    /// Emits the code for one group.
    pub fn store(&self, b: &mut KernelBuilder, row: ValueId, group: ValueId, values: &[ValueId]) {
        let ty = b.ty(values[0]);
        let feature = b.mul(group, GROUP);
        let mut scaled = Vec::with_capacity(values.len());
        let mut squares: Option<ValueId> = None;
        for (i, &v) in values.iter().enumerate() {
            let at = b.add(feature, i as u32 * u32::from(ty.lanes));
            let w = b.load(ty, self.weight, at);
            scaled.push(b.mul(v, w));
            squares = Some(match squares {
                Some(s) => b.fma(v, v, s),
                None => b.mul(v, v),
            });
        }
        let total = b.reduce(ReduceOp::Add, squares.expect("invariant: a group has values"));
        let g = b.mul(row, self.shape.groups());
        let g = b.add(g, group);
        b.store(self.squares, g, total);
        store_group(b, &self.act, &self.shape, row, group, &scaled);
    }
}
