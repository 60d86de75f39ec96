//! GPU kernels of norms that are launches of their own, against plain arithmetic: whole rows and heads, padding, ways to reduce.

use slmc_ir::graph::{AttentionAttrs, DType};
use slmc_ir::interp::kernel::{Compiled, Machine, Memory, Step};
use slmc_ir::kernel::{Space, verify_kernel};
use slmc_ir::target::{Gpu, known};
use slmc_passes::lower::activation::ActShape;
use slmc_passes::lower::emit::{HeadNorm, Norm, NormBy};
use slmc_passes::lower::gpu::heads::geometry;
use slmc_passes::lower::gpu::schedule::Schedule;
use slmc_passes::lower::gpu::{head_norm, norm};
use slmc_passes::lower::heads::Parts;
use slmc_passes::lower::launch::{Launch, Limits, Phase};

/// Devices that differ in how lanes meet: lanes, lanes of a subgroup (0: none).
const DEVICES: [(u32, u32); 3] = [(128, 0), (32, 8), (256, 32)];
const LIMITS: Limits = Limits { chunk: 5, ctx: 70, head_rows: 2 };

fn gpu((lanes, subgroup): (u32, u32)) -> Gpu {
    let generic = known::find("vulkan-generic").and_then(|t| t.gpu).expect("a GPU target");
    Gpu { lanes, subgroups: subgroup > 0, ..generic }
}

/// Numbers about −1 … 1.
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Rows of `features` numbers about `middle`, with zeros up to `stride`.
    fn rows(&mut self, rows: u32, features: u32, stride: u32, middle: f32) -> Vec<f32> {
        (0..rows * stride).map(|i| if i % stride < features { middle + self.next() } else { 0.0 }).collect()
    }
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

fn run(launch: &Launch, gpu: &Gpu, subgroup: u32, step: Step, buffers: &mut [Vec<u8>]) {
    let kernel = &launch.kernel;
    if let Err(faults) = verify_kernel(kernel) {
        panic!("{}: {faults:#?}", kernel.name);
    }
    let shared = kernel.buffers.iter().filter(|(_, b)| b.space == Space::Workgroup).map(|(_, b)| b.len * b.elem.bytes());
    assert!(shared.sum::<u32>() <= gpu.shared_bytes && kernel.params().count() as u32 <= gpu.storage_buffers);
    for ((_, param), buffer) in kernel.params().zip(buffers.iter()) {
        assert_eq!((param.len * param.elem.bytes()) as usize, buffer.len(), "{}: {}", kernel.name, param.name);
    }
    let code = Compiled::new(kernel).expect("sound");
    let (mut memory, places) = Memory::of_slices(buffers.iter_mut().map(Vec::as_mut_slice).collect());
    let mut machine = Machine::new(&code).with_subgroups(subgroup.max(1));
    if let Err(fault) = machine.grid(&mut memory, &places, step, launch.grid.map(|e| e.tiles(step.t, step.p))) {
        panic!("{}, {} lanes: {fault}", kernel.name, gpu.lanes);
    }
}

fn close(found: f32, expected: f64, what: impl std::fmt::Display) {
    assert!((f64::from(found) - expected).abs() <= 2e-6 + 1e-5 * expected.abs(), "{what}: {found}, expected {expected}");
}

/// `x / sqrt(mean(x²) + eps)`, in f64.
fn root_mean_square(x: &[f64], eps: f32) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().map(|x| x / (mean + f64::from(eps)).sqrt()).collect()
}

fn deviation(x: &[f64], eps: f32) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    root_mean_square(&x.iter().map(|x| x - mean).collect::<Vec<_>>(), eps)
}

