//! What is left when all positions were seen: sums over totals become activations.

use slmc_ir::kernel::{BinaryOp, BufId, KernelBuilder, Scalar, Type, ValueId};

use super::Tile;
use crate::lower::activation::GROUP;
use crate::lower::cpu::activation::{ActParams, store_group};
use crate::lower::emit::Attention;

/// The activations that a kernel of attention writes.
pub(super) struct Finish<'a> {
    /// Their parameters.
    pub(super) act: ActParams,
    pub(super) what: &'a Attention,
    pub(super) lanes: u16,
}

/// Weighted values of a head, not yet divided by the sum of weights.
pub(super) struct Row {
    /// The sums, f32.
    pub(super) sums: BufId,
    /// Where the head's begin.
    pub(super) from: ValueId,
    /// The sum of weights.
    pub(super) total: ValueId,
}

impl Finish<'_> {
    /// Emits the code for all rows of a tile, whose first head is `head`.
    pub(super) fn tile(&self, b: &mut KernelBuilder, tile: &Tile, t_begin: ValueId, t_end: ValueId, head: ValueId) {
        b.for_(t_begin, t_end, 1, |b, token| {
            let tt = b.binary(BinaryOp::Rem, token, tile.tokens);
            let r0 = b.mul(tt, tile.heads);
            b.for_(0u32, tile.heads, 1, |b, hh| {
                let r = b.add(r0, hh);
                let total = b.load(Type::scalar(Scalar::F32), tile.total, r);
                let from = b.mul(r, self.what.heads.dims);
                let head = b.add(head, hh);
                self.row(b, &Row { sums: tile.sums, from, total }, token, head);
            });
        });
    }

    /// Emits the code for one head of one token.
    pub(super) fn row(&self, b: &mut KernelBuilder, row: &Row, token: ValueId, head: ValueId) {
        let h = self.what.heads;
        let lanes = u32::from(self.lanes);
        let f32s = Type::scalar(Scalar::F32);
        let one = b.constant(f32s, 1.0f32);
        let inverse = b.div(one, row.total);
        if h.head_dim.is_multiple_of(GROUP) {
            let wide = b.repeat(inverse, self.lanes);
            let first = b.mul(head, h.head_dim / GROUP);
            b.for_(0u32, h.head_dim / GROUP, 1, |b, g| {
                let at = b.mul(g, GROUP);
                let at = b.add(row.from, at);
                let values: Vec<ValueId> = (0..GROUP / lanes)
                    .map(|i| {
                        let at = b.add(at, i * lanes);
                        let v = b.load(Type::vector(Scalar::F32, self.lanes), row.sums, at);
                        b.mul(v, wide)
                    })
                    .collect();
                let group = b.add(first, g);
                store_group(b, &self.act, &self.what.out, token, group, &values);
            });
        } else {
            let ActParams::F32 { x } = self.act else { unreachable!("invariant: a group of 32 lies in one head") };
            let to = b.mul(token, self.what.out.stride());
            let first = b.mul(head, h.head_dim);
            let to = b.add(to, first);
            b.for_(0u32, h.head_dim, 1, |b, d| {
                let at = b.add(row.from, d);
                let v = b.load(f32s, row.sums, at);
                let v = b.mul(v, inverse);
                let to = b.add(to, d);
                b.store(x, to, v);
            });
        }
    }
}
