//! Products by `dot4`: one vector of integer sums per token and slice of rows.
//!
//! Where the layout puts eight columns of a row together, a sum has two lanes a row, added once a group.

use slmc_ir::kernel::{KernelBuilder, Scalar, Type, ValueId};

use super::groups::{Groups, Part, join};
use super::schedule::Schedule;
use super::unpack::Unpack;
use crate::lower::activation::GROUP;
use crate::lower::codes::max_code;

/// Emits the loop over K; gives one f32 vector of row sums per token.
pub fn emit(b: &mut KernelBuilder, sched: &Schedule, groups: &Groups<'_>) -> Vec<ValueId> {
    let layout = groups.product.layout;
    let rows = sched.slice_rows;
    let slices = layout.lanes / rows;
    let tokens = groups.product.tokens;
    let vec = Type::vector(Scalar::F32, rows);
    let sums: Vec<Vec<_>> = (0..tokens).map(|_| (0..slices).map(|_| b.var(vec, 0.0f32)).collect()).collect();
    groups.walk(b, |b, part| {
        let mut values = Values::new(part, sched, u32::from(layout.k_step));
        for slice in 0..slices {
            let dots = Dots { part, rows, step: u32::from(layout.k_step), max_a: max_code(&layout) };
            let mut unpack = part.unpack(slice * rows, rows);
            let scale = part.scales(b, slice * rows, rows);
            let finish = |b: &mut KernelBuilder, t: u32, int: ValueId| {
                let sa = part.act_scale(b, t);
                let sa = b.repeat(sa, rows);
                let sa = b.mul(scale, sa);
                let f = b.convert(int, Scalar::F32);
                let sum = sums[t as usize][usize::from(slice)];
                let old = b.get(sum);
                let new = b.fma(f, sa, old);
                b.set(sum, new);
            };
            if sched.hold_weights {
                dots.weights_held(b, &mut unpack, &mut values, tokens, finish);
            } else {
                dots.sums_held(b, &mut unpack, &mut values, tokens, finish);
            }
        }
    });
    sums.into_iter()
        .map(|slices| {
            let slices: Vec<ValueId> = slices.into_iter().map(|v| b.get(v)).collect();
            join(b, &slices)
        })
        .collect()
}

struct Dots<'a> {
    part: &'a Part<'a>,
    rows: u16,
    /// Columns of a row that lie together.
    step: u32,
    max_a: u8,
}

impl Dots<'_> {
    /// Lanes that a row has in a sum.
    fn shares(&self) -> u32 {
        self.step / 4
    }

    fn sum_type(&self) -> Type {
        Type::vector(Scalar::I32, self.rows * self.shares() as u16)
    }

    fn steps(&self) -> u32 {
        GROUP / self.step
    }

    fn start(&self, b: &mut KernelBuilder, t: u32) -> ValueId {
        match self.part.start(b, t, self.shares()) {
            Some(z) => b.repeat(z, self.sum_type().lanes),
            None => b.constant(self.sum_type(), 0i32),
        }
    }

    /// One lane a row.
    fn whole(&self, b: &mut KernelBuilder, int: ValueId) -> ValueId {
        if self.shares() == 1 {
            return int;
        }
        let every_other = |b: &mut KernelBuilder, first: u16| b.shuffle(int, int, (0..self.rows).map(|r| 2 * r + first).collect());
        let (even, odd) = (every_other(b, 0), every_other(b, 1));
        b.add(even, odd)
    }

    /// All columns of the weights unpacked at first, then a token after the other, its columns dealt to two sums.
    fn weights_held(
        &self,
        b: &mut KernelBuilder,
        unpack: &mut Unpack,
        values: &mut Values<'_>,
        tokens: u32,
        mut finish: impl FnMut(&mut KernelBuilder, u32, ValueId),
    ) {
        let held: Vec<ValueId> = (0..self.steps()).map(|m| unpack.columns(b, m)).collect();
        for t in 0..tokens {
            let mut even = self.start(b, t);
            let mut odd = b.constant(self.sum_type(), 0i32);
            for m in 0..self.steps() {
                let a = values.repeated(b, t, m, self.rows);
                let acc = if m % 2 == 0 { &mut even } else { &mut odd };
                *acc = b.dot4(*acc, held[m as usize], a, self.max_a);
            }
            let int = b.add(even, odd);
            let int = self.whole(b, int);
            finish(b, t, int);
        }
    }

    /// The sums of all tokens at once, each column of the weights unpacked as it is used.
    fn sums_held(
        &self,
        b: &mut KernelBuilder,
        unpack: &mut Unpack,
        values: &mut Values<'_>,
        tokens: u32,
        mut finish: impl FnMut(&mut KernelBuilder, u32, ValueId),
    ) {
        let mut ints: Vec<ValueId> = (0..tokens).map(|t| self.start(b, t)).collect();
        for m in 0..self.steps() {
            let w = unpack.columns(b, m);
            for (t, int) in (0..tokens).zip(&mut ints) {
                let a = values.repeated(b, t, m, self.rows);
                *int = b.dot4(*int, w, a, self.max_a);
            }
        }
        for (t, int) in (0..tokens).zip(ints) {
            let int = self.whole(b, int);
            finish(b, t, int);
        }
    }
}

/// The activations of 32 columns as operands of products.
struct Values<'a> {
    part: &'a Part<'a>,
    step: u32,
    /// Whether sixteen bytes are loaded at once, of which a product takes a lane.
    by_lane: bool,
    loaded: Vec<((u32, u32), ValueId)>,
}

impl<'a> Values<'a> {
    fn new(part: &'a Part<'a>, sched: &Schedule, step: u32) -> Self {
        Self { part, step, by_lane: sched.dot_by_lane && step == 4, loaded: Vec::new() }
    }

    /// The bytes of step `m` of token `t`, for each of `rows` rows.
    fn repeated(&mut self, b: &mut KernelBuilder, t: u32, m: u32, rows: u16) -> ValueId {
        let bytes = Type::vector(Scalar::I8, self.step as u16 * rows);
        if !self.by_lane {
            let a = self.part.values(b, t, self.step * m, Type::vector(Scalar::I8, self.step as u16));
            return b.repeat(a, bytes.lanes);
        }
        let key = (t, m / 4);
        let four = match self.loaded.iter().find(|(k, _)| *k == key) {
            Some((_, v)) => *v,
            None => {
                let v = self.part.values(b, t, 16 * (m / 4), Type::vector(Scalar::I8, 16));
                let v = b.bitcast(v, Type::vector(Scalar::I32, 4));
                self.loaded.push((key, v));
                v
            }
        };
        let a = b.extract(four, (m % 4) as u16);
        let a = b.repeat(a, rows);
        b.bitcast(a, bytes)
    }
}
