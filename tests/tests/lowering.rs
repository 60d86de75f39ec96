//! Lowered fixtures: every kernel is valid, and the kernel interpreter walking the plan gives Hugging Face's numbers.

use std::fs;

use slmc_ir::interp::graph::GraphInterp;
use slmc_ir::interp::plan::PlanInterp;
use slmc_ir::kernel::verify::verify_kernel;
use slmc_ir::target::known;
use slmc_tests::compiled::{Compiled, compile};
use slmc_tests::expected::{Expected, argmax, fixture, largest_difference, mean_kl};
use slmc_tests::random_llama::odd_geometries;

const FIXTURES: [&str; 11] =
    ["gemma2", "gemma3", "llama-tied", "llama-untied", "llama3-rope", "mobilellm-shared", "phi3", "phi3-longrope", "qwen2", "qwen3", "stablelm2"];
const F32: &str = "fold,share,quantize{body=f32,embed=f32,head=f32,kv=f32},fuse";
const F16: &str = "fold,share,quantize{body=f16,embed=f16,head=f16},fuse";
const Q4: &str = "fold,share,quantize,fuse";
const Q4_CACHE_Q8: &str = "fold,share,quantize{kv=q8g32},fuse";
const Q8: &str = "fold,share,quantize{body=q8g32,embed=q8g32,head=q8g32},fuse";

#[test]
fn kernels_are_valid() {
    for name in FIXTURES {
        for target in known::known().into_iter().filter(|t| t.gpu.is_none()) {
            for passes in [F32, F16, Q4, Q4_CACHE_Q8, Q8] {
                let c = compile(&fixture(name), &target, passes, 256, 64);
                for (_, k) in c.lowered.kernels.kernels.iter() {
                    if let Err(errors) = verify_kernel(k) {
                        let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
                        panic!("{name} {}: @{}:\n{}\n{k}", target.name, k.name, list.join("\n"));
                    }
                }
            }
        }
    }
}

fn interpreter(c: &Compiled) -> PlanInterp<'_> {
    PlanInterp::new(&c.lowered.plan, &c.lowered.kernels, &c.weights).unwrap_or_else(|e| panic!("{e}"))
}

/// What the graph interpreter makes of the tokens: a row of logits for each.
fn oracle(c: &Compiled, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut oracle = GraphInterp::new(&c.model.graph, &c.model.checkpoint).unwrap_or_else(|e| panic!("{e}"));
    let hidden = oracle.body(ids).unwrap_or_else(|e| panic!("{e}"));
    let logits = oracle.head(&hidden).unwrap_or_else(|e| panic!("{e}"));
    logits.chunks_exact(c.lowered.plan.vocab as usize).map(<[f32]>::to_vec).collect()
}

#[test]
fn f32_builds_give_the_reference_numbers_in_every_chunking() {
    for name in FIXTURES {
        let expected = Expected::read(name);
        for target in known::known().into_iter().filter(|t| t.gpu.is_none()) {
            let c = compile(&fixture(name), &target, F32, 256, 64);
            let mut session = interpreter(&c);
            let mut whole: Vec<Vec<f32>> = Vec::new();
            for chunk in [64, 16, 7, 1] {
                session.reset();
                let logits = session.eval(&expected.input_ids, chunk, true).unwrap_or_else(|e| panic!("{name}: {e}"));
                let d = largest_difference(&logits, &expected.logits);
                assert!(d <= 2e-4, "{name} {} in chunks of {chunk}: logits differ by {d}", target.name);
                if whole.is_empty() {
                    whole = logits;
                } else {
                    let d = largest_difference(&logits, &whole);
                    assert!(d <= 1e-4, "{name} {}: chunks of {chunk} and of 64 differ by {d}", target.name);
                }
            }
            let mut next = argmax(&whole[whole.len() - 1]);
            let mut greedy = Vec::new();
            for _ in 0..expected.greedy.len() {
                greedy.push(next);
                let row = session.eval(&[next], 1, false).unwrap_or_else(|e| panic!("{name}: {e}"));
                next = argmax(&row[0]);
            }
            assert_eq!(greedy, expected.greedy, "{name} {}", target.name);
        }
    }
}

#[test]
fn caches_of_windows_wrap_around() {
    for name in ["gemma2", "gemma3"] {
        for target in known::known().into_iter().filter(|t| t.gpu.is_none()) {
            let c = compile(&fixture(name), &target, F32, 256, 8);
            assert!(c.lowered.plan.kv.iter().any(|kv| kv.ring.is_some_and(|ring| ring.positions <= 64)), "{name}: {:?}", c.lowered.plan.kv);
            let ids: Vec<u32> = (0..200).map(|i| (i * 7919 + 13) % c.lowered.plan.vocab).collect();
            let logits = oracle(&c, &ids);
            let mut session = interpreter(&c);
            for chunk in [8, 3] {
                session.reset();
                let found = session.eval(&ids, chunk, true).unwrap_or_else(|e| panic!("{name}: {e}"));
                let d = largest_difference(&found, &logits);
                assert!(d <= 2e-4, "{name} {} in chunks of {chunk}: logits differ by {d}", target.name);
            }
            // Back within what the rings remember, and on with other tokens.
            session.rewind(190).unwrap_or_else(|e| panic!("{e}"));
            let found = session.eval(&ids[190..], 5, true).unwrap_or_else(|e| panic!("{e}"));
            let d = largest_difference(&found, &logits[190..]);
            assert!(d <= 2e-4, "{name} {} after going back: logits differ by {d}", target.name);
            assert!(session.rewind(100).is_err());
        }
    }
}

