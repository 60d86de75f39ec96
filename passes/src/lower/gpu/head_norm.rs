//! A kernel that norms the heads of q and k, rotates them, and writes query rows and the cache; values are only moved.
//!
//! Eight neighbouring lanes have a head of a token: each a quad of each of its blocks, so that rows are read in runs and the
//! rest is what an epilogue of the product would do. Sums of squares meet in workgroup memory.
//!
//! What bounds it: the latency of one launch; a token's rows are a few KB.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{ALIGN, F32, F32X4, GROUP_LANES, QUAD, over_group};
use super::epilogue::Finished;
use super::qkv::QkvOutput;
use super::schedule::Schedule;
use crate::lower::activation::SplitNorm;
use crate::lower::emit::HeadNorm;
use crate::lower::launch::{Launch, Limits};

/// Makes the kernel.
pub fn launch(name: &str, norm: &HeadNorm, sched: &Schedule, limits: &Limits) -> Launch {
    let (h, parts, lanes) = (norm.heads, norm.parts, sched.gpu.lanes);
    let count = |on: bool, heads: u32| if on { heads } else { 0 };
    let q_end = count(parts.q, h.heads);
    let k_end = q_end + count(parts.k, h.kv_heads);
    let heads = k_end + count(parts.v, h.kv_heads);
    let quads = heads * h.packed_rows / QUAD;
    let tokens = Extent::tokens(1, limits.tokens(norm.phase));
    let runs = Extent::fixed(heads.div_ceil(lanes / GROUP_LANES));
    let mut kb = KernelBuilder::new(name, limits.bounds(norm.phase), [tokens.max, runs.max, 1]);
    let b = &mut kb;
    b.lanes(lanes);
    let rows = b.param("product", F32X4, norm.rows * quads, Access::Read, ALIGN);
    let weight = |b: &mut KernelBuilder, name: &str| b.param(name, F32X4, h.packed_rows / QUAD, Access::Read, ALIGN);
    let q_weight = parts.q.then(|| weight(b, "q_norm"));
    let k_weight = parts.k.then(|| weight(b, "k_norm"));
    let output = QkvOutput::declare(b, h, parts, norm.rotated, norm.rows);
    let squares = b.workgroup("head_squares", F32, lanes);

    let token = b.builtin(Builtin::Grid(0));
    let run = b.builtin(Builtin::Grid(1));
    let lane = b.builtin(Builtin::Lane);
    // A bit operation: a remainder stays tied to its quotient, behind which the range verifier does not see that both end.
    let place = b.binary(BinaryOp::And, lane, GROUP_LANES - 1);
    let team = b.div(lane, GROUP_LANES);
    let head = b.mul(run, lanes / GROUP_LANES);
    let head = b.add(head, team);
    let stored = b.cmp(CmpOp::Lt, head, heads);
    let head = b.min(head, heads - 1);
    let first = b.mul(token, quads);
    let within = b.mul(head, h.packed_rows / QUAD);
    let first = b.add(first, within);
    let first = b.add(first, place);
    let values: Vec<ValueId> = (0..h.blocks())
        .map(|block| {
            let at = b.add(first, block * GROUP_LANES);
            b.load(F32X4, rows, at)
        })
        .collect();
    let mut sum = b.mul(values[0], values[0]);
    for &v in &values[1..] {
        sum = b.fma(v, v, sum);
    }
    let sum = b.reduce(ReduceOp::Add, sum);
    b.store(squares, lane, sum);
    b.barrier();
    let first_lane = b.mul(team, GROUP_LANES);
    let sum = over_group(b, squares, first_lane, BinaryOp::Add);
    let factor = SplitNorm { features: h.head_dim, eps: norm.eps }.factor(b, sum);
    let factor = b.repeat(factor, QUAD as u16);

    let normed: Vec<_> = values.iter().map(|&v| b.var(F32X4, v)).collect();
    let scale = |b: &mut KernelBuilder, weight: Option<BufId>| {
        let Some(weight) = weight else { return };
        for ((&var, &value), block) in normed.iter().zip(&values).zip(0u32..) {
            let at = b.add(place, block * GROUP_LANES);
            let weight = b.load(F32X4, weight, at);
            let value = b.mul(value, factor);
            let value = b.mul(value, weight);
            b.set(var, value);
        }
    };
    parts.of_unit(b, head, (q_end, k_end), |b| scale(b, q_weight), |b, _| scale(b, k_weight), |_, _| {});
    b.if_(stored, |b| {
        let first = b.mul(head, h.blocks());
        for (&var, block) in normed.iter().zip(0u32..) {
            let unit = b.add(first, block);
            let quad = b.get(var);
            output.store(b, place, &Finished { unit, token, quads: vec![quad], stored });
        }
    });
    Launch { kernel: kb.finish(), grid: [tokens, runs, Extent::fixed(1)] }
}
