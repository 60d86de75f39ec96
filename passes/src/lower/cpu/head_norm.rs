//! The kernel that norms and rotates heads between their projection and the attention: a tile has one head of one token.

use slmc_ir::kernel::{Access, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, Scalar, Type};
use slmc_ir::plan::Extent;

use super::heads::QkvOutput;
use super::matmul::Finished;
use super::schedule::Schedule;
use crate::lower::activation::{GROUP, SplitNorm};
use crate::lower::emit::HeadNorm;
use crate::lower::launch::{Launch, Limits};

/// Makes the kernel: parameters product rows, weight of the q norm, weight of the k norm (those of the parts), then those of the
/// q, k, v epilogue.
pub fn launch(name: &str, norm: &HeadNorm, sched: &Schedule, limits: &Limits) -> Launch {
    let (h, parts) = (norm.heads, norm.parts);
    let lanes = u32::from(sched.lanes);
    let unit_rows = h.unit_rows(lanes);
    let per_head = h.packed_rows / unit_rows;
    let q_heads = if parts.q { h.heads } else { 0 };
    let normed = q_heads + if parts.k { h.kv_heads } else { 0 };
    let all = normed + if parts.v { h.kv_heads } else { 0 };
    let token_grid = Extent::tokens(1, limits.tokens(norm.phase));
    let head_grid = Extent::fixed(all);
    let stride = norm.features().next_multiple_of(GROUP);
    let f32s = Type::scalar(Scalar::F32);
    let vec = Type::vector(Scalar::F32, sched.lanes);

    let mut kb = KernelBuilder::new(name, limits.bounds(norm.phase), [token_grid.max, head_grid.max, 1]);
    let b = &mut kb;
    let product = b.param("product", f32s, norm.rows * stride, Access::Read, 64);
    let q_weight = parts.q.then(|| b.param("q_norm", f32s, h.packed_rows, Access::Read, 64));
    let k_weight = parts.k.then(|| b.param("k_norm", f32s, h.packed_rows, Access::Read, 64));
    let output = QkvOutput::declare(b, h, parts, norm.rotated, norm.rows, sched);

    let token = b.builtin(Builtin::Grid(0));
    let head = b.builtin(Builtin::Grid(1));
    let row = b.mul(token, stride);
    let first_unit = b.mul(head, per_head);
    let first = b.mul(first_unit, unit_rows);
    let first = b.add(row, first);
    let squares = b.var(vec, 0.0f32);
    b.for_(0u32, h.packed_rows, lanes, |b, d| {
        let at = b.add(first, d);
        let x = b.load(vec, product, at);
        let old = b.get(squares);
        let new = b.fma(x, x, old);
        b.set(squares, new);
    });
    let squares = b.get(squares);
    let squares = b.reduce(ReduceOp::Add, squares);
    let factor = SplitNorm { features: h.head_dim, eps: norm.eps }.factor(b, squares);
    let factor = b.repeat(factor, sched.lanes);
    b.for_(0u32, per_head, 1, |b, block| {
        let d = b.mul(block, unit_rows);
        let dims: Vec<_> = (0..unit_rows / lanes).map(|i| b.add(d, i * lanes)).collect();
        let rows: Vec<_> = dims
            .iter()
            .map(|&d| {
                let at = b.add(first, d);
                b.load(vec, product, at)
            })
            .collect();
        let values: Vec<_> = rows.iter().map(|&x| b.var(vec, x)).collect();
        let scale = |b: &mut KernelBuilder, weight: Option<BufId>| {
            let Some(weight) = weight else { return };
            for ((&d, &x), &value) in dims.iter().zip(&rows).zip(&values) {
                let w = b.load(vec, weight, d);
                let w = b.mul(w, factor);
                let scaled = b.mul(x, w);
                b.set(value, scaled);
            }
        };
        let is_query = b.cmp(CmpOp::Lt, head, q_heads);
        let is_normed = b.cmp(CmpOp::Lt, head, normed);
        b.if_else(is_query, |b| scale(b, q_weight), |b| b.if_(is_normed, |b| scale(b, k_weight)));
        let unit = b.add(first_unit, block);
        let rows = values.into_iter().map(|value| b.get(value)).collect();
        output.store(b, sched, &Finished { unit, token, rows });
    });
    Launch { kernel: kb.finish(), grid: [token_grid, head_grid, Extent::fixed(1)] }
}
