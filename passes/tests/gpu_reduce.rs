//! Workgroup reductions give what plain loops give, in both ways and for any size of subgroups, and pass the verifier.

use slmc_ir::interp::kernel::{Compiled, Machine, Memory, Step};
use slmc_ir::kernel::{Access, BufId, Builtin, Kernel, KernelBuilder, ReduceOp, Scalar, StepBounds, Type, ValueId, verify_kernel};
use slmc_passes::lower::gpu::reduce::{Reducer, Way, order_key};

const F32: Type = Type::scalar(Scalar::F32);
const OPS: [ReduceOp; 3] = [ReduceOp::Add, ReduceOp::Max, ReduceOp::Min];
/// A way and the subgroups to run it with.
const WAYS: [(Way, u32); 4] = [(Way::Tree, 8), (Way::Subgroups, 4), (Way::Subgroups, 8), (Way::Subgroups, 32)];

fn builder(lanes: u32) -> KernelBuilder {
    let mut b = KernelBuilder::new("reduce", StepBounds { t: (1, 1), p: (0, 0), row: (0, 0) }, [1, 1, 1]);
    b.lanes(lanes);
    b
}

/// Runs one workgroup on `x`; gives the words written to the other parameter.
fn run(kernel: &Kernel, subgroup: u32, mut x: Vec<u8>, out: usize) -> Vec<u32> {
    if let Err(faults) = verify_kernel(kernel) {
        panic!("{faults:#?}");
    }
    let mut written = vec![0; 4 * out];
    let code = Compiled::new(kernel).expect("sound");
    let (mut memory, places) = Memory::of_slices(vec![&mut x, &mut written]);
    let step = Step { t: 1, p: 0, row: 0 };
    if let Err(fault) = Machine::new(&code).with_subgroups(subgroup).grid(&mut memory, &places, step, [1, 1, 1]) {
        panic!("subgroups of {subgroup}: {fault}");
    }
    written.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

fn noise(seed: u32, n: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Few bits, so that sums are exact in any order.
            (state >> 20) as f32 / 64.0 - 32.0
        })
        .collect()
}

fn bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn expect(op: ReduceOp, x: impl Iterator<Item = f32>) -> f32 {
    match op {
        ReduceOp::Add => x.sum(),
        ReduceOp::Max => x.fold(f32::NEG_INFINITY, f32::max),
        ReduceOp::Min => x.fold(f32::INFINITY, f32::min),
    }
}

/// Loads the values of each lane, which lie one after the other.
fn load_all(b: &mut KernelBuilder, x: BufId, ty: Type, lane: ValueId, lanes: u32, count: u32) -> Vec<ValueId> {
    (0..count)
        .map(|i| {
            let at = b.add(lane, i * lanes);
            b.load(ty, x, at)
        })
        .collect()
}

