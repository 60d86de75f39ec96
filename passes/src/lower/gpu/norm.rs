//! A kernel that norms whole rows of the residual stream, before which it may add the normed rows of a product.
//!
//! A workgroup has a token's row, lanes quads of it, in registers from the first load to the last store. What is summed over
//! the row meets in workgroup memory: squares for an RMS norm; the mean and then the squares around it for a layer norm, since
//! their difference would cancel. Activations leave finished: nothing of a norm is left to the consumer.
//!
//! What bounds it: the latency of one launch and of two or three reductions; a row is a few KB.

use slmc_ir::kernel::{Access, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, ValueId};
use slmc_ir::plan::Extent;

use super::activation::{ALIGN, Exchange, F32, F32X4, GROUP_LANES, QUAD, Quad, params, store_quads};
use super::reduce::{Reducer, Way, vector_of};
use super::schedule::Schedule;
use crate::lower::activation::SplitNorm;
use crate::lower::emit::{Norm, NormBy};
use crate::lower::launch::{Launch, Limits};

/// Makes the kernel.
pub fn launch(name: &str, norm: &Norm, sched: &Schedule, limits: &Limits) -> Launch {
    let lanes = sched.gpu.lanes;
    let quads = norm.out.stride() / QUAD;
    let count = quads.div_ceil(lanes);
    let tokens = Extent::tokens(1, limits.tokens(norm.phase));
    let mut kb = KernelBuilder::new(name, limits.bounds(norm.phase), [tokens.max, 1, 1]);
    let b = &mut kb;
    b.lanes(lanes);
    let vector = |b: &mut KernelBuilder, name: &str| b.param(name, F32X4, quads, Access::Read, ALIGN);
    let joined = norm.joined.map(|eps| {
        let rows = b.param("product", F32X4, norm.rows * quads, Access::Read, ALIGN);
        (rows, vector(b, "product_norm"), eps)
    });
    let access = if joined.is_some() { Access::ReadWrite } else { Access::Read };
    let residual = b.param("residual", F32X4, norm.rows * quads, access, ALIGN);
    let weight = vector(b, "norm");
    let bias = match norm.by {
        NormBy::Deviation { bias: true, .. } => Some(vector(b, "norm_bias")),
        NormBy::Deviation { bias: false, .. } | NormBy::RootMeanSquare { .. } => None,
    };
    let act = params(&norm.out, b);
    let exchange = Exchange::declare(b, &norm.out, lanes, count);
    let reducer = Reducer::declare(b, Way::of(&sched.gpu), F32, lanes, 1);

    let token = b.builtin(Builtin::Grid(0));
    let lane = b.builtin(Builtin::Lane);
    let start = b.mul(token, quads);
    let places = (0..count)
        .map(|i| {
            let within = b.add(lane, i * lanes);
            let exists = b.cmp(CmpOp::Lt, within, quads);
            Place { exists, within: b.min(within, quads - 1), whole: (i + 1) * lanes <= quads }
        })
        .collect();
    let row = Row { places, start, reducer, features: norm.features, stride: norm.out.stride() };
    let mut values = row.load(b, residual);
    if let Some((rows, weight, eps)) = joined {
        let product = row.load(b, rows);
        let factor = row.rms(b, &product, eps);
        let product = row.scaled(b, &product, factor, weight, None);
        values = values.into_iter().zip(product).map(|(a, c)| b.add(a, c)).collect();
        row.store(b, residual, &values);
    }
    let normed = match norm.by {
        NormBy::RootMeanSquare { eps } => {
            let factor = row.rms(b, &values, eps);
            row.scaled(b, &values, factor, weight, None)
        }
        NormBy::Deviation { eps, .. } => {
            let (centered, factor) = row.deviation(b, &values, eps);
            row.scaled(b, &centered, factor, weight, bias)
        }
    };
    let finished: Vec<Quad> = row
        .places
        .iter()
        .zip(normed)
        .map(|(place, values)| {
            let group = b.div(place.within, GROUP_LANES);
            Quad { row: token, group, values, squares: None, stored: place.exists }
        })
        .collect();
    store_quads(b, &act, &norm.out, &exchange, &finished);
    Launch { kernel: kb.finish(), grid: [tokens, Extent::fixed(1), Extent::fixed(1)] }
}

/// A quad of the row that a lane has.
struct Place {
    /// Whether there is one, `bool`.
    exists: ValueId,
    /// Its number in the row; of one that does not exist, the last one's.
    within: ValueId,
    /// Whether all lanes have theirs.
    whole: bool,
}

