//! Compiles the statement tree of a kernel to [`Instr`]s: constants get the first words, then variables, then values in the
//! order in which the body defines them.

use std::collections::BTreeMap;

use half::{bf16, f16};

use super::instr::{Instr, Origin, Slot};
use crate::arena::Id;
use crate::diag::VerifyError;
use crate::kernel::{Def, Expr, Imm, Kernel, Operand, Scalar, Stmt, Type, ValueId, verify_structure};

/// A kernel in the interpreter's form.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub(super) kernel: Kernel,
    pub(super) code: Vec<Instr>,
    pub(super) origins: Vec<Origin>,
    pub(super) tables: Vec<Vec<u16>>,
    /// All words, with the constants in place.
    pub(super) words: Vec<u32>,
}

impl Compiled {
    /// Compiles a kernel. Its structure must be sound; ranges are checked as it runs. The errors are those of
    /// [`verify_structure`].
    pub fn new(kernel: &Kernel) -> Result<Self, Vec<VerifyError>> {
        verify_structure(kernel)?;
        let mut c = Compiler {
            kernel,
            code: Vec::new(),
            origins: Vec::new(),
            tables: Vec::new(),
            constants: BTreeMap::new(),
            words: Vec::new(),
            slots: vec![0; kernel.values.len()],
            vars: Vec::new(),
        };
        c.constants_of(&kernel.body);
        for (_, ty) in kernel.vars.iter() {
            let slot = c.alloc(ty.lanes);
            c.vars.push(slot);
        }
        c.block(&kernel.body);
        Ok(Self { kernel: kernel.clone(), code: c.code, origins: c.origins, tables: c.tables, words: c.words })
    }

    /// The kernel this was compiled from.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

/// The word that a lane of `scalar` holds for an immediate.
fn constant_word(imm: Imm, scalar: Scalar) -> u32 {
    match (imm, scalar) {
        (Imm::Float(x), Scalar::F16) => f16::from_f32(x).to_f32().to_bits(),
        (Imm::Float(x), Scalar::Bf16) => bf16::from_f32(x).to_f32().to_bits(),
        (Imm::Float(x), _) => x.to_bits(),
        (Imm::Int(n), _) => n as u32,
    }
}

struct Compiler<'k> {
    kernel: &'k Kernel,
    code: Vec<Instr>,
    origins: Vec<Origin>,
    tables: Vec<Vec<u16>>,
    /// By word and lanes.
    constants: BTreeMap<(u32, u16), Slot>,
    words: Vec<u32>,
    slots: Vec<Slot>,
    vars: Vec<Slot>,
}

