//! Two checkpoints that mean the same compute the same, bit for bit.

use super::copies::{Copy, Tensor};
use serde_json::json;
use slmc::import::{ImportOptions, Imported, import};
use slmc_ir::graph::{AttentionAttrs, Op, RopeScaling};
use slmc_ir::interp::graph::GraphInterp;
use std::collections::BTreeSet;

const TOKENS: [u32; 9] = [3, 141, 59, 26, 5, 35, 89, 79, 323];

fn logits(model: &Imported) -> Vec<f32> {
    let mut interp = GraphInterp::new(&model.graph, &model.checkpoint).unwrap();
    let states = interp.body(&TOKENS).unwrap();
    interp.head(&states).unwrap()
}

fn hashes(model: &Imported) -> BTreeSet<[u8; 32]> {
    model.graph.weights.iter().map(|(_, w)| w.hash.unwrap()).collect()
}

/// Rows of a tensor as a tensor.
fn rows(tensor: &Tensor, name: String, rows: std::ops::Range<usize>) -> Tensor {
    let row = tensor.bytes.len() / tensor.shape[0];
    Tensor {
        name,
        dtype: tensor.dtype.clone(),
        shape: vec![rows.len(), tensor.shape[1]],
        bytes: tensor.bytes[rows.start * row..rows.end * row].to_vec(),
    }
}

#[test]
fn fused_projections_are_rows_of_the_stored_tensor() {
    let fused = Copy::of("phi3");
    let split = Copy::of("phi3");
    split.set("model_type", json!("llama"));
    split.set("architectures", json!(["LlamaForCausalLM"]));
    split.edit(|tensors| {
        let parts = |tensor: &Tensor| -> Vec<Tensor> {
            if let Some(layer) = tensor.name.strip_suffix("qkv_proj.weight") {
                (0..3).map(|i| rows(tensor, format!("{layer}{}_proj.weight", ["q", "k", "v"][i]), 96 * i..96 * (i + 1))).collect()
            } else if let Some(layer) = tensor.name.strip_suffix("gate_up_proj.weight") {
                (0..2).map(|i| rows(tensor, format!("{layer}{}_proj.weight", ["gate", "up"][i]), 160 * i..160 * (i + 1))).collect()
            } else {
                vec![tensor.clone()]
            }
        };
        *tensors = tensors.iter().flat_map(parts).collect();
    });
    let (fused, split) = (fused.import().unwrap(), split.import().unwrap());
    assert_eq!(logits(&fused), logits(&split));
    assert_eq!(hashes(&fused), hashes(&split), "a part has the hash of a tensor with its content");
    assert_eq!(fused.summary.parameters, split.summary.parameters);
    let names: Vec<&str> = fused.graph.weights.iter().map(|(_, w)| w.name.as_str()).filter(|n| n.contains("layers.1") && n.contains("qkv")).collect();
    let name = |rows: &str| format!("model.layers.1.self_attn.qkv_proj.weight[{rows}]");
    assert_eq!(names, [name("0..96"), name("96..192"), name("192..288")]);
}

#[test]
fn shared_layers_are_layers_that_are_stored_once() {
    let shared = Copy::of("mobilellm-shared");
    let spread = Copy::of("mobilellm-shared");
    spread.set("layer_sharing", json!(false));
    spread.set("num_hidden_layers", json!(6));
    spread.edit(|tensors| {
        let twice = |tensor: &Tensor| -> Vec<Tensor> {
            let Some((layer, part)) = tensor.name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')) else {
                return vec![tensor.clone()];
            };
            let layer: usize = layer.parse().unwrap();
            (0..2).map(|run| Tensor { name: format!("model.layers.{}.{part}", 2 * layer + run), ..tensor.clone() }).collect()
        };
        *tensors = tensors.iter().flat_map(twice).collect();
    });
    let (shared, spread) = (shared.import().unwrap(), spread.import().unwrap());
    assert_eq!(logits(&shared), logits(&spread));
    assert_eq!((shared.summary.blocks, shared.summary.layers, shared.graph.kv_slots), (3, 6, 6));
    assert_eq!((spread.summary.blocks, spread.summary.layers, spread.graph.kv_slots), (6, 6, 6));
    // Embedding, three blocks of nine, last norm.
    assert_eq!((shared.graph.weights.len(), spread.graph.weights.len()), (29, 56));
    assert_eq!(hashes(&shared), hashes(&spread));
}

#[test]
fn both_spellings_of_gemma_mean_the_same() {
    let old = Copy::of("gemma3");
    let new = Copy::of("gemma3");
    new.config(|map| {
        for key in ["rope_theta", "rope_scaling", "rope_local_base_freq", "sliding_window_pattern", "_sliding_window_pattern"] {
            map.remove(key);
        }
        let kinds: Vec<_> = (1..=7).map(|n| if n == 6 { "full_attention" } else { "sliding_attention" }).collect();
        map.insert("layer_types".into(), json!(kinds));
        let rope = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
        map.insert("rope_parameters".into(), json!({"full_attention": rope(1e6), "sliding_attention": rope(1e4)}));
    });
    let name = |model: Imported| slmc_ir::graph::Graph { name: "m".into(), ..model.graph };
    assert_eq!(name(old.import().unwrap()), name(new.import().unwrap()));
}

