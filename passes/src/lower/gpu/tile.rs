//! Workgroup memory of the matrix kernels: tiles of 32 columns of weights and of activations, how lanes bring them in and how
//! they read them.
//!
//! Tiles hold numbers, f32x4 of four columns, or signed codes, i8x16 of sixteen, where the device multiplies those. Numbers of
//! quantized operands are their codes, which are small integers; scales stand beside the tiles and are applied to sums of 32
//! columns. Rows of weights lie in four planes by their place in a quad, so that neighbouring lanes, which have neighbouring
//! quads, read neighbouring rows; rows and planes are padded for the banks.
//!
//! What a lane brings in for the next tile waits in variables while it computes on this one.
//!
//! Places within runs of a power of two are bit operations: a remainder stays tied to its quotient, behind which the range
//! verifier does not see that both have an end.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{BinaryOp, BufId, CmpOp, KernelBuilder, Type, ValueId, VarId};

use super::activation::{ActSource, F32, F32X4, I8X4, I8X16};
use super::heads::BLOCK;
use super::reduce::vector_of;
use super::schedule::PART;
use super::weights::{Matrix, codes_to_f32, nibbles, rows_per_lane, scale_of, top_bits};
use crate::lower::codes::code_offset;

/// Rows of a tile of weights: two blocks.
pub const ROWS: u32 = 2 * BLOCK;
/// Rows of a plane, padded.
const PLANE: u32 = ROWS / 4 + 1;

/// What tiles hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// f32x4: four columns.
    F32,
    /// i8x16: sixteen columns of signed codes.
    I8,
}

impl Numbers {
    /// Type of an element.
    pub fn elem(self) -> Type {
        match self {
            Numbers::F32 => F32X4,
            Numbers::I8 => I8X16,
        }
    }
    /// Elements of 32 columns.
    pub fn elems(self) -> u32 {
        PART / u32::from(if self == Numbers::F32 { 4u16 } else { 16 })
    }
    /// Elements from a row of weights to the next, padded: odd.
    fn stride(self) -> u32 {
        self.elems() + 1
    }
}

/// Bytes of workgroup memory that both tiles take.
pub fn shared_bytes(numbers: Numbers, quantized: bool, tokens: u32) -> u32 {
    let elems = 4 * PLANE * numbers.stride() + tokens * numbers.elems();
    elems * numbers.elem().bytes() + if quantized { 4 * (ROWS + tokens) } else { 0 }
}

/// A tile of weights.
#[derive(Debug)]
pub struct WeightTile {
    matrix: Matrix,
    numbers: Numbers,
    tile: BufId,
    /// f32 [rows], of quantized weights.
    scales: Option<BufId>,
    lanes: u32,
    lane: ValueId,
    /// The first of the two blocks; the second may not exist.
    first_block: ValueId,
    /// Blocks of the matrix.
    blocks: u32,
    items: Vec<Item>,
    scale: Option<VarId>,
}

/// What a lane brings in at once: a few columns of a row, or of two.
#[derive(Debug)]
struct Item {
    /// Its number; `count` and more do not exist.
    index: ValueId,
    loaded: Vec<VarId>,
}

impl WeightTile {
    /// Declares the workgroup memory.
    pub fn memory(b: &mut KernelBuilder, numbers: Numbers, quantized: bool) -> (BufId, Option<BufId>) {
        let tile = b.workgroup("weight_tile", numbers.elem(), 4 * PLANE * numbers.stride());
        (tile, quantized.then(|| b.workgroup("weight_scales", F32, ROWS)))
    }

    /// Makes the lane's part of it, of blocks `first_block` on; past the last of `blocks`, the last again.
    #[allow(clippy::too_many_arguments, reason = "the parts of one kernel, named at its only call")]
    pub fn new(
        b: &mut KernelBuilder,
        matrix: Matrix,
        numbers: Numbers,
        (tile, scales): (BufId, Option<BufId>),
        lanes: u32,
        lane: ValueId,
        first_block: ValueId,
        blocks: u32,
    ) -> Self {
        let mut made = Self { matrix, numbers, tile, scales, lanes, lane, first_block, blocks, items: Vec::new(), scale: None };
        let per_item = made.lanes_per_item();
        let groups = lanes / per_item;
        let mine = b.div(lane, per_item);
        let (elem, count) = made.loaded();
        made.items = (0..made.count().div_ceil(groups))
            .map(|i| Item { index: b.add(mine, i * groups), loaded: (0..count).map(|_| zero_var(b, elem)).collect() })
            .collect();
        made.scale = scales.map(|_| b.var(Type::INDEX, 0u32));
        made
    }

