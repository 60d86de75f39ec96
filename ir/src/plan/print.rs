//! The text form of plans. Kernels are named as `@name`, so a plan is printed together with its kernels.
//!
//! ```text
//! plan {chunk = 16, ctx = 64, vocab = 40, head_rows = 8, tokens = a0, logits = a1} {
//!   arena 1408 {
//!     a0 "tokens" 64 at 0 pinned
//!     a1 "logits" 1280 at 64 pinned
//!   }
//!   kv 4096 {
//!     kv0 slot 0 k 4096 at 0 per 64
//!   }
//!   weights 20480 {
//!     p0 "q" 16384 at 0 matrix q4g32 lanes 16 k_step 4 q8_offset 0 k 64 rows [zip(w0[0..8], w0[8..16]), w1[0..4], zero 12]
//!     p1 "norm" 256 at 16384 vector w2 len 64
//!   }
//!   decode {
//!     @gemv (a0, p0, kv0) grid [4, t / 4 max 2, 1]
//!   }
//!   …
//! }
//! ```
//!
//! Rows and elements of packed sections are written as runs: `w3[8..16]` is rows 8 to 15 of `w3`, `zip(a, b)` takes rows of
//! two runs in turn (as RoPE partners lie), `zero 4` is four rows of zeros. An extent that is the same in every step is a
//! number, any other `ceil(sum / divisor)` with its upper bound: `2 * t + p + 3 / 4 max 9`. A dispatch that does not wait says
//! `beside`. A plan that picks tokens has `picked = a2` in its head and a list `argmax`.

use std::fmt::{self, Write};

use super::{Binding, Dispatch, Extent, PackedContent, Plan};
use crate::graph::WeightId;
use crate::kernel::KernelModule;
use crate::text::lexer::at_name;
use crate::text::{HexFloat, VERSION_LINE, quote};

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Binding::Arena(id) => id.fmt(f),
            Binding::Packed(id) => id.fmt(f),
            Binding::Kv(index) => write!(f, "kv{index}"),
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Extent::fixed(self.c) {
            return self.c.fmt(f);
        }
        let term = |factor: u32, name: &str| match factor {
            0 => None,
            1 => Some(name.to_string()),
            _ => Some(format!("{factor} * {name}")),
        };
        let constant = (self.c != 0 || (self.a == 0 && self.b == 0)).then(|| self.c.to_string());
        let sum: Vec<String> = [term(self.a, "t"), term(self.b, "p"), constant].into_iter().flatten().collect();
        write!(f, "{} / {} max {}", sum.join(" + "), self.d, self.max)
    }
}

/// One source row, `None` for zeros.
pub(super) type Row = Option<(WeightId, u32)>;

/// A run of rows.
#[derive(Debug, PartialEq)]
enum Run {
    Zero(usize),
    Rows(WeightId, u32, usize),
    /// Two runs of one length in turn.
    Zip((WeightId, u32), (WeightId, u32), usize),
}

/// How many rows from `start` on, every `stride`-th, go up by one in one weight.
fn ascending(rows: &[Row], start: usize, stride: usize) -> usize {
    let Some(Some((weight, first))) = rows.get(start) else { return 0 };
    let expected = |i: usize| u32::try_from(i).ok().and_then(|i| first.checked_add(i)).map(|row| Some((*weight, row)));
    rows[start..].iter().step_by(stride).enumerate().take_while(|(i, row)| expected(*i).is_some_and(|e| e == **row)).count()
}

fn runs(rows: &[Row]) -> Vec<Run> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        let run = match (rows[at], rows.get(at + 1).copied().flatten()) {
            (None, _) => Run::Zero(rows[at..].iter().take_while(|r| r.is_none()).count()),
            (Some(a), second) => {
                let plain = ascending(rows, at, 1);
                let pairs = ascending(rows, at, 2).min(ascending(rows, at + 1, 2));
                match second {
                    Some(b) if plain == 1 && pairs > 1 => Run::Zip(a, b, pairs),
                    _ => Run::Rows(a.0, a.1, plain),
                }
            }
        };
        at += match run {
            Run::Zero(n) | Run::Rows(_, _, n) => n,
            Run::Zip(_, _, n) => 2 * n,
        };
        out.push(run);
    }
    out
}

fn write_rows(f: &mut impl Write, rows: &[Row]) -> fmt::Result {
    f.write_char('[')?;
    for (i, run) in runs(rows).into_iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        // One past the last row may be 2^32.
        let end = |first: u32, n: usize| u64::from(first) + n as u64;
        match run {
            Run::Zero(n) => write!(f, "zero {n}")?,
            Run::Rows(w, first, n) => write!(f, "{w}[{first}..{}]", end(first, n))?,
            Run::Zip((a, i), (b, j), n) => write!(f, "zip({a}[{i}..{}], {b}[{j}..{}])", end(i, n), end(j, n))?,
        }
    }
    f.write_char(']')
}

