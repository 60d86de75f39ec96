//! Bundles as files: the same bytes from every compile, sound, small on every target, and quickly opened once known.
#![cfg(all(feature = "llvm", target_arch = "x86_64"))]

use std::fs;
use std::path::Path;
use std::time::Instant;

use safetensors::tensor::Dtype;
use serde_json::json;
use slmc::bundle::{Bundle, Depth};
use slmc::engine::{Engine, EngineOptions, Trust};
use slmc::stub::{self, Runtime};
use slmc_ir::target::known;
use slmc_tests::expected::fixture;
use slmc_tests::native::{build, targets};
use slmc_tests::random_model::RandomModel;

/// Most bytes of the code of a bundle for a CPU: runtime and kernels.
const CODE_LIMIT: u64 = 200 << 10;

fn student() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse")
}

#[test]
fn two_compiles_of_one_input_give_the_same_bytes() {
    for (model, quant) in [(student(), "q4g32"), (fixture("llama-untied"), "f32")] {
        for target in targets() {
            // Same-named copies, so that nothing but the folder differs.
            let bundles = [1, 1, 2, 2].map(|threads| build(&model, target, quant, |o| o.threads = Some(threads)));
            for built in &bundles {
                let bundle = Bundle::open(&built.path()).unwrap_or_else(|e| panic!("{e}"));
                bundle.verify(Depth::Full, true).unwrap_or_else(|e| panic!("{e}"));
            }
            let names: Vec<&str> = bundles[0].report.manifest.files.iter().map(|f| f.path.as_str()).chain(["manifest.json"]).collect();
            for other in &bundles[1..] {
                for name in &names {
                    let read = |dir: &Path| fs::read(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
                    assert!(read(&bundles[0].path()) == read(&other.path()), "{target} {quant}: {name} differs");
                }
            }
        }
    }
}

#[test]
fn the_code_of_a_student_is_small() {
    for target in targets() {
        for quant in ["q4g32", "q8g32", "f32"] {
            let bytes = build(&student(), target, quant, |_| {}).report.code_bytes();
            println!("{target} {quant}: {bytes} bytes of code");
            assert!(bytes <= CODE_LIMIT, "{target} {quant}: {bytes} bytes of code, at most {CODE_LIMIT} are allowed");
        }
    }
}

/// TinyLlama-1.1B with two of its 22 layers, which all run the same kernels, and fewer tokens, whose number is a constant in them.
#[test]
fn the_code_of_a_model_of_real_size_is_small_on_every_processor() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": 1024, "hidden_size": 2048,
        "intermediate_size": 5632, "num_hidden_layers": 2, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 64,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false,
    });
    RandomModel { name: "tinyllama", config, dtype: Dtype::F16, seed: 1 }.write(folder.path());
    for target in known::known().iter().filter(|target| target.gpu.is_none()) {
        if stub::object(target.triple, Runtime::Cpu).is_none() {
            println!("skipped {}: this build has no runtime for {}", target.name, target.triple);
            continue;
        }
        let bytes = build(folder.path(), target.name, "q4g32", |_| {}).report.code_bytes();
        println!("{}: {bytes} bytes of code", target.name);
        assert!(bytes <= CODE_LIMIT, "{}: {bytes} bytes of code, at most {CODE_LIMIT} are allowed", target.name);
    }
}

#[test]
fn a_known_bundle_is_trusted_by_its_stamp() {
    let built = build(&student(), "host", "q4g32", |_| {});
    let cache = tempfile::tempdir().expect("a temporary folder");
    let options = EngineOptions { cache_dir: Some(cache.path().to_owned()), ..EngineOptions::default() };
    for (what, trust) in [("first", Trust::Stamped), ("second", Trust::Known), ("third", Trust::Known)] {
        let start = Instant::now();
        let engine = Engine::open(&built.path(), &options).unwrap_or_else(|e| panic!("{e}"));
        println!("{what} opening: {:?}", start.elapsed());
        assert_eq!(engine.info().trust, trust as u32, "{what} opening");
    }
}
