//! What a launch of a kernel takes, counted in its IR: arithmetic, and bytes of the buffers it touches.
//!
//! The counts are of kernels as lowering makes them, before legalization takes operations apart; so they are the same on all targets
//! that share a schedule, and a measured time over them says how near a device comes to its limits (the roofline of Williams,
//! Waterman and Patterson, CACM 52(4), 2009).
//!
//! The body is walked, not run. What only memory knows counts as follows: a loop with such bounds runs once, and of an `if` with such
//! a condition the first block is taken. A loop, and the tiles along an axis, whose first and last pass take the same are taken to do so
//! throughout.

use crate::arena::Id;
use crate::kernel::{BinaryOp, Builtin, CmpOp, Def, Expr, Imm, Kernel, Operand, Stmt, UnaryOp};

/// Counts of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Work {
    /// Multiply-adds of bytes: four a lane of `dot4`, eight a lane of `mmla`.
    pub byte_products: u64,
    /// Operations on floats: one a lane, two for `fma`; conversions are none.
    pub float_ops: u64,
    /// Bytes that loads from each parameter cover, repeated ones counted again.
    pub loaded: Vec<u64>,
    /// Bytes that stores to each parameter cover.
    pub stored: Vec<u64>,
}

/// A step and the tiles of its launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launched {
    /// Tokens (in the head: rows) of the step.
    pub t: u32,
    /// Tokens in the cache before it.
    pub p: u32,
    /// Tiles along each axis.
    pub grid: [u32; 3],
}

impl Work {
    fn none(parameters: usize) -> Self {
        Self { loaded: vec![0; parameters], stored: vec![0; parameters], ..Self::default() }
    }

    fn add(&mut self, other: &Self, times: u64) {
        self.byte_products += other.byte_products * times;
        self.float_ops += other.float_ops * times;
        let pairs = self.loaded.iter_mut().zip(&other.loaded).chain(self.stored.iter_mut().zip(&other.stored));
        pairs.for_each(|(sum, more)| *sum += more * times);
    }

    /// Bytes between memory and processor if caches keep everything for the time of the launch: of no parameter more than it has.
    pub fn traffic(&self, kernel: &Kernel) -> u64 {
        kernel
            .params()
            .enumerate()
            .map(|(i, (_, b))| {
                let all = u64::from(b.len) * u64::from(b.elem.bytes());
                self.loaded[i].min(all) + self.stored[i].min(all)
            })
            .sum()
    }
}

/// Counts a launch.
pub fn work(kernel: &Kernel, launched: Launched) -> Work {
    let mut walk = Walk { kernel, launched, parameters: kernel.params().count(), known: vec![None; kernel.values.len()], at: [0; 4] };
    walk.axis(0)
}

struct Walk<'k> {
    kernel: &'k Kernel,
    launched: Launched,
    parameters: usize,
    /// Values of integers and truths, as far as known.
    known: Vec<Option<i64>>,
    /// Tile and lane.
    at: [u32; 4],
}

