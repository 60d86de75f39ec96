//! Builds kernels: statements are appended to the innermost open block and every call returns the value it defined.

use super::expr::{BinaryOp, Builtin, CmpOp, Expr, Operand, ReduceOp, UnaryOp};
use super::stmt::Stmt;
use super::ty::{Scalar, Type};
use super::{Access, BufId, Buffer, Def, Kernel, Space, StepBounds, Value, ValueId, VarId};
use crate::arena::Arena;

/// Builds one [`Kernel`].
#[derive(Debug)]
pub struct KernelBuilder {
    kernel: Kernel,
    blocks: Vec<Vec<Stmt>>,
}

impl KernelBuilder {
    /// Starts a kernel for one lane per tile.
    pub fn new(name: impl Into<String>, bounds: StepBounds, grid: [u32; 3]) -> Self {
        let kernel =
            Kernel { name: name.into(), bounds, grid, lanes: 1, buffers: Arena::new(), vars: Arena::new(), values: Arena::new(), body: Vec::new() };
        Self { kernel, blocks: vec![Vec::new()] }
    }

    /// `name`, or if a buffer has it already, `name_2`, `name_3`, …
    fn unique(&self, name: &str) -> String {
        let taken = |n: &str| self.kernel.buffers.iter().any(|(_, b)| b.name == n);
        if !taken(name) {
            return name.into();
        }
        (2u32..).map(|i| format!("{name}_{i}")).find(|n| !taken(n)).expect("invariant: fewer than 2^32 buffers")
    }

    /// Adds a parameter of `len` elements; a name that is taken gets a number. Parameters come before private and workgroup
    /// arrays.
    pub fn param(&mut self, name: &str, elem: Type, len: u32, access: Access, align: u32) -> BufId {
        let name = self.unique(name);
        self.kernel.buffers.push(Buffer { name, elem, len, space: Space::Param, access, align })
    }

    /// Adds a private array of `len` elements, aligned to 64 bytes.
    pub fn private(&mut self, name: &str, elem: Type, len: u32) -> BufId {
        let name = self.unique(name);
        self.kernel.buffers.push(Buffer { name, elem, len, space: Space::Private, access: Access::ReadWrite, align: 64 })
    }

    /// Adds an array of `len` elements that the lanes of a tile share, aligned to 64 bytes.
    pub fn workgroup(&mut self, name: &str, elem: Type, len: u32) -> BufId {
        let name = self.unique(name);
        self.kernel.buffers.push(Buffer { name, elem, len, space: Space::Workgroup, access: Access::ReadWrite, align: 64 })
    }

    /// Invocations of a workgroup; 1 where this is not called.
    pub fn lanes(&mut self, lanes: u32) {
        self.kernel.lanes = lanes;
    }

    /// The type of a value.
    pub fn ty(&self, v: ValueId) -> Type {
        self.kernel.values[v].ty
    }

    fn emit(&mut self, stmt: Stmt) {
        self.blocks.last_mut().expect("invariant: a block is open").push(stmt);
    }

    fn value(&mut self, ty: Type, def: Def) -> ValueId {
        self.kernel.values.push(Value { ty, def })
    }

    /// Places a pure expression here.
    pub fn expr(&mut self, ty: Type, expr: Expr) -> ValueId {
        let v = self.value(ty, Def::Expr(expr));
        self.emit(Stmt::Let(v));
        v
    }

    /// A number of the launch or the step.
    pub fn builtin(&mut self, b: Builtin) -> ValueId {
        self.expr(Type::INDEX, Expr::Builtin(b))
    }

    /// `op a` in `a`'s type.
    pub fn unary(&mut self, op: UnaryOp, a: ValueId) -> ValueId {
        let ty = self.ty(a);
        self.expr(ty, Expr::Unary(op, a.into()))
    }

    /// `a op b` in `a`'s type.
    pub fn binary(&mut self, op: BinaryOp, a: ValueId, b: impl Into<Operand>) -> ValueId {
        let ty = self.ty(a);
        self.expr(ty, Expr::Binary(op, a.into(), b.into()))
    }

