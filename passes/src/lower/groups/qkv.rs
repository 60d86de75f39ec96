//! The q, k and v projections of a layer with rotation and cache writes; those of one weight format are one product.

use slmc_ir::graph::{AttentionAttrs, DType, Group, KvPart, NodeId, Op, RopeAttrs, ValueId, WeightId};
use slmc_ir::plan::{Binding, PackedContent};

use super::project::Product;
use super::{Repr, Run};
use crate::lower::context::Lowering;
use crate::lower::emit::Epilogue;
use crate::lower::heads::Parts;

/// What a q, k, v group computes.
struct QkvLayer {
    q: (NodeId, ValueId),
    k: (NodeId, ValueId),
    v: (NodeId, ValueId),
    rope: Option<RopeAttrs>,
    attrs: AttentionAttrs,
    slot: u32,
    cache: DType,
}

impl Lowering<'_> {
    pub(super) fn qkv(&mut self, group: &Group, run: &mut Run) {
        let Some(layer) = self.qkv_layer(group) else { return };
        let Some((act, shape)) = self.act_of(group.nodes[0], run) else { return };
        let heads = self.emit.heads(&layer.attrs, layer.cache, self.limits.ctx);
        let rows = self.rows(run.phase);
        let q = self.buffer(format!("{}.queries", layer.q.1), 4 * u64::from(rows) * u64::from(heads.q_stride()), false);
        run.values.insert(layer.q.1, Repr::Queries(q));
        let bytes = u64::from(heads.cache_len()) * u64::from(heads.cache_bytes());
        let per_position = heads.kv_heads * heads.dims * heads.cache_bytes();
        let k_cache = self.kv_half(layer.slot, KvPart::K, bytes, per_position);
        let v_cache = self.kv_half(layer.slot, KvPart::V, bytes, per_position);
        run.values.insert(layer.k.1, Repr::Cache(k_cache));
        run.values.insert(layer.v.1, Repr::Cache(v_cache));
        let rotary = layer.rope.as_ref().map_or(0, |r| r.rotary_dim);
        let rope = layer.rope.map(|attrs| {
            let attrs = RopeAttrs { heads: 1, ..attrs };
            self.pack("rope".into(), PackedContent::Rope { attrs, ctx: self.limits.ctx, width: heads.dims })
        });
        let projections = [(layer.q.0, heads.heads, rotary), (layer.k.0, heads.kv_heads, rotary), (layer.v.0, heads.kv_heads, 0)];
        let weights = projections.map(|(n, _, _)| self.node(n).weights.clone());
        let dtypes = [0, 1, 2].map(|i| self.dtype_of(weights[i][0]));
        let biases: Vec<(WeightId, WeightId)> = weights.iter().filter_map(|w| w.get(1).map(|b| (w[0], *b))).collect();
        for (i, &dtype) in dtypes.iter().enumerate() {
            if dtypes[..i].contains(&dtype) {
                continue;
            }
            let [has_q, has_k, has_v] = dtypes.map(|d| d == dtype);
            let parts = Parts { q: has_q, k: has_k, v: has_v };
            let mut matrix = Vec::new();
            for (i, (_, count, rotary)) in projections.iter().enumerate().filter(|(i, _)| dtypes[*i] == dtype) {
                matrix.extend(heads.rows(weights[i][0], *count, *rotary));
            }
            let mut outputs = Vec::new();
            outputs.extend(rope.filter(|_| parts.q || parts.k).map(Binding::Packed));
            outputs.extend(parts.q.then_some(Binding::Arena(q)));
            outputs.extend(parts.k.then_some(Binding::Kv(k_cache)));
            outputs.extend(parts.v.then_some(Binding::Kv(v_cache)));
            let product = Product {
                node: group.nodes[0],
                act: &act,
                shape,
                layout: self.emit.matrix_layout(dtype),
                rows: matrix,
                unit_blocks: 1,
                biases: biases.clone(),
            };
            let epilogue = Epilogue::Qkv { heads, parts, rotated: rope.is_some(), rows };
            self.project(product, epilogue, |_| outputs, run);
        }
    }

    /// The three projections of a group with what follows them.
    fn qkv_layer(&mut self, group: &Group) -> Option<QkvLayer> {
        let first = group.nodes[0];
        let linear_of = |v: ValueId| -> Option<(NodeId, Option<RopeAttrs>)> {
            let (mut v, mut rope) = (v, None);
            loop {
                let n = *group.nodes.iter().find(|&&n| self.node(n).output == v)?;
                match &self.node(n).op {
                    Op::Linear => return Some((n, rope)),
                    Op::Rope(a) => {
                        rope = Some(a.clone());
                        v = self.node(n).inputs[0];
                    }
                    _ => return None,
                }
            }
        };
        let append = |part: KvPart| {
            self.find(group, move |op| matches!(op, Op::KvAppend(a) if a.part == part)).next().and_then(|n| match n.op {
                Op::KvAppend(a) => Some((n.inputs[0], n.output, a.slot)),
                _ => None,
            })
        };
        let layer = (|| {
            let (k_in, k_out, slot) = append(KvPart::K)?;
            let (v_in, v_out, _) = append(KvPart::V)?;
            let user = self.users(k_out).next()?;
            let Op::Attention(attrs) = self.node(user).op else { return None };
            let q_out = self.node(user).inputs[0];
            let (q, q_rope) = linear_of(q_out)?;
            let (k, k_rope) = linear_of(k_in)?;
            let (v, v_rope) = linear_of(v_in)?;
            let per_head = |rope: &Option<RopeAttrs>| rope.clone().map(|attrs| RopeAttrs { heads: 1, ..attrs });
            let same = per_head(&q_rope) == per_head(&k_rope);
            (same && v_rope.is_none()).then_some(QkvLayer {
                q: (q, q_out),
                k: (k, k_out),
                v: (v, v_out),
                rope: q_rope,
                attrs,
                slot,
                cache: self.graph.values[k_out].ty.dtype,
            })
        })();
        if layer.is_none() {
            self.fault(first, "q, k and v projections that do not feed one attention with one rotation");
        }
        layer
    }
}
