//! The reference quantizers: error bounds, exact cases, extremes.

use half::f16;
use slmc_ir::graph::DType;
use slmc_ir::quant::{dequantize_group, quantize_act_group, quantize_group, quantize_row, round_row};

const FORMATS: [(DType, i8, i8); 5] = [
    (DType::Q4 { group: 32 }, -8, 7),
    (DType::Q4 { group: 64 }, -8, 7),
    (DType::Q4 { group: 128 }, -8, 7),
    (DType::Q6, -31, 31),
    (DType::Q8, -127, 127),
];

/// Roughly Gaussian numbers of standard deviation `sigma`.
fn gaussian(count: usize, sigma: f32, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() * sigma).collect()
}

/// The group as stored, and its squared error.
fn stored(dtype: DType, x: &[f32]) -> (f16, Vec<i8>, f64) {
    let (mut codes, mut back) = (vec![0; x.len()], vec![0.0; x.len()]);
    let scale = quantize_group(dtype, x, &mut codes);
    dequantize_group(scale, &codes, &mut back);
    (scale, codes, x.iter().zip(back).map(|(a, b)| f64::from(a - b).powi(2)).sum())
}

#[test]
fn no_worse_than_a_dense_search_would_allow() {
    for (dtype, low, high) in FORMATS {
        let group = dtype.group().expect("it has groups") as usize;
        let (mut ours, mut dense, mut plain, mut power) = (0.0, 0.0, 0.0, 0.0);
        for x in gaussian(group * 400, 0.02, 5).chunks_exact(group) {
            let error_of = |s: f32| -> f64 {
                let s = f16::from_f32(s).to_f32();
                x.iter().map(|v| f64::from(v - s * (v / s).round_ties_even().clamp(low.into(), high.into())).powi(2)).sum()
            };
            let peak = x.iter().fold(0.0f32, |m, v| if v.abs() > m.abs() { *v } else { m });
            let full = f32::from(if low == -8 { low } else { high });
            ours += stored(dtype, x).2;
            plain += error_of(peak / full);
            dense += (0..200).map(|i| error_of(peak / full / (0.8 + 0.4 * i as f32 / 200.0))).fold(f64::INFINITY, f64::min);
            power += x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        }
        assert!(ours < plain * 0.97, "{dtype}: {ours:e} against {plain:e} by the maximum");
        assert!(ours < dense * 1.12, "{dtype}: {ours:e} against {dense:e} by dense search");
        let relative = (ours / power).sqrt();
        let most = [0.082, 0.093, 0.105, 0.021, 0.0055][FORMATS.iter().position(|f| f.0 == dtype).expect("listed")];
        assert!(relative < most, "{dtype}: relative error {relative}");
    }
}

#[test]
fn what_the_format_can_say_is_said_exactly() {
    for (dtype, low, high) in FORMATS {
        let group = dtype.group().expect("it has groups") as usize;
        for scale in [0.5f32, 0.001_953_125, -2.0] {
            let x: Vec<f32> = (0..group).map(|i| scale * (i as i32 % (i32::from(high) - i32::from(low) + 1) + i32::from(low)) as f32).collect();
            if x.iter().any(|v| *v == scale * f32::from(low)) {
                assert_eq!(stored(dtype, &x).2, 0.0, "{dtype} {scale}");
            }
        }
    }
    // Only a negative scale reaches +8 steps.
    let mut x = vec![0.25f32; 32];
    x[3] = 2.0;
    x[4] = -1.75;
    let (scale, codes, error) = stored(DType::Q4 { group: 32 }, &x);
    assert_eq!((scale.to_f32(), codes[3], codes[4], error), (-0.25, -8, 7, 0.0));
}

