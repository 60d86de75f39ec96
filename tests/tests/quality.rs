//! What each format costs the warehouse student, held to recorded figures: perplexity of the held-out text, divergence from f32 and
//! likeliest tokens there, accepted answers and right abstentions of the golden questions.
//!
//! A figure that is worse than recorded by more than its slack fails: a kernel, a format or the order of sums costs quality. One that is better by
//! more than that fails too, so that what was gained is recorded and cannot be lost again unseen. The records are those of the first
//! target by the first code generator; the slack holds what other targets and code generators add, which round sums elsewhere.
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::path::{Path, PathBuf};

use slmc::engine::{Engine, EngineError};
use slmc::golden::{Golden, Tally, ask};
use slmc::score::{self, Windows};
use slmc_tests::native::{backends, build, targets, tokens};

/// Tokens of the held-out text, and of a window of it.
const HELDOUT: (usize, usize) = (4096, 256);

/// What was found of one build, or is recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    perplexity: f64,
    /// Mean and 99 % quantile of the divergence from f32, nats.
    mean_kl: f64,
    p99_kl: f64,
    /// Scored tokens where f32 has the same likeliest token.
    same_top: usize,
    accepted: usize,
    right_abstentions: usize,
}

/// How far a figure may be from its record, either way; of divergences the share of the record.
const SLACK: Figures = Figures { perplexity: 0.01, mean_kl: 0.05, p99_kl: 0.10, same_top: 15, accepted: 2, right_abstentions: 1 };

/// Divergence that rounding alone makes, nats; no record is narrower.
const ROUNDING: f64 = 1e-10;

const F32: Figures = Figures { perplexity: 14.956, mean_kl: 0.0, p99_kl: 0.0, same_top: 4080, accepted: 160, right_abstentions: 41 };
const Q8: Figures = Figures { perplexity: 14.953, mean_kl: 4.45e-4, p99_kl: 2.04e-3, same_top: 4005, accepted: 160, right_abstentions: 41 };
const Q4_CACHE_Q8: Figures = Figures { perplexity: 15.120, mean_kl: 1.622e-2, p99_kl: 9.53e-2, same_top: 3717, accepted: 163, right_abstentions: 41 };
const Q4: Figures = Figures { perplexity: 15.119, mean_kl: 1.614e-2, p99_kl: 9.36e-2, same_top: 3726, accepted: 163, right_abstentions: 41 };

/// What is wrong with `found`, a line for each figure.
fn complaints(found: &Figures, recorded: &Figures) -> Vec<String> {
    let mut out = Vec::new();
    // `sign` is 1 where more is worse, −1 where less is.
    let mut check = |name: &str, found: f64, recorded: f64, slack: f64, sign: f64| {
        let worse = (found - recorded) * sign;
        if worse.is_nan() || worse > slack {
            out.push(format!("{name} {found} is worse than the recorded {recorded} (slack {slack:.3e})"));
        } else if worse < -slack {
            out.push(format!("{name} {found} is better than the recorded {recorded} (slack {slack:.3e}): record it here and in tests/README.md"));
        }
    };
    let relative = |recorded: f64, share: f64| (recorded * share).max(ROUNDING);
    check("perplexity", found.perplexity, recorded.perplexity, SLACK.perplexity, 1.0);
    check("mean KL", found.mean_kl, recorded.mean_kl, relative(recorded.mean_kl, SLACK.mean_kl), 1.0);
    check("99 % KL", found.p99_kl, recorded.p99_kl, relative(recorded.p99_kl, SLACK.p99_kl), 1.0);
    let counts = [
        ("same top tokens", found.same_top, recorded.same_top, SLACK.same_top),
        ("accepted answers", found.accepted, recorded.accepted, SLACK.accepted),
        ("right abstentions", found.right_abstentions, recorded.right_abstentions, SLACK.right_abstentions),
    ];
    for (name, found, recorded, slack) in counts {
        check(name, found as f64, recorded as f64, slack as f64, -1.0);
    }
    out
}

fn student() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse")
}

fn read(name: &str) -> String {
    fs::read_to_string(student().join(name)).expect("the example is in the repository")
}

