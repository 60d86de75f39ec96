//! Activations between GPU kernels: how rows that feed a `linear` lie in the arena, and the code that writes them.
//!
//! Quantized rows are codes i8x4 [rows, K/4] and, per 32 features, (scale, sum of squares) f32x2 [rows, K/32]. Others are
//! f32 [rows, stride], with sums of squares f32 [rows, stride/32] if a norm is split off. Features from K to the stride are
//! zeros: every writer writes them, so that readers need no tail.
//!
//! Rows are written by *quads*: a lane holds four neighbouring features, eight neighbouring lanes a group of 32, and what a
//! group has in common (its greatest magnitude, its sum of squares) is found through workgroup memory.

use slmc_ir::kernel::{Access, BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, Scalar, Type, UnaryOp, ValueId};

use crate::lower::activation::{ActShape, GROUP};

/// One f32.
pub const F32: Type = Type::scalar(Scalar::F32);
/// Four features of a lane.
pub const F32X4: Type = Type::vector(Scalar::F32, 4);
/// Four codes in a word.
pub const I8X4: Type = Type::vector(Scalar::I8, 4);
/// Sixteen codes, as readers load them.
pub const I8X16: Type = Type::vector(Scalar::I8, 16);
/// Features of a quad.
pub const QUAD: u32 = 4;
/// Lanes that hold a group of 32 features as quads.
pub const GROUP_LANES: u32 = GROUP / QUAD;
/// Alignment of every parameter: what any binding has.
pub const ALIGN: u32 = 16;

/// Parameters of a kernel through which it writes activations.
#[derive(Debug, Clone, Copy)]
pub enum ActParams {
    /// Quantized.
    A8 {
        /// i8x4 [rows, K/4].
        q: BufId,
        /// f32x2 [rows, K/32]: scale and sum of squares.
        side: BufId,
    },
    /// Not quantized.
    F32 {
        /// f32x4 [rows, stride/4], or f32 [rows, stride] if made by [`scalar_params`].
        x: BufId,
        /// f32 [rows, stride/32], with a split norm.
        squares: Option<BufId>,
    },
}

/// Sizes in bytes of the buffers that hold such activations, in the order of the parameters.
pub fn buffers(shape: &ActShape) -> Vec<(&'static str, u64)> {
    let (rows, stride, groups) = (u64::from(shape.rows), u64::from(shape.stride()), u64::from(shape.groups()));
    if shape.quantized {
        return vec![("q", rows * stride), ("side", rows * groups * 8)];
    }
    let mut out = vec![("x", rows * stride * 4)];
    if shape.norm.is_some() {
        out.push(("squares", rows * groups * 4));
    }
    out
}

/// Declares the parameters of a kernel that writes quads.
pub fn params(shape: &ActShape, b: &mut KernelBuilder) -> ActParams {
    if shape.quantized {
        let q = b.param("act_q", I8X4, shape.rows * shape.stride() / QUAD, Access::Write, ALIGN);
        let side = b.param("act_side", Type::vector(Scalar::F32, 2), shape.rows * shape.groups(), Access::Write, ALIGN);
        return ActParams::A8 { q, side };
    }
    let x = b.param("act", F32X4, shape.rows * shape.stride() / QUAD, Access::Write, ALIGN);
    let squares = shape.norm.map(|_| b.param("act_squares", F32, shape.rows * shape.groups(), Access::Write, ALIGN));
    ActParams::F32 { x, squares }
}

/// Declares the parameter of a kernel that writes single f32 features: no codes, no norm.
pub fn scalar_params(shape: &ActShape, b: &mut KernelBuilder) -> ActParams {
    ActParams::F32 { x: b.param("act", F32, shape.rows * shape.stride(), Access::Write, ALIGN), squares: None }
}

/// Parameters of a kernel through which it reads activations.
#[derive(Debug, Clone, Copy)]
pub enum ActSource {
    /// Quantized.
    A8 {
        /// i8x16 [rows, K/16].
        q: BufId,
        /// f32x2 [rows, K/32]: scale and sum of squares.
        side: BufId,
        /// Their shape.
        shape: ActShape,
    },
    /// Not quantized.
    F32 {
        /// f32x4 [rows, stride/4].
        x: BufId,
        /// f32 [rows, stride/32], with a split norm.
        squares: Option<BufId>,
        /// Their shape.
        shape: ActShape,
    },
}

