//! Bundles of every family on this machine's Vulkan device: quantized ones, odd geometries, windows that go round their rings.
#![cfg(all(feature = "llvm", target_arch = "x86_64"))]

use std::path::Path;

use slmc::engine::Engine;
use slmc_ir::interp::graph::GraphInterp;
use slmc_ir::target::known;
use slmc_tests::compiled::compile;
use slmc_tests::expected::{Expected, fixture, largest_difference, mean_kl};
use slmc_tests::native::{Built, build, logits, targets, vulkan_targets};
use slmc_tests::odd_models::{odd_models, prompt};

const FIXTURES: [&str; 11] =
    ["gemma2", "gemma3", "llama-tied", "llama-untied", "llama3-rope", "mobilellm-shared", "phi3", "phi3-longrope", "qwen2", "qwen3", "stablelm2"];
const F32: &str = "fold,share,quantize{body=f32,embed=f32,head=f32,kv=f32},fuse";
const Q4: &str = "fold,share,quantize,fuse";

fn bundle(dir: &Path, target: &str, quant: &str, chunk: u32) -> Built {
    build(dir, target, quant, |o| o.chunk = chunk)
}

/// Logits of the graph of a checkpoint after `passes`, by the graph interpreter.
fn oracle(dir: &Path, passes: &str, ids: &[u32]) -> Vec<Vec<f32>> {
    let target = known::find("x86_64-avx2").expect("a known target");
    let c = compile(dir, &target, passes, ids.len() as u32, 16);
    let mut interp = GraphInterp::new(&c.model.graph, &c.model.checkpoint).unwrap_or_else(|e| panic!("{e}"));
    let hidden = interp.body(ids).unwrap_or_else(|e| panic!("{e}"));
    let logits = interp.head(&hidden).unwrap_or_else(|e| panic!("{e}"));
    logits.chunks_exact(c.lowered.plan.vocab as usize).map(<[f32]>::to_vec).collect()
}

#[test]
fn q4_bundles_of_every_family_agree_with_the_processor_and_the_interpreter() {
    let Some(&processor) = targets().first() else { return };
    for name in FIXTURES {
        let ids = Expected::read(name).input_ids;
        let interpreted = oracle(&fixture(name), Q4, &ids);
        let native = logits(&mut bundle(&fixture(name), processor, "q4g32", 64).open(2), &ids, 0);
        for device in vulkan_targets() {
            let mut engine = bundle(&fixture(name), device, "q4g32", 64).open(1);
            for chunk in [64, 7, 1] {
                let found = logits(&mut engine, &ids, chunk);
                let (kl, of_native) = (mean_kl(&interpreted, &found), mean_kl(&native, &found));
                println!("{name} {device}, chunks of {chunk}: {kl:e} from the interpreter, {of_native:e} from {processor}");
                assert!(kl.max(of_native) <= 1e-3, "{name} {device}, chunks of {chunk}: mean KL divergence {kl:e}, {of_native:e}");
            }
        }
    }
}

#[test]
fn bundles_of_odd_geometries_of_every_family_give_the_interpreters_numbers() {
    for model in odd_models() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        model.write(dir.path());
        let ids = prompt(&model);
        for (quant, passes) in [("f32", F32), ("q4g32", Q4)] {
            let expected = oracle(dir.path(), passes, &ids);
            for device in vulkan_targets() {
                let mut engine = bundle(dir.path(), device, quant, 16).open(1);
                for chunk in [16, 5, 1] {
                    let found = logits(&mut engine, &ids, chunk);
                    let (d, kl) = (largest_difference(&found, &expected), mean_kl(&expected, &found));
                    println!("{} {device} {quant}, chunks of {chunk}: {d:e}, mean KL divergence {kl:e}", model.name);
                    assert!(if quant == "f32" { d <= 1e-3 } else { kl <= 1e-3 }, "{} {device} {quant}, chunks of {chunk}: {d:e}, {kl:e}", model.name);
                }
            }
        }
    }
}

#[test]
fn caches_of_windows_go_round_and_back() {
    for name in ["gemma2", "gemma3"] {
        let ids: Vec<u32> = {
            let vocab = Expected::read(name).logits[0].len() as u32;
            (0..200).map(|i| (i * 7919 + 13) % vocab).collect()
        };
        let expected = oracle(&fixture(name), F32, &ids);
        for device in vulkan_targets() {
            let mut engine = bundle(&fixture(name), device, "f32", 8).open(1);
            for chunk in [8, 3, 1] {
                let d = largest_difference(&logits(&mut engine, &ids, chunk), &expected);
                assert!(d <= 1e-3, "{name} {device}, chunks of {chunk}: logits differ by {d}");
            }
            // Back within what the rings remember, and on again.
            let on = |engine: &mut Engine| -> Vec<Vec<f32>> {
                let found = engine.eval_all(&ids[190..]).unwrap_or_else(|e| panic!("{e}"));
                found.chunks_exact(expected[0].len()).map(<[f32]>::to_vec).collect()
            };
            engine.rewind(190).unwrap_or_else(|e| panic!("{e}"));
            let d = largest_difference(&on(&mut engine), &expected[190..]);
            assert!(d <= 1e-3, "{name} {device} after going back: logits differ by {d}");
            assert!(engine.rewind(100).is_err(), "{name} {device}: rings hold less");
        }
    }
}