#[test]
fn the_language_model_of_a_nested_checkpoint_is_the_model_without_the_nest() {
    let plain = Copy::of("gemma3").import().unwrap();
    for root in ["language_model.model.", "model.language_model."] {
        let nested = Copy::of("gemma3");
        nested.config(|map| {
            let mut text = std::mem::take(map);
            for key in ["architectures", "eos_token_id"] {
                text.remove(key);
            }
            // A default of the family's.
            text.remove("hidden_activation");
            map.insert("model_type".into(), json!("gemma3"));
            map.insert("architectures".into(), json!(["Gemma3ForConditionalGeneration"]));
            map.insert("text_config".into(), json!(text));
            map.insert("vision_config".into(), json!({"model_type": "siglip_vision_model", "hidden_size": 1152}));
            map.insert("eos_token_id".into(), json!([1, 106]));
            map.insert("mm_tokens_per_image".into(), json!(256));
        });
        nested.edit(|tensors| {
            for tensor in tensors.iter_mut() {
                tensor.name = tensor.name.replacen("model.", root, 1);
            }
            let name = if root.starts_with("model") { "model.vision_tower.a" } else { "vision_tower.a" };
            tensors.push(Tensor { name: name.into(), dtype: "F32".into(), shape: vec![3], bytes: vec![0; 12] });
        });
        let model = nested.import().unwrap();
        assert_eq!(logits(&model), logits(&plain), "{root}");
        assert_eq!(model.summary.eos, [1, 106]);
        let warnings: Vec<String> = model.warnings.iter().map(ToString::to_string).collect();
        assert!(
            warnings.len() == 1 && warnings[0].contains("1 tensors") && warnings[0].contains("12 bytes") && warnings[0].contains("texts only"),
            "{warnings:?}"
        );
        nested.set("text_config.sliding_window", json!(0));
        nested.refused(&["text_config.sliding_window: found 0"]);
        nested.set("text_config", json!(7));
        nested.refused(&["text_config: found 7, an object is expected"]);
    }
}

#[test]
fn the_context_chooses_the_factors_of_longrope_and_says_so() {
    let copy = Copy::of("phi3-longrope");
    let at = |ctx| import(copy.dir(), &ImportOptions { ctx: Some(ctx), ..Default::default() }).unwrap();
    let divisors = |model: &Imported| {
        let (_, node) = model.graph.nodes.iter().find(|(_, n)| matches!(n.op, Op::Rope(_))).unwrap();
        let Op::Rope(attrs) = &node.op else { panic!("a rope") };
        let RopeScaling::PerPair { magnitude, divisors } = &attrs.scaling else { panic!("per pair") };
        (*magnitude, divisors[0], divisors.len())
    };
    // sqrt(1 + ln(256 / 32) / ln(32)) whatever the context.
    let magnitude = (1.6f64).sqrt() as f32;
    for (ctx, first, words) in [(32, 1.0, "short_factor: the context of 32 does not exceed"), (33, 1.5, "long_factor: the context of 33 exceeds")] {
        let model = at(ctx);
        assert_eq!(divisors(&model), (magnitude, first, 8));
        assert!(model.decided.len() == 1 && model.decided[0].contains(words), "{:?}", model.decided);
    }
    assert!(Copy::of("phi3").import().unwrap().decided.is_empty());
}

#[test]
fn windows_hide_and_a_window_over_the_context_is_none() {
    let windows = |model: &Imported| -> Vec<Option<u32>> {
        let of = |op: &Op| if let Op::Attention(AttentionAttrs { window, .. }) = op { Some(*window) } else { None };
        model.graph.body.order.iter().filter_map(|n| of(&model.graph.nodes[*n].op)).collect()
    };
    let copy = Copy::of("gemma2");
    assert_eq!(windows(&copy.import().unwrap()), [Some(16), None, Some(16)]);
    let at = |ctx| import(copy.dir(), &ImportOptions { ctx: Some(ctx), ..Default::default() }).unwrap();
    assert_eq!((windows(&at(16)), windows(&at(17))), (vec![None; 3], vec![Some(16), None, Some(16)]));
    let qwen = Copy::of("qwen2");
    qwen.set("layer_types", serde_json::Value::Null);
    qwen.set("sliding_window", json!(20));
    qwen.set("max_window_layers", json!(2));
    assert_eq!(windows(&qwen.import().unwrap()), [None; 3]);
    qwen.set("use_sliding_window", json!(true));
    assert_eq!(windows(&qwen.import().unwrap()), [None, None, Some(20)]);
    let phi = Copy::of("phi3");
    phi.set("sliding_window", json!(47));
    assert_eq!(windows(&phi.import().unwrap()), [Some(47); 3]);
}

#[test]
fn embeddings_of_gemma_are_scaled_in_the_format_of_the_checkpoint() {
    let factor = |model: &Imported| {
        let (_, node) = model.graph.nodes.iter().find(|(_, n)| matches!(n.op, Op::Scale { .. })).unwrap();
        let Op::Scale { factor } = node.op else { panic!("a scale") };
        factor
    };
    let copy = Copy::of("gemma2");
    assert_eq!(factor(&copy.import().unwrap()), 96f32.sqrt());
    copy.edit(|tensors| {
        for tensor in tensors {
            tensor.dtype = "BF16".into();
            tensor.bytes = tensor.bytes.as_chunks::<4>().0.iter().flat_map(|b| [b[2], b[3]]).collect();
        }
    });
    assert_eq!(factor(&copy.import().unwrap()), 9.8125);
}
