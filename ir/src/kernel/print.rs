//! The text form of kernels: one statement per line, types on results, floats as exact hex.
//!
//! ```text
//! kernel @scale {t = 1..8, p = 0..63, row = 0..0, grid = [8, 1, 1], lanes = 1} (
//!   b0 %x: f32[512] param read align 64,
//!   b1 %y: f32[512] param write align 64) {
//!   private b2 %tmp: f32[64] align 64
//!   v0: u32 = grid x
//!   v1: u32 = t
//!   v2: bool = cmp lt v0, v1
//!   if v2 {
//!     v3: u32 = mul v0, 64
//!     for v4 in 0..64 step 16 {
//!       ...
//!     }
//!   }
//! }
//! ```
//!
//! Ids are printed as they are, so that faults and dumps name the same thing; [`Kernel::renumber`] gives the canonical
//! numbering. A private or workgroup buffer that is not `read_write` says so before `align`.

use std::fmt::{self, Write};

use super::expr::{BinaryOp, Builtin, CmpOp, Expr, Imm, Operand, ReduceOp, UnaryOp};
use super::stmt::Stmt;
use super::{Access, Buffer, Def, Kernel, KernelModule, Space};
use crate::text::lexer::{at_name, quote};
use crate::text::{HexFloat, VERSION_LINE};

macro_rules! display_by_table {
    ($($op:ty),*) => {$(
        impl fmt::Display for $op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(<$op>::ALL.iter().find(|(op, _)| op == self).map_or("?", |(_, name)| name))
            }
        }
    )*};
}
display_by_table!(UnaryOp, BinaryOp, CmpOp, ReduceOp, Access);

impl Access {
    /// Every access with its name.
    pub const ALL: [(Access, &'static str); 3] = [(Access::Read, "read"), (Access::Write, "write"), (Access::ReadWrite, "read_write")];
}

impl fmt::Display for Builtin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Builtin::T => f.write_str("t"),
            Builtin::P => f.write_str("p"),
            Builtin::Row => f.write_str("row"),
            Builtin::Grid(0) => f.write_str("grid x"),
            Builtin::Grid(1) => f.write_str("grid y"),
            Builtin::Grid(2) => f.write_str("grid z"),
            Builtin::Grid(axis) => write!(f, "grid {axis}"),
            Builtin::Lane => f.write_str("lane"),
            Builtin::Subgroup => f.write_str("subgroup_index"),
            Builtin::SubgroupLane => f.write_str("subgroup_lane"),
            Builtin::Subgroups => f.write_str("subgroups"),
        }
    }
}

impl fmt::Display for Imm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Imm::Float(x) => HexFloat(*x).fmt(f),
            Imm::Int(n) => n.fmt(f),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Value(v) => v.fmt(f),
            Operand::Imm(imm) => imm.fmt(f),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Builtin(b) => b.fmt(f),
            Expr::Unary(op, a) => write!(f, "{op} {a}"),
            Expr::Binary(op, a, b) => write!(f, "{op} {a}, {b}"),
            Expr::Fma(a, b, c) => write!(f, "fma {a}, {b}, {c}"),
            Expr::Cmp(op, a, b) => write!(f, "cmp {op} {a}, {b}"),
            Expr::Select(c, a, b) => write!(f, "select {c}, {a}, {b}"),
            Expr::Convert(a) => write!(f, "convert {a}"),
            Expr::Bitcast(a) => write!(f, "bitcast {a}"),
            Expr::Dot4 { acc, a, b, max_a } => write!(f, "dot4 {acc}, {a}, {b} {{max_a = {max_a}}}"),
            Expr::Dot2(a, b) => write!(f, "dot2 {a}, {b}"),
            Expr::Mmla(acc, a, b) => write!(f, "mmla {acc}, {a}, {b}"),
            Expr::Repeat(a) => write!(f, "repeat {a}"),
            Expr::Extract(a, lane) => write!(f, "extract {a}, {lane}"),
            Expr::Shuffle(a, b, lanes) => write!(f, "shuffle {a}, {b}, {lanes:?}"),
            Expr::Reduce(op, a) => write!(f, "reduce {op} {a}"),
        }
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = super::verify_scope::is_identifier(&self.name);
        let name = if plain { self.name.clone() } else { quote(&self.name) };
        write!(f, "%{name}: {}[{}]", self.elem, self.len)?;
        match (self.space, self.access) {
            (Space::Param, access) => write!(f, " param {access}")?,
            (_, Access::ReadWrite) => {}
            (_, access) => write!(f, " {access}")?,
        }
        write!(f, " align {}", self.align)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.bounds;
        write!(
            f,
            "kernel {} {{t = {}..{}, p = {}..{}, row = {}..{}, grid = {:?}, lanes = {}}} (",
            at_name(&self.name),
            b.t.0,
            b.t.1,
            b.p.0,
            b.p.1,
            b.row.0,
            b.row.1,
            self.grid,
            self.lanes
        )?;
        for (n, (id, buffer)) in self.params().enumerate() {
            write!(f, "{}\n  {id} {buffer}", if n > 0 { "," } else { "" })?;
        }
        f.write_str(") {\n")?;
        for (id, buffer) in self.buffers.iter() {
            match buffer.space {
                Space::Param => {}
                Space::Private => writeln!(f, "  private {id} {buffer}")?,
                Space::Workgroup => writeln!(f, "  workgroup {id} {buffer}")?,
            }
        }
        let mut text = String::new();
        Printer { kernel: self, out: &mut text }.block(&self.body, 1)?;
        f.write_str(&text)?;
        f.write_str("}\n")
    }
}