    /// `a + b`.
    pub fn add(&mut self, a: ValueId, b: impl Into<Operand>) -> ValueId {
        self.binary(BinaryOp::Add, a, b)
    }
    /// `a − b`.
    pub fn sub(&mut self, a: ValueId, b: impl Into<Operand>) -> ValueId {
        self.binary(BinaryOp::Sub, a, b)
    }
    /// `a · b`.
    pub fn mul(&mut self, a: ValueId, b: impl Into<Operand>) -> ValueId {
        self.binary(BinaryOp::Mul, a, b)
    }
    /// `a / b`.
    pub fn div(&mut self, a: ValueId, b: impl Into<Operand>) -> ValueId {
        self.binary(BinaryOp::Div, a, b)
    }
    /// The greater.
    pub fn max(&mut self, a: ValueId, b: impl Into<Operand>) -> ValueId {
        self.binary(BinaryOp::Max, a, b)
    }
    /// The smaller.
    pub fn min(&mut self, a: ValueId, b: impl Into<Operand>) -> ValueId {
        self.binary(BinaryOp::Min, a, b)
    }

    /// `a · b + c` in `a`'s type.
    pub fn fma(&mut self, a: ValueId, b: impl Into<Operand>, c: impl Into<Operand>) -> ValueId {
        let ty = self.ty(a);
        self.expr(ty, Expr::Fma(a.into(), b.into(), c.into()))
    }

    /// Compares lane by lane.
    pub fn cmp(&mut self, op: CmpOp, a: ValueId, b: impl Into<Operand>) -> ValueId {
        let ty = self.ty(a).with_scalar(Scalar::Bool);
        self.expr(ty, Expr::Cmp(op, a.into(), b.into()))
    }

    /// `a` where `cond`, else `b`; in `a`'s type.
    pub fn select(&mut self, cond: ValueId, a: ValueId, b: impl Into<Operand>) -> ValueId {
        let ty = self.ty(a);
        self.expr(ty, Expr::Select(cond.into(), a.into(), b.into()))
    }

    /// Converts lanes to `scalar`.
    pub fn convert(&mut self, a: ValueId, scalar: Scalar) -> ValueId {
        let ty = self.ty(a).with_scalar(scalar);
        self.expr(ty, Expr::Convert(a.into()))
    }

    /// Same bits as `ty`.
    pub fn bitcast(&mut self, a: ValueId, ty: Type) -> ValueId {
        self.expr(ty, Expr::Bitcast(a.into()))
    }

    /// Repeats the lanes of `a` to fill `lanes` lanes.
    pub fn repeat(&mut self, a: ValueId, lanes: u16) -> ValueId {
        if self.ty(a).lanes == lanes {
            return a;
        }
        let ty = Type::vector(self.ty(a).scalar, lanes);
        self.expr(ty, Expr::Repeat(a.into()))
    }

    /// `acc + Σ a·b` over four neighbours.
    pub fn dot4(&mut self, acc: ValueId, a: ValueId, b: ValueId, max_a: u8) -> ValueId {
        let ty = self.ty(acc);
        self.expr(ty, Expr::Dot4 { acc: acc.into(), a: a.into(), b: b.into(), max_a })
    }

    /// `acc + A·Bᵀ` per segment of two rows of eight bytes.
    pub fn mmla(&mut self, acc: ValueId, a: ValueId, b: ValueId) -> ValueId {
        let ty = self.ty(acc);
        self.expr(ty, Expr::Mmla(acc.into(), a.into(), b.into()))
    }

    /// Lanes of `a` and `b` in another order.
    pub fn shuffle(&mut self, a: ValueId, b: ValueId, lanes: Vec<u16>) -> ValueId {
        let ty = Type::vector(self.ty(a).scalar, lanes.len() as u16);
        self.expr(ty, Expr::Shuffle(a.into(), b.into(), lanes))
    }

    /// One lane.
    pub fn extract(&mut self, a: ValueId, lane: u16) -> ValueId {
        let ty = Type::scalar(self.ty(a).scalar);
        self.expr(ty, Expr::Extract(a.into(), lane))
    }

    /// All lanes to one.
    pub fn reduce(&mut self, op: ReduceOp, a: ValueId) -> ValueId {
        let ty = Type::scalar(self.ty(a).scalar);
        if self.ty(a).lanes == 1 {
            return a;
        }
        self.expr(ty, Expr::Reduce(op, a.into()))
    }