#[test]
fn extremes_stay_in_range() {
    for (dtype, low, high) in FORMATS {
        let group = dtype.group().expect("it has groups") as usize;
        for extreme in [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e9, 70000.0, 1e-7, 1e-12, f32::MIN_POSITIVE, 1e-45, 0.0] {
            for rest in [0.0f32, 1e-3, -1.0, -f32::MAX, f32::INFINITY] {
                let mut x = vec![rest; group];
                x[group / 2] = extreme;
                let (scale, codes, _) = stored(dtype, &x);
                assert!(scale.is_finite() && codes.iter().all(|c| (low..=high).contains(c)), "{dtype} {extreme} {rest}");
                if extreme.is_infinite() && rest == 0.0 {
                    assert_eq!(f32::from(codes[group / 2]) * scale.to_f32() > 0.0, extreme > 0.0, "{dtype} {extreme}");
                    assert_eq!(scale.to_f32().abs(), f16::MAX.to_f32());
                }
            }
        }
        assert_eq!(stored(dtype, &vec![0.0; group]).0, f16::ZERO);
    }
}

#[test]
fn rows_are_groups_side_by_side() {
    let row = gaussian(256, 1.0, 9);
    for (dtype, _, _) in FORMATS {
        let group = dtype.group().expect("it has groups") as usize;
        let (mut codes, mut scales, mut back) = (vec![0; 256], vec![f16::ZERO; 256 / group], row.clone());
        quantize_row(dtype, &row, &mut codes, &mut scales);
        round_row(dtype, &mut back);
        for (i, x) in back.iter().enumerate() {
            assert_eq!(*x, scales[i / group].to_f32() * f32::from(codes[i]));
        }
        let mut again = back.clone();
        round_row(dtype, &mut again);
        let moved = again.iter().zip(&back).filter(|(a, b)| a != b).count();
        assert!(moved <= 256 / 8, "{dtype}: quantizing twice moves {moved} of 256");
    }
    let mut halves = vec![1.0 + f32::EPSILON, 65504.0, 1e-9];
    round_row(DType::F16, &mut halves);
    assert_eq!(halves, [1.0, 65504.0, 0.0]);
    let mut brains = vec![1.0 + 1.0 / 512.0];
    round_row(DType::Bf16, &mut brains);
    assert_eq!(brains, [1.0]);
}

#[test]
fn activations() {
    let mut x = [0.0f32; 32];
    let mut codes = [1i8; 32];
    assert_eq!(quantize_act_group(&x, &mut codes), (0.0, 0));
    assert_eq!(codes, [0; 32]);
    for (i, v) in x.iter_mut().enumerate() {
        *v = (i as f32 - 16.0) * 0.5;
    }
    x[0] = -127.0;
    let (scale, sum) = quantize_act_group(&x, &mut codes);
    assert_eq!(scale, 1.0);
    assert_eq!(sum, codes.iter().map(|&c| i32::from(c)).sum::<i32>());
    // -7.5 and -6.5 and their like go to the even neighbour.
    assert_eq!(codes[..6], [-127, -8, -7, -6, -6, -6]);
    for extreme in [f32::INFINITY, f32::MAX, f32::NAN, 1e-40, 1e-45] {
        x[7] = extreme;
        quantize_act_group(&x, &mut codes);
        assert!(codes.iter().all(|&c| c != -128));
        let only = std::array::from_fn(|i| if i == 7 { extreme } else { 0.0 });
        quantize_act_group(&only, &mut codes);
        assert!(codes.iter().all(|&c| c != -128));
    }
}

/// Prints weights per second and core: `cargo test --release -p slmc-ir --test quant -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement; run it in release mode"]
fn rate() {
    let x = gaussian(1 << 20, 0.02, 3);
    let mut codes = vec![0; 1 << 20];
    for (dtype, _, _) in FORMATS {
        let mut scales = vec![f16::ZERO; (1 << 20) / dtype.group().expect("it has groups") as usize];
        let start = std::time::Instant::now();
        let rounds = 30;
        for _ in 0..rounds {
            quantize_row(dtype, &x, &mut codes, &mut scales);
        }
        println!("{dtype}: {:.0} M weights/s", f64::from(rounds) * x.len() as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
}