/// Runs a norm of rows and compares activations, and the residual stream.
fn check_rows(features: u32, joined: Option<f32>, by: NormBy, quantized: bool, device: (u32, u32), t: u32) {
    let what = format!("{features} features, {joined:?}, {by:?}, {device:?}");
    let gpu = gpu(device);
    let rows = LIMITS.chunk;
    let out = ActShape { quantized, k: features, rows, norm: None };
    let stride = out.stride();
    let shape = Norm { features, joined, by, out, rows, phase: Phase::Prefill };
    let launch = norm::launch("norm", &shape, &Schedule::new(&gpu), &LIMITS);
    let mut noise = Noise(features);
    // A mean far from zero: a variance formed as a difference would be off.
    let residual = noise.rows(rows, features, stride, 30.0);
    let product = noise.rows(rows, features, stride, 0.0);
    let [product_weight, weight, bias] = [1.0, 1.0, 0.0].map(|middle| noise.rows(1, features, stride, middle));
    let mut buffers = Vec::new();
    if joined.is_some() {
        buffers.extend([bytes(&product), bytes(&product_weight)]);
    }
    let stream = buffers.len();
    buffers.extend([bytes(&residual), bytes(&weight)]);
    let has_bias = matches!(by, NormBy::Deviation { bias: true, .. });
    if has_bias {
        buffers.push(bytes(&bias));
    }
    let written = buffers.len();
    let cells = (rows * stride) as usize;
    if quantized {
        buffers.extend([vec![0x55; cells], vec![0x55; cells / 32 * 8]]);
    } else {
        buffers.push(vec![0x55; cells * 4]);
    }
    run(&launch, &gpu, device.1, Step { t, p: 3, row: 0 }, &mut buffers);
    for row in 0..t {
        let range = |stride: u32| (row * stride) as usize..(row * stride + features) as usize;
        let wide = |numbers: &[f32]| numbers.iter().copied().map(f64::from).collect::<Vec<_>>();
        let mut x = wide(&residual[range(stride)]);
        if let Some(eps) = joined {
            let normed = root_mean_square(&wide(&product[range(stride)]), eps);
            x = x.into_iter().zip(normed).zip(&product_weight).map(|((x, n), w)| x + n * f64::from(*w)).collect();
        }
        let kept = floats(&buffers[stream]);
        kept[range(stride)].iter().zip(&x).for_each(|(&found, &x)| close(found, x, format!("{what}: the stream")));
        let normed = match by {
            NormBy::RootMeanSquare { eps } => root_mean_square(&x, eps),
            NormBy::Deviation { eps, .. } => deviation(&x, eps),
        };
        let shift = |i: usize| if has_bias { f64::from(bias[i]) } else { 0.0 };
        let mut expected: Vec<f64> = normed.iter().enumerate().map(|(i, n)| n * f64::from(weight[i]) + shift(i)).collect();
        expected.resize(stride as usize, 0.0);
        let first = (row * stride) as usize;
        for (i, &expected) in expected.iter().enumerate().filter(|_| !quantized) {
            let found = floats(&buffers[written][4 * (first + i)..][..4])[0];
            assert!((f64::from(found) - expected).abs() <= 3e-5, "{what}: feature {i} is {found}, expected {expected}");
        }
        for (group, expected) in expected.chunks(32).enumerate().filter(|_| quantized) {
            let side = floats(&buffers[written + 1][(first / 32 + group) * 8..][..8]);
            let scale = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs())) / 127.0;
            assert!((f64::from(side[0]) - scale).abs() <= 1e-5, "{what}: scale {}, expected {scale}", side[0]);
            for (i, x) in expected.iter().enumerate() {
                let code = f64::from(buffers[written][first + 32 * group + i] as i8);
                assert!((code - x / scale).abs() <= 0.51, "{what}: code {code}, expected {}", x / scale);
            }
        }
    }
    let beyond = (t * stride) as usize * if quantized { 1 } else { 4 };
    assert!(buffers[written][beyond..].iter().all(|&b| b == 0x55), "{what}: rows past T are not written");
}

#[test]
fn rows_of_the_stream_are_normed_whole() {
    let eps = 1e-5;
    for device in DEVICES {
        // A row may be less than a group, no whole group, more than a quad per lane.
        for features in [6, 32, 70, 128, 1000, 2304] {
            for by in [NormBy::RootMeanSquare { eps }, NormBy::Deviation { eps, bias: false }, NormBy::Deviation { eps, bias: true }] {
                check_rows(features, None, by, false, device, 3);
            }
        }
    }
}

#[test]
fn rows_of_a_product_are_normed_and_added_first() {
    for device in DEVICES {
        for features in [6, 64, 100, 1152] {
            check_rows(features, Some(1e-6), NormBy::RootMeanSquare { eps: 1e-6 }, false, device, 5);
        }
        check_rows(96, Some(1e-6), NormBy::Deviation { eps: 1e-5, bias: true }, false, device, 1);
    }
}

#[test]
fn normed_rows_are_quantized_where_they_are_made() {
    for device in DEVICES {
        for features in [64, 128, 2304] {
            check_rows(features, Some(1e-6), NormBy::RootMeanSquare { eps: 1e-6 }, true, device, 4);
            check_rows(features, None, NormBy::Deviation { eps: 1e-5, bias: true }, true, device, 2);
        }
    }
}

/// A model's heads, as a norm per head sees them.
#[derive(Debug, Clone, Copy)]
struct Layer {
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    /// Dims that rotate; 0: none.
    rotary: u32,
    parts: Parts,
    window: Option<u32>,
    cache: DType,
}

