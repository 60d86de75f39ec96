//! `slmc graph`: the picture is well-formed, complete, folded and always the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use roxmltree::Document;
use safetensors::tensor::Dtype;
use serde_json::json;

use crate::random_model::RandomModel;
use crate::run::{arg, repository, slmc};

/// The picture as text, and how often each op has a box.
fn drawn(args: &[&str]) -> (String, BTreeMap<String, usize>) {
    let text = slmc(&[&["graph"], args].concat()).ok().out;
    let document = Document::parse(&text).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let mut ops = BTreeMap::new();
    for node in document.descendants().filter(|n| n.attribute("class") == Some("node")) {
        let name = node.children().find(|n| n.attribute("class") == Some("name")).and_then(|n| n.text()).expect("a box has a name");
        *ops.entry(name.to_owned()).or_insert(0) += 1;
    }
    (text, ops)
}

fn texts<'a>(document: &'a Document<'a>, class: &'a str) -> Vec<&'a str> {
    document.descendants().filter(|n| n.has_tag_name("text") && n.attribute("class") == Some(class)).filter_map(|n| n.text()).collect()
}

#[test]
fn thirty_layers_are_one_panel() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let config = json!({"model_type": "qwen3", "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        "intermediate_size": 6, "vocab_size": 11, "num_hidden_layers": 30, "max_position_embeddings": 16, "rms_norm_eps": 1e-6});
    RandomModel { name: "deep", config, dtype: Dtype::F32, seed: 3 }.write(dir.path());
    let (text, ops) = drawn(&[arg(dir.path())]);
    let document = Document::parse(&text).unwrap();
    assert_eq!(texts(&document, "heading"), ["tokens", "layers 0–29 × 30", "after the layers", "head: logits of the rows that are asked for"]);
    let count = |op: &str| ops.get(op).copied().unwrap_or(0);
    // Each op of a layer once, and what is around the layers.
    assert_eq!((count("embed"), count("linear"), count("rms_norm"), count("rope"), count("kv_append")), (1, 7 + 1, 4 + 1, 2, 2));
    assert_eq!((count("attention"), count("silu"), count("mul"), count("add")), (1, 1, 1, 2));
    assert!(text.len() < 40_000, "{} bytes", text.len());
    for part in
        ["self_attn.q_norm.weight", "f32[8,8] · 256 bytes", "f32[P+T,4] · 16 bytes a token", "30 layers", "weights of 1.4 KiB each, 42.2 KiB in all"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let height: f64 = document.root_element().attribute("height").and_then(|h| h.parse().ok()).unwrap();
    assert!(height < 2600.0, "{height} pixels are no picture");
}

#[test]
fn layers_that_differ_have_panels_of_their_own() {
    let model = repository("tests/fixtures/gemma3");
    let (text, ops) = drawn(&[arg(&model)]);
    let document = Document::parse(&text).unwrap();
    assert_eq!(texts(&document, "heading")[1..3], ["layers 0–4, 6 × 6", "layer 5"]);
    assert_eq!(texts(&document, "digit"), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!((ops["attention"], ops["scale"], ops["gelu_tanh"]), (2, 1, 2));
    assert!(text.contains("window 16") && text.contains("base 1000000") && text.contains("1 + w"), "{text}");
    let shared = slmc(&["graph", arg(&repository("tests/fixtures/mobilellm-shared"))]).ok().out;
    assert!(shared.contains("3 blocks are stored, each is run 2 times in a row"), "{shared}");
}

#[test]
fn a_later_stage_shows_formats_and_groups() {
    let model = repository("tests/fixtures/llama-tied");
    let (text, ops) = drawn(&[arg(&model), "--after", "fuse", "--target", "x86_64-avx2"]);
    let document = Document::parse(&text).unwrap();
    let notes = texts(&document, "note");
    for group in ["embed", "qkv", "attention", "linear_residual", "gated_linear"] {
        assert!(notes.contains(&group), "{group}: {notes:?}");
    }
    assert!(ops["quantize_act"] > 0 && text.contains("q4g32[") && text.contains("layers 0–2 × 3"), "{text}");
    let quantized = drawn(&[arg(&model), "--after", "quantize", "--quant", "q8g32", "--target", "x86_64-avx2"]).0;
    assert!(quantized.contains("q8g32[") && !quantized.contains("\"group\""));
    slmc(&["graph", arg(&model), "--after", "lower"]).fails_with(&["lower", "import, fold, share, quantize, fuse"]);
}

#[test]
fn a_picture_is_the_same_each_time_and_from_text() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let model = repository("tests/fixtures/stablelm2");
    let out = dir.path().join("graph.svg");
    assert_eq!(slmc(&["graph", arg(&model), "-o", arg(&out)]).ok().out, "");
    let picture = fs::read_to_string(&out).expect("written");
    assert_eq!(picture, drawn(&[arg(&model)]).0);
    let args =
        ["compile", arg(&model), "--target", "x86_64-avx2", "--chunk", "256", "--stop-after", "import", "--quiet", "--dump-ir", arg(dir.path())];
    slmc(&args).ok();
    assert_eq!(picture, drawn(&[arg(&dir.path().join("00-import.slmir"))]).0);
    assert!(picture.contains("layer_norm") && picture.contains("input_layernorm.bias") && picture.contains("4 of 16"), "{picture}");
    slmc(&["graph", arg(Path::new("/no/such/model"))]).fails_with(&["/no/such/model"]);
    slmc(&["graph", arg(&model.join("config.json"))]).fails_with(&["config.json:1:1"]);
    let unsound = repository("tests/filetests/verify/graph/order.slmir");
    slmc(&["graph", arg(&unsound)]).fails_with(&["order.slmir", "before"]);
}
