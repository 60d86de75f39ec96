//! The text form of graphs: printing and parsing are inverse, and no text makes the parser panic.

mod llama;

use llama::Llama;
use slmc_ir::graph::verify::verify;
use slmc_ir::graph::{Bounds, DType, Graph, Group, GroupKind, RopeScaling};

const BOUNDS: Bounds = Bounds { chunk: 16, ctx: 64 };

/// Uses every op, every kind of attribute and of dim.
const EVERY_OP: &str = "slmir 0
graph @\"a model\" {chunk = 128, ctx = 1024, kv_slots = 1} {
  w0 = weight \"table\" q6g32[100,64] tensor \"t\\\"able\" hash 0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
  w1 = weight \"norm\" f32[64] tensor \"norm\"
  w2 = weight \"proj\" q4g32[64,64] tensor \"proj\"
  w3 = weight \"bias\" f16[64] tensor \"bias\" rows 64..128
  body(v0: u32[T]) {
    v1: f32[T,64] = embed v0, w0
    v2: f32[T,64] = rms_norm v1, w1 {eps = 0x1.4f8b58p-17, heads = 1, unit_offset = yes}
    v3: a8g32[T,64] = quantize_act v2
    v4: f32[T,64] = linear v3, w2, w3
    v5: f32[T,64] = rope v4 {heads = 4, head_dim = 16, rotary_dim = 8, theta = 0x1.388p13, scaling = default}
    v6: f32[T,64] = rope v5 {heads = 4, head_dim = 16, rotary_dim = 16, theta = 0x1.388p13, scaling = linear(factor = 0x1p1)}
    v7: f32[T,64] = rope v6 {heads = 4, head_dim = 16, rotary_dim = 16, theta = 0x1.388p13, scaling = llama3(factor = 0x1p3, low = 0x1p0, high = 0x1p2, original = 8192)}
    v8: f16[P+T,64] = kv_append v7 {slot = 0, part = k}
    v9: f32[P+T,64] = kv_append v4 {slot = 0, part = v}
    v10: f32[T,64] = attention v7, v8, v9 {heads = 4, kv_heads = 4, head_dim = 16, scale = 0x1p-2}
    v11: f32[T,64] = attention v7, v8, v9 {heads = 4, kv_heads = 4, head_dim = 16, scale = -0x1p-2, window = 16, softcap = 0x1.9p5}
    v12: f32[T,64] = silu v10
    v13: f32[T,64] = gelu_tanh v11
    v14: f32[T,64] = mul v12, v13
    v15: f32[T,64] = add v14, v1
    v16: f32[T,64] = scale v15 {factor = 0x1p-1}
    v17: f32[T,64] = layer_norm v16, w1, w3 {eps = 0x1p-10}
    v18: f32[T,64] = rope v17 {heads = 4, head_dim = 16, rotary_dim = 4, theta = 0x1.388p13, scaling = per_pair(magnitude = 0x1.8p0, divisors = [0x1p0, 0x1.4p1])}
    return v18
    group embed = v1, v2, v3
    group qkv = v4, v5, v6, v7, v8, v9
    group attention = v10
    group single = v11
    group gated_linear = v12, v13, v14
    group linear_residual = v15
    group linear = v16, v17, v18
  }
  head(v19: f32[T,64]) {
    v20: f32[T,100] = linear v19, w0
    v21: f32[T,100] = softcap v20 {cap = 0x1.ep4}
    return v21
  }
}
";

#[test]
fn every_op_comes_back() {
    let graph = Graph::parse(EVERY_OP).expect("it parses");
    assert_eq!(graph.to_string(), EVERY_OP);
    assert_eq!(Graph::parse(&graph.to_string()).as_ref(), Ok(&graph));
    verify(&graph).expect("it verifies");
}

#[test]
fn built_graphs_come_back() {
    for (linear, quantize) in [(DType::F32, false), (DType::Q4 { group: 32 }, true)] {
        for tied in [false, true] {
            let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64 };
            let (mut graph, _) = Llama { linear, table: linear, quantize, tied, scaling, ..Llama::tiny() }.build(BOUNDS);
            verify(&graph).expect("it verifies");
            assert!(graph.renumber());
            let text = graph.to_string();
            let back = Graph::parse(&text).expect("it parses");
            assert_eq!(back, graph);
            assert_eq!(back.to_string(), text);
        }
    }
}

#[test]
fn renumbering_is_canonical() {
    let (mut graph, _) = Llama::tiny().build(BOUNDS);
    assert!(graph.renumber());
    let canonical = graph.clone();
    // Independent neighbours change places, a node dies, and the groups follow.
    let k = graph.body.order.iter().position(|n| graph.nodes[*n].op.info().name == "kv_append").expect("it has one");
    graph.body.order.swap(k, k + 1);
    let dead = graph.head.order.pop().expect("it has a node");
    graph.head.outputs = graph.head.inputs.clone();
    graph.body.groups = graph.body.order.iter().map(|&n| Group { kind: GroupKind::Single, nodes: vec![n] }).collect();
    let edited = graph.clone();
    assert!(graph.renumber());
    assert_eq!(graph.nodes.len(), edited.nodes.len() - 1, "{dead} is gone");
    assert_eq!(Graph::parse(&graph.to_string()).as_ref(), Ok(&graph));
    let again = graph.clone();
    assert!(graph.renumber());
    assert_eq!(graph, again);
    assert_ne!(graph.body, canonical.body);
    // A graph that no text says stays as it is.
    let mut broken = canonical.clone();
    broken.body.order.swap_remove(0);
    let before = broken.clone();
    assert!(!broken.renumber());
    assert_eq!(broken, before);
}