fn write_content(f: &mut impl Write, content: &PackedContent) -> fmt::Result {
    match content {
        PackedContent::Matrix { layout, k, rows } => {
            write!(f, "matrix {} lanes {} k_step {} q8_offset {} k {k} rows ", layout.dtype, layout.lanes, layout.k_step, layout.q8_offset)?;
            write_rows(f, rows)
        }
        PackedContent::Vector { weight, len, plus } => {
            write!(f, "vector {weight} len {len}")?;
            write_plus(f, *plus)
        }
        PackedContent::Gather { elems, plus } => {
            f.write_str("gather ")?;
            write_rows(f, elems)?;
            write_plus(f, *plus)
        }
        PackedContent::Rope { attrs: a, ctx, width } => {
            let (theta, scaling) = (HexFloat(a.theta), &a.scaling);
            write!(f, "rope heads {} head_dim {} rotary_dim {} theta {theta} scaling {scaling} ", a.heads, a.head_dim, a.rotary_dim)?;
            write!(f, "ctx {ctx} width {width}")
        }
    }
}

/// ` plus 0x1p0` unless it is 0.
fn write_plus(f: &mut impl Write, plus: f32) -> fmt::Result {
    if plus == 0.0 { Ok(()) } else { write!(f, " plus {}", HexFloat(plus)) }
}

/// The text of a plan; `kernels` gives the names.
fn write_plan(f: &mut impl Write, plan: &Plan, kernels: &KernelModule) -> fmt::Result {
    write!(f, "plan {{chunk = {}, ctx = {}, vocab = {}, head_rows = {}, ", plan.chunk, plan.ctx, plan.vocab, plan.head_rows)?;
    write!(f, "tokens = {}, logits = {}", plan.tokens, plan.logits)?;
    if let Some(picked) = plan.picked {
        write!(f, ", picked = {picked}")?;
    }
    f.write_str("} {\n")?;
    writeln!(f, "  arena {} {{", plan.arena_bytes)?;
    for (id, b) in plan.arena.iter() {
        writeln!(f, "    {id} {} {} at {}{}", quote(&b.name), b.bytes, b.offset, if b.pinned { " pinned" } else { "" })?;
    }
    writeln!(f, "  }}\n  kv {} {{", plan.kv_bytes)?;
    for (i, k) in plan.kv.iter().enumerate() {
        write!(f, "    kv{i} slot {} {} {} at {} per {}", k.slot, k.part, k.bytes, k.offset, k.bytes_per_position)?;
        if let Some(ring) = k.ring {
            write!(f, " ring {} window {}", ring.positions, ring.window)?;
        }
        writeln!(f)?;
    }
    writeln!(f, "  }}\n  weights {} {{", plan.weights_bytes)?;
    for (id, p) in plan.packed.iter() {
        write!(f, "    {id} {} {} at {} ", quote(&p.name), p.bytes, p.offset)?;
        write_content(f, &p.content)?;
        f.write_char('\n')?;
    }
    f.write_str("  }\n")?;
    for (name, list) in plan.lists() {
        if name == "argmax" && list.is_empty() {
            continue;
        }
        writeln!(f, "  {name} {{")?;
        for dispatch in list {
            write_dispatch(f, dispatch, kernels)?;
        }
        f.write_str("  }\n")?;
    }
    f.write_str("}\n")
}

fn write_dispatch(f: &mut impl Write, dispatch: &Dispatch, kernels: &KernelModule) -> fmt::Result {
    match kernels.kernels.get(dispatch.kernel) {
        Some(kernel) => write!(f, "    {} (", at_name(&kernel.name))?,
        None => write!(f, "    {} (", dispatch.kernel)?,
    }
    for (i, b) in dispatch.bindings.iter().enumerate() {
        write!(f, "{}{b}", if i > 0 { ", " } else { "" })?;
    }
    let [x, y, z] = dispatch.grid;
    writeln!(f, ") grid [{x}, {y}, {z}]{}", if dispatch.beside { " beside" } else { "" })
}

/// The text form of kernels and the plan that launches them; [`parse_lowered`](super::parse_lowered) reads it.
pub fn print_lowered(kernels: &KernelModule, plan: &Plan) -> String {
    let mut out = format!("{VERSION_LINE}\n");
    for (_, kernel) in kernels.kernels.iter() {
        out.push_str(&format!("\n{kernel}"));
    }
    out.push('\n');
    write_plan(&mut out, plan, kernels).expect("invariant: writing to a string does not fail");
    out
}