impl Place {
    fn guarded(&self, b: &mut KernelBuilder, emit: impl FnOnce(&mut KernelBuilder)) {
        if self.whole { emit(b) } else { b.if_(self.exists, emit) }
    }

    /// A number of the quad, f32; 0 where there is none.
    fn share(&self, b: &mut KernelBuilder, number: ValueId) -> ValueId {
        if self.whole { number } else { b.select(self.exists, number, 0.0f32) }
    }
}

/// A token's row, spread over the lanes of its workgroup.
struct Row {
    /// The lane's quads.
    places: Vec<Place>,
    /// Index of the row's first quad.
    start: ValueId,
    reducer: Reducer,
    /// Features, and those stored: zeros from the first number on.
    features: u32,
    stride: u32,
}

impl Row {
    fn load(&self, b: &mut KernelBuilder, rows: BufId) -> Vec<ValueId> {
        self.places
            .iter()
            .map(|place| {
                // A lane without a quad reads nothing: the last quad may be written meanwhile.
                let value = b.var(F32X4, 0.0f32);
                place.guarded(b, |b| {
                    let at = b.add(self.start, place.within);
                    let loaded = b.load(F32X4, rows, at);
                    b.set(value, loaded);
                });
                b.get(value)
            })
            .collect()
    }

    fn store(&self, b: &mut KernelBuilder, rows: BufId, values: &[ValueId]) {
        for (place, &value) in self.places.iter().zip(values) {
            place.guarded(b, |b| {
                let at = b.add(self.start, place.within);
                b.store(rows, at, value);
            });
        }
    }

    /// Sums a number of each quad over the row.
    fn sum(&self, b: &mut KernelBuilder, values: &[ValueId], of: impl Fn(&mut KernelBuilder, ValueId) -> ValueId) -> ValueId {
        let mut sum = None;
        for (place, &value) in self.places.iter().zip(values) {
            let number = of(b, value);
            let number = b.reduce(ReduceOp::Add, number);
            let number = place.share(b, number);
            sum = Some(sum.map_or(number, |sum| b.add(sum, number)));
        }
        let sum = sum.expect("invariant: a row has quads");
        self.reducer.all(b, ReduceOp::Add, &[sum])[0]
    }

    /// `1 / sqrt(mean(x²) + eps)`.
    fn rms(&self, b: &mut KernelBuilder, values: &[ValueId], eps: f32) -> ValueId {
        let squares = self.sum(b, values, |b, v| b.mul(v, v));
        SplitNorm { features: self.features, eps }.factor(b, squares)
    }

    /// `x − mean`, zero past the last feature, and `1 / sqrt(mean((x − mean)²) + eps)`.
    fn deviation(&self, b: &mut KernelBuilder, values: &[ValueId], eps: f32) -> (Vec<ValueId>, ValueId) {
        let sum = self.sum(b, values, |_, v| v);
        let mean = b.mul(sum, 1.0 / self.features as f32);
        let mean = b.repeat(mean, QUAD as u16);
        let centered: Vec<ValueId> = self
            .places
            .iter()
            .zip(values)
            .map(|(place, &v)| {
                let centered = b.sub(v, mean);
                self.within_features(b, place, centered)
            })
            .collect();
        let squares = self.sum(b, &centered, |b, v| b.mul(v, v));
        (centered, SplitNorm { features: self.features, eps }.factor(b, squares))
    }

    /// A quad without what the row only stores past its last feature.
    fn within_features(&self, b: &mut KernelBuilder, place: &Place, quad: ValueId) -> ValueId {
        if self.stride == self.features {
            return quad;
        }
        let first = b.mul(place.within, QUAD);
        let numbers: Vec<ValueId> = (0..QUAD).map(|i| b.add(first, i)).collect();
        let numbers = vector_of(b, &numbers);
        let exists = b.cmp(CmpOp::Lt, numbers, self.features);
        b.select(exists, quad, 0.0f32)
    }

    /// `values · factor · weight + bias`.
    fn scaled(&self, b: &mut KernelBuilder, values: &[ValueId], factor: ValueId, weight: BufId, bias: Option<BufId>) -> Vec<ValueId> {
        let factor = b.repeat(factor, QUAD as u16);
        self.places
            .iter()
            .zip(values)
            .map(|(place, &value)| {
                let value = b.mul(value, factor);
                let weight = b.load(F32X4, weight, place.within);
                match bias {
                    Some(bias) => {
                        let bias = b.load(F32X4, bias, place.within);
                        b.fma(value, weight, bias)
                    }
                    None => b.mul(value, weight),
                }
            })
            .collect()
    }
}