    /// Lanes that bring in an item each of one block's rows.
    fn lanes_per_item(&self) -> u32 {
        BLOCK / rows_per_lane(self.matrix.layout.dtype)
    }

    /// Items of a block.
    fn per_block(&self) -> u32 {
        match (self.numbers, self.matrix.layout.dtype) {
            (Numbers::I8, _) => 2,
            (Numbers::F32, DType::Q4 { .. } | DType::Q6) => 4,
            (Numbers::F32, _) => 8,
        }
    }

    fn count(&self) -> u32 {
        2 * self.per_block()
    }

    /// Type and number of what an item loads.
    fn loaded(&self) -> (Type, usize) {
        match (self.numbers, self.matrix.layout.dtype) {
            (Numbers::I8, DType::Q4 { .. }) => (Type::INDEX, 2),
            (Numbers::I8, DType::Q6) => (Type::INDEX, 3),
            (Numbers::I8, _) => (Type::INDEX, 4),
            (Numbers::F32, DType::Q4 { .. } | DType::Q8 | DType::A8) => (Type::INDEX, 1),
            (Numbers::F32, DType::Q6) => (Type::INDEX, 2),
            (Numbers::F32, DType::F16 | DType::Bf16) => (Type::vector(F32.scalar, 2), 4),
            (Numbers::F32, DType::F32 | DType::U32) => (F32, 4),
        }
    }

    /// Block and place within it of an item.
    fn place(&self, b: &mut KernelBuilder, item: &Item) -> (ValueId, ValueId) {
        let index = if self.fills(&self.items) { item.index } else { b.min(item.index, self.count() - 1) };
        (b.div(index, self.per_block()), b.binary(BinaryOp::And, index, self.per_block() - 1))
    }

    /// Whether all lanes have all their items.
    fn fills(&self, items: &[Item]) -> bool {
        items.len() as u32 * (self.lanes / self.lanes_per_item()) == self.count()
    }

    fn guarded(&self, b: &mut KernelBuilder, item: &Item, emit: impl FnOnce(&mut KernelBuilder)) {
        if self.fills(&self.items) {
            emit(b);
        } else {
            let exists = b.cmp(CmpOp::Lt, item.index, self.count());
            b.if_(exists, emit);
        }
    }

    /// First element of a block of the tile.
    fn start(&self, b: &mut KernelBuilder, block: ValueId) -> ValueId {
        let block = b.add(self.first_block, block);
        let block = b.min(block, self.blocks - 1);
        self.matrix.block_start(b, block)
    }

    /// Loads the lane's items of a part.
    pub fn fetch(&self, b: &mut KernelBuilder, part: ValueId) {
        let row = b.binary(BinaryOp::And, self.lane, self.lanes_per_item() - 1);
        for item in &self.items {
            self.guarded(b, item, |b| {
                let (block, place) = self.place(b, item);
                let start = self.start(b, block);
                let values = self.load_item(b, start, part, place, row);
                for (&var, value) in item.loaded.iter().zip(values) {
                    b.set(var, value);
                }
            });
        }
        if let Some(var) = self.scale {
            self.with_row(b, |b, row| {
                let block = b.div(row, BLOCK);
                let within = b.binary(BinaryOp::And, row, BLOCK - 1);
                let start = self.start(b, block);
                let word = self.matrix.load_scale(b, start, part, within);
                b.set(var, word);
            });
        }
    }