    /// A constant as a value of `ty`, in all lanes.
    pub fn constant(&mut self, ty: Type, value: impl Into<Operand>) -> ValueId {
        self.expr(ty, Expr::Binary(BinaryOp::Add, value.into(), zero(ty)))
    }

    /// Loads a `ty` from `buf` at `index`.
    pub fn load(&mut self, ty: Type, buf: BufId, index: impl Into<Operand>) -> ValueId {
        let dst = self.value(ty, Def::Stmt);
        self.emit(Stmt::Load { dst, buf, index: index.into() });
        dst
    }

    /// Stores `value` to `buf` at `index`.
    pub fn store(&mut self, buf: BufId, index: impl Into<Operand>, value: impl Into<Operand>) {
        self.emit(Stmt::Store { buf, index: index.into(), value: value.into() });
    }

    /// Prefetches a place that may lie outside `buf`.
    pub fn prefetch(&mut self, buf: BufId, index: impl Into<Operand>) {
        self.emit(Stmt::Prefetch { buf, index: index.into() });
    }

    /// A new variable.
    pub fn var(&mut self, ty: Type, init: impl Into<Operand>) -> VarId {
        let var = self.kernel.vars.push(ty);
        self.emit(Stmt::Var { var, init: init.into() });
        var
    }

    /// Reads a variable.
    pub fn get(&mut self, var: VarId) -> ValueId {
        let ty = self.kernel.vars[var];
        let dst = self.value(ty, Def::Stmt);
        self.emit(Stmt::Get { dst, var });
        dst
    }

    /// Writes a variable.
    pub fn set(&mut self, var: VarId, value: impl Into<Operand>) {
        self.emit(Stmt::Set { var, value: value.into() });
    }

    /// `value` of all lanes of this lane's subgroup, reduced.
    pub fn subgroup(&mut self, op: ReduceOp, value: ValueId) -> ValueId {
        let dst = self.value(self.ty(value), Def::Stmt);
        self.emit(Stmt::Subgroup { dst, op, value: value.into() });
        dst
    }

    /// All lanes of the tile wait.
    pub fn barrier(&mut self) {
        self.emit(Stmt::Barrier);
    }

    /// A loop; `body` gets the loop variable.
    pub fn for_(&mut self, start: impl Into<Operand>, end: impl Into<Operand>, step: u32, body: impl FnOnce(&mut Self, ValueId)) {
        self.for_unrolled(start, end, step, 1, body);
    }

    /// A loop whose body a writer should copy `unroll` times per iteration.
    pub fn for_unrolled(
        &mut self,
        start: impl Into<Operand>,
        end: impl Into<Operand>,
        step: u32,
        unroll: u32,
        body: impl FnOnce(&mut Self, ValueId),
    ) {
        let iv = self.value(Type::INDEX, Def::Stmt);
        self.blocks.push(Vec::new());
        body(self, iv);
        let block = self.blocks.pop().expect("invariant: the loop's block is open");
        self.emit(Stmt::For { iv, start: start.into(), end: end.into(), step, unroll, body: block });
    }

    /// `then` if `cond`.
    pub fn if_(&mut self, cond: ValueId, then: impl FnOnce(&mut Self)) {
        self.if_else(cond, then, |_| {});
    }

    /// One of two blocks.
    pub fn if_else(&mut self, cond: ValueId, then: impl FnOnce(&mut Self), otherwise: impl FnOnce(&mut Self)) {
        self.blocks.push(Vec::new());
        then(self);
        let then = self.blocks.pop().expect("invariant: the block is open");
        self.blocks.push(Vec::new());
        otherwise(self);
        let otherwise = self.blocks.pop().expect("invariant: the block is open");
        self.emit(Stmt::If { cond: cond.into(), then, otherwise });
    }

    /// The finished kernel.
    pub fn finish(mut self) -> Kernel {
        self.kernel.body = self.blocks.pop().expect("invariant: the outermost block is open");
        self.kernel
    }
}

fn zero(ty: Type) -> Operand {
    Operand::Imm(super::expr::Imm::zero(ty))
}
