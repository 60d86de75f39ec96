//! The graph verifier: each rule fires on a graph that breaks it, all faults are reported, and broken ids panic nowhere.

mod llama;

use llama::Llama;
use slmc_ir::arena::Id;
use slmc_ir::graph::verify::verify;
use slmc_ir::graph::{Bounds, DType, Def, Graph, Group, GroupKind, NodeId, Op, SegmentKind, TensorType, ValueId, WeightId};

fn good() -> Graph {
    let (mut graph, _) = Llama::tiny().build(Bounds { chunk: 16, ctx: 64 });
    assert!(graph.renumber());
    graph
}

/// The faults as text, one a line.
fn faults(graph: &Graph) -> String {
    match verify(graph) {
        Ok(_) => String::new(),
        Err(errors) => errors.iter().map(|e| format!("{e}\n")).collect(),
    }
}

#[test]
fn texts_that_break_a_rule() {
    let wrap = |body: &str| {
        format!(
            "slmir 0 graph @g {{chunk = 4, ctx = 8, kv_slots = 1}} {{
            w0 = weight \"a\" f32[64,64] tensor \"a\" w1 = weight \"n\" f32[64] tensor \"n\" w2 = weight \"q\" q4g32[64,64] tensor \"q\"
            body(v0: f32[T,64], v1: u32[T]) {{ {body} }} }}"
        )
    };
    let cases = [
        ("v2: f32[T,64] = silu v3 v3: f32[T,64] = silu v0 return v3", "v2: v3 is used before its definition [order]"),
        ("v2: f32[T,64] = add v0 return v2", "v2: add has 1 tensor operands, expected 2 [arity]"),
        ("v2: f32[T,64] = linear v0 return v2", "v2: linear has 0 weights, expected 1 to 2 [arity]"),
        ("v2: f32[T,64] = silu v0, w0 return v2", "v2: silu has 1 weights, expected 0 [arity]"),
        ("v2: f32[T,64] = silu v1 return v2", "v2: silu: x is u32[T], expected rows f32[T, K] [operand]"),
        ("v2: f32[T,32] = silu v0 return v2", "v2: silu gives f32[T,64], but the type is f32[T,32] [result-type]"),
        ("v2: f32[T,64] = embed v0, w0 return v2", "v2: embed: tokens are f32[T,64], expected u32[T] [operand]"),
        ("v2: f32[T,64] = linear v0, w1 return v2", "v2: linear: weight is f32[64], expected two constant dims and a weight format [operand]"),
        (
            "v2: a8g32[T,64] = quantize_act v0 v3: f32[T,64] = linear v2, w0 return v3",
            "v3: linear: x is a8g32 but the weight is f32: expected a quantized weight, or x in f32 [operand]",
        ),
        ("v2: f32[T,64] = linear v0, w2, w0 return v2", "v2: linear: bias is f32[64,64], expected f32, f16 or bf16 [64] [operand]"),
        ("v2: f32[T,64] = rms_norm v0, w1 {eps = -1.0, heads = 1} return v2", "v2: rms_norm: eps = -1, expected a finite number ≥ 0 [attribute]"),
        ("v2: f32[T,64] = rms_norm v0, w1 {eps = 1.0, heads = 3} return v2", "v2: rms_norm: heads = 3 does not divide the row of 64 [operand]"),
        (
            "v2: f32[T,64] = rope v0 {heads = 4, head_dim = 16, rotary_dim = 17, theta = 0.0, scaling = default} return v2",
            "v2: rope: rotary_dim = 17, expected an even number ≥ 2 [attribute]\n\
             v2: rope: rotary_dim = 17, expected at most head_dim = 16 [attribute]\n\
             v2: rope: theta = 0, expected a finite number > 0 [attribute]",
        ),
        (
            "v2: f32[T,64] = rope v0 {heads = 4, head_dim = 8, rotary_dim = 8, theta = 1.0, scaling = default} return v2",
            "v2: rope: x has rows of 64, expected heads · head_dim = 4 · 8 [operand]",
        ),
        ("v2: f16[P+T,64] = kv_append v0 {slot = 1, part = k} return v0", "v2: slot = 1, expected below kv_slots = 1 [kv-slot]"),
        (
            "v2: f32[P+T,64] = kv_append v0 {slot = 0, part = k} v3: f32[P+T,64] = kv_append v0 {slot = 0, part = k} return v0",
            "v3: slot 0 part k is written by v2 already [kv-slot]",
        ),
        (
            "v2: q6g32[P+T,64] = kv_append v0 {slot = 0, part = k} return v0",
            "v2: kv_append gives f32[P+T,64], but the type is q6g32[P+T,64] [result-type]",
        ),
        (
            "v2: f32[P+T,64] = kv_append v0 {slot = 0, part = v} \
             v3: f32[T,64] = attention v0, v2, v2 {heads = 4, kv_heads = 4, head_dim = 16, scale = 1.0} return v3",
            "v3: attention: expected k and v to be the two parts of one slot, from kv_append [kv-slot]",
        ),
        (
            "v2: f32[T,64] = attention v0, v0, v0 {heads = 4, kv_heads = 3, head_dim = 16, scale = inf, window = 0, softcap = 0.0} return v2",
            "v2: attention: kv_heads = 3 does not divide heads = 4 [attribute]\n\
             v2: attention: scale = inf, expected a finite number [attribute]\n\
             v2: attention: window = 0, expected at least 1 [attribute]\n\
             v2: attention: softcap: expected a finite number > 0 [attribute]\n\
             v2: attention: k is f32[T,64], expected a KV slot: f32, f16 or q8g32 [P+T, kv_heads · head_dim] [operand]",
        ),
        ("v2: f32[T,64] = silu v0 v3: f32[T,64] = silu v2 return v3 group single = v2", "body: groups are not a partition"),
        ("v2: f32[T,64] = silu v0 return v2 group single = v2 group single =", "body: group 1 (single) is empty [group]"),
    ];
    let mut wrong = Vec::new();
    for (body, expected) in cases {
        let found = faults(&Graph::parse(&wrap(body)).expect(body));
        if !found.starts_with(expected) {
            wrong.push(format!("{body}\n  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(faults(&Graph::parse(&wrap("v2: f32[T,64] = linear v0, w2, w1 return v2")).expect("it parses")), "");
}

/// An edit and what it must be reported as.
type Case = (&'static str, fn(&mut Graph));

#[test]
fn edits_that_break_a_rule() {
    let cases: [Case; 20] = [
        ("bounds", |g| g.bounds.chunk = 0),
        ("bounds", |g| g.bounds.ctx = 8),
        ("weight", |g| g.weights[WeightId::new(1)].ty = TensorType::fixed(DType::Q8, &[64])),
        ("weight", |g| g.weights[WeightId::new(0)].ty = TensorType::fixed(DType::Q4 { group: 128 }, &[40, 64])),
        ("weight", |g| g.weights[WeightId::new(0)].ty = TensorType::fixed(DType::F32, &[0, 64])),
        ("weight", |g| g.weights[WeightId::new(0)].ty = TensorType::fixed(DType::A8, &[40, 64])),
        ("once", |g| g.body.order.push(NodeId::new(0))),
        ("once", |g| g.body.order.truncate(g.body.order.len() - 1)),
        ("once", |g| g.body.inputs.push(ValueId::new(0))),
        ("order", |g| g.body.order.swap(0, 1)),
        ("order", |g| g.head.outputs = g.body.outputs.clone()),
        ("definition", |g| g.values[ValueId::new(1)].def = Def::Input),
        ("definition", |g| g.body.inputs = vec![ValueId::new(1)]),
        ("id-range", |g| g.nodes[NodeId::new(3)].inputs[0] = ValueId::new(9999)),
        ("id-range", |g| g.nodes[NodeId::new(0)].weights[0] = WeightId::new(9999)),
        ("id-range", |g| g.nodes[NodeId::new(0)].output = ValueId::new(9999)),
        ("id-range", |g| g.body.outputs[0] = ValueId::new(9999)),
        ("interface", |g| g.head.outputs.clear()),
        ("interface", |g| g.values[ValueId::new(0)].ty.dtype = DType::F16),
        ("group", |g| g.body.groups = vec![Group { kind: GroupKind::Single, nodes: vec![NodeId::new(9999)] }]),
    ];
    assert_eq!(faults(&good()), "");
    for (i, (rule, edit)) in cases.into_iter().enumerate() {
        let mut graph = good();
        edit(&mut graph);
        let found = faults(&graph);
        assert!(found.contains(&format!("[{rule}]\n")), "case {i}, {rule}: {found}");
    }
}

#[test]
fn kv_append_stays_in_the_body() {
    let mut graph = good();
    let rows = graph.head.inputs[0];
    let op = graph.nodes.iter().map(|(_, n)| n.op.clone()).find(|op| matches!(op, Op::KvAppend(_))).expect("it has one");
    graph.add_inferred(SegmentKind::Head, op, &[rows], &[]).expect("types fit");
    assert!(faults(&graph).contains("kv_append stands in the head, expected in the body [kv-slot]"), "{}", faults(&graph));
}

#[test]
fn random_ids_never_panic() {
    let mut state = 99u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..500 {
        let mut graph = good();
        let size = graph.values.len() + 2;
        for _ in 0..3 {
            let n = NodeId::new(random(graph.nodes.len()));
            match random(8) {
                0 => graph.nodes[n].output = ValueId::new(random(size)),
                1 => graph.nodes[n].inputs = (0..random(4)).map(|_| ValueId::new(random(size))).collect(),
                2 => graph.nodes[n].weights = (0..random(4)).map(|_| WeightId::new(random(30))).collect(),
                3 => graph.body.order[0] = NodeId::new(random(size)),
                4 => graph.head.inputs = vec![ValueId::new(random(size))],
                5 => graph.body.outputs.push(ValueId::new(random(size))),
                6 => graph.body.groups.push(Group { kind: GroupKind::Qkv, nodes: vec![NodeId::new(random(size))] }),
                _ => graph.values[ValueId::new(random(size - 2))].def = Def::Node(NodeId::new(random(size))),
            }
        }
        let _ = (faults(&graph), graph.to_string(), graph.renumber());
    }
}