    /// Runs code on as many lanes as the tile has rows.
    fn with_row(&self, b: &mut KernelBuilder, emit: impl FnOnce(&mut KernelBuilder, ValueId)) {
        let has = b.cmp(CmpOp::Lt, self.lane, ROWS);
        b.if_(has, |b| {
            let row = b.min(self.lane, ROWS - 1);
            emit(b, row);
        });
    }

    fn load_item(&self, b: &mut KernelBuilder, start: ValueId, part: ValueId, place: ValueId, row: ValueId) -> Vec<ValueId> {
        let word = |b: &mut KernelBuilder, j: ValueId| self.matrix.load_word(b, start, part, j, row);
        let words = |b: &mut KernelBuilder, per: u32| -> Vec<ValueId> {
            let first = b.mul(place, per);
            (0..per)
                .map(|i| {
                    let j = b.add(first, i);
                    word(b, j)
                })
                .collect()
        };
        match (self.numbers, self.matrix.layout.dtype) {
            (Numbers::I8, DType::Q4 { .. }) => words(b, 2),
            (Numbers::I8, DType::Q6) => {
                let mut all = words(b, 2);
                let high = b.add(place, 4u32);
                all.push(word(b, high));
                all
            }
            (Numbers::I8, _) => words(b, 4),
            (Numbers::F32, DType::Q4 { .. } | DType::Q8 | DType::A8) => vec![word(b, place)],
            (Numbers::F32, DType::Q6) => {
                let high = b.div(place, 2u32);
                let high = b.add(high, 4u32);
                vec![word(b, place), word(b, high)]
            }
            (Numbers::F32, DType::F16 | DType::Bf16 | DType::F32 | DType::U32) => {
                let first = b.mul(part, PART);
                let quad = b.mul(place, 4u32);
                let first = b.add(first, quad);
                (0..4u32)
                    .map(|i| {
                        let column = b.add(first, i);
                        self.matrix.load_numbers(b, start, column, row)
                    })
                    .collect()
            }
        }
    }

    /// Writes what [`Self::fetch`] loaded to the tile.
    pub fn put(&self, b: &mut KernelBuilder) {
        let rows = self.matrix.rows_per_lane();
        let row = b.binary(BinaryOp::And, self.lane, self.lanes_per_item() - 1);
        let row = b.mul(row, rows);
        for item in &self.items {
            self.guarded(b, item, |b| {
                let (block, place) = self.place(b, item);
                let block_row = b.mul(block, BLOCK);
                let row = b.add(block_row, row);
                let loaded: Vec<ValueId> = item.loaded.iter().map(|&v| b.get(v)).collect();
                self.put_item(b, row, place, &loaded);
            });
        }
        if let (Some(var), Some(scales)) = (self.scale, self.scales) {
            self.with_row(b, |b, row| {
                let word = b.get(var);
                let scale = scale_of(b, word, row);
                b.store(scales, row, scale);
            });
        }
    }

