//! Random kernels: types and operations of the whole kernel IR, legal on GPUs or not, in random blocks. Most verify.
//!
//! Exact ones have one lane, no private arrays (which they would read before they write them) and no floats, so that every
//! device must compute what the interpreter does.

use crate::case::BOUNDS;
use slmc_ir::kernel::{
    Access, BinaryOp, BufId, Builtin, CmpOp, Expr, Imm, Kernel, KernelBuilder, Operand, ReduceOp, Scalar, Type, UnaryOp, ValueId, VarId,
};

/// Elements of every buffer, and lanes.
const LEN: u32 = 8;

struct Random {
    state: u64,
    /// Out of 8 choices of a type, how many may be one that GPUs lack.
    odd: u64,
    exact: bool,
    values: Vec<ValueId>,
    vars: Vec<VarId>,
    buffers: Vec<(BufId, Type)>,
}

/// The kernel of a seed.
pub fn kernel(seed: u64, exact: bool) -> Kernel {
    let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d;
    let odd = if exact { 0 } else { seed % 3 };
    let mut r = Random { state, odd, exact, values: Vec::new(), vars: Vec::new(), buffers: Vec::new() };
    let mut b = KernelBuilder::new(format!("random_{seed}"), BOUNDS, [2, 1, 1]);
    b.lanes(if r.below(2) == 0 || exact { 1 } else { LEN });
    for i in 0..6 {
        let ty = r.element();
        r.buffers.push((b.param(&format!("p{i}"), ty, LEN, Access::ReadWrite, 64), ty));
    }
    for _ in 0..if exact { 0 } else { r.below(3) } {
        let ty = r.element();
        r.buffers.push((b.private("own", ty, LEN), ty));
    }
    r.block(&mut b, 3);
    b.finish()
}

