//! Graphs of sound checkpoints, and reading their weights.

use super::copies::{Copy, Tensor, check_graph, fixture};
use serde_json::json;
use slmc::import::{Checkpoint, ImportOptions, import};
use slmc_ir::graph::{DType, Op, RopeScaling, SegmentKind, WeightSource, weight::WeightProvider};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

#[test]
fn a_tied_model_uses_one_weight_twice() {
    let done = AtomicU64::new(0);
    let options = ImportOptions {
        progress: &|bytes| {
            done.fetch_add(bytes, Ordering::Relaxed);
        },
        ..Default::default()
    };
    let model = import(&fixture("llama-tied"), &options).unwrap();
    let graph = &model.graph;
    assert_eq!(graph.name, "llama_tied");
    assert_eq!((graph.bounds.ctx, graph.bounds.chunk, graph.kv_slots), (256, 256, 3));
    // Embedding, three layers of two norms and seven projections, last norm.
    assert_eq!(graph.weights.len(), 1 + 3 * 9 + 1);
    // Per layer: 2 norms, 7 linears, 2 ropes, 2 appends, attention, silu, mul, 2 adds.
    assert_eq!(graph.body.order.len(), 1 + 3 * 18 + 1);
    assert_eq!(graph.head.order.len(), 1);
    let embed = &graph.nodes[graph.body.order[0]];
    let head = &graph.nodes[graph.head.order[0]];
    assert_eq!((&embed.op, &head.op), (&Op::Embed, &Op::Linear));
    assert_eq!(embed.weights, head.weights);
    assert_eq!(graph.values[graph.segment(SegmentKind::Head).outputs[0]].ty.to_string(), "f32[T,352]");
    assert!(graph.weights.iter().all(|(_, w)| w.hash.is_some() && w.ty.dtype == DType::F32));
    let stored: u64 = model.checkpoint.tensors().map(|t| t.len).sum();
    assert_eq!(done.into_inner(), stored);
    assert_eq!(model.summary.parameters, stored / 4);
    assert!(model.warnings.is_empty());
}

#[test]
fn both_configuration_styles_are_read() {
    let untied = import(&fixture("llama-untied"), &ImportOptions::default()).unwrap();
    assert_eq!(untied.graph.weights.len(), 1 + 3 * 9 + 2);
    let rope = |model: &slmc::import::Imported| {
        model.graph.nodes.iter().find_map(|(_, n)| if let Op::Rope(attrs) = &n.op { Some(attrs.clone()) } else { None }).unwrap()
    };
    assert_eq!((rope(&untied).theta, rope(&untied).scaling, rope(&untied).heads), (10_000.0, RopeScaling::Default, 6));
    let llama3 = import(&fixture("llama3-rope"), &ImportOptions::default()).unwrap();
    assert_eq!(rope(&llama3).scaling, RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 64 });
    assert_eq!(rope(&llama3).theta, 500_000.0);
    let warehouse = import(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse"), &ImportOptions::default()).unwrap();
    for model in [&untied, &llama3, &warehouse] {
        check_graph(&model.graph);
    }
    assert_eq!((warehouse.summary.layers, warehouse.summary.eos.as_slice(), warehouse.graph.bounds.ctx), (10, [2].as_slice(), 1024));
    assert!(warehouse.warnings.is_empty(), "{:?}", warehouse.warnings);
}

#[test]
fn biases_become_operands() {
    let copy = Copy::of("llama-tied");
    copy.config(|map| {
        map.insert("attention_bias".into(), json!(true));
        map.insert("mlp_bias".into(), json!(true));
    });
    copy.edit(|tensors| {
        let biases: Vec<Tensor> = tensors
            .iter()
            .filter(|t| t.name.ends_with("_proj.weight"))
            .map(|t| Tensor {
                name: t.name.replace(".weight", ".bias"),
                dtype: "BF16".into(),
                shape: vec![t.shape[0]],
                bytes: vec![0; 2 * t.shape[0]],
            })
            .collect();
        tensors.extend(biases);
    });
    let graph = copy.import().unwrap().graph;
    let linears = graph.body.order.iter().filter(|n| graph.nodes[**n].op == Op::Linear);
    for linear in linears {
        let [weight, bias] = graph.nodes[*linear].weights[..] else { panic!("a weight and a bias") };
        assert_eq!(graph.weights[bias].ty.dtype, DType::Bf16);
        assert_eq!(graph.weights[bias].name, graph.weights[weight].name.replace(".weight", ".bias"));
    }
}