    fn put_item(&self, b: &mut KernelBuilder, row: ValueId, place: ValueId, loaded: &[ValueId]) {
        let (layout, dtype) = (self.matrix.layout, self.matrix.layout.dtype);
        let store = |b: &mut KernelBuilder, elem: ValueId, value: ValueId| {
            let at = self.slot(b, row);
            let at = b.add(at, elem);
            b.store(self.tile, at, value);
        };
        // Pairs of low and high nibbles of a word are columns 8j.. and 8j + 4..
        let both = |b: &mut KernelBuilder, word: ValueId| [nibbles(b, word, false), nibbles(b, word, true)];
        match (self.numbers, dtype) {
            (Numbers::I8, _) => {
                let codes: Vec<ValueId> = match dtype {
                    DType::Q4 { .. } => loaded.iter().flat_map(|&w| both(b, w)).collect(),
                    DType::Q6 => {
                        let low: Vec<ValueId> = loaded[..2].iter().flat_map(|&w| both(b, w)).collect();
                        low.into_iter()
                            .zip(0u32..)
                            .map(|(low, i)| {
                                let high = if i == 0 { loaded[2] } else { b.binary(BinaryOp::Shr, loaded[2], 2 * i) };
                                top_bits(b, low, high)
                            })
                            .collect()
                    }
                    _ => loaded.to_vec(),
                };
                let codes: Vec<ValueId> = codes.into_iter().map(|c| signed(b, code_offset(&layout), c)).collect();
                let value = vector_of(b, &codes);
                let value = b.bitcast(value, I8X16);
                store(b, place, value);
            }
            (Numbers::F32, DType::Q4 { .. } | DType::Q6) => {
                let first = b.mul(place, 2u32);
                for (codes, i) in both(b, loaded[0]).into_iter().zip(0u32..) {
                    let codes = if dtype == DType::Q6 {
                        // Bits 4 (place mod 2) on of the high word are those of columns 8 place on.
                        let shift = b.binary(BinaryOp::Rem, place, 2u32);
                        let shift = b.mul(shift, 4u32);
                        let shift = b.add(shift, 2 * i);
                        let high = b.binary(BinaryOp::Shr, loaded[1], shift);
                        top_bits(b, codes, high)
                    } else {
                        codes
                    };
                    let value = codes_to_f32(b, &layout, codes);
                    let value = b.sub(value, code_offset(&layout) as f32);
                    let elem = b.add(first, i);
                    store(b, elem, value);
                }
            }
            (Numbers::F32, DType::Q8 | DType::A8) => {
                let value = codes_to_f32(b, &layout, loaded[0]);
                store(b, place, value);
            }
            (Numbers::F32, DType::F16 | DType::Bf16) => {
                for i in 0..2u16 {
                    let parts: Vec<ValueId> = loaded.iter().map(|&pair| b.extract(pair, i)).collect();
                    let value = vector_of(b, &parts);
                    let row = b.add(row, u32::from(i));
                    let at = self.slot(b, row);
                    let at = b.add(at, place);
                    b.store(self.tile, at, value);
                }
            }
            (Numbers::F32, DType::F32 | DType::U32) => {
                let value = vector_of(b, loaded);
                store(b, place, value);
            }
        }
    }

    /// First element of a row.
    fn slot(&self, b: &mut KernelBuilder, row: ValueId) -> ValueId {
        let plane = b.binary(BinaryOp::Rem, row, 4u32);
        let plane = b.mul(plane, PLANE);
        let quad = b.div(row, 4u32);
        let slot = b.add(plane, quad);
        b.mul(slot, self.numbers.stride())
    }

    /// Element `elem` of the four rows of a quad.
    pub fn quad(&self, b: &mut KernelBuilder, quad: ValueId, elem: ValueId) -> [ValueId; 4] {
        let at = b.mul(quad, self.numbers.stride());
        let at = b.add(at, elem);
        [0, 1, 2, 3].map(|i: u32| {
            let at = b.add(at, i * PLANE * self.numbers.stride());
            b.load(self.numbers.elem(), self.tile, at)
        })
    }

    /// Scales of the four rows of a quad, f32x4.
    pub fn quad_scales(&self, b: &mut KernelBuilder, quad: ValueId) -> Option<ValueId> {
        let scales = self.scales?;
        let first = b.mul(quad, 4u32);
        Some(super::activation::quad_of(b, scales, first))
    }
}

/// Codes without their offset: four signed bytes of a word. No carry leaves a byte.
fn signed(b: &mut KernelBuilder, offset: u32, codes: ValueId) -> ValueId {
    if offset == 0 {
        return codes;
    }
    let each = (0x80 - offset) * 0x0101_0101;
    let lifted = b.add(codes, each);
    b.binary(BinaryOp::Xor, lifted, 0x8080_8080u32)
}

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
                let words = b.bitcast(value, Type::vector(Type::INDEX.scalar, 4));
                let first = b.mul(item, 4u32);
                for i in 0..4u16 {
                    let word = b.extract(words, i);
                    let codes = b.bitcast(word, I8X4);
                    let value = b.convert(codes, F32.scalar);
                    let at = b.add(first, u32::from(i));
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

/// A variable of zeros.
fn zero_var(b: &mut KernelBuilder, ty: Type) -> VarId {
    if ty.scalar.is_float() { b.var(ty, 0.0f32) } else { b.var(ty, 0i32) }
}