#[test]
fn ids_of_a_text_are_free() {
    let text = "slmir 0 ; dense ids come out
graph @g {ctx = 8, kv_slots = 0, chunk = 4} { w9 = weight \"n\" f32[2] tensor \"n\"
  body(v7: f32[T,2]) { v3: f32[T,2] = rms_norm v7, w9 {heads = 1, eps = 1e-5} return v3 } }";
    let expected = "slmir 0
graph @g {chunk = 4, ctx = 8, kv_slots = 0} {
  w0 = weight \"n\" f32[2] tensor \"n\"
  body(v0: f32[T,2]) {
    v1: f32[T,2] = rms_norm v0, w0 {eps = 0x1.4f8b58p-17, heads = 1}
    return v1
  }
}
";
    assert_eq!(Graph::parse(text).expect("it parses").to_string(), expected);
}

#[test]
fn errors_say_where_what_and_instead_of_what() {
    let cases = [
        ("slmir 0", "slmir 1", "1:7: this compiler reads version 0 only: expected `slmir 0`"),
        ("v3: a8g32", "v2: a8g32", "10:5: v2 is defined twice; give the second another name"),
        ("w3 = weight", "w2 = weight", "6:3: w2 is defined twice; give the second another name"),
        ("mul v12, v13", "mul v12, v99", "21:31: v99 is not defined"),
        ("v3, w2, w3", "v3, w2, w8", "11:36: w8 is not defined"),
        ("{eps = 0x1.4f8b58p-17, heads = 1, unit_offset = yes}", "{heads = 1}", "9:21: rms_norm lacks attribute `eps`"),
        ("heads = 1, unit_offset = yes}", "heads = 1, x = 2}", "9:71: rms_norm has no attribute `x`"),
        ("heads = 1, unit_offset = yes}", "heads = 1, heads = 2}", "9:71: attribute `heads` is defined twice; give the second another name"),
        ("heads = 1, unit_offset = yes}", "heads = 0x1p0}", "9:68: number 0x1p0 does not fit: expected an integer below 2^64"),
        ("eps = 0x1.4f8b58p-17", "eps = 0x1.4f8b581p-17", "9:44: number 0x1.4f8b581p-17 does not fit: expected a finite f32, exact if hex"),
        ("part = k", "part = q", "15:54: expected `k` or `v`, found `q`"),
        ("silu v10", "selu v10", "19:22: expected an op (embed, linear, rms_norm"),
        ("silu v10", "silu v10,", "20:5: expected an operand after `,`, found `v13`"),
        ("v0, w0", "w0, v0", "8:31: expected a weight: tensor operands stand before weights, found `v0`"),
        ("group embed", "group embde", "27:11: expected a kind of group (embed, qkv"),
        ("group embed = v1", "group embed = v0", "27:19: v0 is an input: a group lists results of nodes"),
        ("v1: f32[T,64]", "v1: f33[T,64]", "8:9: expected a type such as `f32[T,8]`"),
        ("v1: f32[T,64]", "v1: f32[Q,64]", "8:13: expected a dim: a number, `T` or `P+T`, found `Q`"),
        ("    return v21\n", "", "38:3: expected a node such as `v1: f32[T,8] = silu v0`, or `return`, found `}`"),
        ("1c1d1e1f", "1c1d1e", "3:59: number 0x"),
        ("head(v19", "tail(v19", "35:3: expected a weight, `body`, `head` (in this order) or `}`, found `tail`"),
    ];
    let mut wrong = Vec::new();
    for (from, to, expected) in cases {
        assert!(EVERY_OP.contains(from), "{from}");
        let error = Graph::parse(&EVERY_OP.replacen(from, to, 1)).expect_err(to).to_string();
        if !error.starts_with(expected) {
            wrong.push(format!("{to}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whatever is cut out of, put into or swapped in a text, there is a graph or an error; a graph prints and comes back, and
/// the verifier has its say on it.
#[test]
fn mutated_texts_never_panic() {
    let mut state = 0x1234_5678_9abc_def0u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let pieces = ["v0", "v1", "w0", "w9", "{", "}", "(", ")", ",", ":", "=", "0", "4294967295", "4294967296", "-", "0x1p0", "T", "P+T", "f32[T,0]"];
    let mut parsed = 0;
    for _ in 0..4000 {
        let mut text: Vec<char> = EVERY_OP.chars().collect();
        for _ in 0..1 + random(3) {
            let at = random(text.len());
            match random(4) {
                0 => drop(text.remove(at)),
                1 => drop(text.splice(at..at, pieces[random(pieces.len())].chars())),
                2 => text.truncate(at.max(1)),
                _ => {
                    let digit = char::from_digit(random(10) as u32, 10).expect("a digit");
                    if let Some(c) = text[at..].iter_mut().find(|c| c.is_ascii_digit()) {
                        *c = digit;
                    }
                }
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(graph) = Graph::parse(&text) {
            parsed += 1;
            let printed = graph.to_string();
            let back = Graph::parse(&printed).expect("a printed graph parses");
            assert_eq!(back.to_string(), printed);
            if let Err(faults) = verify(&graph) {
                assert!(!faults.is_empty());
            }
            graph.clone().renumber();
        }
    }
    assert!(parsed > 200, "only {parsed} of the texts were graphs");
}