#[test]
fn every_lane_gets_the_reduction_of_all() {
    for (lanes, width, count) in [(32, 1, 1), (64, 1, 3), (128, 1, 1), (128, 1, 9), (128, 4, 2), (256, 2, 3), (32, 4, 8)] {
        let ty = Type::vector(Scalar::F32, width);
        let n = lanes * count;
        for (way, subgroup) in WAYS {
            let mut b = builder(lanes);
            let x = b.param("x", ty, n, Access::Read, 16);
            let y = b.param("y", ty, 3 * n, Access::Write, 16);
            let reducer = Reducer::declare(&mut b, way, ty, lanes, count);
            let lane = b.builtin(Builtin::Lane);
            let values = load_all(&mut b, x, ty, lane, lanes, count);
            // One after the other, with no barrier between.
            for (o, op) in (0u32..).zip(OPS) {
                let results = if o == 0 { reducer.all_settled(&mut b, op, &values) } else { reducer.all(&mut b, op, &values) };
                for (i, r) in (0u32..).zip(results) {
                    let at = b.add(lane, (o * count + i) * lanes);
                    b.store(y, at, r);
                }
            }
            let input = noise(lanes + count, n * u32::from(width));
            let out = run(&b.finish(), subgroup, bytes(&input), 3 * input.len());
            let width = usize::from(width);
            for (o, op) in OPS.into_iter().enumerate() {
                for i in 0..count as usize {
                    for w in 0..width {
                        let of = |lane: usize| (i * lanes as usize + lane) * width + w;
                        let expected = expect(op, (0..lanes as usize).map(|lane| input[of(lane)]));
                        for lane in 0..lanes as usize {
                            let found = f32::from_bits(out[o * input.len() + of(lane)]);
                            assert_eq!(found, expected, "{way:?} {subgroup}, {lanes} lanes of {ty}, {op:?} of value {i}, lane {lane}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn reductions_in_a_loop_do_not_disturb_each_other() {
    for (way, subgroup) in WAYS {
        let mut b = builder(64);
        let x = b.param("x", F32, 64 * 5, Access::Read, 16);
        let y = b.param("y", F32, 64, Access::Write, 16);
        let reducer = Reducer::declare(&mut b, way, F32, 64, 1);
        let lane = b.builtin(Builtin::Lane);
        let total = b.var(F32, 0.0f32);
        b.for_(0u32, 5 * 64u32, 64, |b, begin| {
            let at = b.add(begin, lane);
            let v = b.load(F32, x, at);
            let most = reducer.all(b, ReduceOp::Max, &[v]);
            let old = b.get(total);
            let new = b.add(old, most[0]);
            b.set(total, new);
        });
        let total = b.get(total);
        b.store(y, lane, total);
        let input = noise(7, 64 * 5);
        let out = run(&b.finish(), subgroup, bytes(&input), 64);
        let expected: f32 = input.chunks(64).map(|c| expect(ReduceOp::Max, c.iter().copied())).sum();
        assert!(out.iter().all(|&w| f32::from_bits(w) == expected), "{way:?} {subgroup}");
    }
}

#[test]
fn the_greatest_pair_has_the_least_index_of_equal_keys() {
    for (way, subgroup) in WAYS {
        for (lanes, keys) in [(32u32, 3u32), (128, 1), (128, 50), (256, 1_000_000)] {
            let mut b = builder(lanes);
            let words = Type::INDEX;
            let x = b.param("x", words, 2 * lanes, Access::Read, 16);
            let y = b.param("y", words, 2 * lanes, Access::Write, 16);
            let reducer = Reducer::declare(&mut b, way, words, lanes, 2);
            let lane = b.builtin(Builtin::Lane);
            let values = load_all(&mut b, x, words, lane, lanes, 2);
            let (key, index) = reducer.greatest(&mut b, values[0], values[1]);
            b.store(y, lane, key);
            let at = b.add(lane, lanes);
            b.store(y, at, index);
            let kernel = b.finish();
            for seed in 0..4u32 {
                let mut state = seed;
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state >> 8
                };
                let pairs: Vec<(u32, u32)> = (0..lanes).map(|_| (next() % keys, next())).collect();
                let input = pairs.iter().map(|p| p.0).chain(pairs.iter().map(|p| p.1)).flat_map(u32::to_le_bytes).collect();
                let out = run(&kernel, subgroup, input, 2 * lanes as usize);
                let expected = pairs.iter().copied().min_by_key(|&(key, index)| (std::cmp::Reverse(key), index)).expect("lanes");
                let (found_keys, found_indices) = out.split_at(lanes as usize);
                assert!(found_keys.iter().all(|&k| k == expected.0), "{way:?} {subgroup}: {found_keys:?}, expected {expected:?}");
                assert!(found_indices.iter().all(|&i| i == expected.1), "{way:?} {subgroup}: {found_indices:?}, expected {expected:?}");
            }
        }
    }
}

#[test]
fn keys_order_as_floats_do() {
    let floats = [
        f32::NAN,
        f32::NEG_INFINITY,
        f32::MIN,
        -1.5,
        -1.0,
        -f32::MIN_POSITIVE,
        -f32::from_bits(1),
        -0.0,
        0.0,
        f32::from_bits(1),
        f32::MIN_POSITIVE,
        1.0,
        1.5,
        f32::MAX,
        f32::INFINITY,
        f32::from_bits(0xffc0_0001),
    ];
    let mut b = builder(32);
    let x = b.param("x", F32, 16, Access::Read, 16);
    let y = b.param("y", Type::INDEX, 16, Access::Write, 16);
    let lane = b.builtin(Builtin::Lane);
    let at = b.min(lane, 15u32);
    let v = b.load(F32, x, at);
    let key = order_key(&mut b, v);
    b.store(y, at, key);
    let keys = run(&b.finish(), 8, bytes(&floats), 16);
    for (a, ka) in floats.iter().zip(&keys) {
        for (c, kc) in floats.iter().zip(&keys) {
            match a.partial_cmp(c) {
                Some(order) => assert_eq!(ka.cmp(kc), order, "{a} and {c}"),
                None if a.is_nan() && !c.is_nan() => assert!(ka < kc, "NaN below {c}"),
                None => {}
            }
        }
    }
}