impl Walk<'_> {
    /// All passes over axis `axis` of the grid (3: the lanes) and those within.
    fn axis(&mut self, axis: usize) -> Work {
        let count = if axis < 3 { self.launched.grid[axis] } else { self.kernel.lanes };
        self.passes(u64::from(count), |walk, i| {
            walk.at[axis] = i as u32;
            if axis < 3 { walk.axis(axis + 1) } else { walk.block(&walk.kernel.body) }
        })
    }

    /// The sum over passes `0..count`.
    fn passes(&mut self, count: u64, mut pass: impl FnMut(&mut Self, u64) -> Work) -> Work {
        let mut sum = Work::none(self.parameters);
        if count == 0 {
            return sum;
        }
        let first = pass(self, 0);
        if count == 1 {
            return first;
        }
        let last = pass(self, count - 1);
        if first == last {
            sum.add(&first, count);
            return sum;
        }
        sum.add(&first, 1);
        sum.add(&last, 1);
        for i in 1..count - 1 {
            let more = pass(self, i);
            sum.add(&more, 1);
        }
        sum
    }

    fn block(&mut self, stmts: &[Stmt]) -> Work {
        let mut sum = Work::none(self.parameters);
        for stmt in stmts {
            self.stmt(stmt, &mut sum);
        }
        sum
    }

    fn stmt(&mut self, stmt: &Stmt, sum: &mut Work) {
        match stmt {
            Stmt::Let(v) => {
                let kernel = self.kernel;
                let value = &kernel.values[*v];
                let Def::Expr(e) = &value.def else { return };
                self.known[v.index()] = if value.ty.lanes == 1 { self.value(e) } else { None };
                let lanes = u64::from(value.ty.lanes);
                match e {
                    Expr::Dot4 { .. } => sum.byte_products += 4 * lanes,
                    Expr::Mmla(..) => sum.byte_products += 8 * lanes,
                    Expr::Fma(..) => sum.float_ops += 2 * lanes,
                    Expr::Reduce(_, Operand::Value(x)) => {
                        let ty = kernel.values[*x].ty;
                        sum.float_ops += if ty.scalar.is_float() { u64::from(ty.lanes) - 1 } else { 0 };
                    }
                    Expr::Unary(..) | Expr::Binary(..) if value.ty.scalar.is_float() => sum.float_ops += lanes,
                    _ => {}
                }
            }
            Stmt::Load { dst, buf, .. } => {
                self.known[dst.index()] = None;
                if let Some(bytes) = sum.loaded.get_mut(buf.index()) {
                    *bytes += u64::from(self.kernel.values[*dst].ty.bytes());
                }
            }
            Stmt::Store { buf, value, .. } => {
                let elem = self.kernel.buffers[*buf].elem;
                let ty = if let Operand::Value(v) = value { self.kernel.values[*v].ty } else { elem };
                if let Some(bytes) = sum.stored.get_mut(buf.index()) {
                    *bytes += u64::from(ty.bytes());
                }
            }
            Stmt::For { iv, start, end, step, body, .. } => {
                let (start, end) = (self.operand(*start), self.operand(*end));
                let step = i64::from(*step).max(1);
                let count = match (start, end) {
                    (Some(start), Some(end)) => u64::try_from(end - start).map_or(0, |span| span.div_ceil(step as u64)),
                    _ => 1,
                };
                let passes = self.passes(count, |walk, i| {
                    walk.known[iv.index()] = start.map(|start| start + i as i64 * step);
                    walk.block(body)
                });
                sum.add(&passes, 1);
            }
            Stmt::If { cond, then, otherwise } => {
                let taken = if self.operand(*cond) == Some(0) { otherwise } else { then };
                let more = self.block(taken);
                sum.add(&more, 1);
            }
            Stmt::Get { dst, .. } | Stmt::Subgroup { dst, .. } => self.known[dst.index()] = None,
            Stmt::Prefetch { .. } | Stmt::Var { .. } | Stmt::Set { .. } | Stmt::Barrier => {}
        }
    }

    fn operand(&self, operand: Operand) -> Option<i64> {
        match operand {
            Operand::Value(v) => self.known[v.index()],
            Operand::Imm(Imm::Int(n)) => Some(n),
            Operand::Imm(Imm::Float(_)) => None,
        }
    }

    /// The value of an integer or a truth.
    fn value(&self, e: &Expr) -> Option<i64> {
        match *e {
            Expr::Builtin(b) => self.builtin(b),
            Expr::Unary(op, x) => {
                let x = self.operand(x)?;
                match op {
                    UnaryOp::Neg => x.checked_neg(),
                    UnaryOp::Abs => x.checked_abs(),
                    UnaryOp::Not if matches!(x, 0 | 1) => Some(1 - x),
                    _ => None,
                }
            }
            Expr::Binary(op, a, b) => binary(op, self.operand(a)?, self.operand(b)?),
            Expr::Cmp(op, a, b) => Some(i64::from(compare(op, self.operand(a)?, self.operand(b)?))),
            Expr::Select(c, a, b) => self.operand(if self.operand(c)? == 0 { b } else { a }),
            Expr::Convert(x) => self.operand(x),
            _ => None,
        }
    }

    fn builtin(&self, b: Builtin) -> Option<i64> {
        match b {
            Builtin::T => Some(self.launched.t.into()),
            Builtin::P => Some(self.launched.p.into()),
            Builtin::Row => Some(0),
            Builtin::Grid(axis) => self.at.get(usize::from(axis)).map(|&at| at.into()),
            Builtin::Lane => Some(self.at[3].into()),
            Builtin::Subgroup | Builtin::SubgroupLane | Builtin::Subgroups => None,
        }
    }
}

fn binary(op: BinaryOp, a: i64, b: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::Mul => a.checked_mul(b),
        BinaryOp::Div => a.checked_div(b),
        BinaryOp::Rem => a.checked_rem(b),
        BinaryOp::Min => Some(a.min(b)),
        BinaryOp::Max => Some(a.max(b)),
        BinaryOp::And => Some(a & b),
        BinaryOp::Or => Some(a | b),
        BinaryOp::Xor => Some(a ^ b),
        BinaryOp::Shl => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)),
        BinaryOp::Shr => u32::try_from(b).ok().and_then(|b| a.checked_shr(b)),
    }
}

fn compare(op: CmpOp, a: i64, b: i64) -> bool {
    match op {
        CmpOp::Eq => a == b,
        CmpOp::Ne => a != b,
        CmpOp::Lt => a < b,
        CmpOp::Le => a <= b,
        CmpOp::Gt => a > b,
        CmpOp::Ge => a >= b,
    }
}
