//! Lowers the groups of the body.

use std::collections::BTreeMap;

use slmc_ir::graph::{AttentionAttrs, DType, Group, GroupKind, KvPart, Node, NodeId, NormAttrs, Op, RopeAttrs, SegmentKind, ValueId, WeightId};
use slmc_ir::plan::{ArenaId, Binding, Dispatch, PackedContent};

use super::attention::Attention;
use super::embed::Embed;
use super::epilogue::{Gate, GatedOutput, ResidualOutput};
use super::heads::{Heads, Parts, QkvOutput};
use super::matmul::Frame;
use super::{Lowering, Repr};
use crate::lower::activation::{ActShape, GROUP, SplitNorm};
use crate::lower::launch::Phase;

/// Values of the body that are in memory.
pub(super) type Values = BTreeMap<ValueId, Repr>;

impl Lowering<'_> {
    /// Lowers the body for a phase.
    pub(super) fn body(&mut self, phase: Phase) -> Vec<Dispatch> {
        let mut values = Values::new();
        for &v in &self.graph.body.inputs {
            values.insert(v, Repr::Tokens);
        }
        let mut out = Vec::new();
        for group in &self.graph.body.groups {
            match group.kind {
                GroupKind::Embed => self.embed(group, phase, &mut values, &mut out),
                GroupKind::Qkv => self.qkv(group, phase, &mut values, &mut out),
                GroupKind::Attention => self.attention(group, phase, &mut values, &mut out),
                GroupKind::LinearResidual => self.residual(group, phase, &mut values, &mut out),
                GroupKind::GatedLinear => self.gated(group, phase, &mut values, &mut out),
                GroupKind::Linear | GroupKind::Single => {
                    for &n in &group.nodes {
                        self.consequence(n, "no CPU schedule for this node outside a fused group");
                    }
                }
            }
        }
        out
    }

    fn node(&self, n: NodeId) -> &Node {
        &self.graph.nodes[n]
    }

    fn find<'g>(&'g self, group: &'g Group, test: impl Fn(&Op) -> bool + 'g) -> impl Iterator<Item = &'g Node> + 'g {
        group.nodes.iter().map(|&n| self.node(n)).filter(move |n| test(&n.op))
    }

    /// The norm and quantization that end a group: gives the activations' arena buffers and shape, and records their value.
    fn normed_output(&mut self, group: &Group, phase: Phase, values: &mut Values) -> Option<(Vec<ArenaId>, ActShape, WeightId)> {
        let last = *group.nodes.last()?;
        let Some((attrs, weight, normed)) = self.find(group, |op| matches!(op, Op::RmsNorm(_))).next().and_then(|n| match n.op {
            Op::RmsNorm(a) => Some((a, n.weights[0], n.output)),
            _ => None,
        }) else {
            self.fault(last, "a residual that no rms_norm follows");
            return None;
        };
        let NormAttrs { eps, heads } = attrs;
        if heads != 1 {
            self.fault(last, "a norm per head after a residual");
            return None;
        }
        let k = self.graph.values[normed].ty.last()?;
        let quantized = self.find(group, |op| matches!(op, Op::QuantizeAct)).next().map(|n| n.output);
        let is_output = self.graph.body.outputs.iter().any(|&v| v == normed || Some(v) == quantized);
        let quantize = quantized.is_some() || (is_output && self.boundary_quantized());
        if quantized.is_some() && self.users(SegmentKind::Body, normed).count() > 1 {
            self.fault(last, "a normed value that is used both quantized and as f32; give its linears one kind of format");
            return None;
        }
        let rows = if is_output { self.rows(Phase::Prefill) } else { self.rows(phase) };
        let shape = ActShape { quantized: quantize, k, rows, norm: Some(SplitNorm { features: k, eps }) };
        let buffers = if is_output {
            match &self.boundary {
                Some((buffers, _)) => buffers.clone(),
                None => {
                    let buffers = self.act_buffers("hidden", &shape, true);
                    self.boundary = Some((buffers.clone(), shape));
                    buffers
                }
            }
        } else {
            self.act_buffers(&format!("{normed}"), &shape, false)
        };
        values.insert(quantized.unwrap_or(normed), Repr::Act(buffers.clone(), shape));
        Some((buffers, shape, weight))
    }

    fn embed(&mut self, group: &Group, phase: Phase, values: &mut Values, out: &mut Vec<Dispatch>) {
        let node = self.node(group.nodes[0]);
        let table = node.weights[0];
        let mut stream = node.output;
        let mut scale = 1.0;
        if let Some(n) = self.find(group, |op| matches!(op, Op::Scale { .. })).next()
            && let Op::Scale { factor } = n.op
        {
            scale = factor;
            stream = n.output;
        }
        let Some((act, shape, weight)) = self.normed_output(group, phase, values) else { return };
        let rows = self.rows(phase);
        let residual = self.buffer(format!("{stream}.residual"), 4 * u64::from(rows) * u64::from(shape.stride()), false);
        values.insert(stream, Repr::Residual(residual));
        let ty = self.graph.weights[table].ty.clone();
        let Some([vocab, k]) = ty.const_shape().and_then(|s| <[u32; 2]>::try_from(s).ok()) else {
            self.fault(group.nodes[0], "a table that is not [V, D]");
            return;
        };
        let layout = self.layout(ty.dtype);
        let packed = self.pack_matrix(layout, k, (0..vocab).map(|r| Some((table, r))).collect(), u32::from(layout.lanes));
        let norm = self.pack_vector(weight, shape.stride());
        let name = format!("embed_{}_v{vocab}_s{:x}_{}_{}", ty.dtype, scale.to_bits(), shape.tag(), phase.tag());
        let (sched, limits) = (self.sched.clone(), self.limits);
        let kernel =
            self.kernel(&name, |name| Embed { layout, vocab, k, scale, out: shape, residual_rows: rows, phase, sched: &sched }.launch(name, &limits));
        let mut bindings = vec![Binding::Arena(self.plan.tokens), Binding::Packed(packed), Binding::Arena(residual), Binding::Packed(norm)];
        bindings.extend(act.into_iter().map(Binding::Arena));
        out.push(self.dispatch(kernel, bindings));
    }

    /// Bindings of a matrix kernel up to its outputs: activations, weights, bias.
    pub(super) fn inputs_of(
        &mut self,
        act: &[ArenaId],
        layout: slmc_ir::plan::MatrixLayout,
        k: u32,
        rows: Vec<Option<(WeightId, u32)>>,
        unit: u32,
        bias: impl Fn(WeightId) -> Option<WeightId>,
    ) -> (Vec<Binding>, bool) {
        let elems: Vec<_> = rows.iter().map(|r| r.and_then(|(w, i)| bias(w).map(|b| (b, i)))).collect();
        let biased = elems.iter().any(Option::is_some);
        let weights = self.pack_matrix(layout, k, rows, unit);
        let mut bindings: Vec<Binding> = act.iter().copied().map(Binding::Arena).collect();
        bindings.push(Binding::Packed(weights));
        if biased {
            let mut elems = elems;
            elems.resize(elems.len().next_multiple_of(unit as usize), None);
            let name = elems.iter().flatten().next().map_or_else(String::new, |(w, _)| self.graph.weights[*w].name.clone());
            bindings.push(Binding::Packed(self.pack(name, PackedContent::Gather { elems })));
        }
        (bindings, biased)
    }

    /// The activations that a linear reads.
    pub(super) fn act_of(&mut self, node: NodeId, values: &Values) -> Option<(Vec<ArenaId>, ActShape)> {
        let input = self.graph.nodes[node].inputs[0];
        match values.get(&input) {
            Some(Repr::Act(buffers, shape)) => Some((buffers.clone(), *shape)),
            _ => {
                self.consequence(node, "its input is no activation that a fused group wrote");
                None
            }
        }
    }

    fn qkv(&mut self, group: &Group, phase: Phase, values: &mut Values, out: &mut Vec<Dispatch>) {
        let Some(layer) = self.qkv_parts(group) else { return };
        let first = group.nodes[0];
        let Some((act, act_shape)) = self.act_of(first, values) else { return };
        let heads = Heads::new(&layer.attrs, layer.cache, self.limits.ctx, &self.sched);
        let rows = self.rows(phase);
        let q = self.buffer(format!("{}.queries", layer.q.1), 4 * u64::from(rows) * u64::from(heads.q_stride()), false);
        values.insert(layer.q.1, Repr::Queries(q));
        let bytes = u64::from(heads.cache_len()) * u64::from(heads.cache_elem().bytes());
        let per_position = heads.kv_heads * heads.dims * heads.cache_elem().bytes();
        let k_cache = self.kv_half(layer.slot, KvPart::K, bytes, per_position);
        let v_cache = self.kv_half(layer.slot, KvPart::V, bytes, per_position);
        values.insert(layer.k.1, Repr::Cache(k_cache));
        values.insert(layer.v.1, Repr::Cache(v_cache));
        let rope = layer.rope.map(|attrs| {
            let attrs = RopeAttrs { heads: 1, ..attrs };
            self.pack("rope".into(), PackedContent::Rope { attrs, ctx: self.limits.ctx, width: heads.dims })
        });
        let rotary = layer.rope.map_or(0, |r| r.rotary_dim);
        // Projections of one format share a kernel.
        let projections = [(layer.q.0, heads.heads, rotary), (layer.k.0, heads.kv_heads, rotary), (layer.v.0, heads.kv_heads, 0)];
        let dtypes: Vec<DType> = projections.iter().map(|(n, _, _)| self.graph.weights[self.node(*n).weights[0]].ty.dtype).collect();
        let mut done: Vec<DType> = Vec::new();
        for &dtype in &dtypes {
            if done.contains(&dtype) {
                continue;
            }
            done.push(dtype);
            let parts = Parts { q: dtypes[0] == dtype, k: dtypes[1] == dtype, v: dtypes[2] == dtype };
            let mut matrix = Vec::new();
            for ((n, count, rotary), on) in projections.iter().zip([parts.q, parts.k, parts.v]) {
                if on {
                    matrix.extend(heads.rows(self.node(*n).weights[0], *count, *rotary));
                }
            }
            let layout = self.layout(dtype);
            let units = matrix.len() as u32 / u32::from(layout.lanes);
            let biases: Vec<(WeightId, WeightId)> = projections
                .iter()
                .filter_map(|(n, _, _)| {
                    let w = &self.node(*n).weights;
                    w.get(1).map(|b| (w[0], *b))
                })
                .collect();
            let bias = |w: WeightId| biases.iter().find(|(m, _)| *m == w).map(|(_, b)| *b);
            let (mut bindings, biased) = self.inputs_of(&act, layout, act_shape.k, matrix, u32::from(layout.lanes), bias);
            let rotated = rope.is_some();
            if let (Some(r), true) = (rope, parts.q || parts.k) {
                bindings.push(Binding::Packed(r));
            }
            bindings.extend(parts.q.then_some(Binding::Arena(q)));
            bindings.extend(parts.k.then_some(Binding::Kv(k_cache)));
            bindings.extend(parts.v.then_some(Binding::Kv(v_cache)));
            let frame = Frame { phase, layout, k: act_shape.k, units, unit_blocks: 1, act: act_shape, bias: biased };
            let name = format!("{}_{}_{}{}", parts.tag(), frame.tag(), heads.tag(), if rotated { "_rope" } else { "" });
            let (sched, limits) = (self.sched.clone(), self.limits);
            let kernel = self.kernel(&name, |name| {
                frame.launch(name, &sched, &limits, |b| QkvOutput::declare(b, heads, parts, rotated, rows), |b, o, done| o.store(b, &sched, &done))
            });
            out.push(self.dispatch(kernel, bindings));
        }
    }

    fn attention(&mut self, group: &Group, phase: Phase, values: &mut Values, out: &mut Vec<Dispatch>) {
        let node = group.nodes[0];
        let Op::Attention(attrs) = self.node(node).op else {
            self.fault(node, "a group of kind attention that does not begin with one");
            return;
        };
        if attrs.window.is_some() || attrs.softcap.is_some() {
            self.fault(node, "attention with a window or a soft cap");
            return;
        }
        let inputs = self.node(node).inputs.clone();
        let result = self.node(node).output;
        let (Some(Repr::Queries(q)), Some(Repr::Cache(k)), Some(Repr::Cache(v))) =
            (values.get(&inputs[0]).cloned(), values.get(&inputs[1]).cloned(), values.get(&inputs[2]).cloned())
        else {
            self.consequence(node, "its operands are not the results of a fused q, k, v group");
            return;
        };
        let cache = self.graph.values[inputs[1]].ty.dtype;
        let heads = Heads::new(&attrs, cache, self.limits.ctx, &self.sched);
        let quantized = self.find(group, |op| matches!(op, Op::QuantizeAct)).next().map(|n| n.output);
        let rows = self.rows(phase);
        let width = attrs.heads * attrs.head_dim;
        // A group of 32 features must lie in one head to be quantized by the tile that makes it.
        let fused = quantized.is_some() && attrs.head_dim % GROUP == 0;
        let shape = ActShape { quantized: fused, k: width, rows, norm: None };
        let buffers = self.act_buffers(&format!("{result}"), &shape, false);
        let name = format!("attention_{}_s{:x}_{}_{}", heads.tag(), attrs.scale.to_bits(), shape.tag(), phase.tag());
        let (sched, limits) = (self.sched.clone(), self.limits);
        let kernel =
            self.kernel(&name, |name| Attention { heads, scale: attrs.scale, out: shape, phase, sched: &sched, q_rows: rows }.launch(name, &limits));
        let mut bindings = vec![Binding::Arena(q), Binding::Kv(k), Binding::Kv(v)];
        bindings.extend(buffers.iter().copied().map(Binding::Arena));
        out.push(self.dispatch(kernel, bindings));
        let Some(quantized) = quantized else {
            values.insert(result, Repr::Act(buffers, shape));
            return;
        };
        if fused {
            values.insert(quantized, Repr::Act(buffers, shape));
            return;
        }
        let to = ActShape { quantized: true, ..shape };
        let written = self.act_buffers(&format!("{quantized}"), &to, false);
        let name = format!("quantize_{}_{}", to.tag(), phase.tag());
        let kernel = self.kernel(&name, |name| super::quantize::launch(name, shape, to, phase, &sched, &limits));
        let bindings = buffers.iter().chain(&written).copied().map(Binding::Arena).collect();
        out.push(self.dispatch(kernel, bindings));
        values.insert(quantized, Repr::Act(written, to));
    }

    fn residual(&mut self, group: &Group, phase: Phase, values: &mut Values, out: &mut Vec<Dispatch>) {
        let linear = group.nodes[0];
        let Some(sum) = self.find(group, |op| matches!(op, Op::Add)).next().map(|n| (n.inputs.clone(), n.output)) else {
            self.fault(linear, "a projection whose result is not added to the residual stream");
            return;
        };
        let product = self.node(linear).output;
        let before = if sum.0[0] == product { sum.0[1] } else { sum.0[0] };
        let Some(Repr::Residual(residual)) = values.get(&before).cloned() else {
            self.consequence(linear, "its residual is not the stream that the embedding began");
            return;
        };
        let later = self.graph.body.order.iter().skip_while(|&&n| self.graph.nodes[n].output != sum.1).skip(1);
        if later.clone().any(|&n| self.graph.nodes[n].inputs.contains(&before)) {
            self.fault(linear, "the residual before the sum is used again after it");
            return;
        }
        let Some((act, act_shape)) = self.act_of(linear, values) else { return };
        let Some((written, shape, weight)) = self.normed_output(group, phase, values) else { return };
        values.insert(sum.1, Repr::Residual(residual));
        let weights = self.node(linear).weights.clone();
        let dtype = self.graph.weights[weights[0]].ty.dtype;
        let layout = self.layout(dtype);
        let n = shape.k;
        let rows = (0..shape.stride()).map(|r| (r < n).then_some((weights[0], r))).collect();
        let (mut bindings, bias) = self.inputs_of(&act, layout, act_shape.k, rows, GROUP, |_| weights.get(1).copied());
        let norm = self.pack_vector(weight, shape.stride());
        bindings.extend([Binding::Arena(residual), Binding::Packed(norm)]);
        bindings.extend(written.into_iter().map(Binding::Arena));
        let unit_blocks = self.sched.blocks_per_group();
        let frame = Frame { phase, layout, k: act_shape.k, units: shape.groups(), unit_blocks, act: act_shape, bias };
        let residual_rows = self.rows(phase);
        let name = format!("residual_{}_to_{}", frame.tag(), shape.tag());
        let (sched, limits) = (self.sched.clone(), self.limits);
        let kernel = self.kernel(&name, |name| {
            frame.launch(name, &sched, &limits, |b| ResidualOutput::declare(b, shape, residual_rows), |b, o, done| o.store(b, &done))
        });
        out.push(self.dispatch(kernel, bindings));
    }

    fn gated(&mut self, group: &Group, phase: Phase, values: &mut Values, out: &mut Vec<Dispatch>) {
        let Some((act_node, gate)) = group.nodes.iter().find_map(|&n| match self.node(n).op {
            Op::Silu => Some((n, Gate::Silu)),
            Op::GeluTanh => Some((n, Gate::GeluTanh)),
            _ => None,
        }) else {
            self.fault(group.nodes[0], "a gated group without silu or gelu_tanh");
            return;
        };
        let gate_value = self.node(act_node).inputs[0];
        let linears: Vec<NodeId> = group.nodes.iter().copied().filter(|&n| matches!(self.node(n).op, Op::Linear)).collect();
        let (Some(&g), Some(&u)) =
            (linears.iter().find(|&&n| self.node(n).output == gate_value), linears.iter().find(|&&n| self.node(n).output != gate_value))
        else {
            self.fault(act_node, "a gated group without a gate and an up projection");
            return;
        };
        let (gw, uw) = (self.node(g).weights.clone(), self.node(u).weights.clone());
        let dtype = self.graph.weights[gw[0]].ty.dtype;
        if self.graph.weights[uw[0]].ty.dtype != dtype {
            self.fault(g, "gate and up projections in two formats; give both the same one with --keep");
            return;
        }
        let Some((act, act_shape)) = self.act_of(g, values) else { return };
        let quantized = self.find(group, |op| matches!(op, Op::QuantizeAct)).next().map(|n| n.output);
        let product = self.find(group, |op| matches!(op, Op::Mul)).next().map(|n| n.output);
        let Some(result) = quantized.or(product) else {
            self.fault(g, "a gated group without a product");
            return;
        };
        let Some(features) = self.graph.values[gate_value].ty.last() else { return };
        let shape = ActShape { quantized: quantized.is_some(), k: features, rows: self.rows(phase), norm: None };
        let written = self.act_buffers(&format!("{result}"), &shape, false);
        values.insert(result, Repr::Act(written.clone(), shape));
        let mut rows = Vec::with_capacity(2 * shape.stride() as usize);
        for unit in 0..shape.groups() {
            for w in [gw[0], uw[0]] {
                rows.extend((unit * GROUP..(unit + 1) * GROUP).map(|r| (r < features).then_some((w, r))));
            }
        }
        let layout = self.layout(dtype);
        let bias = |w: WeightId| if w == gw[0] { gw.get(1).copied() } else { uw.get(1).copied() };
        let (mut bindings, bias) = self.inputs_of(&act, layout, act_shape.k, rows, 2 * GROUP, bias);
        bindings.extend(written.into_iter().map(Binding::Arena));
        let unit_blocks = 2 * self.sched.blocks_per_group();
        let frame = Frame { phase, layout, k: act_shape.k, units: shape.groups(), unit_blocks, act: act_shape, bias };
        let tag = if gate == Gate::Silu { "silu" } else { "gelu" };
        let name = format!("gated_{tag}_{}_to_{}", frame.tag(), shape.tag());
        let (sched, limits) = (self.sched.clone(), self.limits);
        let kernel =
            self.kernel(&name, |name| frame.launch(name, &sched, &limits, |b| GatedOutput::declare(b, gate, shape), |b, o, done| o.store(b, &done)));
        out.push(self.dispatch(kernel, bindings));
    }

    /// The three projections of a group with what follows them.
    fn qkv_parts(&mut self, group: &Group) -> Option<QkvLayer> {
        let first = group.nodes[0];
        let linear_of = |v: ValueId| -> Option<(NodeId, Option<RopeAttrs>)> {
            let (mut v, mut rope) = (v, None);
            loop {
                let n = *group.nodes.iter().find(|&&n| self.node(n).output == v)?;
                match &self.node(n).op {
                    Op::Linear => return Some((n, rope)),
                    Op::Rope(a) => {
                        rope = Some(*a);
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
        let parts = (|| {
            let (k_in, k_out, slot) = append(KvPart::K)?;
            let (v_in, v_out, _) = append(KvPart::V)?;
            let user = self.users(SegmentKind::Body, k_out).next()?;
            let Op::Attention(attrs) = self.node(user).op else { return None };
            let q_out = self.node(user).inputs[0];
            let (q, q_rope) = linear_of(q_out)?;
            let (k, k_rope) = linear_of(k_in)?;
            let (v, v_rope) = linear_of(v_in)?;
            let same = match (q_rope, k_rope) {
                (None, None) => true,
                (Some(a), Some(b)) => RopeAttrs { heads: 1, ..a } == RopeAttrs { heads: 1, ..b },
                _ => false,
            };
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
        if parts.is_none() {
            self.fault(first, "q, k and v projections that do not feed one attention with one rotation");
        }
        parts
    }
}

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