#[test]
fn contexts_beyond_the_model_are_refused() {
    let with = |ctx| import(&fixture("llama-tied"), &ImportOptions { ctx: Some(ctx), ..Default::default() });
    assert_eq!(with(64).unwrap().graph.bounds.chunk, 64);
    for ctx in [0, 257, usize::MAX] {
        let message = with(ctx).unwrap_err().to_string();
        assert!(message.contains(&ctx.to_string()) && message.contains("at most 256"), "{message}");
    }
}

#[test]
fn rows_are_read_in_every_format() {
    let copy = Copy::of("llama-tied");
    let original = copy.tensors();
    copy.edit(|tensors| {
        for (i, tensor) in tensors.iter_mut().enumerate().filter(|(i, _)| i % 3 > 0) {
            let values = tensor.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            (tensor.dtype, tensor.bytes) = if i % 3 == 1 {
                ("F16".into(), values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect())
            } else {
                ("BF16".into(), values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect())
            };
        }
    });
    let model = copy.import().unwrap();
    for (i, tensor) in original.iter().enumerate() {
        let exact: Vec<f32> = tensor.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let want: Vec<f32> = exact
            .iter()
            .map(|v| match i % 3 {
                0 => *v,
                1 => half::f16::from_f32(*v).to_f32(),
                _ => half::bf16::from_f32(*v).to_f32(),
            })
            .collect();
        let mut got = Vec::new();
        model.checkpoint.read_rows_f32(&tensor.name, 0..tensor.shape[0], &mut got).unwrap();
        assert_eq!(got, want, "{}", tensor.name);
        let row = want.len() / tensor.shape[0];
        model.checkpoint.read_rows_f32(&tensor.name, 1..3, &mut got).unwrap();
        assert_eq!(got, want[row..3 * row]);
        let (_, weight) = model.graph.weights.iter().find(|(_, w)| w.source == WeightSource::tensor(tensor.name.clone())).unwrap();
        let rows = if tensor.shape.len() == 1 { 1 } else { tensor.shape[0] as u32 };
        assert_eq!(model.checkpoint.rows(weight, 0..rows).unwrap(), want);
        assert!(model.checkpoint.rows(weight, 0..rows + 1).is_err());
    }
}

#[test]
fn reads_outside_a_tensor_are_errors() {
    let checkpoint = Checkpoint::open(&fixture("llama-tied")).unwrap();
    let mut out = Vec::new();
    for (name, rows, part) in [("model.norm.weight", 0..97, "it has 96"), ("nothing", 0..1, "tensor nothing was asked for")] {
        let message = checkpoint.read_rows_f32(name, rows, &mut out).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(checkpoint.read_raw("model.norm.weight").unwrap().len(), 384);
    assert!(checkpoint.tensors().is_sorted_by(|a, b| a.name < b.name));
}

#[test]
fn hashes_tell_content_dtype_and_shape_and_nothing_else() {
    let copy = Copy::of("llama-tied");
    let hashes = |copy: &Copy| Checkpoint::open(copy.dir()).unwrap().scan(&[], &|_| {}).unwrap();
    let before = hashes(&copy);
    copy.edit(|tensors| tensors.reverse());
    assert_eq!(hashes(&copy), before, "the order of the file does not matter");
    copy.edit(|tensors| {
        tensors[0].bytes[0] ^= 1;
        tensors[1].shape = vec![1, tensors[1].shape.iter().product()];
    });
    let changed = hashes(&copy).iter().zip(&before).filter(|(a, b)| a.hash != b.hash).count();
    assert_eq!(changed, 2);
    let digest = |copy: &Copy| copy.import().unwrap().source_digest;
    let (one, two) = (Copy::of("llama-tied"), Copy::of("llama-tied"));
    assert_eq!(digest(&one), digest(&two));
    two.edit(|tensors| tensors[0].bytes[0] ^= 1);
    assert_ne!(digest(&one), digest(&two));
}