impl Compiler<'_> {
    fn alloc(&mut self, lanes: u16) -> Slot {
        let slot = self.words.len();
        self.words.resize(slot + usize::from(lanes), 0);
        slot
    }

    fn constant(&mut self, operand: Operand, ty: Type) {
        if let Operand::Imm(imm) = operand {
            let word = constant_word(imm, ty.scalar);
            if !self.constants.contains_key(&(word, ty.lanes)) {
                let slot = self.alloc(ty.lanes);
                self.words[slot..].fill(word);
                self.constants.insert((word, ty.lanes), slot);
            }
        }
    }

    fn constants_of(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::Let(v) => {
                    if let Def::Expr(expr) = &self.kernel.values[*v].def {
                        for (operand, ty) in typed_operands(self.kernel, *v, expr) {
                            self.constant(operand, ty);
                        }
                    }
                }
                Stmt::Load { index, .. } => self.constant(*index, Type::INDEX),
                Stmt::Store { buf, index, value } => {
                    self.constant(*index, Type::INDEX);
                    self.constant(*value, self.kernel.buffers[*buf].elem);
                }
                Stmt::Var { var, init: value } | Stmt::Set { var, value } => self.constant(*value, self.kernel.vars[*var]),
                Stmt::For { start, end, body, .. } => {
                    self.constant(*start, Type::INDEX);
                    self.constant(*end, Type::INDEX);
                    self.constants_of(body);
                }
                Stmt::If { cond, then, otherwise } => {
                    self.constant(*cond, Type::scalar(Scalar::Bool));
                    self.constants_of(then);
                    self.constants_of(otherwise);
                }
                Stmt::Subgroup { dst, value, .. } => self.constant(*value, self.kernel.values[*dst].ty),
                Stmt::Prefetch { .. } | Stmt::Get { .. } | Stmt::Barrier => {}
            }
        }
    }

    fn slot(&self, operand: Operand, ty: Type) -> Slot {
        match operand {
            Operand::Value(v) => self.slots[v.index()],
            Operand::Imm(imm) => self.constants[&(constant_word(imm, ty.scalar), ty.lanes)],
        }
    }

    fn define(&mut self, v: ValueId) -> Slot {
        let slot = self.alloc(self.kernel.values[v].ty.lanes);
        self.slots[v.index()] = slot;
        slot
    }

    fn push(&mut self, origin: Origin, instr: Instr) -> usize {
        self.code.push(instr);
        self.origins.push(origin);
        self.code.len() - 1
    }

    fn block(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(v) => {
                let kernel = self.kernel;
                if let Def::Expr(expr) = &kernel.values[*v].def {
                    self.expr(*v, expr);
                }
            }
            Stmt::Load { dst, buf, index } => {
                let index = self.slot(*index, Type::INDEX);
                let d = self.define(*dst);
                self.push(Origin::Value(*dst), Instr::Load { ty: self.kernel.values[*dst].ty, d, buf: *buf, index });
            }
            Stmt::Store { buf, index, value } => {
                let ty = self.kernel.operand_type(*value).unwrap_or(self.kernel.buffers[*buf].elem);
                let index = self.slot(*index, Type::INDEX);
                let value = self.slot(*value, ty);
                self.push(Origin::Buffer(*buf), Instr::Store { ty, buf: *buf, index, value });
            }
            Stmt::Prefetch { .. } => {}
            Stmt::Var { var, init: value } | Stmt::Set { var, value } => {
                let ty = self.kernel.vars[*var];
                let a = self.slot(*value, ty);
                self.push(Origin::Flow, Instr::Move { d: self.vars[var.index()], a, n: usize::from(ty.lanes) });
            }
            Stmt::Get { dst, var } => {
                let d = self.define(*dst);
                let n = usize::from(self.kernel.vars[*var].lanes);
                self.push(Origin::Value(*dst), Instr::Move { d, a: self.vars[var.index()], n });
            }
            Stmt::For { iv, start, end, step, body, .. } => {
                let (start, end) = (self.slot(*start, Type::INDEX), self.slot(*end, Type::INDEX));
                let slot = self.define(*iv);
                let head = self.push(Origin::Value(*iv), Instr::Barrier);
                self.block(body);
                self.push(Origin::Value(*iv), Instr::Next { iv: slot, end, step: *step, body: head + 1 });
                self.code[head] = Instr::Loop { iv: slot, start, end, exit: self.code.len() };
            }
            Stmt::If { cond, then, otherwise } => {
                let cond = self.slot(*cond, Type::scalar(Scalar::Bool));
                let head = self.push(Origin::Flow, Instr::Barrier);
                self.block(then);
                if otherwise.is_empty() {
                    self.code[head] = Instr::Branch { cond, otherwise: self.code.len() };
                } else {
                    let leave = self.push(Origin::Flow, Instr::Barrier);
                    self.code[head] = Instr::Branch { cond, otherwise: self.code.len() };
                    self.block(otherwise);
                    self.code[leave] = Instr::Jump { to: self.code.len() };
                }
            }
            Stmt::Subgroup { dst, op, value } => {
                let ty = self.kernel.values[*dst].ty;
                let a = self.slot(*value, ty);
                let d = self.define(*dst);
                self.push(Origin::Value(*dst), Instr::Subgroup { op: *op, scalar: ty.scalar, d, a });
            }
            Stmt::Barrier => {
                self.push(Origin::Flow, Instr::Barrier);
            }
        }
    }

    fn expr(&mut self, v: ValueId, expr: &Expr) {
        let ty = self.kernel.values[v].ty;
        let slots: Vec<Slot> = typed_operands(self.kernel, v, expr).into_iter().map(|(o, t)| self.slot(o, t)).collect();
        let from = expr.operands().first().and_then(|o| self.kernel.operand_type(*o)).unwrap_or(ty);
        let (scalar, n) = (ty.scalar, usize::from(ty.lanes));
        let s = |i: usize| slots[i];
        let d = self.define(v);
        let instr = match expr {
            Expr::Builtin(which) => Instr::Builtin { which: *which, d },
            Expr::Unary(op, _) => Instr::Unary { op: *op, scalar, d, a: s(0), n },
            Expr::Binary(op, ..) => Instr::Binary { op: *op, scalar, d, a: s(0), b: s(1), n },
            Expr::Fma(..) => Instr::Fma { scalar, d, a: s(0), b: s(1), c: s(2), n },
            Expr::Cmp(op, ..) => Instr::Cmp { op: *op, scalar: from.scalar, d, a: s(0), b: s(1), n },
            Expr::Select(c, ..) => {
                let one = self.kernel.operand_type(*c).is_none_or(|t| t.lanes == 1);
                Instr::Select { one, d, c: s(0), a: s(1), b: s(2), n }
            }
            Expr::Convert(_) => Instr::Convert { from: from.scalar, to: scalar, d, a: s(0), n },
            Expr::Bitcast(_) => Instr::Bitcast { from, to: ty, d, a: s(0) },
            Expr::Dot4 { max_a, .. } => Instr::Dot4 { max_a: *max_a, d, acc: s(0), a: s(1), b: s(2), n },
            Expr::Dot2(..) => Instr::Dot2 { narrow: scalar == Scalar::I16, d, a: s(0), b: s(1), n },
            Expr::Mmla(..) => Instr::Mmla { d, acc: s(0), a: s(1), b: s(2), n },
            Expr::Repeat(_) => Instr::Repeat { d, a: s(0), from: usize::from(from.lanes), n },
            Expr::Extract(_, lane) => Instr::Move { d, a: s(0) + usize::from(*lane), n: 1 },
            Expr::Shuffle(_, _, lanes) => {
                self.tables.push(lanes.clone());
                Instr::Shuffle { table: self.tables.len() - 1, d, a: s(0), b: s(1), from: usize::from(from.lanes) }
            }
            Expr::Reduce(op, _) => Instr::Reduce { op: *op, scalar, d, a: s(0), n: usize::from(from.lanes) },
        };
        self.push(Origin::Value(v), instr);
    }
}