/// A fixture made for more positions than it says.
fn with_context(name: &str, positions: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = fixture(name);
    fs::copy(source.join("model.safetensors"), dir.path().join("model.safetensors")).expect("a fixture has weights");
    let config = fs::read_to_string(source.join("config.json")).expect("a fixture has a configuration");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("a configuration is JSON");
    config["max_position_embeddings"] = positions.into();
    fs::write(dir.path().join("config.json"), config.to_string()).expect("writable");
    dir
}

/// Where tiles of heads cannot be dealt to the cores evenly, decode cuts a cache of more than 256 positions.
#[test]
fn long_caches_are_split_over_positions() {
    for (name, passes) in [("llama-tied", F32), ("qwen2", F32), ("llama-tied", Q4_CACHE_Q8)] {
        let longer = with_context(name, 600);
        for target in ["x86_64-avx512vnni", "linux-arm64"] {
            let mut target = known::find(target).expect("a known target");
            target.cores = 7;
            let c = compile(longer.path(), &target, passes, 600, 64);
            let combines = c.lowered.kernels.kernels.iter().filter(|(_, k)| k.name.starts_with("combine_attention")).count();
            assert!(combines > 0, "{name} {}: nothing is split", target.name);
            let ids: Vec<u32> = (0..516).map(|i| (i * 7919 + 13) % c.lowered.plan.vocab).collect();
            let logits = oracle(&c, &ids);
            let mut session = interpreter(&c);
            // One token at a time before, at and behind the ends of the first two spans.
            for (begin, end) in [(250, 260), (508, 516)] {
                session.eval(&ids[session.position() as usize..begin], 64, false).unwrap_or_else(|e| panic!("{name}: {e}"));
                let found = session.eval(&ids[begin..end], 1, true).unwrap_or_else(|e| panic!("{name}: {e}"));
                let what = format!("{name} {} {passes} from {begin}", target.name);
                if passes == F32 {
                    let d = largest_difference(&found, &logits[begin..end]);
                    assert!(d <= 2e-4, "{what}: logits differ by {d}");
                }
                let kl = mean_kl(&logits[begin..end], &found);
                assert!(kl <= 1e-3, "{what}: mean KL divergence {kl:e}");
            }
        }
    }
}

#[test]
fn quantized_builds_agree_with_the_graph_interpreter() {
    for name in FIXTURES {
        let expected = Expected::read(name);
        for target in known::known().into_iter().filter(|t| t.gpu.is_none()) {
            for passes in [F16, Q8, Q4, Q4_CACHE_Q8] {
                let c = compile(&fixture(name), &target, passes, 256, 64);
                let logits = oracle(&c, &expected.input_ids);
                let mut session = interpreter(&c);
                for chunk in [64, 1] {
                    session.reset();
                    let found = session.eval(&expected.input_ids, chunk, true).unwrap_or_else(|e| panic!("{name}: {e}"));
                    // Rounding of activations may fall to the other side in rare places; the distributions hardly move.
                    let kl = mean_kl(&logits, &found);
                    println!("{name} {} {passes} chunk {chunk}: {kl:e} {}", target.name, largest_difference(&found, &logits));
                    assert!(kl <= 1e-3, "{name} {} {passes} in chunks of {chunk}: mean KL divergence {kl:e}", target.name);
                }
            }
        }
    }
}

#[test]
fn odd_geometries_agree_with_the_graph_interpreter() {
    for model in odd_geometries() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        model.write(dir.path());
        let ids = model.prompt();
        // Interpreting whole workgroups is slow: one target stands for the GPUs, whose own tests vary the rest.
        for target in known::known().into_iter().filter(|t| t.gpu.is_none() || t.name == "vulkan-generic") {
            let schemes: &[&str] = if target.gpu.is_some() { &[F32, Q4] } else { &[F32, F16, Q8, Q4, Q4_CACHE_Q8] };
            for &passes in schemes {
                let c = compile(dir.path(), &target, passes, model.ctx as u32, 16);
                let what = format!("{} {} {passes}", model.name, target.name);
                for (_, k) in c.lowered.kernels.kernels.iter() {
                    verify_kernel(k).unwrap_or_else(|faults| panic!("{what}: @{}: {faults:?}", k.name));
                }
                let logits = oracle(&c, &ids);
                let found = interpreter(&c).eval(&ids, 7, true).unwrap_or_else(|e| panic!("{what}: {e}"));
                if passes == F32 {
                    let d = largest_difference(&found, &logits);
                    assert!(d <= 2e-4, "{what}: logits differ by {d}");
                }
                let kl = mean_kl(&logits, &found);
                assert!(kl <= 1e-3, "{what}: mean KL divergence {kl:e}");
            }
        }
    }
}
