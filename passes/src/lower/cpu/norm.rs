//! The kernel of a norm that is a launch of its own: a tile has a whole row, so nothing is left to the consumer.
//!
//! Features past the last are zero in rows and weights: they add nothing to sums and are written as zeros. A deviation is taken
//! from the mean in a second pass over the row, which is in the cache by then; sums of squares alone would cancel.

use slmc_ir::kernel::{Access, BufId, Builtin, KernelBuilder, ReduceOp, Scalar, Type, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{params, store_group};
use super::schedule::Schedule;
use crate::lower::activation::{GROUP, SplitNorm};
use crate::lower::emit::{Norm, NormBy};
use crate::lower::launch::{Launch, Limits};

const F32S: Type = Type::scalar(Scalar::F32);

/// Makes the kernel: parameters product rows and weight of their norm (if joined), residual rows, norm weight, norm bias (if there
/// is one), then the activations written.
pub fn launch(name: &str, norm: &Norm, sched: &Schedule, limits: &Limits) -> Launch {
    let grid = Extent::tokens(1, limits.tokens(norm.phase));
    let mut kb = KernelBuilder::new(name, limits.bounds(norm.phase), [grid.max, 1, 1]);
    let b = &mut kb;
    let stride = norm.features.next_multiple_of(GROUP);
    let product = norm.joined.map(|eps| {
        let rows = b.param("product", F32S, norm.rows * stride, Access::Read, 64);
        (eps, rows, b.param("product_norm", F32S, stride, Access::Read, 64))
    });
    let access = if product.is_some() { Access::ReadWrite } else { Access::Read };
    let residual = b.param("residual", F32S, norm.rows * stride, access, 64);
    let weight = b.param("norm", F32S, stride, Access::Read, 64);
    let bias = matches!(norm.by, NormBy::Deviation { bias: true, .. }).then(|| b.param("norm_bias", F32S, stride, Access::Read, 64));
    let (act, _) = params(&norm.out, b, Access::Write);

    let token = b.builtin(Builtin::Grid(0));
    let start = b.mul(token, stride);
    let row = Row { norm, lanes: sched.lanes, start };
    if let Some((eps, product, weight)) = product {
        let squares = row.sum(b, product, |b, x| b.mul(x, x));
        let factor = SplitNorm { features: norm.features, eps }.factor(b, squares);
        row.add(b, residual, product, weight, factor);
    }
    let (mean, factor) = match norm.by {
        NormBy::RootMeanSquare { eps } => {
            let squares = row.sum(b, residual, |b, x| b.mul(x, x));
            (None, SplitNorm { features: norm.features, eps }.factor(b, squares))
        }
        NormBy::Deviation { eps, .. } => {
            let sum = row.sum(b, residual, |_, x| x);
            let mean = b.mul(sum, 1.0 / norm.features as f32);
            let squares = row.sum_of_deviations(b, residual, mean);
            (Some(mean), SplitNorm { features: norm.features, eps }.factor(b, squares))
        }
    };
    let lanes = u32::from(sched.lanes);
    let factor = b.repeat(factor, sched.lanes);
    let mean = mean.map(|mean| b.repeat(mean, sched.lanes));
    b.for_(0u32, stride / GROUP, 1, |b, group| {
        let feature = b.mul(group, GROUP);
        let values: Vec<ValueId> = (0..GROUP / lanes)
            .map(|i| {
                let at = b.add(feature, i * lanes);
                let from = b.add(start, at);
                let mut x = b.load(row.vec(), residual, from);
                if let Some(mean) = mean {
                    x = b.sub(x, mean);
                }
                let x = b.mul(x, factor);
                let w = b.load(row.vec(), weight, at);
                match bias {
                    Some(bias) => {
                        let bias = b.load(row.vec(), bias, at);
                        b.fma(x, w, bias)
                    }
                    None => b.mul(x, w),
                }
            })
            .collect();
        store_group(b, &act, &norm.out, token, group, &values);
    });
    Launch { kernel: kb.finish(), grid: [grid, Extent::fixed(1), Extent::fixed(1)] }
}

/// One row of f32 buffers `[rows, features rounded up to 32]`.
struct Row<'a> {
    norm: &'a Norm,
    lanes: u16,
    /// Its first element.
    start: ValueId,
}

impl Row<'_> {
    fn vec(&self) -> Type {
        Type::vector(Scalar::F32, self.lanes)
    }

    /// The sum over all features of what `of` makes of them; zeros at the end must give zeros.
    fn sum(&self, b: &mut KernelBuilder, buf: BufId, of: impl Fn(&mut KernelBuilder, ValueId) -> ValueId) -> ValueId {
        let sum = b.var(self.vec(), 0.0f32);
        b.for_(0u32, self.norm.features.next_multiple_of(GROUP), u32::from(self.lanes), |b, i| {
            let at = b.add(self.start, i);
            let x = b.load(self.vec(), buf, at);
            let x = of(b, x);
            let old = b.get(sum);
            let new = b.add(old, x);
            b.set(sum, new);
        });
        let sum = b.get(sum);
        b.reduce(ReduceOp::Add, sum)
    }

    /// `Σ (x − mean)²` over the features alone: padding is no deviation.
    fn sum_of_deviations(&self, b: &mut KernelBuilder, buf: BufId, mean: ValueId) -> ValueId {
        let whole = self.norm.features / u32::from(self.lanes) * u32::from(self.lanes);
        let sum = b.var(self.vec(), 0.0f32);
        let wide = b.repeat(mean, self.lanes);
        b.for_(0u32, whole, u32::from(self.lanes), |b, i| {
            let at = b.add(self.start, i);
            let x = b.load(self.vec(), buf, at);
            let x = b.sub(x, wide);
            let old = b.get(sum);
            let new = b.fma(x, x, old);
            b.set(sum, new);
        });
        let sum = b.get(sum);
        let rest = b.reduce(ReduceOp::Add, sum);
        let total = b.var(F32S, rest);
        b.for_(whole, self.norm.features, 1, |b, i| {
            let at = b.add(self.start, i);
            let x = b.load(F32S, buf, at);
            let x = b.sub(x, mean);
            let old = b.get(total);
            let new = b.fma(x, x, old);
            b.set(total, new);
        });
        b.get(total)
    }

    /// `residual += product · factor · weight`.
    fn add(&self, b: &mut KernelBuilder, residual: BufId, product: BufId, weight: BufId, factor: ValueId) {
        let factor = b.repeat(factor, self.lanes);
        b.for_(0u32, self.norm.features.next_multiple_of(GROUP), u32::from(self.lanes), |b, i| {
            let at = b.add(self.start, i);
            let x = b.load(self.vec(), product, at);
            let x = b.mul(x, factor);
            let w = b.load(self.vec(), weight, i);
            let old = b.load(self.vec(), residual, at);
            let new = b.fma(x, w, old);
            b.store(residual, at, new);
        });
    }
}
