//! The graph interpreter against Hugging Face's numbers, against itself in other chunks, and on bad input.

mod llama;

use llama::Llama;
use safetensors::{Dtype, SafeTensors};
use slmc_ir::graph::weight::WeightProvider;
use slmc_ir::graph::{Bounds, DType, Graph, RopeScaling, SegmentKind, TensorType, Weight, WeightSource};
use slmc_ir::interp::graph::{GraphInterp, InterpError, Tensor};
use std::path::Path;

/// Weights from a checkpoint file, or made up where there is none.
struct Weights(Option<Vec<u8>>);

impl WeightProvider for Weights {
    fn rows(&self, weight: &Weight, rows: std::ops::Range<u32>) -> Result<Vec<f32>, String> {
        let width = weight.ty.last().unwrap_or(1) as usize;
        let WeightSource::Tensor { name, .. } = &weight.source;
        match &self.0 {
            Some(bytes) => {
                let all = floats(&SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?, name)?;
                Ok(all[rows.start as usize * width..rows.end as usize * width].to_vec())
            }
            None => {
                let seed = name.bytes().fold(7u64, |s, b| s.wrapping_mul(31).wrapping_add(b.into()));
                let number = |i: usize| {
                    let mut x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    x = (x ^ (x >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    ((x >> 40) as f32 / (1 << 24) as f32 - 0.5) * if name.contains("norm") { 2.0 } else { 0.3 }
                };
                Ok((rows.start as usize * width..rows.end as usize * width).map(number).collect())
            }
        }
    }
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>, String> {
    let view = file.tensor(name).map_err(|e| format!("{name}: {e}"))?;
    match view.dtype() {
        Dtype::F32 => Ok(view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::F16 => Ok(view.data().as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()),
        other => Err(format!("{name} is {other:?}, expected F32 or F16")),
    }
}

fn integers(file: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    let view = file.tensor(name).expect("the fixture has it");
    view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as u32).collect()
}

fn read(folder: &str, file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn most(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn greedy(interp: &mut GraphInterp<'_>, logits: Vec<f32>, vocab: usize, count: usize) -> Vec<u32> {
    let mut last = logits[logits.len() - vocab..].to_vec();
    let mut out = Vec::new();
    for _ in 0..count {
        let best = (0..vocab).fold(0, |best, i| if last[i] > last[best] { i } else { best }) as u32;
        out.push(best);
        let hidden = interp.body(&[best]).expect("it runs");
        last = interp.head(&hidden).expect("it runs");
    }
    out
}

/// Logits, greedy continuation and residual stream of a fixture.
fn fixture(name: &str, model: Llama) {
    let folder = format!("tests/fixtures/{name}");
    let weights = Weights(Some(read(&folder, "model.safetensors")));
    let expected = read(&folder, "expected.safetensors");
    let expected = SafeTensors::deserialize(&expected).expect("the fixture is sound");
    let (graph, stream) = model.build(Bounds { chunk: 64, ctx: 128 });
    let mut interp = GraphInterp::new(&graph, &weights).expect("it verifies");
    interp.watch(&stream);
    let tokens = integers(&expected, "input_ids");
    let hidden = interp.body(&tokens).expect("it runs");
    let layers = floats(&expected, "hidden").expect("it is f32");
    for (i, layer) in layers.chunks_exact(tokens.len() * model.hidden as usize).enumerate() {
        let difference = most(interp.watched(stream[i]), layer);
        assert!(difference < 5e-5, "{name}: residual stream {i} differs by {difference}");
    }
    let logits = interp.head(&hidden).expect("it runs");
    let difference = most(&logits, &floats(&expected, "logits").expect("they are f32"));
    assert!(difference < 1e-4, "{name}: logits differ by {difference}");
    let continuation = integers(&expected, "greedy");
    assert_eq!(greedy(&mut interp, logits, model.vocab as usize, continuation.len()), continuation, "{name}");
}

#[test]
fn fixtures_agree() {
    let common = Llama { vocab: 352, hidden: 96, inner: 160, layers: 3, heads: 6, kv_heads: 2, head_dim: 16, eps: 1e-6, ..Llama::tiny() };
    let scaling = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64 };
    fixture("llama-tied", Llama { heads: 3, kv_heads: 1, head_dim: 32, ..common.clone() });
    fixture("llama-untied", Llama { eps: 1e-5, tied: false, ..common.clone() });
    fixture("llama3-rope", Llama { theta: 500_000.0, scaling, ..common });
}

#[test]
fn chunks_do_not_matter() {
    let weights = Weights(None);
    let (graph, _) = Llama { kv: DType::F16, ..Llama::tiny() }.build(Bounds { chunk: 16, ctx: 64 });
    let tokens: Vec<u32> = (0..40).map(|i| i * 7 % 40).collect();
    let mut interp = GraphInterp::new(&graph, &weights).expect("it verifies");
    let all = interp.body(&tokens).expect("it runs");
    assert_eq!((interp.position(), all.len()), (40, 40 * 64));
    for chunk in [1, 7, 16] {
        interp.reset();
        let parts: Vec<f32> = tokens.chunks(chunk).flat_map(|c| interp.body(c).expect("it runs")).collect();
        assert_eq!(parts, all, "chunks of {chunk}");
    }
    // What is rewound is forgotten.
    interp.rewind(10).expect("it was there");
    let again = interp.body(&tokens[10..]).expect("it runs");
    assert_eq!(again, all[10 * 64..]);
    interp.rewind(10).expect("it was there");
    let other = interp.body(&[3, 3, 3]).expect("it runs");
    assert_ne!(other, all[10 * 64..13 * 64]);
}

#[test]
fn quantized_models_stay_near() {
    let weights = Weights(None);
    let bounds = Bounds { chunk: 16, ctx: 64 };
    let tokens: Vec<u32> = (0..12).map(|i| i * 11 % 40).collect();
    let run = |model: Llama| {
        let (graph, _) = model.build(bounds);
        let mut interp = GraphInterp::new(&graph, &weights).expect("it verifies");
        let hidden = interp.body(&tokens).expect("it runs");
        interp.head(&hidden).expect("it runs")
    };
    let exact = run(Llama::tiny());
    let rms = (exact.iter().map(|x| x * x).sum::<f32>() / exact.len() as f32).sqrt();
    let formats = [
        (DType::F16, false, 0.001),
        (DType::Bf16, false, 0.02),
        (DType::Q8, true, 0.03),
        (DType::Q6, true, 0.08),
        (DType::Q4 { group: 32 }, true, 0.4),
    ];
    for (linear, quantize, most_relative) in formats {
        let got = run(Llama { linear, table: linear, quantize, ..Llama::tiny() });
        let error = (exact.iter().zip(&got).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / exact.len() as f32).sqrt() / rms;
        assert!(error > 0.0 && error < most_relative, "{linear}: relative error {error}");
    }
}

/// A graph of one op, run on rows; weights are made up.
fn run_op(body: &str, inputs: &[(usize, Vec<f32>)]) -> Vec<f32> {
    let text = format!(
        "slmir 0 graph @op {{chunk = 8, ctx = 8, kv_slots = 1}} {{
        w0 = weight \"w\" q4g64[4,64] tensor \"w\" w1 = weight \"norm\" f32[2] tensor \"norm\" w2 = weight \"b\" f32[4] tensor \"b\"
        body({body}"
    );
    let graph = Graph::parse(&text).expect("it parses");
    let weights = Weights(None);
    let mut interp = GraphInterp::new(&graph, &weights).expect("it verifies");
    let inputs = inputs.iter().map(|(width, data)| Tensor::Rows { width: *width, data: data.clone() }).collect();
    match interp.run(SegmentKind::Body, inputs).expect("it runs").remove(0) {
        Tensor::Rows { data, .. } => data,
        other => panic!("expected rows, found {other:?}"),
    }
}

/// The values that the test's weights have for a 1-D tensor.
fn vector(name: &str, len: u32) -> Vec<f32> {
    let source = WeightSource::tensor(name);
    let weight = Weight { name: name.to_owned(), ty: TensorType::fixed(DType::F32, &[len]), source, hash: None };
    Weights(None).rows(&weight, 0..1).expect("made up")
}

#[test]
fn ops_by_hand() {
    let pair = vec![1.0f32, -2.0, 0.5, 3.0];
    let two = "v0: f32[T,2]) { v1: f32[T,2] =";
    let cases: [(&str, [f32; 4]); 6] = [
        ("silu v0", [0.731_058_6, -0.238_405_84, 0.311_229_67, 2.857_722_3]),
        ("gelu_tanh v0", [0.841_192, -0.045_402_348, 0.345_714_02, 2.996_362_7]),
        ("scale v0 {factor = -0.5}", [-0.5, 1.0, -0.25, -1.5]),
        ("softcap v0 {cap = 2.0}", [0.924_234_3, -1.523_188_3, 0.489_837_32, 1.810_296_7]),
        ("mul v0, v0", [1.0, 4.0, 0.25, 9.0]),
        ("add v0, v0", [2.0, -4.0, 1.0, 6.0]),
    ];
    for (op, expected) in cases {
        let got = run_op(&format!("{two} {op} return v1 }} }}"), &[(2, pair.clone())]);
        assert!(most(&got, &expected) < 3e-7, "{op}: {got:?}");
    }
    // Two heads of one: each becomes ±1 times its weight.
    let text = "v0: f32[T,4]) { v1: f32[T,4] = rms_norm v0, w1 {eps = 0.0, heads = 2} return v1 } }";
    let got = run_op(text, &[(4, vec![3.0, 4.0, -0.5, 0.0])]);
    let w = vector("norm", 2);
    let root = 12.5f32.sqrt();
    assert!(most(&got, &[3.0 / root * w[0], 4.0 / root * w[1], -(2.0f32.sqrt()) * w[0], 0.0]) < 1e-6, "{got:?}");
    let got = run_op(
        "v0: f32[T,4]) { v1: f32[T,4] = rms_norm v0, w2 {eps = 0.0, heads = 1, unit_offset = yes} return v1 } }",
        &[(4, vec![2.0, 2.0, -2.0, 2.0])],
    );
    let w = vector("b", 4);
    assert!(most(&got, &[1.0 + w[0], 1.0 + w[1], -(1.0 + w[2]), 1.0 + w[3]]) < 1e-6, "{got:?}");
    // Mean 3, variance 5.
    let got = run_op("v0: f32[T,4]) { v1: f32[T,4] = layer_norm v0, w2, w2 {eps = 4.0} return v1 } }", &[(4, vec![0.0, 2.0, 4.0, 6.0])]);
    let by_hand: Vec<f32> = [-3.0, -1.0, 1.0, 3.0].iter().zip(&w).map(|(x, w)| x / 3.0 * w + w).collect();
    assert!(most(&got, &by_hand) < 1e-6, "{got:?}");
    // Position 1 turns the pair (1, 3) of a head by one radian and leaves dims beyond rotary_dim.
    let text = "v0: f32[T,3]) { v1: f32[T,3] = rope v0 {heads = 1, head_dim = 3, rotary_dim = 2, theta = 10000.0, scaling = default} return v1 } }";
    let got = run_op(text, &[(3, vec![1.0, 3.0, 7.0, 1.0, 3.0, 7.0])]);
    let (sin, cos) = 1.0f32.sin_cos();
    assert!(most(&got, &[1.0, 3.0, 7.0, cos - 3.0 * sin, 3.0 * cos + sin, 7.0]) < 1e-6, "{got:?}");
}

#[test]
fn attention_by_hand() {
    let attend = |attrs: &str, values: Vec<f32>| {
        let text = format!(
            "v0: f32[T,2], v1: f32[T,1], v2: f32[T,1]) {{
            v3: f32[P+T,1] = kv_append v1 {{slot = 0, part = k}} v4: f32[P+T,1] = kv_append v2 {{slot = 0, part = v}}
            v5: f32[T,2] = attention v0, v3, v4 {{heads = 2, kv_heads = 1, head_dim = 1, {attrs}}} return v5 }} }}"
        );
        run_op(&text, &[(2, vec![0.0, 1.0, 0.0, 1.0, 0.0, 1.0]), (1, vec![1.0, 2.0, 3.0]), (1, values)])
    };
    // Head 0 sees equal scores and takes the mean; head 1 weighs by exp(scale · k).
    let got = attend("scale = 1.0", vec![6.0, 0.0, 3.0]);
    let weigh = |w: &[f32], v: &[f32]| w.iter().zip(v).map(|(w, v)| w.exp() * v).sum::<f32>() / w.iter().map(|w| w.exp()).sum::<f32>();
    let expected = [6.0, 6.0, 3.0, weigh(&[1.0, 2.0], &[6.0, 0.0]), 3.0, weigh(&[1.0, 2.0, 3.0], &[6.0, 0.0, 3.0])];
    assert!(most(&got, &expected) < 1e-6, "{got:?}");
    let got = attend("scale = 1.0, window = 2", vec![6.0, 0.0, 3.0]);
    assert!(most(&got[4..], &[1.5, weigh(&[2.0, 3.0], &[0.0, 3.0])]) < 1e-6, "{got:?}");
    let got = attend("scale = 2.0, softcap = 1.5", vec![6.0, 0.0, 3.0]);
    let cap = |x: f32| 1.5 * (2.0 * x / 1.5).tanh();
    assert!(most(&got[5..], &[weigh(&[cap(1.0), cap(2.0), cap(3.0)], &[6.0, 0.0, 3.0])]) < 1e-6, "{got:?}");
}

#[test]
fn integer_products_are_the_dequantized_ones() {
    let x: Vec<f32> = (0..128).map(|i| ((i * 37 % 101) as f32 - 50.0) / 17.0).collect();
    let exact = run_op("v0: f32[T,64]) { v1: a8g32[T,64] = quantize_act v0 v2: f32[T,4] = linear v1, w0, w2 return v2 } }", &[(64, x.clone())]);
    let mut rounded = x.clone();
    for group in rounded.chunks_mut(32) {
        let mut codes = [0; 32];
        let (scale, _) = slmc_ir::quant::quantize_act_group(group.as_array().expect("32 of them"), &mut codes);
        group.iter_mut().zip(codes).for_each(|(x, c)| *x = scale * f32::from(c));
    }
    let by_floats = run_op("v0: f32[T,64]) { v1: f32[T,4] = linear v0, w0, w2 return v1 } }", &[(64, rounded)]);
    assert!(most(&exact, &by_floats) < 1e-5);
}

#[test]
fn bad_input_is_an_error_and_leaves_the_cache() {
    let weights = Weights(None);
    let (graph, _) = Llama::tiny().build(Bounds { chunk: 4, ctx: 8 });
    let mut interp = GraphInterp::new(&graph, &weights).expect("it verifies");
    let first = interp.body(&[1, 2]).expect("it runs");
    let error = |r: Result<Vec<f32>, InterpError>| r.expect_err("it must fail").to_string();
    assert_eq!(error(interp.body(&[3, 4, 5, 6, 40])), "token 40 at position 4 of the input: expected an id below 40");
    assert_eq!(error(interp.body(&[0; 7])), "context is full: 2 tokens are cached and 7 more do not fit the 8 of the graph; rewind or reset first");
    assert_eq!(interp.position(), 2);
    assert_eq!(error(interp.head(&[0.0; 65])), "input v39: expected f32[T,64] with T >= 1, the same for all inputs, found 65 numbers in rows of 64");
    assert!(matches!(interp.rewind(3), Err(InterpError::Rewind { to: 3, cached: 2 })));
    interp.run(SegmentKind::Body, vec![Tensor::Rows { width: 64, data: vec![0.0; 64] }]).expect_err("no tokens");
    interp.run(SegmentKind::Body, vec![]).expect_err("no input");
    interp.reset();
    assert_eq!(interp.body(&[1, 2]).expect("it runs"), first);
    let mut broken = graph.clone();
    broken.body.outputs = broken.head.outputs.clone();
    assert!(matches!(GraphInterp::new(&broken, &weights), Err(InterpError::Invalid(_))));
    let missing = Weights(Some(read("tests/fixtures/llama-tied", "expected.safetensors")));
    let mut interp = GraphInterp::new(&graph, &missing).expect("nothing is read yet");
    assert!(error(interp.body(&[1])).starts_with("weight model.embed_tokens.weight: "));
}

/// A graph that verifies runs or gives an error, whatever its numbers are.
#[test]
fn verified_graphs_never_panic() {
    let mut seeds = Vec::new();
    for (dtype, quantize) in [(DType::F32, false), (DType::Q4 { group: 32 }, true)] {
        let (graph, _) = Llama { layers: 1, linear: dtype, table: dtype, quantize, ..Llama::tiny() }.build(Bounds { chunk: 4, ctx: 16 });
        seeds.push(graph.to_string());
    }
    let mut state = 5u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut answered = 0;
    for i in 0..800 {
        let mut text = seeds[i % seeds.len()].clone().into_bytes();
        for _ in 0..1 + random(2) {
            let at = random(text.len());
            if let Some(c) = text[at..].iter_mut().find(|c| c.is_ascii_digit()) {
                *c = b"0123456789"[random(10)];
            }
        }
        let Ok(graph) = Graph::parse(&String::from_utf8_lossy(&text)) else { continue };
        let large = graph.weights.iter().any(|(_, w)| w.ty.const_shape().is_none_or(|s| s.iter().any(|&n| n > 4096)));
        if large {
            continue;
        }
        let weights = Weights(None);
        let Ok(mut interp) = GraphInterp::new(&graph, &weights) else { continue };
        for tokens in [&[1, 2, 3, 4, 5][..], &[39]] {
            // Logits or an error: both are answers.
            let _ = interp.body(tokens).and_then(|hidden| interp.head(&hidden));
            answered += 1;
        }
    }
    assert!(answered > 100, "{answered} runs");
}

#[test]
fn the_warehouse_student_runs() {
    let weights = Weights(Some(read("examples/warehouse", "model.safetensors")));
    let model = Llama { vocab: 1024, hidden: 128, inner: 352, layers: 10, heads: 2, kv_heads: 1, head_dim: 64, ..Llama::tiny() };
    let run = |model: Llama| {
        let (graph, _) = model.build(Bounds { chunk: 128, ctx: 1024 });
        let mut interp = GraphInterp::new(&graph, &weights).expect("it verifies");
        let hidden = interp.body(&(0..150).map(|i| i * 13 % 1024).collect::<Vec<_>>()).expect("it runs");
        interp.head(&hidden[149 * 128..]).expect("it runs")
    };
    let exact = run(model.clone());
    let quantized = run(Llama { linear: DType::Q8, table: DType::Q8, kv: DType::F16, quantize: true, ..model });
    assert!(exact.iter().all(|x| x.is_finite()));
    let spread = exact.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    assert!(most(&exact, &quantized) < 0.1 * spread);
}