impl ActSource {
    /// Declares the parameters.
    pub fn declare(shape: &ActShape, b: &mut KernelBuilder) -> Self {
        let (shape, rows) = (*shape, shape.rows);
        if shape.quantized {
            let q = b.param("act_q", I8X16, rows * shape.stride() / 16, Access::Read, ALIGN);
            let side = b.param("act_side", Type::vector(Scalar::F32, 2), rows * shape.groups(), Access::Read, ALIGN);
            return Self::A8 { q, side, shape };
        }
        let x = b.param("act", F32X4, rows * shape.stride() / QUAD, Access::Read, ALIGN);
        let squares = shape.norm.map(|_| b.param("act_squares", F32, rows * shape.groups(), Access::Read, ALIGN));
        Self::F32 { x, squares, shape }
    }

    /// The shape.
    pub fn shape(&self) -> &ActShape {
        match self {
            Self::A8 { shape, .. } | Self::F32 { shape, .. } => shape,
        }
    }

    /// Whether sums of squares come with them.
    pub fn has_squares(&self) -> bool {
        self.shape().norm.is_some()
    }
}

/// Four neighbouring features of a row, held by a lane: features `4 · (lane mod 8)` on of a group. Eight neighbouring lanes hold
/// quads of one row and group.
#[derive(Debug, Clone, Copy)]
pub struct Quad {
    /// The row, within the arena's.
    pub row: ValueId,
    /// The group, within the row's.
    pub group: ValueId,
    /// The features, f32x4.
    pub values: ValueId,
    /// Sum of the squares of the four before the norm's weight, f32; with a split norm.
    pub squares: Option<ValueId>,
    /// Whether it is stored, `bool`; equal in the eight lanes.
    pub stored: ValueId,
}

/// Workgroup memory in which lanes exchange what a group has in common.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    most: Option<BufId>,
    squares: Option<BufId>,
    lanes: u32,
}

impl Exchange {
    /// Declares it, for `quads` quads per lane that are stored together.
    pub fn declare(b: &mut KernelBuilder, shape: &ActShape, lanes: u32, quads: u32) -> Self {
        let most = shape.quantized.then(|| b.workgroup("group_most", F32, lanes * quads));
        let squares = shape.norm.map(|_| b.workgroup("group_squares", F32, lanes * quads));
        Self { most, squares, lanes }
    }

    /// Bytes that [`Self::declare`] takes.
    pub fn bytes(shape: &ActShape, lanes: u32, quads: u32) -> u32 {
        4 * lanes * quads * (u32::from(shape.quantized) + u32::from(shape.norm.is_some()))
    }
}

/// Writes the quads that each lane holds. All lanes call it in uniform flow; a second call needs a barrier before it.
pub fn store_quads(b: &mut KernelBuilder, act: &ActParams, shape: &ActShape, exchange: &Exchange, quads: &[Quad]) {
    let lane = b.builtin(Builtin::Lane);
    for (i, quad) in quads.iter().enumerate() {
        let at = b.add(lane, i as u32 * exchange.lanes);
        if let Some(buf) = exchange.most {
            let magnitude = b.unary(UnaryOp::Abs, quad.values);
            let most = b.reduce(ReduceOp::Max, magnitude);
            b.store(buf, at, most);
        }
        if let (Some(buf), Some(squares)) = (exchange.squares, quad.squares) {
            b.store(buf, at, squares);
        }
    }
    if exchange.most.is_some() || exchange.squares.is_some() {
        b.barrier();
    }
    let block = b.div(lane, GROUP_LANES);
    let first = b.mul(block, GROUP_LANES);
    let place = b.binary(BinaryOp::Rem, lane, GROUP_LANES);
    for (i, quad) in quads.iter().enumerate() {
        let from = b.add(first, i as u32 * exchange.lanes);
        b.if_(quad.stored, |b| {
            let most = exchange.most.map(|buf| over_group(b, buf, from, BinaryOp::Max));
            let squares = exchange.squares.map(|buf| over_group(b, buf, from, BinaryOp::Add));
            store_quad(b, act, shape, quad, place, most, squares);
        });
    }
}

/// What the eight lanes of a group left from `first` on.
pub fn over_group(b: &mut KernelBuilder, buf: BufId, first: ValueId, op: BinaryOp) -> ValueId {
    let mut parts: Vec<ValueId> = (0..GROUP_LANES)
        .map(|i| {
            let at = b.add(first, i);
            b.load(F32, buf, at)
        })
        .collect();
    while parts.len() > 1 {
        parts = parts.chunks(2).map(|pair| b.binary(op, pair[0], pair[1])).collect();
    }
    parts[0]
}

