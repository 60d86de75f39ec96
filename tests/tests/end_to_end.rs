//! Bundles from end to end: compiled by every code generator of this build, run by their own code, on every x86-64 target that this
//! machine runs and on its Vulkan device.
//!
//! f32 bundles of the fixtures give Hugging Face's numbers; bundles of odd geometries give those of the graph interpreter.
#![cfg(target_arch = "x86_64")]

use std::path::Path;

use slmc_ir::interp::graph::GraphInterp;
use slmc_ir::target::known;
use slmc_tests::compiled::compile;
use slmc_tests::expected::{Expected, argmax, fixture, largest_difference, mean_kl};
use slmc_tests::native::{backends, build, logits, targets, vulkan_targets};
use slmc_tests::odd_models::{odd_models, prompt};
use slmc_tests::random_llama::{RandomLlama, odd_geometries};
use slmc_tests::random_model::RandomModel;
use tempfile::TempDir;

/// Every family.
const FIXTURES: [&str; 11] =
    ["gemma2", "gemma3", "llama-tied", "llama-untied", "llama3-rope", "mobilellm-shared", "phi3", "phi3-longrope", "qwen2", "qwen3", "stablelm2"];
/// Tokens of a step.
const CHUNK: u32 = 64;

/// Compares f32 bundles of the fixtures with the reference; logits may differ by `tolerance`.
fn fixtures(names: &[&str], backend: &str, targets: &[&str], threads: &[u32], tolerance: f32) {
    for &name in names {
        let expected = Expected::read(name);
        for target in targets {
            let built = build(&fixture(name), target, "f32", |o| {
                o.chunk = CHUNK;
                o.backend = Some(backend.to_owned());
            });
            let target = format!("{target} by {backend}");
            for &threads in threads {
                let mut engine = built.open(threads);
                let mut whole: Vec<Vec<f32>> = Vec::new();
                for chunk in [CHUNK, 16, 7, 1] {
                    let found = logits(&mut engine, &expected.input_ids, chunk);
                    let d = largest_difference(&found, &expected.logits);
                    println!("{name} {target}, {threads} threads, chunks of {chunk}: {d:e} from the reference");
                    assert!(d <= tolerance, "{name} {target}, {threads} threads, chunks of {chunk}: logits differ by {d}");
                    if whole.is_empty() {
                        whole = found;
                    } else {
                        let d = largest_difference(&found, &whole);
                        assert!(d <= 1e-4, "{name} {target}, {threads} threads: chunks of {chunk} and of {CHUNK} differ by {d}");
                    }
                    let mut next = argmax(&whole[whole.len() - 1]);
                    let mut greedy = vec![next];
                    while greedy.len() < expected.greedy.len() {
                        next = argmax(&engine.eval_last(&[next]).unwrap_or_else(|e| panic!("{e}")));
                        greedy.push(next);
                    }
                    assert_eq!(greedy, expected.greedy, "{name} {target}, {threads} threads, chunks of {chunk}");
                }
            }
        }
    }
}

#[test]
fn f32_bundles_give_the_reference_numbers_in_every_chunking() {
    for backend in backends() {
        fixtures(&FIXTURES, backend, &targets(), &[1, 2], 2e-4);
    }
}

#[test]
fn f32_bundles_give_the_reference_numbers_on_vulkan() {
    fixtures(&FIXTURES, "naga", &vulkan_targets(), &[1], 1e-3);
}

/// Logits of the graph of a checkpoint after `passes`, by the graph interpreter.
fn oracle(dir: &Path, passes: &str, ctx: u32, ids: &[u32]) -> Vec<Vec<f32>> {
    let target = known::find("x86_64-avx2").expect("a known target");
    let c = compile(dir, &target, passes, ctx, CHUNK);
    let mut interp = GraphInterp::new(&c.model.graph, &c.model.checkpoint).unwrap_or_else(|e| panic!("{e}"));
    let hidden = interp.body(ids).unwrap_or_else(|e| panic!("{e}"));
    let logits = interp.head(&hidden).unwrap_or_else(|e| panic!("{e}"));
    logits.chunks_exact(c.lowered.plan.vocab as usize).map(<[f32]>::to_vec).collect()
}

