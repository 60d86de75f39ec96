//! `slmc bench`: its keys, its table, and the roofline.

use std::fs;

use serde_json::Value;

use crate::compiled::{student, tiny};
use crate::run::{arg, slmc};

const SHORT: [&str; 8] = ["--pp", "16", "--tg", "4", "--reps", "2", "--threads", "2"];

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&slmc(args).ok().out).expect("JSON")
}

#[test]
fn a_bench_has_the_known_keys() {
    let args = [&["bench", arg(tiny())][..], &SHORT].concat();
    let rows = json(&[&args[..], &["--json", "--depth", "3", "--busy", "1"]].concat());
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 2);
    for (row, (prompt, gen_tokens)) in rows.iter().zip([(16, 0), (0, 4)]) {
        assert_eq!((row["n_prompt"].as_u64(), row["n_gen"].as_u64()), (Some(prompt), Some(gen_tokens)));
        assert_eq!((row["n_depth"].as_u64(), row["n_busy"].as_u64()), (Some(3), Some(1)));
        assert_eq!(row["samples_ts"].as_array().map(Vec::len), Some(2));
        assert!(row["avg_ts"].as_f64().is_some_and(|rate| rate > 0.0));
        assert!(row["stddev_ts"].is_number());
    }
    let table = slmc(&args).ok().out;
    assert!(table.contains(" pp16 |") && table.contains(" tg4 |"), "{table}");
    let table = slmc(&[&args[..], &["--depth", "3"]].concat()).ok().out;
    assert!(table.contains(" tg4 @ d3 |"), "{table}");
    slmc(&["bench", arg(tiny()), "--pp", "1000000"]).fails_with(&["context"]);
    slmc(&["bench", arg(tiny()), "--pp", "1", "--tg", "1", "--depth", "1000000"]).fails_with(&["context"]);
}

/// The student has 7 matrices a layer in ten layers and one table, 1.97 million weights in all: a token multiplies with each of them once.
#[test]
fn the_roofline_counts_what_a_step_takes() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let svg = dir.path().join("roofline.svg");
    let args = [&["bench", arg(student())][..], &SHORT, &["--roofline"]].concat();
    let report = json(&[&args[..], &["--json", "--svg", arg(&svg), "--depth", "8"]].concat());
    for limit in ["bytes", "byte_products", "float_ops"] {
        assert!(report["limits"][limit].as_f64().is_some_and(|rate| rate > 1e8), "{}", report["limits"]);
    }
    let products =
        |step: &Value| step["kernels"].as_array().expect("kernels").iter().map(|k| k["byte_products"].as_u64().expect("a count")).sum::<u64>();
    let body = 10 * (128 * 128 * 2 + 128 * 64 * 2 + 3 * 128 * 352);
    let (decode, prompt) = (&report["steps"][0], &report["steps"][1]);
    assert_eq!(products(decode), body + 128 * 1024);
    let tokens = prompt["tokens"].as_u64().expect("a count");
    // A last tile of tokens may be filled up with tokens that are not there.
    let each = products(prompt) - 128 * 1024;
    assert!((tokens * body..=(tokens + 12) * body).contains(&each), "{each} for {tokens} tokens of {body}");
    for step in [decode, prompt] {
        let shares: f64 = step["kernels"].as_array().expect("kernels").iter().map(|k| k["share"].as_f64().expect("a share")).sum();
        assert!((shares - 1.0).abs() < 1e-6);
        assert_eq!(step["cached"].as_u64(), Some(8));
    }
    assert!(fs::read_to_string(&svg).expect("written").ends_with("</svg>\n"));
    let table = slmc(&args).ok().out;
    for part in ["limits of 2 threads", "decode: 1 token,", "of its limit", "% memory", "the limits allow"] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    let ran = slmc(&["bench", arg(student()), "--svg", arg(&svg)]);
    assert!(ran.code == Some(2) && ran.err.contains("--roofline"), "{}", ran.err);
}
