//! The tile of activations: rows of tokens, their scales, and the sums of squares that come with them.

use slmc_ir::kernel::{BinaryOp, BufId, CmpOp, KernelBuilder, Type, ValueId, VarId};

use super::{Numbers, bytes_of, zero_var};
use crate::lower::gpu::activation::{ActSource, F32, F32X4, I8X16};

/// A tile of activations of tokens of the step.
#[derive(Debug)]
pub struct ActTile {
    act: ActSource,
    numbers: Numbers,
    tile: BufId,
    /// f32 [tokens], of quantized activations.
    scales: Option<BufId>,
    tokens: u32,
    lanes: u32,
    lane: ValueId,
    /// Rows of the lane's items: index of the first element of each.
    rows: Vec<(ValueId, ValueId)>,
    loaded: Vec<VarId>,
    /// Index of the first group of the lane's token, and what it loads of it.
    side: Option<(ValueId, VarId)>,
    /// Sum of squares of the lane's token.
    squares: Option<VarId>,
}

impl ActTile {
    /// Declares the workgroup memory.
    pub fn memory(b: &mut KernelBuilder, numbers: Numbers, quantized: bool, tokens: u32) -> (BufId, Option<BufId>) {
        let tile = b.workgroup("act_tile", numbers.elem(), tokens * numbers.elems());
        (tile, quantized.then(|| b.workgroup("act_scales", F32, tokens)))
    }

    /// Makes the lane's part of it; `row_of` gives the row of token `i < tokens` of the tile.
    #[allow(clippy::too_many_arguments, reason = "the parts of one kernel, named at its only call")]
    pub fn new(
        b: &mut KernelBuilder,
        act: ActSource,
        numbers: Numbers,
        (tile, scales): (BufId, Option<BufId>),
        tokens: u32,
        lanes: u32,
        lane: ValueId,
        row_of: impl Fn(&mut KernelBuilder, ValueId) -> ValueId,
    ) -> Self {
        let shape = *act.shape();
        let per_row = items_per_row(&act);
        let count = tokens * per_row;
        let elem = if shape.quantized { I8X16 } else { F32X4 };
        let (mut rows, mut loaded) = (Vec::new(), Vec::new());
        for i in 0..count.div_ceil(lanes) {
            let item = b.add(lane, i * lanes);
            let inside = b.min(item, count - 1);
            let token = b.div(inside, per_row);
            let row = row_of(b, token);
            let first = b.mul(row, shape.groups() * per_row);
            let place = b.binary(BinaryOp::Rem, inside, per_row);
            rows.push((item, b.add(first, place)));
            loaded.push(zero_var(b, elem));
        }
        let side = (shape.quantized || act.has_squares()).then(|| {
            let token = b.min(lane, tokens - 1);
            let row = row_of(b, token);
            let ty = if shape.quantized { Type::vector(F32.scalar, 2) } else { F32 };
            (b.mul(row, shape.groups()), zero_var(b, ty))
        });
        let squares = act.has_squares().then(|| b.var(F32, 0.0f32));
        Self { act, numbers, tile, scales, tokens, lanes, lane, rows, loaded, side, squares }
    }

    fn guarded(&self, b: &mut KernelBuilder, item: ValueId, emit: impl FnOnce(&mut KernelBuilder)) {
        let count = self.tokens * items_per_row(&self.act);
        if count.is_multiple_of(self.lanes) {
            emit(b);
        } else {
            let exists = b.cmp(CmpOp::Lt, item, count);
            b.if_(exists, emit);
        }
    }

    fn with_token(&self, b: &mut KernelBuilder, emit: impl FnOnce(&mut KernelBuilder, ValueId)) {
        let has = b.cmp(CmpOp::Lt, self.lane, self.tokens);
        b.if_(has, |b| {
            let token = b.min(self.lane, self.tokens - 1);
            emit(b, token);
        });
    }

    /// Loads the lane's items of a part.
    pub fn fetch(&self, b: &mut KernelBuilder, part: ValueId) {
        let buf = match self.act {
            ActSource::A8 { q, .. } => q,
            ActSource::F32 { x, .. } => x,
        };
        for (&(item, first), &var) in self.rows.iter().zip(&self.loaded) {
            self.guarded(b, item, |b| {
                let at = b.mul(part, items_per_row(&self.act));
                let at = b.add(first, at);
                let ty = if self.act.shape().quantized { I8X16 } else { F32X4 };
                let value = b.load(ty, buf, at);
                b.set(var, value);
            });
        }
        if let Some((first, var)) = self.side {
            self.with_token(b, |b, _| {
                let at = b.add(first, part);
                let value = match self.act {
                    ActSource::A8 { side, .. } => Some(b.load(Type::vector(F32.scalar, 2), side, at)),
                    ActSource::F32 { squares, .. } => squares.map(|buf| b.load(F32, buf, at)),
                };
                if let Some(value) = value {
                    b.set(var, value);
                }
            });
        }
    }

    /// Writes what [`Self::fetch`] loaded to the tile.
    pub fn put(&self, b: &mut KernelBuilder) {
        let quantized = self.act.shape().quantized;
        for (&(item, _), &var) in self.rows.iter().zip(&self.loaded) {
            self.guarded(b, item, |b| {
                let item = b.min(item, self.tokens * items_per_row(&self.act) - 1);
                let value = b.get(var);
                if !quantized || self.numbers == Numbers::I8 {
                    b.store(self.tile, item, value);
                    return;
                }
                let codes = bytes_of(b, value);
                let columns: Vec<ValueId> = codes.into_iter().map(|codes| b.convert(codes, F32.scalar)).collect();
                let elems = self.numbers.pack(b, &columns);
                let first = b.mul(item, elems.len() as u32);
                for (value, i) in elems.into_iter().zip(0u32..) {
                    let at = b.add(first, i);
                    b.store(self.tile, at, value);
                }
            });
        }
        if let Some((_, var)) = self.side {
            self.with_token(b, |b, token| {
                let value = b.get(var);
                let square = if quantized { b.extract(value, 1) } else { value };
                if let Some(squares) = self.squares {
                    let old = b.get(squares);
                    let new = b.add(old, square);
                    b.set(squares, new);
                }
                if let Some(scales) = self.scales {
                    let scale = b.extract(value, 0);
                    b.store(scales, token, scale);
                }
            });
        }
    }

    /// Element `elem` of a token of the tile.
    pub fn elem(&self, b: &mut KernelBuilder, token: ValueId, elem: ValueId) -> ValueId {
        let at = b.mul(token, self.numbers.elems());
        let at = b.add(at, elem);
        b.load(self.numbers.elem(), self.tile, at)
    }

    /// Scale of a token.
    pub fn scale(&self, b: &mut KernelBuilder, token: ValueId) -> Option<ValueId> {
        self.scales.map(|scales| b.load(F32, scales, token))
    }

    /// After the last part: leaves the norm's factor of each token in `factors`, `f32 [tokens]`.
    pub fn leave_factors(&self, b: &mut KernelBuilder, factors: BufId) {
        let (Some(norm), Some(squares)) = (self.act.shape().norm, self.squares) else { return };
        self.with_token(b, |b, token| {
            let squares = b.get(squares);
            let factor = norm.factor(b, squares);
            b.store(factors, token, factor);
        });
    }
}

/// Loads of 32 columns of a row of activations.
fn items_per_row(act: &ActSource) -> u32 {
    if act.shape().quantized { 2 } else { 8 }
}
