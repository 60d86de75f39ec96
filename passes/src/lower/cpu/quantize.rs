//! A kernel that quantizes f32 rows: for values whose producer does not own whole groups of 32 features.

use slmc_ir::kernel::{Access, Builtin, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{ActParams, params, store_group};
use super::schedule::Schedule;
use crate::lower::activation::{ActShape, GROUP};
use crate::lower::launch::{Launch, Limits, Phase};

/// Makes the kernel: parameters f32 rows, then the activations written. K is a multiple of 32.
pub fn launch(name: &str, from: ActShape, to: ActShape, phase: Phase, sched: &Schedule, limits: &Limits) -> Launch {
    let lanes = u32::from(sched.lanes);
    let grid = Extent::tokens(1, limits.tokens(phase));
    let mut kb = KernelBuilder::new(name, limits.bounds(phase), [grid.max, 1, 1]);
    let b = &mut kb;
    let (source, _) = params(&from, b, Access::Read);
    let ActParams::F32 { x } = source else { unreachable!("invariant: the source is f32") };
    let (act, _) = params(&to, b, Access::Write);
    let token = b.builtin(Builtin::Grid(0));
    let row = b.mul(token, from.stride());
    b.for_(0u32, to.groups(), 1, |b, g| {
        let at = b.mul(g, GROUP);
        let at = b.add(row, at);
        let values: Vec<ValueId> = (0..GROUP / lanes)
            .map(|i| {
                let at = b.add(at, i * lanes);
                b.load(Type::vector(Scalar::F32, sched.lanes), x, at)
            })
            .collect();
        store_group(b, &act, &to, token, g, &values);
    });
    Launch { kernel: kb.finish(), grid: [grid, Extent::fixed(1), Extent::fixed(1)] }
}