/// A checkpoint on disk with a prompt that fills its context.
struct Case {
    name: &'static str,
    dir: TempDir,
    ids: Vec<u32>,
}

impl Case {
    fn llama(model: &RandomLlama) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        model.write(dir.path());
        Self { name: model.name, dir, ids: model.prompt() }
    }

    fn model(model: &RandomModel) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        model.write(dir.path());
        Self { name: model.name, dir, ids: prompt(model) }
    }
}

/// Odd geometries of every family.
fn odd_cases() -> Vec<Case> {
    odd_geometries().iter().map(Case::llama).chain(odd_models().iter().map(Case::model)).collect()
}

/// Gives `check` the oracle's logits and those of a bundle of a model, for each code generator, target, number of threads and chunking.
fn bundles(case: &Case, quant: &str, keep: &[&str], passes: &str, check: impl Fn(&str, &[Vec<f32>], &[Vec<f32>])) {
    let Case { name, dir, ids } = case;
    let expected = oracle(dir.path(), passes, ids.len() as u32, ids);
    for backend in backends() {
        for target in targets() {
            let built = build(dir.path(), target, quant, |o| {
                o.chunk = CHUNK;
                o.backend = Some(backend.to_owned());
                o.keep = keep.iter().map(ToString::to_string).collect();
            });
            for threads in [1, 2] {
                let mut engine = built.open(threads);
                // 0 is as many as the bundle allows.
                for chunk in [0, 16, 7, 1] {
                    let found = logits(&mut engine, ids, chunk);
                    check(&format!("{name} {target} by {backend} {passes}, {threads} threads, chunks of {chunk}"), &expected, &found);
                }
            }
        }
    }
}

fn odd_bundles(quant: &str, passes: &str, check: impl Fn(&str, &[Vec<f32>], &[Vec<f32>])) {
    for case in odd_cases() {
        bundles(&case, quant, &[], passes, &check);
    }
}

#[test]
fn f32_bundles_of_odd_geometries_give_the_interpreters_numbers() {
    odd_bundles("f32", "fold,share,quantize{body=f32},fuse", |what, expected, found| {
        let d = largest_difference(found, expected);
        assert!(d <= 2e-4, "{what}: logits differ by {d}");
    });
}

#[test]
fn q4_bundles_of_odd_geometries_give_the_interpreters_distributions() {
    odd_bundles("q4g32", "fold,share,quantize,fuse", close);
}

#[test]
fn q8_bundles_of_odd_geometries_give_the_interpreters_distributions() {
    odd_bundles("q8g32", "fold,share,quantize{body=q8g32},fuse", close);
}

#[test]
fn bundles_of_every_scheme_give_the_interpreters_distributions() {
    let model = RandomLlama { name: "wide", hidden: 128, heads: 6, kv_heads: 2, ffn: 256, vocab: 321, ctx: 100, ..RandomLlama::default() };
    let model = Case::llama(&model);
    bundles(&model, "q4g64", &[], "fold,share,quantize{body=q4g64},fuse", close);
    bundles(&model, "q4g128", &[], "fold,share,quantize{body=q4g128},fuse", close);
    bundles(&model, "q6g32", &[], "fold,share,quantize{body=q6g32},fuse", close);
    bundles(&model, "f16", &[], "fold,share,quantize{body=f16},fuse", close);
    // q, k and v of two formats are two kernels.
    let keep = ["v_proj=q8g32", "embed=q4g128"];
    bundles(&model, "q4g32", &keep, "fold,share,quantize{keep='v_proj=q8g32',keep='embed=q4g128'},fuse", close);
}

fn close(what: &str, expected: &[Vec<f32>], found: &[Vec<f32>]) {
    let kl = mean_kl(expected, found);
    assert!(kl <= 1e-3, "{what}: mean KL divergence {kl:e}");
}