/// The operands with the types their places demand of immediates.
fn typed_operands(kernel: &Kernel, v: ValueId, expr: &Expr) -> Vec<(Operand, Type)> {
    let ty = kernel.values[v].ty;
    let own = |o: &Operand| kernel.operand_type(*o).unwrap_or(ty);
    match expr {
        Expr::Builtin(_) => vec![],
        Expr::Unary(_, a) => vec![(*a, ty)],
        Expr::Binary(_, a, b) => vec![(*a, ty), (*b, ty)],
        Expr::Fma(a, b, c) => vec![(*a, ty), (*b, ty), (*c, ty)],
        Expr::Cmp(_, a, b) | Expr::Shuffle(a, b, _) => vec![(*a, own(a)), (*b, own(a))],
        Expr::Select(c, a, b) => vec![(*c, Type::scalar(Scalar::Bool)), (*a, ty), (*b, ty)],
        Expr::Convert(a) | Expr::Bitcast(a) | Expr::Repeat(a) | Expr::Extract(a, _) | Expr::Reduce(_, a) => vec![(*a, own(a))],
        Expr::Dot4 { acc, a, b, .. } => vec![(*acc, ty), (*a, own(a)), (*b, own(a).with_scalar(Scalar::I8))],
        Expr::Mmla(acc, a, b) => {
            let bytes = Type::vector(Scalar::I8, ty.lanes * 4);
            vec![(*acc, ty), (*a, bytes), (*b, bytes)]
        }
        Expr::Dot2(a, b) => {
            let other = if own(a).scalar == Scalar::U8 { Scalar::I8 } else { Scalar::I16 };
            vec![(*a, own(a)), (*b, own(a).with_scalar(other))]
        }
    }
}