const ALL: Parts = Parts { q: true, k: true, v: true };

impl Layer {
    /// The dim of the checkpoint that packed row `d` of a rotated head holds.
    fn dim(&self, d: u32) -> u32 {
        if d >= self.rotary { d } else { d / 2 + if d.is_multiple_of(2) { 0 } else { self.rotary / 2 } }
    }

    /// Angle of a pair of packed dims at a position.
    fn angle(&self, pair: u32, position: u32) -> f64 {
        if 2 * pair < self.rotary { f64::from(position) * 100f64.powf(-f64::from(2 * pair) / f64::from(self.rotary)) } else { 0.0 }
    }

    fn check(&self, device: (u32, u32), t: u32, p: u32) {
        let what = format!("{self:?} on {device:?}, t = {t}, p = {p}");
        let gpu = gpu(device);
        let attrs =
            AttentionAttrs { heads: self.heads, kv_heads: self.kv_heads, head_dim: self.head_dim, scale: 1.0, window: self.window, softcap: None };
        let h = geometry(&attrs, self.cache, &LIMITS);
        let (rows, eps) = (LIMITS.chunk, 1e-6);
        let shape = HeadNorm { heads: h, parts: self.parts, eps, rotated: self.rotary > 0, rows, phase: Phase::Prefill };
        let launch = head_norm::launch("head_norm", &shape, &Schedule::new(&gpu), &LIMITS);
        let counts = [(self.parts.q, h.heads), (self.parts.k, h.kv_heads), (self.parts.v, h.kv_heads)];
        let present: Vec<(usize, u32)> = counts.iter().enumerate().filter(|(_, (on, _))| *on).map(|(i, (_, heads))| (i, *heads)).collect();
        let heads: u32 = present.iter().map(|(_, heads)| heads).sum();
        let mut noise = Noise(heads + self.head_dim);
        let product = noise.rows(rows * heads, self.head_dim, h.packed_rows, 0.2);
        let weights = [(); 2].map(|()| noise.rows(1, self.head_dim, h.packed_rows, 1.0));
        let mut rope = Vec::new();
        for position in 0..LIMITS.ctx {
            let angles: Vec<f64> = (0..h.pairs()).map(|pair| self.angle(pair, position)).collect();
            rope.extend(angles.iter().flat_map(|a| [a.cos() as f32; 2]));
            rope.extend(angles.iter().flat_map(|a| [-a.sin() as f32, a.sin() as f32]));
        }
        let mut buffers = vec![bytes(&product)];
        buffers.extend(weights.iter().zip([self.parts.q, self.parts.k]).filter(|(_, on)| *on).map(|(w, _)| bytes(w)));
        if self.rotary > 0 && (self.parts.q || self.parts.k) {
            buffers.push(bytes(&rope));
        }
        let cache = h.cache_bytes() as usize;
        let mut at = [0; 3];
        for &(part, _) in &present {
            at[part] = buffers.len();
            buffers.push(vec![0x55; if part == 0 { (rows * h.q_stride() * 4) as usize } else { cache }]);
        }
        run(&launch, &gpu, device.1, Step { t, p, row: 0 }, &mut buffers);
        for token in 0..t {
            let (position, mut before) = (p + token, 0);
            for &(part, count) in &present {
                for head in 0..count {
                    let first = ((token * heads + before + head) * h.packed_rows) as usize;
                    let mut x: Vec<f64> = product[first..first + self.head_dim as usize].iter().copied().map(f64::from).collect();
                    if part < 2 {
                        x = root_mean_square(&x, eps).into_iter().zip(&weights[part]).map(|(x, w)| x * f64::from(*w)).collect();
                        for pair in 0..self.rotary / 2 {
                            let (sin, cos) = self.angle(pair, position).sin_cos();
                            let i = 2 * pair as usize;
                            (x[i], x[i + 1]) = (x[i] * cos - x[i + 1] * sin, x[i + 1] * cos + x[i] * sin);
                        }
                    }
                    for (d, &expected) in (0u32..).zip(&x) {
                        let place = position % h.positions;
                        let pair = match part {
                            0 => (token * h.heads + head) * h.pairs() + d / 2,
                            1 => ((head * (h.positions / 32) + place / 32) * h.pairs() + d / 2) * 32 + place % 32,
                            _ => (head * h.positions + place) * h.pairs() + d / 2,
                        };
                        let index = (2 * pair + d % 2) as usize;
                        let buffer = &buffers[at[part]];
                        let what = format!("{what}: part {part}, token {token}, head {head}, dim {} of the checkpoint", self.dim(d));
                        if part > 0 && self.cache == DType::F16 {
                            let found = half::f16::from_le_bytes([buffer[2 * index], buffer[2 * index + 1]]).to_f32();
                            assert!((f64::from(found) - expected).abs() <= 1e-3 * expected.abs().max(0.1), "{what}: {found}, expected {expected}");
                        } else {
                            close(floats(&buffer[4 * index..][..4])[0], expected, what);
                        }
                    }
                }
                before += count;
            }
        }
        if self.parts.q {
            let beyond = (t * h.q_stride() * 4) as usize;
            assert!(buffers[at[0]][beyond..].iter().all(|&b| b == 0x55), "{what}: rows past T are not written");
        }
    }
}