impl Random {
    /// All of it, for a closure to hold meanwhile.
    fn take(&mut self) -> Random {
        let empty = Random { state: 0, odd: 0, exact: false, values: Vec::new(), vars: Vec::new(), buffers: Vec::new() };
        std::mem::replace(self, empty)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % n
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn ty(&mut self) -> Type {
        if self.below(8) < self.odd {
            let scalar = self.of(&Scalar::ALL).0;
            return Type::vector(scalar, self.of(&[1, 2, 4, 8, 16, 32, 64]));
        }
        let wide = if self.exact { &[Scalar::I32, Scalar::U32][..] } else { &[Scalar::F32, Scalar::I32, Scalar::U32] };
        match self.below(8) {
            0 => Type::vector(Scalar::Bool, self.of(&[1, 2, 4])),
            1 => Type::vector(Scalar::I8, self.of(&[4, 8, 16])),
            2 => Type::vector(Scalar::U8, self.of(&[4, 8, 16])),
            3 if !self.exact => Type::vector(Scalar::F16, self.of(&[2, 4, 8])),
            4 => Type::INDEX,
            _ => Type::vector(self.of(wide), self.of(&[1, 2, 4])),
        }
    }

    fn element(&mut self) -> Type {
        let ty = self.ty();
        if ty.scalar == Scalar::Bool { ty.with_scalar(Scalar::I32) } else { ty }
    }

    /// A value of a type, if there is one.
    fn value(&mut self, b: &KernelBuilder, wanted: impl Fn(Type) -> bool) -> Option<ValueId> {
        let fit: Vec<ValueId> = self.values.iter().copied().filter(|v| wanted(b.ty(*v))).collect();
        (!fit.is_empty()).then(|| self.of(&fit))
    }

    fn operand(&mut self, b: &KernelBuilder, ty: Type) -> Operand {
        match self.value(b, |t| t == ty) {
            Some(v) if self.below(4) > 0 => v.into(),
            _ if ty.scalar.is_float() => Operand::Imm(Imm::Float(self.of(&[0.0, -1.5, f32::INFINITY, 3.25]))),
            _ if ty.scalar == Scalar::Bool => Operand::Imm(Imm::Int(self.below(2) as i64)),
            _ => Operand::Imm(Imm::Int(self.below(8) as i64)),
        }
    }

    fn block(&mut self, b: &mut KernelBuilder, depth: u32) {
        let (values, vars) = (self.values.len(), self.vars.len());
        for _ in 0..4 + self.below(8) {
            self.stmt(b, depth);
        }
        self.values.truncate(values);
        self.vars.truncate(vars);
    }

    fn index(&mut self, b: &mut KernelBuilder) -> Operand {
        match self.value(b, |t| t == Type::INDEX) {
            Some(v) => b.min(v, LEN - 1).into(),
            None => Operand::Imm(Imm::Int(self.below(u64::from(LEN)) as i64)),
        }
    }

    fn stmt(&mut self, b: &mut KernelBuilder, depth: u32) {
        match self.below(16) {
            0 | 1 => {
                let (buf, elem) = self.of(&self.buffers.clone());
                let ty = if self.below(8) < self.odd { self.element() } else { elem };
                let at = self.index(b);
                let v = b.load(ty, buf, at);
                self.values.push(v);
            }
            2 | 3 => {
                let (buf, elem) = self.of(&self.buffers.clone());
                let at = self.index(b);
                let value = self.operand(b, elem);
                b.store(buf, at, value);
            }
            4 => {
                let ty = self.ty();
                let init = self.operand(b, ty);
                self.vars.push(b.var(ty, init));
            }
            5 if !self.vars.is_empty() => {
                let var = self.of(&self.vars.clone());
                let v = b.get(var);
                self.values.push(v);
                let value = self.operand(b, b.ty(v));
                b.set(var, value);
            }
            6 if depth > 0 => {
                let unroll = self.of(&[1, 2, 3]);
                let end = self.index(b);
                let mut inner = self.take();
                b.for_unrolled(0u32, end, 2, unroll, |b, i| {
                    inner.values.push(i);
                    inner.block(b, depth - 1);
                    inner.values.pop();
                });
                *self = inner;
            }
            7 if depth > 0 => {
                let Some(cond) = self.value(b, |t| t == Type::scalar(Scalar::Bool)) else { return };
                let mut inner = self.take();
                b.if_(cond, |b| inner.block(b, depth - 1));
                *self = inner;
            }
            8 => {
                let builtin = self.of(&[Builtin::T, Builtin::P, Builtin::Row, Builtin::Grid(0), Builtin::Grid(2), Builtin::Lane]);
                let v = b.builtin(builtin);
                self.values.push(v);
            }
            _ => self.expression(b),
        }
    }

    /// A well-typed expression, if the values there are allow the kind that chance names.
    fn expression(&mut self, b: &mut KernelBuilder) {
        let ty = self.ty();
        let (scalar, any) = (ty.scalar, |_: Type| true);
        let made = match self.below(13) {
            0 => {
                let op = self.of(&UnaryOp::ALL).0;
                let ok = match op {
                    UnaryOp::Neg | UnaryOp::Abs => scalar.is_float() || scalar.is_signed(),
                    UnaryOp::Round | UnaryOp::Floor | UnaryOp::Sqrt => scalar.is_float(),
                    UnaryOp::Exp | UnaryOp::Tanh => scalar == Scalar::F32 && self.odd > 0,
                    UnaryOp::Not => !scalar.is_float(),
                };
                ok.then(|| (ty, Expr::Unary(op, self.operand(b, ty))))
            }
            1..=3 => {
                let op = self.of(&BinaryOp::ALL).0;
                let (float, truth) = (scalar.is_float(), scalar == Scalar::Bool);
                let ok = match op {
                    // Indices must not wrap.
                    BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => !truth && scalar != Scalar::U32,
                    BinaryOp::Div => float,
                    BinaryOp::Min | BinaryOp::Max => !truth,
                    BinaryOp::Rem => false,
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !float,
                    BinaryOp::Shl | BinaryOp::Shr => scalar.is_int(),
                };
                let right =
                    if matches!(op, BinaryOp::Shl | BinaryOp::Shr) { Operand::Imm(Imm::Int(self.below(8) as i64)) } else { self.operand(b, ty) };
                ok.then(|| (ty, Expr::Binary(op, self.operand(b, ty), right)))
            }
            4 => scalar.is_float().then(|| (ty, Expr::Fma(self.operand(b, ty), self.operand(b, ty), self.operand(b, ty)))),
            5 => self.value(b, |t| t.scalar != Scalar::Bool).map(|v| {
                let of = b.ty(v);
                let op = self.of(&CmpOp::ALL).0;
                (of.with_scalar(Scalar::Bool), Expr::Cmp(op, v.into(), self.operand(b, of)))
            }),
            6 => {
                let mask = if self.below(2) == 0 { ty.with_scalar(Scalar::Bool) } else { Type::scalar(Scalar::Bool) };
                self.value(b, |t| t == mask).map(|c| (ty, Expr::Select(c.into(), self.operand(b, ty), self.operand(b, ty))))
            }
            7 => self
                .value(b, |t| t.scalar != Scalar::Bool)
                .filter(|_| scalar != Scalar::Bool)
                .map(|v| (b.ty(v).with_scalar(scalar), Expr::Convert(v.into()))),
            8 => self.value(b, |t| t.bytes() == ty.bytes() && t.bytes() > 0).map(|v| (ty, Expr::Bitcast(v.into()))),
            9 => self.value(b, |t| t.scalar == scalar && ty.lanes.is_multiple_of(t.lanes)).map(|v| (ty, Expr::Repeat(v.into()))),
            10 => self.value(b, any).map(|v| {
                let of = b.ty(v);
                (Type::scalar(of.scalar), Expr::Extract(v.into(), self.below(u64::from(of.lanes)) as u16))
            }),
            11 => self.value(b, any).map(|v| {
                let of = b.ty(v);
                let lanes = (0..self.of(&[1, 2, 4])).map(|_| self.below(2 * u64::from(of.lanes)) as u16).collect::<Vec<_>>();
                (Type::vector(of.scalar, lanes.len() as u16), Expr::Shuffle(v.into(), self.operand(b, of), lanes))
            }),
            _ => self.value(b, |t| t.scalar != Scalar::Bool && t.scalar != Scalar::U32).map(|v| {
                let op = self.of(&ReduceOp::ALL).0;
                (Type::scalar(b.ty(v).scalar), Expr::Reduce(op, v.into()))
            }),
        };
        if let Some((ty, expr)) = made {
            let v = b.expr(ty, expr);
            self.values.push(v);
        }
    }
}
