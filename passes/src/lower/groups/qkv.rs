//! The q, k and v projections of a layer with rotation and cache writes; those of one weight format are one product.

use slmc_ir::graph::{AttentionAttrs, DType, Group, KvPart, NodeId, Op, RopeAttrs, ValueId, WeightId};
use slmc_ir::plan::{Binding, PackedContent};

use super::project::Product;
use super::{NormWeight, Repr, Run};
use crate::lower::activation::GROUP;
use crate::lower::context::Lowering;
use crate::lower::emit::{Epilogue, HeadNorm};
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
    norm: Option<HeadNorms>,
}

/// Norms per head before the rotation.
#[derive(Clone, Copy)]
struct HeadNorms {
    eps: f32,
    q: NormWeight,
    k: NormWeight,
}

/// A projection and what is done with its result.
struct Projection {
    linear: NodeId,
    norm: Option<NodeId>,
    rope: Option<RopeAttrs>,
}

impl Lowering<'_> {
    pub(super) fn qkv(&mut self, group: &Group, run: &mut Run) {
        let Some(layer) = self.qkv_layer(group) else { return };
        let Some((act, shape)) = self.act_of(group.nodes[0], run) else { return };
        if !self.emit.caches().contains(&layer.cache) {
            let formats: Vec<String> = self.emit.caches().iter().map(DType::to_string).collect();
            let what = format!("no {} schedule for a KV cache in {}; it can be in {}", self.emit.kind(), layer.cache, formats.join(", "));
            self.fault(group.nodes[0], &what);
            return;
        }
        let heads = self.emit.heads(&layer.attrs, layer.cache, &self.limits);
        let rows = self.rows(run.phase);
        let q = self.buffer(format!("{}.queries", layer.q.1), 4 * u64::from(rows) * u64::from(heads.q_stride()), false);
        run.values.insert(layer.q.1, Repr::Queries(q));
        let k_cache = self.kv_half(layer.slot, KvPart::K, &heads);
        let v_cache = self.kv_half(layer.slot, KvPart::V, &heads);
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
            let layout = self.emit.matrix_layout(dtype);
            let block = u32::from(layout.lanes);
            let mut product = Product {
                node: group.nodes[0],
                act: &act,
                shape,
                layout,
                rows: matrix,
                unit_blocks: heads.unit_rows(block) / block,
                biases: biases.clone(),
            };
            let rotated = rope.is_some();
            let Some(norm) = layer.norm.filter(|_| parts.q || parts.k) else {
                self.project(product, Epilogue::Qkv { heads, parts, rotated, rows }, |_| outputs, run);
                continue;
            };
            let norm_heads = HeadNorm { heads, parts, eps: norm.eps, rotated, rows, phase: run.phase };
            let features = norm_heads.features();
            let stride = features.next_multiple_of(GROUP);
            product.rows.resize(stride as usize, None);
            product.unit_blocks = GROUP / u32::from(layout.lanes);
            let between = self.buffer(format!("{}.{}", layer.q.1, parts.tag()), 4 * u64::from(rows) * u64::from(stride), false);
            self.project(product, Epilogue::Rows { features, rows }, |_| vec![Binding::Arena(between)], run);
            let mut bindings = vec![Binding::Arena(between)];
            for weight in [(parts.q, norm.q), (parts.k, norm.k)].into_iter().filter(|(on, _)| *on).map(|(_, weight)| weight) {
                let content = PackedContent::Gather { elems: heads.norm_elems(weight.weight, rotary), plus: weight.plus };
                let name = self.graph.weights[weight.weight].name.clone();
                bindings.push(Binding::Packed(self.pack(name, content)));
            }
            bindings.extend(outputs);
            let (emit, limits) = (self.emit, self.limits);
            let dispatch = self.launch(&norm_heads.kernel_name(), bindings, |name| emit.head_norm(name, &norm_heads, &limits));
            run.out.push(dispatch);
        }
    }

    /// The norms per head of q and k, which are alike or absent; `None` where they differ.
    fn norms_of(&self, q: Option<NodeId>, k: Option<NodeId>, heads: [u32; 2]) -> Option<Option<HeadNorms>> {
        let (q, k) = match (q, k) {
            (None, None) => return Some(None),
            (Some(q), Some(k)) => (q, k),
            _ => return None,
        };
        match (&self.node(q).op, &self.node(k).op) {
            (Op::RmsNorm(a), Op::RmsNorm(b)) if a.eps == b.eps && [a.heads, b.heads] == heads => {
                Some(Some(HeadNorms { eps: a.eps, q: self.norm_weight(q), k: self.norm_weight(k) }))
            }
            _ => None,
        }
    }

    /// The three projections of a group with what follows them.
    fn qkv_layer(&mut self, group: &Group) -> Option<QkvLayer> {
        let first = group.nodes[0];
        let projection = |v: ValueId| -> Option<Projection> {
            let (mut v, mut norm, mut rope) = (v, None, None);
            loop {
                let n = *group.nodes.iter().find(|&&n| self.node(n).output == v)?;
                match &self.node(n).op {
                    Op::Linear => return Some(Projection { linear: n, norm, rope }),
                    Op::Rope(a) if rope.is_none() && norm.is_none() => rope = Some(a.clone()),
                    Op::RmsNorm(_) if norm.is_none() => norm = Some(n),
                    _ => return None,
                }
                v = self.node(n).inputs[0];
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
            let (q, k, v) = (projection(q_out)?, projection(k_in)?, projection(v_in)?);
            let per_head = |rope: &Option<RopeAttrs>| rope.clone().map(|attrs| RopeAttrs { heads: 1, ..attrs });
            let same = per_head(&q.rope) == per_head(&k.rope);
            let norm = self.norms_of(q.norm, k.norm, [attrs.heads, attrs.kv_heads])?;
            (same && v.rope.is_none() && v.norm.is_none()).then_some(QkvLayer {
                q: (q.linear, q_out),
                k: (k.linear, k_out),
                v: (v.linear, v_out),
                rope: q.rope,
                norm,
                attrs,
                slot,
                cache: self.graph.values[k_out].ty.dtype,
            })
        })();
        if layer.is_none() {
            self.fault(first, "q, k and v projections that do not feed one attention with one kind of norm and rotation");
        }
        layer
    }
}
