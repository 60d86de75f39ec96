//! Inner products of one row of activations with blocks of packed rows, as lanes of a decode kernel form them.
//!
//! A lane has a row of each block (two where a word holds two rows) and a slice of the columns: units of columns are dealt to
//! the slices in turn, so that all lanes of a workgroup read one run of memory at a time. All loads of a few units are
//! issued before the first is used.
//!
//! Integer sums of 32 columns are exact, as i32 or as f32 (below 2^24); the offset of stored codes leaves them by the sum of
//! the activations.

use slmc_ir::kernel::{BinaryOp, CmpOp, KernelBuilder, ReduceOp, Scalar, Type, ValueId, VarId};

use super::activation::{ActSource, F32, F32X4, I8X4, I8X16};
use super::schedule::{PART, Schedule};
use super::weights::{Matrix, Part, code_bytes, codes_to_f32, part_words};
use crate::lower::codes::{code_offset, max_code};

/// What a lane multiplies.
#[derive(Debug)]
pub struct Product<'a> {
    /// The matrix.
    pub matrix: Matrix,
    /// The activations.
    pub act: &'a ActSource,
    /// Schedule parameters.
    pub sched: &'a Schedule,
    /// The row of the activations.
    pub row: ValueId,
    /// Index of the first element of each block.
    pub starts: Vec<ValueId>,
    /// The lane's row, or pair of rows, in a block.
    pub row_lane: ValueId,
    /// The lane's slice.
    pub slice: ValueId,
    /// Slices of the columns.
    pub slices: u32,
}

/// What a lane found.
#[derive(Debug)]
pub struct Sums {
    /// Per block, over the lane's slice: f32, or f32x2 of two rows.
    pub rows: Vec<ValueId>,
    /// Sum of the squares of the slice's features, with a split norm.
    pub squares: Option<ValueId>,
}

/// Four codes of activations, in the form that the device multiplies.
type Quads = Vec<ValueId>;