fn windows(engine: &mut Engine) -> Windows {
    let text = read("heldout.txt");
    let mut ids = tokens(engine, &text[..text.floor_char_boundary(40_000)]);
    ids.truncate(HELDOUT.0);
    assert_eq!(ids.len(), HELDOUT.0, "the text is too short");
    Windows::new::<EngineError>(Vec::new(), ids, HELDOUT.1).unwrap_or_else(|e| panic!("{e}"))
}

fn measure(f32: &mut Engine, engine: &mut Engine) -> Figures {
    let text = windows(engine);
    let comparison = score::compare(f32, engine, &text, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let golden = Golden::parse(&read("golden.json")).unwrap_or_else(|e| panic!("{e}"));
    let mut tally = Tally::default();
    for question in golden.questions() {
        let answer = ask(engine, question, 64).unwrap_or_else(|e| panic!("{e}"));
        tally.add(golden.judge(question, &answer.text));
    }
    assert_eq!((comparison.gap.rows(), tally.questions, tally.to_abstain), (4080, 200, 48));
    let kl = comparison.gap.divergence();
    Figures {
        perplexity: comparison.second.value(),
        mean_kl: kl.mean,
        p99_kl: kl.p99,
        same_top: comparison.gap.same_top(),
        accepted: tally.accepted,
        right_abstentions: tally.right_abstentions,
    }
}

/// Every target that this machine runs by the first code generator, and the first target by the others.
fn hold(quant: &str, kv: Option<&str>, recorded: &Figures) {
    let (targets, backends) = (targets(), backends());
    let Some(first) = targets.first() else { return };
    let mut builds: Vec<(&str, &str)> = targets.iter().map(|target| (*target, backends[0])).collect();
    builds.extend(backends.iter().skip(1).map(|backend| (*first, *backend)));
    let student = student();
    let by = |target: &str, backend: &str, quant: &str, kv: Option<&str>| {
        build(&student, target, quant, |o| (o.backend, o.kv) = (Some(backend.to_owned()), kv.map(str::to_owned)))
    };
    let mut f32 = by(first, backends[0], "f32", None).open(2);
    let mut out = Vec::new();
    for (target, backend) in builds {
        let found = measure(&mut f32, &mut by(target, backend, quant, kv).open(2));
        println!("{quant}, cache {kv:?}, {target} by {backend}: {found:?}");
        out.extend(complaints(&found, recorded).into_iter().map(|line| format!("{quant}, cache {kv:?}, {target} by {backend}: {line}")));
    }
    assert!(out.is_empty(), "{}", out.join("\n"));
}

#[test]
fn f32_costs_nothing() {
    hold("f32", None, &F32);
}

#[test]
fn q8_costs_what_is_recorded() {
    hold("q8g32", None, &Q8);
}

#[test]
fn q4_costs_what_is_recorded() {
    hold("q4g32", None, &Q4);
}

#[test]
fn a_cache_of_q8_costs_what_is_recorded() {
    hold("q4g32", Some("q8"), &Q4_CACHE_Q8);
}

#[test]
fn a_figure_that_moves_is_named() {
    assert_eq!(complaints(&Q4, &Q4), Vec::<String>::new());
    let worse = Figures {
        perplexity: Q4.perplexity + 0.03,
        mean_kl: Q4.mean_kl * 1.2,
        p99_kl: f64::NAN,
        same_top: Q4.same_top - 16,
        accepted: Q4.accepted - 3,
        right_abstentions: Q4.right_abstentions - 3,
    };
    let named = complaints(&worse, &Q4);
    let names = ["perplexity", "mean KL", "99 % KL", "same top tokens", "accepted answers", "right abstentions"];
    assert!(named.len() == 6 && named.iter().zip(names).all(|(line, name)| line.starts_with(name) && line.contains("worse")), "{named:?}");
    let better = complaints(&Figures { mean_kl: Q4.mean_kl * 0.8, ..Q4 }, &Q4);
    assert!(better.len() == 1 && better[0].contains("record it"), "{better:?}");
    assert!(complaints(&Figures { mean_kl: 1e-6, ..F32 }, &F32)[0].contains("worse"));
}
