//! Sampling: exact answers where they are defined, distributions within what chance allows elsewhere.

use slmc_runtime_stub::math::exp;
use slmc_runtime_stub::sample::{Sampling, sample};

fn pick(logits: &[f32], recent: &[u32], sampling: &Sampling, position: u32) -> u32 {
    sampling.check().expect("in range");
    let mut scratch = vec![0; logits.len()];
    sample(logits, recent, sampling, position, &mut scratch)
}

/// How often each token is picked over many positions.
fn histogram(logits: &[f32], sampling: &Sampling, draws: u32) -> Vec<f64> {
    let mut counts = vec![0.0; logits.len()];
    for position in 0..draws {
        counts[pick(logits, &[], sampling, position) as usize] += 1.0;
    }
    counts.iter().map(|count| count / f64::from(draws)).collect()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], tolerance: f64) {
    for (id, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() < tolerance, "token {id}: {f} instead of {e}");
    }
}

const HOT: Sampling = Sampling { temperature: 1.0, seed: 42, ..Sampling::GREEDY };
const LOGITS: [f32; 6] = [1.0, 3.0, 2.0, -1.0, 0.5, 2.5];

#[test]
fn greedy_takes_the_first_maximum() {
    assert_eq!(pick(&[1.0, 5.0, 5.0, 2.0], &[], &Sampling::GREEDY, 0), 1);
    assert_eq!(pick(&[-0.0, 0.0], &[], &Sampling::GREEDY, 0), 0);
    assert_eq!(pick(&[f32::NAN, -3.0, f32::NAN], &[], &Sampling::GREEDY, 0), 1);
    assert_eq!(pick(&[f32::NAN, f32::NAN], &[], &Sampling::GREEDY, 0), 0);
    assert_eq!(pick(&[f32::NEG_INFINITY; 3], &[], &Sampling::GREEDY, 0), 0);
    assert_eq!(pick(&[1.0, f32::INFINITY], &[], &Sampling::GREEDY, 0), 1);
    assert_eq!(pick(&[7.0], &[], &HOT, 3), 0);
}

#[test]
fn draws_follow_the_softmax_at_every_temperature() {
    for temperature in [0.5, 1.0, 2.0] {
        let scaled: Vec<f32> = LOGITS.iter().map(|l| l / temperature).collect();
        let found = histogram(&LOGITS, &Sampling { temperature, ..HOT }, 20_000);
        close(&found, &softmax(&scaled), 0.015);
    }
    let cold = histogram(&LOGITS, &Sampling { temperature: 1e-6, ..HOT }, 100);
    assert_eq!(cold[1], 1.0);
}

#[test]
fn a_seed_repeats_and_another_differs() {
    let run = |seed| (0..64).map(|p| pick(&LOGITS, &[], &Sampling { seed, ..HOT }, p)).collect::<Vec<_>>();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_ne!(run(0), run(u64::MAX));
}

#[test]
fn top_k_keeps_the_k_most_likely() {
    let found = histogram(&LOGITS, &Sampling { top_k: 3, ..HOT }, 20_000);
    let kept = softmax(&[f32::NEG_INFINITY, 3.0, 2.0, f32::NEG_INFINITY, f32::NEG_INFINITY, 2.5]);
    close(&found, &kept, 0.015);
    assert_eq!(histogram(&LOGITS, &Sampling { top_k: 1, ..HOT }, 100)[1], 1.0);
    // Of equal logits the lower ids are kept.
    let tied = histogram(&[1.0; 8], &Sampling { top_k: 2, ..HOT }, 2_000);
    assert!(tied[2..].iter().all(|&share| share == 0.0));
    close(&tied[..2], &[0.5, 0.5], 0.05);
    close(&histogram(&LOGITS, &Sampling { top_k: 600, ..HOT }, 20_000), &softmax(&LOGITS), 0.015);
}

#[test]
fn top_p_keeps_the_fewest_tokens_that_reach_the_mass() {
    // Probabilities 0.5, 0.25, 0.125, 0.125.
    let logits = [4f32.ln(), 2f32.ln(), 0.0, 0.0];
    for (top_p, kept) in [(0.001, 1), (0.49, 1), (0.51, 2), (0.74, 2), (0.76, 3), (0.9, 4), (1.0, 4)] {
        let found = histogram(&logits, &Sampling { top_p, ..HOT }, 4_000);
        let count = found.iter().filter(|&&share| share > 0.0).count();
        assert_eq!(count, kept, "top_p {top_p}");
        let mass: f64 = [0.5, 0.25, 0.125, 0.125][..kept].iter().sum();
        let expected: Vec<f64> = [0.5, 0.25, 0.125, 0.125].iter().enumerate().map(|(i, p)| if i < kept { p / mass } else { 0.0 }).collect();
        close(&found, &expected, 0.035);
    }
    // The mass is that of what top-k left: of 0.5 + 0.25, the first token has two thirds.
    let both = Sampling { top_k: 2, top_p: 0.6, ..HOT };
    assert_eq!(histogram(&logits, &both, 200)[0], 1.0);
}