fn store_quad(
    b: &mut KernelBuilder,
    act: &ActParams,
    shape: &ActShape,
    quad: &Quad,
    place: ValueId,
    most: Option<ValueId>,
    squares: Option<ValueId>,
) {
    let is_first = b.cmp(CmpOp::Eq, place, 0u32);
    let at = b.mul(quad.row, shape.groups());
    let side_at = b.add(at, quad.group);
    let at = b.mul(side_at, GROUP_LANES);
    let at = b.add(at, place);
    match *act {
        ActParams::F32 { x, squares: buf } => {
            b.store(x, at, quad.values);
            if let (Some(buf), Some(squares)) = (buf, squares) {
                b.if_(is_first, |b| b.store(buf, side_at, squares));
            }
        }
        ActParams::A8 { q, side } => {
            let most = most.expect("invariant: the exchange was declared for the shape");
            // Below this the inverse would overflow; such a group is zero for every purpose.
            let some = b.cmp(CmpOp::Gt, most, 1e-30f32);
            let scale = b.mul(most, 1.0 / 127.0);
            let scale = b.select(some, scale, 0.0f32);
            let top = b.constant(F32, 127.0f32);
            let inverse = b.div(top, most);
            let inverse = b.select(some, inverse, 0.0f32);
            let inverse = b.repeat(inverse, 4);
            let scaled = b.mul(quad.values, inverse);
            let rounded = b.unary(UnaryOp::Round, scaled);
            let int = b.convert(rounded, Scalar::I32);
            let codes = b.convert(int, Scalar::I8);
            b.store(q, at, codes);
            b.if_(is_first, |b| {
                let squares = squares.unwrap_or_else(|| b.constant(F32, 0.0f32));
                let pair = b.shuffle(scale, squares, vec![0, 1]);
                b.store(side, side_at, pair);
            });
        }
    }
}

/// Workgroup memory through which lanes that hold single features come to hold quads.
#[derive(Debug, Clone, Copy)]
pub struct Gather {
    features: BufId,
    lanes: u32,
    exchange: Exchange,
}

impl Gather {
    /// Declares it.
    pub fn declare(b: &mut KernelBuilder, shape: &ActShape, lanes: u32) -> Self {
        Self { features: b.workgroup("features", F32, lanes), lanes, exchange: Exchange::declare(b, shape, lanes, 1) }
    }
}

/// Writes groups of which each lane holds one feature, without a norm: block `j < blocks` of 32 lanes holds a group, its row and
/// group and whether it is stored are what `place(j)` gives. All lanes call it in uniform flow; a second call needs a barrier
/// before it.
pub fn store_groups(
    b: &mut KernelBuilder,
    act: &ActParams,
    shape: &ActShape,
    gather: &Gather,
    blocks: u32,
    feature: ValueId,
    place: impl FnOnce(&mut KernelBuilder, ValueId) -> (ValueId, ValueId, ValueId),
) {
    let lane = b.builtin(Builtin::Lane);
    b.store(gather.features, lane, feature);
    b.barrier();
    // The lanes that hold quads; the others repeat the last one's.
    let holder = b.min(lane, gather.lanes / QUAD - 1);
    let from = b.mul(holder, QUAD);
    let values = quad_of(b, gather.features, from);
    let block = b.div(holder, GROUP_LANES);
    let block = b.min(block, blocks - 1);
    let (row, group, stored) = place(b, block);
    let holds = b.cmp(CmpOp::Lt, lane, blocks * GROUP_LANES);
    let stored = b.binary(BinaryOp::And, holds, stored);
    store_quads(b, act, shape, &gather.exchange, &[Quad { row, group, values, squares: None, stored }]);
}

/// Four neighbours of an f32 array as a vector.
pub fn quad_of(b: &mut KernelBuilder, buf: BufId, first: ValueId) -> ValueId {
    let parts: Vec<ValueId> = (0..QUAD)
        .map(|i| {
            let at = b.add(first, i);
            b.load(F32, buf, at)
        })
        .collect();
    let low = b.shuffle(parts[0], parts[1], vec![0, 1]);
    let high = b.shuffle(parts[2], parts[3], vec![0, 1]);
    b.shuffle(low, high, vec![0, 1, 2, 3])
}