impl fmt::Display for KernelModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION_LINE}")?;
        for (_, kernel) in self.kernels.iter() {
            write!(f, "\n{kernel}")?;
        }
        Ok(())
    }
}

struct Printer<'a> {
    kernel: &'a Kernel,
    out: &'a mut String,
}

impl Printer<'_> {
    /// `v3: f32x16`; of a value that does not exist, only its id.
    fn head(&self, v: super::ValueId) -> String {
        match self.kernel.values.get(v) {
            Some(value) => format!("{v}: {}", value.ty),
            None => v.to_string(),
        }
    }

    fn block(&mut self, stmts: &[Stmt], depth: usize) -> fmt::Result {
        for stmt in stmts {
            for _ in 0..depth {
                self.out.push_str("  ");
            }
            self.stmt(stmt, depth)?;
            self.out.push('\n');
        }
        Ok(())
    }

    fn nested(&mut self, stmts: &[Stmt], depth: usize) -> fmt::Result {
        self.out.push_str("{\n");
        self.block(stmts, depth + 1)?;
        for _ in 0..depth {
            self.out.push_str("  ");
        }
        self.out.push('}');
        Ok(())
    }

    fn stmt(&mut self, stmt: &Stmt, depth: usize) -> fmt::Result {
        match stmt {
            Stmt::Let(v) => {
                let head = self.head(*v);
                match self.kernel.values.get(*v).map(|v| &v.def) {
                    Some(Def::Expr(e)) => write!(self.out, "{head} = {e}"),
                    Some(Def::Stmt) | None => write!(self.out, "{head} = ?"),
                }
            }
            Stmt::Load { dst, buf, index } => {
                let head = self.head(*dst);
                write!(self.out, "{head} = load {buf}[{index}]")
            }
            Stmt::Store { buf, index, value } => write!(self.out, "store {buf}[{index}], {value}"),
            Stmt::Prefetch { buf, index } => write!(self.out, "prefetch {buf}[{index}]"),
            Stmt::Var { var, init } => match self.kernel.vars.get(*var) {
                Some(ty) => write!(self.out, "{var}: {ty} = var {init}"),
                None => write!(self.out, "{var} = var {init}"),
            },
            Stmt::Get { dst, var } => {
                let head = self.head(*dst);
                write!(self.out, "{head} = get {var}")
            }
            Stmt::Set { var, value } => write!(self.out, "set {var} = {value}"),
            Stmt::For { iv, start, end, step, unroll, body } => {
                write!(self.out, "for {iv} in {start}..{end} step {step} ")?;
                if *unroll != 1 {
                    write!(self.out, "unroll {unroll} ")?;
                }
                self.nested(body, depth)
            }
            Stmt::If { cond, then, otherwise } => {
                write!(self.out, "if {cond} ")?;
                self.nested(then, depth)?;
                if !otherwise.is_empty() {
                    self.out.push_str(" else ");
                    self.nested(otherwise, depth)?;
                }
                Ok(())
            }
            Stmt::Subgroup { dst, op, value } => {
                let head = self.head(*dst);
                write!(self.out, "{head} = subgroup {op} {value}")
            }
            Stmt::Barrier => self.out.write_str("barrier"),
        }
    }
}