impl Product<'_> {
    /// Emits the product.
    pub fn emit(&self, b: &mut KernelBuilder) -> Sums {
        let lanes = self.matrix.rows_per_lane() as u16;
        let sums: Vec<VarId> = self.starts.iter().map(|_| b.var(Type::vector(Scalar::F32, lanes), 0.0f32)).collect();
        let squares = self.act.has_squares().then(|| b.var(F32, 0.0f32));
        let dtype = self.matrix.layout.dtype;
        // Columns of a unit, and units that a lane has on their way.
        let columns = PART / self.matrix.rows_per_lane();
        let words = part_words(dtype) / self.matrix.rows_per_lane() * self.starts.len() as u32;
        let ahead = (self.sched.words_ahead / words).max(1);
        self.deal(b, self.matrix.k / columns, ahead, |b, units| match self.act {
            ActSource::A8 { .. } => self.quantized(b, units, &sums, squares),
            ActSource::F32 { .. } => self.float(b, units, columns, &sums, squares),
        });
        Sums { rows: sums.into_iter().map(|v| b.get(v)).collect(), squares: squares.map(|v| b.get(v)) }
    }

    /// Calls `emit` for the lane's units of `count`, `ahead` at a time.
    fn deal(&self, b: &mut KernelBuilder, count: u32, ahead: u32, emit: impl Fn(&mut KernelBuilder, &[ValueId])) {
        let round = self.slices * ahead;
        let whole = count / round;
        if whole > 0 {
            b.for_(0u32, whole, 1, |b, i| {
                let first = b.mul(i, round);
                let first = b.add(first, self.slice);
                let units: Vec<ValueId> = (0..ahead).map(|u| b.add(first, u * self.slices)).collect();
                emit(b, &units);
            });
        }
        let mut done = whole * round;
        while done < count {
            let unit = b.add(self.slice, done);
            if count - done >= self.slices {
                emit(b, &[unit]);
            } else {
                let has = b.cmp(CmpOp::Lt, unit, count);
                b.if_(has, |b| emit(b, &[unit]));
            }
            done += self.slices;
        }
    }

    fn quantized(&self, b: &mut KernelBuilder, parts: &[ValueId], sums: &[VarId], squares: Option<VarId>) {
        let ActSource::A8 { q, side, shape } = *self.act else { return };
        let (layout, dtype) = (self.matrix.layout, self.matrix.layout.dtype);
        let loaded: Vec<([ValueId; 2], ValueId, Vec<Part>)> = parts
            .iter()
            .map(|&part| {
                let weights = self.starts.iter().map(|&start| self.matrix.load_part(b, start, part, self.row_lane)).collect();
                let at = b.mul(self.row, shape.groups());
                let at = b.add(at, part);
                let side = b.load(Type::vector(Scalar::F32, 2), side, at);
                let at = b.mul(at, 2u32);
                let low = b.load(I8X16, q, at);
                let at = b.add(at, 1u32);
                ([low, b.load(I8X16, q, at)], side, weights)
            })
            .collect();
        for (halves, side, weights) in loaded {
            let words: Vec<ValueId> = halves.into_iter().flat_map(|half| words_of(b, half)).collect();
            let act: Quads = words
                .into_iter()
                .map(|w| {
                    let quad = b.bitcast(w, I8X4);
                    if self.sched.gpu.int_dot { quad } else { b.convert(quad, Scalar::F32) }
                })
                .collect();
            let offset = (code_offset(&layout) > 0).then(|| self.offset(b, &act));
            let act_scale = b.extract(side, 0);
            for (part, &sum) in weights.iter().zip(sums) {
                let codes: Vec<ValueId> = (0..PART / 4).map(|m| part.codes(b, dtype, m)).collect();
                let product = if self.sched.gpu.int_dot { self.dot_int(b, &codes, &act, offset) } else { self.dot_f32(b, &codes, &act, offset) };
                let scale = part.scale(b, self.row_lane);
                let scale = b.mul(scale, act_scale);
                let old = b.get(sum);
                let new = b.fma(product, scale, old);
                b.set(sum, new);
            }
            if let Some(squares) = squares {
                let more = b.extract(side, 1);
                let old = b.get(squares);
                let new = b.add(old, more);
                b.set(squares, new);
            }
        }
    }

    /// What the offset of the codes adds to a product: i32, or f32x4 of parts of it.
    fn offset(&self, b: &mut KernelBuilder, act: &Quads) -> ValueId {
        let offset = code_offset(&self.matrix.layout);
        if self.sched.gpu.int_dot {
            let ones = b.constant(I8X4, 1i32);
            let mut sum = b.constant(Type::scalar(Scalar::I32), 0i32);
            for &a in act {
                sum = b.dot4(sum, ones, a, 1);
            }
            return b.binary(BinaryOp::Mul, sum, offset as i32);
        }
        let mut sum = act[0];
        for &a in &act[1..] {
            sum = b.add(sum, a);
        }
        b.mul(sum, offset as f32)
    }

    fn dot_int(&self, b: &mut KernelBuilder, codes: &[ValueId], act: &Quads, offset: Option<ValueId>) -> ValueId {
        let layout = &self.matrix.layout;
        let mut sum = b.constant(Type::scalar(Scalar::I32), 0i32);
        for (&c, &a) in codes.iter().zip(act) {
            let c = b.bitcast(c, code_bytes(layout));
            sum = b.dot4(sum, c, a, max_code(layout));
        }
        let sum = match offset {
            Some(offset) => b.sub(sum, offset),
            None => sum,
        };
        b.convert(sum, Scalar::F32)
    }

    fn dot_f32(&self, b: &mut KernelBuilder, codes: &[ValueId], act: &Quads, offset: Option<ValueId>) -> ValueId {
        let layout = &self.matrix.layout;
        let mut sum: Option<ValueId> = None;
        for (&c, &a) in codes.iter().zip(act) {
            let c = codes_to_f32(b, layout, c);
            sum = Some(match sum {
                Some(sum) => b.fma(c, a, sum),
                None => b.mul(c, a),
            });
        }
        let sum = sum.expect("invariant: a part has columns");
        let sum = match offset {
            Some(offset) => b.sub(sum, offset),
            None => sum,
        };
        b.reduce(ReduceOp::Add, sum)
    }

    fn float(&self, b: &mut KernelBuilder, units: &[ValueId], columns: u32, sums: &[VarId], squares: Option<VarId>) {
        let ActSource::F32 { x, squares: per_group, shape } = *self.act else { return };
        for &unit in units {
            let first = b.mul(unit, columns);
            let weights: Vec<Vec<ValueId>> = self
                .starts
                .iter()
                .map(|&start| {
                    (0..columns)
                        .map(|c| {
                            let column = b.add(first, c);
                            self.matrix.load_numbers(b, start, column, self.row_lane)
                        })
                        .collect()
                })
                .collect();
            let at = b.mul(self.row, shape.stride() / 4);
            let quad = b.div(first, 4u32);
            let at = b.add(at, quad);
            let mut act = Vec::new();
            for i in 0..columns / 4 {
                let at = b.add(at, i);
                let v = b.load(F32X4, x, at);
                act.extend((0..4).map(|lane| b.extract(v, lane)));
            }
            for (weights, &sum) in weights.iter().zip(sums) {
                // Two sums, to halve the chain of dependent operations.
                let mut pair: [Option<ValueId>; 2] = [Some(b.get(sum)), None];
                for (i, (&w, &a)) in weights.iter().zip(&act).enumerate() {
                    let a = b.repeat(a, b.ty(w).lanes);
                    let sum = &mut pair[i % 2];
                    *sum = Some(match *sum {
                        Some(sum) => b.fma(w, a, sum),
                        None => b.mul(w, a),
                    });
                }
                let total = pair.into_iter().flatten().reduce(|p, q| b.add(p, q));
                b.set(sum, total.expect("invariant: a unit has columns"));
            }
            if let (Some(per_group), Some(squares)) = (per_group, squares) {
                let group = b.div(first, PART);
                let at = b.mul(self.row, shape.groups());
                let at = b.add(at, group);
                let more = b.load(F32, per_group, at);
                // Units that share a group each take their share.
                let more = if columns == PART { more } else { b.mul(more, columns as f32 / PART as f32) };
                let old = b.get(squares);
                let new = b.add(old, more);
                b.set(squares, new);
            }
        }
    }
}

/// The four words of sixteen bytes.
fn words_of(b: &mut KernelBuilder, bytes: ValueId) -> Vec<ValueId> {
    let words = b.bitcast(bytes, Type::vector(Scalar::U32, 4));
    (0..4).map(|i| b.extract(words, i)).collect()
}