#[test]
fn heads_are_normed_rotated_and_stored() {
    for device in DEVICES {
        for (heads, kv_heads, head_dim, rotary) in
            [(4, 2, 32, 32), (6, 1, 64, 16), (2, 2, 128, 128), (3, 3, 80, 20), (2, 1, 17, 0), (40, 8, 256, 256)]
        {
            for cache in [DType::F32, DType::F16] {
                let layer = Layer { heads, kv_heads, head_dim, rotary, parts: ALL, window: None, cache };
                layer.check(device, 1, 69);
                layer.check(device, 5, 30);
            }
        }
    }
}

#[test]
fn keys_and_values_of_a_window_go_round() {
    let layer = Layer { heads: 4, kv_heads: 2, head_dim: 32, rotary: 32, parts: ALL, window: Some(16), cache: DType::F32 };
    layer.check((128, 0), 5, 29);
    layer.check((128, 0), 5, 61);
}

#[test]
fn projections_of_other_formats_have_kernels_of_their_own() {
    for parts in [Parts { v: false, ..ALL }, Parts { q: false, v: false, ..ALL }, Parts { k: false, v: false, ..ALL }, Parts { k: false, ..ALL }] {
        let layer = Layer { heads: 4, kv_heads: 2, head_dim: 64, rotary: 64, parts, window: None, cache: DType::F16 };
        layer.check((64, 4), 3, 8);
    }
}

#[test]
fn kernels_of_real_size_pass_the_verifier_and_fit_every_device() {
    let limits = Limits { chunk: 256, ctx: 4096, head_rows: 8 };
    for target in known::known() {
        let Some(gpu) = target.gpu else { continue };
        let sched = Schedule::new(&gpu);
        let check = |launch: Launch, what: String| {
            let kernel = launch.kernel;
            if let Err(faults) = verify_kernel(&kernel) {
                panic!("{} {what}: {faults:#?}", target.name);
            }
            let arrays = kernel.buffers.iter().filter(|(_, b)| b.space == Space::Workgroup);
            let shared: u32 = arrays.map(|(_, b)| (b.len * b.elem.bytes()).next_multiple_of(16)).sum();
            assert!(shared <= gpu.shared_bytes, "{} {what}: {shared} bytes of workgroup memory", target.name);
            assert!(kernel.params().count() as u32 <= gpu.storage_buffers, "{} {what}", target.name);
        };
        for phase in [Phase::Decode, Phase::Prefill] {
            let rows = limits.tokens(phase);
            for features in [640, 1152, 2048, 2304, 3072, 5120, 8192] {
                for (joined, by) in [
                    (Some(1e-6), NormBy::RootMeanSquare { eps: 1e-6 }),
                    (Some(1e-6), NormBy::Deviation { eps: 1e-5, bias: true }),
                    (None, NormBy::Deviation { eps: 1e-5, bias: true }),
                ] {
                    let out = ActShape { quantized: true, k: features, rows, norm: None };
                    let shape = Norm { features, joined, by, out, rows, phase };
                    check(norm::launch("norm", &shape, &sched, &limits), format!("{features} {by:?} {phase:?}"));
                }
            }
            for (heads, kv_heads, head_dim, window) in [(16, 8, 128, None), (4, 1, 256, Some(512)), (8, 4, 256, Some(1024)), (32, 8, 128, None)] {
                let attrs = AttentionAttrs { heads, kv_heads, head_dim, scale: 1.0, window, softcap: None };
                let shape = HeadNorm { heads: geometry(&attrs, DType::F16, &limits), parts: ALL, eps: 1e-6, rotated: true, rows, phase };
                check(head_norm::launch("head_norm", &shape, &sched, &limits), format!("{heads} heads of {head_dim} {phase:?}"));
            }
        }
    }
}
