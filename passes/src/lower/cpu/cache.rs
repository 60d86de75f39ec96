//! How the KV cache lies in memory, and the code that reads and writes it.
//!
//! Keys are `[kv_heads, positions / lanes, dims, lanes]` (positions innermost, so that scores need no horizontal sums), values
//! `[kv_heads, positions, dims]`. In q8g32 these are codes, and f16 scales `[kv_heads, positions / lanes, dims / 32, lanes]` follow.

use slmc_ir::graph::DType;
use slmc_ir::kernel::{Access, BinaryOp, BufId, KernelBuilder, Scalar, Type, ValueId};

use super::activation::quantize_group;
use super::schedule::{LINE, Schedule};
use crate::lower::activation::GROUP;
use crate::lower::heads::Heads;

/// One half of the cache of a layer, as a kernel's parameter.
#[derive(Debug, Clone, Copy)]
pub struct Half {
    heads: Heads,
    lanes: u16,
    buf: BufId,
}

/// Where rows of a step go: the first dim of one head at one position.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// KV head.
    pub head: ValueId,
    /// First dim.
    pub dim: ValueId,
    /// Place of the position.
    pub position: ValueId,
}

impl Half {
    /// Declares the parameter.
    pub fn declare(b: &mut KernelBuilder, name: &str, heads: Heads, sched: &Schedule, access: Access) -> Self {
        let buf = b.param(name, Type::scalar(element(heads.cache)), heads.cache_len(), access, 64);
        Self { heads, lanes: sched.lanes, buf }
    }

    /// Bytes of a number.
    pub fn number_bytes(&self) -> u32 {
        Type::scalar(element(self.heads.cache)).bytes()
    }

    /// Whether numbers are codes, with a scale for 32 of a head.
    pub fn has_scales(&self) -> bool {
        self.heads.cache == DType::Q8
    }

    /// Loads the numbers, without their scales, from index `at` on: one for each lane, f32.
    pub fn load(&self, b: &mut KernelBuilder, at: ValueId) -> ValueId {
        let v = b.load(Type::vector(element(self.heads.cache), self.lanes), self.buf, at);
        match self.heads.cache {
            DType::F32 => v,
            DType::Q8 => {
                let v = b.convert(v, Scalar::I32);
                b.convert(v, Scalar::F32)
            }
            _ => b.convert(v, Scalar::F32),
        }
    }

    /// Prefetches the lines of `count` numbers that are `bytes` behind index `at`.
    pub fn prefetch(&self, b: &mut KernelBuilder, at: ValueId, count: u32, bytes: u32) {
        let number = self.number_bytes();
        for line in 0..(count * number).div_ceil(LINE) {
            let ahead = b.add(at, (bytes + line * LINE) / number);
            b.prefetch(self.buf, ahead);
        }
    }

    /// The scales of group `group` of as many positions as there are lanes, from place `position` on, which is a multiple; f32.
    pub fn scales(&self, b: &mut KernelBuilder, head: ValueId, position: ValueId, group: ValueId) -> ValueId {
        let at = self.scale_at(b, head, position, group);
        let scales = b.load(Type::vector(Scalar::F16, self.lanes), self.buf, at);
        b.convert(scales, Scalar::F32)
    }

    /// Stores vectors of neighbouring dims of a key.
    pub fn store_key(&self, b: &mut KernelBuilder, to: Place, rows: &[ValueId]) {
        let (h, lanes) = (self.heads, u32::from(self.lanes));
        let rows = self.stored(b, to, rows);
        let at = b.mul(to.head, h.positions / lanes);
        let column = b.div(to.position, lanes);
        let at = b.add(at, column);
        let at = b.mul(at, h.dims);
        let at = b.add(at, to.dim);
        let at = b.mul(at, lanes);
        let within = b.binary(BinaryOp::Rem, to.position, lanes);
        let at = b.add(at, within);
        for (row, i) in rows.into_iter().zip(0..) {
            for lane in 0..self.lanes {
                let to = b.add(at, (i * lanes + u32::from(lane)) * lanes);
                let v = b.extract(row, lane);
                b.store(self.buf, to, v);
            }
        }
    }

    /// Stores vectors of neighbouring dims of a value.
    pub fn store_value(&self, b: &mut KernelBuilder, to: Place, rows: &[ValueId]) {
        let rows = self.stored(b, to, rows);
        let at = b.mul(to.head, self.heads.positions);
        let at = b.add(at, to.position);
        let at = b.mul(at, self.heads.dims);
        let at = b.add(at, to.dim);
        for (row, i) in rows.into_iter().zip(0..) {
            let to = b.add(at, i * u32::from(self.lanes));
            b.store(self.buf, to, row);
        }
    }

    /// The vectors in the cache's format. A scale of theirs is stored on the way; then they are the dims of one group.
    fn stored(&self, b: &mut KernelBuilder, to: Place, rows: &[ValueId]) -> Vec<ValueId> {
        match self.heads.cache {
            DType::F32 => rows.to_vec(),
            DType::Q8 => {
                let group = quantize_group(b, rows);
                let index = b.div(to.dim, GROUP);
                let at = self.scale_at(b, to.head, to.position, index);
                let scale = b.convert(group.scale, Scalar::F16);
                b.store(self.buf, at, scale);
                group.ints.into_iter().map(|ints| b.convert(ints, Scalar::I8)).collect()
            }
            _ => rows.iter().map(|&row| b.convert(row, Scalar::F16)).collect(),
        }
    }

    /// Where the scale of a group of one position lies.
    fn scale_at(&self, b: &mut KernelBuilder, head: ValueId, position: ValueId, group: ValueId) -> ValueId {
        let (h, lanes) = (self.heads, u32::from(self.lanes));
        let at = b.mul(head, h.positions / lanes);
        let column = b.div(position, lanes);
        let at = b.add(at, column);
        let at = b.mul(at, h.dims / GROUP);
        let at = b.add(at, group);
        let at = b.mul(at, lanes);
        let within = b.binary(BinaryOp::Rem, position, lanes);
        let at = b.add(at, within);
        let at = b.mul(at, 2u32);
        b.add(at, h.cache_numbers())
    }
}

/// What a parameter of a format counts.
fn element(cache: DType) -> Scalar {
    match cache {
        DType::F32 => Scalar::F32,
        DType::Q8 => Scalar::I8,
        _ => Scalar::F16,
    }
}
