//! A kernel that quantizes f32 rows: for values whose producer does not own whole groups of 32 features.

use slmc_ir::kernel::{Builtin, CmpOp, KernelBuilder};
use slmc_ir::plan::Extent;

use super::activation::{ActSource, Exchange, F32X4, GROUP_LANES, QUAD, Quad, params, store_quads};
use super::schedule::Schedule;
use crate::lower::activation::ActShape;
use crate::lower::launch::{Launch, Limits, Phase};

/// Makes the kernel: parameters f32 rows, then the activations written.
pub fn launch(name: &str, from: ActShape, to: ActShape, phase: Phase, sched: &Schedule, limits: &Limits) -> Launch {
    let lanes = sched.gpu.lanes;
    let quads = to.stride() / QUAD;
    let tokens = Extent::tokens(1, limits.tokens(phase));
    let runs = Extent::fixed(quads.div_ceil(lanes));
    let mut kb = KernelBuilder::new(name, limits.bounds(phase), [tokens.max, runs.max, 1]);
    let b = &mut kb;
    b.lanes(lanes);
    let ActSource::F32 { x, .. } = ActSource::declare(&from, b) else { unreachable!("invariant: the source is f32") };
    let act = params(&to, b);
    let exchange = Exchange::declare(b, &to, lanes, 1);
    let token = b.builtin(Builtin::Grid(0));
    let lane = b.builtin(Builtin::Lane);
    let run = b.builtin(Builtin::Grid(1));
    let within = b.mul(run, lanes);
    let within = b.add(within, lane);
    let stored = b.cmp(CmpOp::Lt, within, quads);
    let within = b.min(within, quads - 1);
    let at = b.mul(token, quads);
    let at = b.add(at, within);
    let values = b.load(F32X4, x, at);
    let group = b.div(within, GROUP_LANES);
    store_quads(b, &act, &to, &exchange, &[Quad { row: token, group, values, squares: None, stored }]);
    Launch { kernel: kb.finish(), grid: [tokens, runs, Extent::fixed(1)] }
}