#[test]
fn min_p_drops_tokens_far_below_the_best() {
    let logits = [0.0, -0.5, -1.0, -3.0];
    for (min_p, kept) in [(0.0, 4), (0.04, 4), (0.06, 3), (0.5, 2), (0.7, 1), (0.999, 1)] {
        for top_k in [0, 4] {
            let sampling = Sampling { min_p, top_k, top_p: if top_k == 0 { 1.0 } else { 0.99999 }, ..HOT };
            let found = histogram(&logits, &sampling, 3_000);
            assert_eq!(found.iter().filter(|&&share| share > 0.0).count(), kept, "min_p {min_p}, top_k {top_k}");
        }
    }
    // Filters come before the temperature, so a high one does not let dropped tokens back in.
    let hot = Sampling { min_p: 0.5, temperature: 50.0, ..HOT };
    assert_eq!(histogram(&logits, &hot, 500)[2], 0.0);
}

#[test]
fn the_repetition_penalty_acts_once_on_recent_tokens_only() {
    let logits = [2.0, 1.9, -1.0, -1.05];
    let penal = Sampling { repetition_penalty: 1.1, repetition_window: 3, ..Sampling::GREEDY };
    assert_eq!(pick(&logits, &[], &penal, 0), 0);
    assert_eq!(pick(&logits, &[0], &penal, 1), 1);
    assert_eq!(pick(&logits, &[0, 2, 2, 2], &penal, 4), 0, "token 0 has left the window");
    // Twice penalized, 2.0 would fall below 1.75.
    assert_eq!(pick(&[2.0, 1.75], &[0, 0, 0], &penal, 3), 0);
    // A negative logit is multiplied.
    assert_eq!(pick(&logits[2..], &[0], &penal, 1), 1);
    assert_eq!(pick(&logits, &[9, 4], &penal, 2), 0, "ids outside the row are ignored");
    let off = Sampling { repetition_window: 0, ..penal };
    assert_eq!(pick(&logits, &[0], &off, 1), 0);
    // A penalty below 1 favours what was said.
    let favour = Sampling { repetition_penalty: 0.9, ..penal };
    assert_eq!(pick(&logits, &[1], &favour, 1), 1);
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    let cases = [
        (Sampling { temperature: -0.1, ..HOT }, "temperature"),
        (Sampling { temperature: f32::INFINITY, ..HOT }, "temperature"),
        (Sampling { top_p: 0.0, ..HOT }, "top_p"),
        (Sampling { top_p: 1.01, ..HOT }, "top_p"),
        (Sampling { top_p: f32::NAN, ..HOT }, "top_p"),
        (Sampling { min_p: 1.0, ..HOT }, "min_p"),
        (Sampling { min_p: -0.5, ..HOT }, "min_p"),
        (Sampling { repetition_penalty: 0.0, ..HOT }, "repetition_penalty"),
        (Sampling { repetition_penalty: f32::NAN, ..HOT }, "repetition_penalty"),
    ];
    for (sampling, name) in cases {
        assert_eq!(sampling.check().expect_err("out of range").subject, name);
    }
}

#[test]
fn extreme_logits_give_a_token_of_the_row() {
    for logits in [
        vec![f32::NEG_INFINITY, f32::NEG_INFINITY],
        vec![f32::INFINITY, f32::NEG_INFINITY, 3.0],
        vec![f32::NAN, 1.0, 2.0],
        vec![f32::MAX, f32::MIN, 0.0],
        vec![f32::MIN_POSITIVE / 4.0, -f32::MIN_POSITIVE / 4.0],
    ] {
        for sampling in [
            HOT,
            Sampling { top_k: 1, ..HOT },
            Sampling { top_p: 0.3, ..HOT },
            Sampling { min_p: 0.9, ..HOT },
            Sampling { temperature: f32::MIN_POSITIVE, ..HOT },
            Sampling { temperature: f32::MAX, top_k: 2, ..HOT },
            Sampling { repetition_penalty: f32::MIN_POSITIVE, repetition_window: 9, ..HOT },
        ] {
            for position in 0..50 {
                assert!((pick(&logits, &[0, 1], &sampling, position) as usize) < logits.len());
            }
        }
    }
}

#[test]
fn exp_is_accurate_and_total() {
    let mut worst = 0.0f64;
    for i in -87_000..=88_000 {
        let x = i as f32 / 1000.0;
        let exact = f64::from(x).exp();
        worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
    }
    assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst}");
    assert_eq!(exp(0.0), 1.0);
    assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    assert_eq!(exp(f32::NAN), 0.0);
    assert!(exp(f32::INFINITY) > 1e38 && exp(f32::INFINITY).is_finite());
}
