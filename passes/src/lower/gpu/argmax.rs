//! The pick of a greedy token on GPUs: the id of the greatest logit of row 0, the lowest of several. NaN never wins (of NaNs
//! alone, id 0 does).
//!
//! Two kernels, as workgroups of one launch cannot meet. [`Argmax::scan`] takes a run of the vocabulary per workgroup and
//! leaves its best (key, id) in an arena buffer; [`Argmax::pick`], one workgroup, takes the best of these. Keys are integers in
//! the order of floats, so that no driver's view of NaN, infinities or the sign of zero matters.
//!
//! What bounds it: the scan reads the logits once (a few hundred KB), all loads of a lane in flight at once, the pick a
//! buffer of a few hundred bytes; on a device both are mostly the time of a launch. It saves the host the transfer of the row.

use slmc_ir::kernel::{Access, Builtin, CmpOp, KernelBuilder, Scalar, Type, ValueId};
use slmc_ir::plan::Extent;
use slmc_ir::target::Gpu;

use super::activation::{ALIGN, F32};
use super::reduce::{Reducer, Way, greater, order_key, scalars_of, vector_of};
use crate::lower::launch::{Launch, Limits, Phase};

/// Logits that a lane of the scan looks at.
const PER_LANE: u32 = 16;
/// (key, id).
const CANDIDATE: Type = Type::vector(Scalar::U32, 2);

/// What shapes both kernels.
#[derive(Debug)]
pub struct Argmax<'a> {
    /// Logits of a row.
    pub vocab: u32,
    /// The device.
    pub gpu: &'a Gpu,
}

impl Argmax<'_> {
    /// Workgroups of the scan, each of which leaves a candidate.
    fn candidates(&self) -> u32 {
        self.vocab.div_ceil(PER_LANE * self.gpu.lanes)
    }

    /// Bytes of the arena buffer between the kernels.
    pub fn bytes(&self) -> u64 {
        u64::from(self.candidates()) * u64::from(CANDIDATE.bytes())
    }

    /// The first kernel: parameters logits f32 `[vocab]` (row 0 of any number), candidates u32x2 written.
    pub fn scan(&self, name: &str, limits: &Limits) -> Launch {
        let lanes = self.gpu.lanes;
        let grid = Extent::fixed(self.candidates());
        let mut b = KernelBuilder::new(name, limits.bounds(Phase::HeadOne), [grid.max, 1, 1]);
        b.lanes(lanes);
        let logits = b.param("logits", F32, self.vocab, Access::Read, ALIGN);
        let candidates = b.param("candidates", CANDIDATE, self.candidates(), Access::Write, ALIGN);
        let reducer = Reducer::declare(&mut b, Way::of(self.gpu), Type::INDEX, lanes, 2);
        let x = b.builtin(Builtin::Grid(0));
        let lane = b.builtin(Builtin::Lane);
        let first = b.mul(x, PER_LANE * lanes);
        let first = b.add(first, lane);
        let loaded: Vec<(ValueId, ValueId)> = (0..PER_LANE)
            .map(|i| {
                let id = b.add(first, i * lanes);
                // Past the end, the last logit again: it changes nothing.
                let id = b.min(id, self.vocab - 1);
                (b.load(F32, logits, id), id)
            })
            .collect();
        let mut best: Vec<(ValueId, ValueId)> = loaded.into_iter().map(|(logit, id)| (order_key(&mut b, logit), id)).collect();
        while best.len() > 1 {
            best = best.chunks(2).map(|pair| greater(&mut b, pair[0], pair[1])).collect();
        }
        let (key, id) = reducer.greatest(&mut b, best[0].0, best[0].1);
        let is_first = b.cmp(CmpOp::Eq, lane, 0u32);
        b.if_(is_first, |b| {
            let candidate = vector_of(b, &[key, id]);
            b.store(candidates, x, candidate);
        });
        Launch { kernel: b.finish(), grid: [grid, Extent::fixed(1), Extent::fixed(1)] }
    }

    /// The second kernel: parameters candidates u32x2 read, the id u32 `[1]` written.
    pub fn pick(&self, name: &str, limits: &Limits) -> Launch {
        let lanes = self.gpu.lanes;
        let mut b = KernelBuilder::new(name, limits.bounds(Phase::HeadOne), [1, 1, 1]);
        b.lanes(lanes);
        let candidates = b.param("candidates", CANDIDATE, self.candidates(), Access::Read, ALIGN);
        let picked = b.param("picked", Type::INDEX, 1, Access::Write, ALIGN);
        let reducer = Reducer::declare(&mut b, Way::of(self.gpu), Type::INDEX, lanes, 2);
        let lane = b.builtin(Builtin::Lane);
        // Worse than any candidate: the key of a NaN, with no id.
        let (key, id) = (b.var(Type::INDEX, 0u32), b.var(Type::INDEX, u32::MAX));
        b.for_(lane, self.candidates(), lanes, |b, i| {
            let candidate = b.load(CANDIDATE, candidates, i);
            let candidate = scalars_of(b, candidate);
            let before = (b.get(key), b.get(id));
            let best = greater(b, before, (candidate[0], candidate[1]));
            b.set(key, best.0);
            b.set(id, best.1);
        });
        let (key, id) = (b.get(key), b.get(id));
        let (_, id) = reducer.greatest(&mut b, key, id);
        let is_first = b.cmp(CmpOp::Eq, lane, 0u32);
        b.if_(is_first, |b| b.store(picked, 0u32, id));
        Launch { kernel: b.finish(), grid: [Extent::fixed(1), Extent::fixed(1), Extent::fixed(1)] }
    }
}
