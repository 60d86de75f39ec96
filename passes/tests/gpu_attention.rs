//! GPU attention against plain arithmetic: geometries, cache types, steps, ways to reduce and sizes of subgroups.

use half::f16;
use slmc_ir::graph::{AttentionAttrs, DType};
use slmc_ir::interp::kernel::{Compiled, Machine, Memory, Step};
use slmc_ir::kernel::{Access, Builtin, Kernel, KernelBuilder, Scalar, Space, StepBounds, Type, verify_kernel};
use slmc_ir::target::{Gpu, known};
use slmc_passes::lower::activation::ActShape;
use slmc_passes::lower::gpu::attention::Attention;
use slmc_passes::lower::gpu::heads::geometry;
use slmc_passes::lower::heads::Heads;
use slmc_passes::lower::launch::{Launch, Limits, Phase};

#[derive(Debug, Clone, Copy)]
struct Case {
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    cache: DType,
    ctx: u32,
    chunk: u32,
    lanes: u32,
    /// Lanes of a subgroup; 0: the device has none.
    subgroup: u32,
    quantized: bool,
    window: Option<u32>,
    softcap: Option<f32>,
}

const PLAIN: Case = Case {
    heads: 4,
    kv_heads: 2,
    head_dim: 32,
    cache: DType::F32,
    ctx: 200,
    chunk: 5,
    lanes: 32,
    subgroup: 0,
    quantized: false,
    window: None,
    softcap: None,
};

impl Case {
    fn gpu(&self) -> Gpu {
        let generic = known::find("vulkan-generic").and_then(|t| t.gpu).expect("a GPU target");
        Gpu { lanes: self.lanes, subgroups: self.subgroup > 0, ..generic }
    }

    fn geometry(&self) -> Heads {
        let Case { heads, kv_heads, head_dim, window, softcap, .. } = *self;
        let attrs = AttentionAttrs { heads, kv_heads, head_dim, scale: 1.0, window, softcap };
        geometry(&attrs, self.cache, &self.limits())
    }

    fn limits(&self) -> Limits {
        Limits { chunk: self.chunk, ctx: self.ctx, head_rows: 1 }
    }

    fn out(&self, phase: Phase) -> ActShape {
        ActShape { quantized: self.quantized, k: self.heads * self.head_dim, rows: self.limits().tokens(phase), norm: None }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// The verified kernels of a phase, with what lies between if there are two.
    fn launches(&self, phase: Phase) -> (Vec<Launch>, Vec<u64>) {
        let gpu = self.gpu();
        let out = self.out(phase);
        let limits = self.limits();
        let attention = Attention { heads: self.geometry(), scale: self.scale(), softcap: self.softcap, out, phase, gpu: &gpu, q_rows: out.rows };
        let mut launches = vec![attention.launch("attention", &limits)];
        let parts: Vec<u64> = attention.parts(&limits).into_iter().map(|(_, bytes)| bytes).collect();
        if !parts.is_empty() {
            launches.push(attention.combine("combine", &limits));
        }
        for launch in &launches {
            if let Err(faults) = verify_kernel(&launch.kernel) {
                panic!("{self:?} {phase:?}: {faults:#?}");
            }
            let shared = shared_bytes(&launch.kernel);
            assert!(shared <= gpu.shared_bytes, "{self:?} {phase:?}: {shared} bytes of workgroup memory");
            assert!(launch.kernel.params().count() as u32 <= gpu.storage_buffers);
        }
        (launches, parts)
    }
}

fn shared_bytes(kernel: &Kernel) -> u32 {
    kernel.buffers.iter().filter(|(_, b)| b.space == Space::Workgroup).map(|(_, b)| b.len * b.elem.bytes()).sum()
}

/// Numbers about −1 … 1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// q, k and v of a step, in plain order: `[row][head][dim]`.
struct Data {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl Data {
    fn new(case: &Case, rows: u32, positions: u32, seed: u32) -> Self {
        let mut noise = Noise(seed);
        let mut make = |n: u32, by: f32| -> Vec<f32> { (0..n).map(|_| noise.next() * by).collect() };
        let round = |x: f32| if case.cache == DType::F16 { f16::from_f32(x).to_f32() } else { x };
        let q = make(rows * case.heads * case.head_dim, 3.0);
        let k = make(positions * case.kv_heads * case.head_dim, 2.0).into_iter().map(round).collect();
        let v = make(positions * case.kv_heads * case.head_dim, 1.0).into_iter().map(round).collect();
        Self { q, k, v }
    }

