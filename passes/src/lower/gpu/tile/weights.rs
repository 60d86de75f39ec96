//! The tile of weights: how lanes bring in packed rows, and how they read them by quads of rows.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{BinaryOp, BufId, CmpOp, KernelBuilder, Scalar, Type, ValueId, VarId};

use super::{Numbers, PLANE, ROWS, zero_var};
use crate::lower::codes::code_offset;
use crate::lower::gpu::activation::{F32, I8X16, quad_of};
use crate::lower::gpu::heads::BLOCK;
use crate::lower::gpu::reduce::vector_of;
use crate::lower::gpu::schedule::PART;
use crate::lower::gpu::weights::{Matrix, codes_to_f32, nibbles, rows_per_lane, scale_of, top_bits};

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
    /// The words that hold scales of rows `lane`, `lane + lanes`, …
    scale_words: Vec<VarId>,
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
        let mut made = Self { matrix, numbers, tile, scales, lanes, lane, first_block, blocks, items: Vec::new(), scale_words: Vec::new() };
        let per_item = made.lanes_per_item();
        let groups = lanes / per_item;
        let mine = b.div(lane, per_item);
        let (elem, count) = made.loaded();
        made.items = (0..made.count().div_ceil(groups))
            .map(|i| Item { index: b.add(mine, i * groups), loaded: (0..count).map(|_| zero_var(b, elem)).collect() })
            .collect();
        made.scale_words = scales.iter().flat_map(|_| 0..ROWS.div_ceil(lanes)).map(|_| b.var(Type::INDEX, 0u32)).collect();
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
            (Numbers::F16, _) | (Numbers::F32, DType::Q4 { .. } | DType::Q6) => 4,
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
            (Numbers::F32 | Numbers::F16, DType::Q4 { .. }) | (Numbers::F32, DType::Q8 | DType::A8) => (Type::INDEX, 1),
            (Numbers::F32 | Numbers::F16, DType::Q6) | (Numbers::F16, DType::Q8 | DType::A8) => (Type::INDEX, 2),
            (Numbers::F32 | Numbers::F16, DType::F16 | DType::Bf16) => (Type::vector(Scalar::F32, 2), 4),
            (Numbers::F32 | Numbers::F16, DType::F32 | DType::U32) => (F32, 4),
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
        for (i, &var) in (0u32..).zip(&self.scale_words) {
            self.with_row(b, i, |b, row| {
                let block = b.div(row, BLOCK);
                let within = b.binary(BinaryOp::And, row, BLOCK - 1);
                let start = self.start(b, block);
                let word = self.matrix.load_scale(b, start, part, within);
                b.set(var, word);
            });
        }
    }

    /// Runs code for the lane's row `lane + i · lanes`, where the tile has it.
    fn with_row(&self, b: &mut KernelBuilder, i: u32, emit: impl FnOnce(&mut KernelBuilder, ValueId)) {
        let row = b.add(self.lane, i * self.lanes);
        let has = b.cmp(CmpOp::Lt, row, ROWS);
        let row = b.min(row, ROWS - 1);
        b.if_(has, |b| emit(b, row));
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
            (Numbers::F16, DType::Q8 | DType::A8) => words(b, 2),
            (Numbers::F32 | Numbers::F16, DType::Q4 { .. }) | (Numbers::F32, DType::Q8 | DType::A8) => vec![word(b, place)],
            (Numbers::F32 | Numbers::F16, DType::Q6) => {
                let high = b.div(place, 2u32);
                let high = b.add(high, 4u32);
                vec![word(b, place), word(b, high)]
            }
            (Numbers::F32 | Numbers::F16, DType::F16 | DType::Bf16 | DType::F32 | DType::U32) => {
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
        let Some(scales) = self.scales else { return };
        for (i, &var) in (0u32..).zip(&self.scale_words) {
            self.with_row(b, i, |b, row| {
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
            (Numbers::F32 | Numbers::F16, DType::Q4 { .. } | DType::Q6 | DType::Q8 | DType::A8) => {
                let codes: Vec<ValueId> = match dtype {
                    DType::Q4 { .. } => both(b, loaded[0]).to_vec(),
                    DType::Q6 => {
                        // Bits 4 (place mod 2) on of the high word are those of columns 8 place on.
                        let shift = b.binary(BinaryOp::Rem, place, 2u32);
                        let shift = b.mul(shift, 4u32);
                        let low = both(b, loaded[0]);
                        low.into_iter()
                            .zip(0u32..)
                            .map(|(low, i)| {
                                let shift = b.add(shift, 2 * i);
                                let high = b.binary(BinaryOp::Shr, loaded[1], shift);
                                top_bits(b, low, high)
                            })
                            .collect()
                    }
                    _ => loaded.to_vec(),
                };
                let columns: Vec<ValueId> = codes
                    .into_iter()
                    .map(|codes| {
                        let value = codes_to_f32(b, &layout, codes);
                        if code_offset(&layout) > 0 { b.sub(value, code_offset(&layout) as f32) } else { value }
                    })
                    .collect();
                let elems = self.numbers.pack(b, &columns);
                let first = if elems.len() > 1 { b.mul(place, elems.len() as u32) } else { place };
                for (value, i) in elems.into_iter().zip(0u32..) {
                    let elem = b.add(first, i);
                    store(b, elem, value);
                }
            }
            (Numbers::F32 | Numbers::F16, DType::F16 | DType::Bf16) => {
                for i in 0..2u16 {
                    let parts: Vec<ValueId> = loaded.iter().map(|&pair| b.extract(pair, i)).collect();
                    let value = vector_of(b, &parts);
                    let row = b.add(row, u32::from(i));
                    let at = self.slot(b, row);
                    let at = b.add(at, place);
                    b.store(self.tile, at, value);
                }
            }
            (Numbers::F32 | Numbers::F16, DType::F32 | DType::U32) => {
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
        Some(quad_of(b, scales, first))
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