    /// Softmax attention of row `t` at position `p + t`, in f64.
    fn expected(&self, case: &Case, t: u32, p: u32) -> Vec<f32> {
        let dim = case.head_dim as usize;
        let mut out = Vec::new();
        for head in 0..case.heads {
            let kv = head / (case.heads / case.kv_heads);
            let q = &self.q[((t * case.heads + head) * case.head_dim) as usize..][..dim];
            let at = |x: u32| ((x * case.kv_heads + kv) * case.head_dim) as usize;
            let dot = |x: u32| q.iter().zip(&self.k[at(x)..]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() * f64::from(case.scale());
            let first = case.window.map_or(0, |window| (p + t + 1).saturating_sub(window));
            let capped = |s: f64| case.softcap.map_or(s, |cap| f64::from(cap) * (s / f64::from(cap)).tanh());
            let scores: Vec<f64> = (first..=p + t).map(|x| capped(dot(x))).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            out.extend((0..dim).map(|d| {
                let sum: f64 = weights.iter().zip(first..).map(|(w, x)| w * f64::from(self.v[at(x) + d])).sum();
                (sum / total) as f32
            }));
        }
        out
    }

    /// A cache half as documented; what no step wrote is NaN.
    fn cache(&self, case: &Case, keys: bool) -> Vec<u8> {
        let h = case.geometry();
        // In a ring the last position to take a place has it.
        let (pairs, positions) = (case.head_dim.div_ceil(2), h.positions);
        let width = if case.cache == DType::F16 { 2 } else { 4 };
        let mut out = vec![0xff; (h.cache_pairs() * 2) as usize * width];
        let plain = if keys { &self.k } else { &self.v };
        for (i, &x) in plain.iter().enumerate() {
            let i = i as u32;
            let (position, kv, dim) = (i / (case.kv_heads * case.head_dim) % positions, i / case.head_dim % case.kv_heads, i % case.head_dim);
            let pair = if keys {
                ((kv * (positions / 32) + position / 32) * pairs + dim / 2) * 32 + position % 32
            } else {
                (kv * positions + position) * pairs + dim / 2
            };
            let at = (pair * 2 + dim % 2) as usize * width;
            // An odd head's last pair has a zero.
            if dim + 1 == case.head_dim && dim.is_multiple_of(2) {
                out[at + width..at + 2 * width].fill(0);
            }
            match case.cache {
                DType::F16 => out[at..at + 2].copy_from_slice(&f16::from_f32(x).to_le_bytes()),
                _ => out[at..at + 4].copy_from_slice(&x.to_le_bytes()),
            }
        }
        out
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

fn close(found: f32, expected: f32, what: impl std::fmt::Display) {
    assert!((found - expected).abs() <= 2e-6 + 1e-5 * expected.abs(), "{what}: {found}, expected {expected}");
}

fn run<'a>(case: Case, launch: &Launch, step: Step, buffers: impl Iterator<Item = &'a mut [u8]>) {
    let code = Compiled::new(&launch.kernel).expect("sound");
    let (mut memory, places) = Memory::of_slices(buffers.collect());
    let mut machine = Machine::new(&code).with_subgroups(case.subgroup.max(1));
    if let Err(fault) = machine.grid(&mut memory, &places, step, launch.grid.map(|e| e.tiles(step.t, step.p))) {
        panic!("{case:?}, {step:?}: {fault}");
    }
}

/// Runs a step and compares every row.
fn check(case: Case, phase: Phase, (launches, parts): &(Vec<Launch>, Vec<u64>), t: u32, p: u32) {
    let h = case.geometry();
    let out = case.out(phase);
    let data = Data::new(&case, t, p + t, t * 1000 + p);
    let mut q = vec![f32::NAN; (out.rows * h.q_stride()) as usize];
    for (i, &x) in (0u32..).zip(&data.q) {
        let (head, dim) = (i / case.head_dim, i % case.head_dim);
        q[(head * h.dims + dim) as usize] = x;
        if h.dims > case.head_dim {
            q[(head * h.dims + case.head_dim) as usize] = 0.0;
        }
    }
    let mut q: Vec<u8> = q.iter().flat_map(|x| x.to_le_bytes()).collect();
    let (mut k, mut v) = (data.cache(&case, true), data.cache(&case, false));
    let (groups, stride) = (out.groups() as usize, out.stride() as usize);
    let mut written = if out.quantized {
        vec![vec![0x55; out.rows as usize * stride], vec![0x55; out.rows as usize * groups * 8]]
    } else {
        vec![vec![0x55; out.rows as usize * stride * 4]]
    };
    let mut parts: Vec<Vec<u8>> = parts.iter().map(|&bytes| vec![0xff; bytes as usize]).collect();
    let inputs = [&mut q, &mut k, &mut v].map(Vec::as_mut_slice);
    let step = Step { t, p, row: 0 };
    match launches.as_slice() {
        [one] => run(case, one, step, inputs.into_iter().chain(written.iter_mut().map(Vec::as_mut_slice))),
        [first, second] => {
            run(case, first, step, inputs.into_iter().chain(parts.iter_mut().map(Vec::as_mut_slice)));
            run(case, second, step, parts.iter_mut().chain(&mut written).map(Vec::as_mut_slice));
        }
        _ => panic!("one or two kernels"),
    }
    for row in 0..out.rows {
        let at = row as usize * stride;
        if row >= t {
            let row_bytes = stride * if out.quantized { 1 } else { 4 };
            assert!(written[0][row as usize * row_bytes..][..row_bytes].iter().all(|&b| b == 0x55), "{case:?}: row {row} is past T");
            continue;
        }
        let mut expected = data.expected(&case, row, p);
        expected.resize(stride, 0.0);
        let what = |i: usize| format!("{case:?}, t = {t}, p = {p}, row {row}, feature {i}");
        if !out.quantized {
            for (i, (found, expected)) in floats(&written[0][4 * at..4 * (at + stride)]).into_iter().zip(expected).enumerate() {
                close(found, expected, what(i));
            }
            continue;
        }
        let side = floats(&written[1][row as usize * groups * 8..]);
        for (g, expected) in expected.chunks(32).enumerate() {
            let scale = expected.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
            close(side[2 * g], scale, what(32 * g));
            for (i, x) in expected.iter().enumerate() {
                let code = f32::from(written[0][at + 32 * g + i] as i8);
                assert!((code - x / scale).abs() <= 0.501, "{}: code {code}, expected {}", what(32 * g + i), x / scale);
            }
        }
    }
}

fn decode(case: Case, ps: &[u32]) {
    let launches = case.launches(Phase::Decode);
    ps.iter().for_each(|&p| check(case, Phase::Decode, &launches, 1, p));
}

fn prefill(case: Case, steps: &[(u32, u32)]) {
    let launches = case.launches(Phase::Prefill);
    steps.iter().for_each(|&(t, p)| check(case, Phase::Prefill, &launches, t, p));
}

#[test]
fn one_token_sees_every_position_before_it() {
    decode(PLAIN, &[0, 1, 30, 31, 32, 127, 128, 199]);
    decode(Case { ctx: 45, ..PLAIN }, &[0, 31, 44]);
}

#[test]
fn tokens_of_a_step_see_no_later_ones() {
    prefill(PLAIN, &[(1, 0), (5, 0), (2, 29), (5, 31), (4, 60), (5, 195)]);
    prefill(Case { chunk: 33, ctx: 70, ..PLAIN }, &[(33, 0), (31, 33), (7, 63)]);
}

#[test]
fn heads_of_every_size_and_both_cache_types() {
    for head_dim in [32, 64, 80, 128, 24, 17] {
        for cache in [DType::F32, DType::F16] {
            let case = Case { head_dim, cache, heads: 3, kv_heads: 3, ctx: 100, chunk: 3, ..PLAIN };
            decode(case, &[0, 37, 99]);
            prefill(case, &[(3, 0), (2, 64)]);
        }
    }
}

#[test]
fn query_heads_share_kv_heads() {
    for (heads, kv_heads) in [(1, 1), (2, 1), (8, 1), (16, 2), (6, 2), (7, 1), (32, 2), (64, 16)] {
        let case = Case { heads, kv_heads, ctx: 70, chunk: 4, ..PLAIN };
        decode(case, &[0, 69]);
        prefill(case, &[(4, 40)]);
    }
}

#[test]
fn any_way_to_reduce_gives_the_same() {
    for subgroup in [0, 4, 8, 32] {
        for lanes in [64, 128] {
            let case = Case { subgroup, lanes, head_dim: 64, heads: 2, kv_heads: 1, cache: DType::F16, ctx: 300, ..PLAIN };
            decode(case, &[5, 290]);
            prefill(case, &[(5, 131)]);
        }
    }
}

#[test]
fn spans_of_a_long_cache_are_combined() {
    for (subgroup, quantized) in [(0, false), (8, true)] {
        for (heads, kv_heads, head_dim) in [(3, 1, 32), (2, 2, 64)] {
            let case = Case { heads, kv_heads, head_dim, subgroup, quantized, cache: DType::F16, ctx: 1300, ..PLAIN };
            assert_eq!(case.launches(Phase::Decode).0.len(), 2);
            decode(case, &[0, 511, 512, 1100, 1299]);
        }
    }
}

#[test]
fn a_window_hides_what_lies_before_it_and_its_cache_is_a_ring() {
    for (window, chunk, places) in [(16, 5, 32), (33, 5, 64), (1, 1, 32), (60, 20, 96), (64, 33, 96), (150, 60, 200), (500, 5, 200)] {
        for subgroup in [0, 8] {
            let case = Case { window: Some(window), chunk, subgroup, cache: DType::F16, ..PLAIN };
            assert_eq!(case.geometry().positions, u32::next_multiple_of(places, 32), "{window} {chunk}");
            decode(case, &[0, 14, 15, 16, 31, 32, 63, 64, 65, 100, 199]);
            let steps: Vec<(u32, u32)> = [(1, 0), (5, 0), (3, 14), (5, 30), (20, 44), (60, 64), (5, 97), (33, 120), (60, 140)]
                .into_iter()
                .map(|(t, p): (u32, u32)| (t.min(chunk), p))
                .collect();
            prefill(case, &steps);
        }
    }
}

#[test]
fn a_window_longer_than_a_span_is_combined_from_spans_of_its_own() {
    for window in [1100, 1024, 1280] {
        let case = Case { window: Some(window), heads: 2, kv_heads: 1, ctx: 3000, cache: DType::F16, ..PLAIN };
        assert_eq!(case.launches(Phase::Decode).0.len(), 2);
        decode(case, &[0, 511, window - 1, window, window + 31, 1535, 2000, 2999]);
    }
    let short = Case { window: Some(512), ctx: 3000, ..PLAIN };
    assert_eq!(short.launches(Phase::Decode).0.len(), 1, "what is seen is short though the context is long");
    decode(short, &[511, 2999]);
}

#[test]
fn scores_are_capped_before_they_are_masked() {
    for softcap in [0.5, 3.0, 50.0] {
        let case = Case { softcap: Some(softcap), window: Some(40), head_dim: 64, ..PLAIN };
        decode(case, &[0, 31, 90]);
        prefill(case, &[(5, 0), (5, 60)]);
        decode(Case { ctx: 1300, window: None, subgroup: 8, ..case }, &[1299]);
    }
}

#[test]
fn results_are_quantized_where_they_are_made() {
    for (head_dim, lanes) in [(32, 32), (64, 32), (128, 64)] {
        let case = Case { head_dim, lanes, quantized: true, cache: DType::F16, ctx: 100, ..PLAIN };
        decode(case, &[0, 77]);
        prefill(case, &[(5, 0), (3, 50)]);
        prefill(Case { subgroup: 8, ..case }, &[(4, 96)]);
    }
}

#[test]
fn kernels_of_real_size_pass_the_verifier_and_fit_workgroup_memory() {
    for target in known::known() {
        let Some(gpu) = target.gpu else { continue };
        for (heads, kv_heads, head_dim) in [(4, 2, 32), (32, 4, 64), (9, 3, 64), (14, 2, 64), (32, 8, 128), (8, 1, 256), (32, 32, 80), (16, 16, 128)]
        {
            for (quantized, window, softcap) in [(false, None, None), (head_dim % 32 == 0, None, Some(50.0)), (false, Some(512), None)] {
                let case = Case { heads, kv_heads, head_dim, cache: DType::F16, ctx: 4096, chunk: 256, quantized, window, softcap, ..PLAIN };
                for phase in [Phase::Decode, Phase::Prefill] {
                    let out = case.out(phase);
                    let attention =
                        Attention { heads: case.geometry(), scale: 0.125, softcap: case.softcap, out, phase, gpu: &gpu, q_rows: out.rows };
                    let mut kernels = vec![attention.launch("attention", &case.limits()).kernel];
                    if attention.spans(&case.limits()) > 1 {
                        kernels.push(attention.combine("combine", &case.limits()).kernel);
                    }
                    let splits = phase == Phase::Decode && head_dim % 32 == 0 && window.is_none();
                    assert_eq!(kernels.len() > 1, splits, "{} {case:?} {phase:?}", target.name);
                    for kernel in kernels {
                        if let Err(faults) = verify_kernel(&kernel) {
                            panic!("{} {case:?} {phase:?}: {faults:#?}", target.name);
                        }
                        let shared = shared_bytes(&kernel);
                        assert!(shared <= gpu.shared_bytes, "{} {case:?} {phase:?}: {shared} bytes", target.name);
                    }
                    assert!(attention.tile(&case.limits()).heads * head_dim >= 32, "{} {case:?} {phase:?}", target.name);
                }
            }
        }
    }
}

#[test]
fn pairs_are_stored_where_attention_reads_them() {
    for (cache, head_dim) in [(DType::F32, 32), (DType::F16, 64), (DType::F16, 17)] {
        let case = Case { cache, head_dim, kv_heads: 2, ctx: 70, ..PLAIN };
        let h = case.geometry();
        let mut b = KernelBuilder::new("append", StepBounds { t: (1, 1), p: (0, 69), row: (0, 0) }, [h.pairs(), h.kv_heads, 1]);
        let f32x2 = Type::vector(Scalar::F32, 2);
        let x = b.param("x", f32x2, h.kv_heads * h.pairs(), Access::Read, 16);
        let k = b.param("k", h.pair(), h.cache_pairs(), Access::Write, 16);
        let v = b.param("v", h.pair(), h.cache_pairs(), Access::Write, 16);
        let (pair, head, position) = (b.builtin(Builtin::Grid(0)), b.builtin(Builtin::Grid(1)), b.builtin(Builtin::P));
        let from = b.mul(head, h.pairs());
        let from = b.add(from, pair);
        let value = b.load(f32x2, x, from);
        let at = h.key_index(&mut b, head, position);
        let at = h.key_pair(&mut b, at, pair);
        h.store_pair(&mut b, k, at, value);
        let at = h.value_index(&mut b, head, position);
        let at = b.add(at, pair);
        h.store_pair(&mut b, v, at, value);
        let kernel = b.finish();
        verify_kernel(&kernel).expect("provable");
        let data = Data::new(&case, 1, 70, 3);
        let mut keys = vec![0xff; h.cache_bytes() as usize];
        let mut values = keys.clone();
        let code = Compiled::new(&kernel).expect("sound");
        for p in 0..70u32 {
            let row = (case.kv_heads * head_dim) as usize;
            let mut x = Vec::new();
            for head in data.k[p as usize * row..(p as usize + 1) * row].chunks(head_dim as usize) {
                x.extend(head.iter().copied().chain(std::iter::repeat_n(0.0, (h.dims - head_dim) as usize)).flat_map(f32::to_le_bytes));
            }
            let (mut memory, places) = Memory::of_slices(vec![&mut x, &mut keys, &mut values]);
            Machine::new(&code).grid(&mut memory, &places, Step { t: 1, p, row: 0 }, kernel.grid).expect("no fault");
        }
        assert_eq!(keys, data.cache(&case, true));
        let same = Data { v: data.k.clone(), ..data };
        assert_eq!(values, same.cache(&case, false));
    }
}
