//! The gate: the decode block loop and the prefill tile, written in kernel IR and compiled by LLVM, against the same loops
//! written by hand in C (`reference.c`), one thread, at the matrix shapes of TinyLlama 1.1B.
//!
//! `cargo bench -p slmc-backends --features llvm --bench gate`; needs an x86-64 with AVX-512 VNNI and a C compiler `cc`.
//! Both run in turn, in short slices timed by the thread's own clock, so that a busy machine slows both and neither much
//! more; rates are those of the best slice, ratios those of the best slices and the median of the pairs' ratios.

mod kernels;
#[path = "../../tests/native/mod.rs"]
mod native;

use native::{KernelFn, Native};
use slmc_backends::EmitOptions;
use slmc_ir::kernel::{KernelModule, verify_module};
use slmc_ir::target::known;
use std::process::Command;
use std::time::Instant;

type RefDecode = unsafe extern "C" fn(*const u8, i32, i32, *const i8, *const f32, *const i32, *mut f32);
type Seconds = unsafe extern "C" fn() -> f64;
type RefPrefill = unsafe extern "C" fn(*const u8, i32, i32, i32, *const i8, *const f32, *const i32, *mut f32);

/// Rows and columns of a layer's matrices: q+k+v, attention output, gate+up, down.
const SHAPES: [(u32, u32); 4] = [(2560, 2048), (2048, 2048), (11264, 2048), (2048, 5632)];
/// Tokens of a prefill chunk.
const TOKENS: u32 = 252;
/// Layers: for decode, more than fits into a cache.
const LAYERS: usize = 6;
const PAIRS: usize = 31;

/// Memory at a multiple of 64 bytes.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

fn lines(bytes: usize) -> Vec<Line> {
    vec![Line([0; 64]); bytes.div_ceil(64)]
}

/// The inputs and outputs of one run.
struct Data {
    weights: Vec<Line>,
    acts: Vec<Line>,
    scales: Vec<Line>,
    starts: Vec<Line>,
    outs: [Vec<Line>; 2],
}

/// One of the two sides.
#[derive(Clone, Copy)]
enum Side {
    Ours,
    Hand,
}

struct Gate {
    data: Data,
    native: Native,
    decode: RefDecode,
    prefill: RefPrefill,
    clock: Seconds,
    _reference: libloading::Library,
    _dir: tempfile::TempDir,
}

fn main() {
    // `cargo test --benches` passes no `--bench`: then there is nothing to measure.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    if !std::arch::is_x86_feature_detected!("avx512vnni") {
        println!("skipped: this machine has no AVX-512 VNNI");
        return;
    }
    run();
}

fn matrix_bytes((rows, cols): (u32, u32)) -> usize {
    rows as usize * cols as usize / 512 * 288
}

/// Numbers that look random and are the same in every run.
fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

fn fill(data: &mut Data) {
    let mut s = 1;
    // Half scales between 2^-8 and 2^-7 in every group, noise in the nibbles.
    for (i, line) in data.weights.iter_mut().enumerate() {
        for (j, pair) in line.0.chunks_exact_mut(2).enumerate() {
            let scale = (i * 64 + 2 * j) % 288 >= 256;
            let bits = if scale { 0x1c00 | (noise(&mut s) as u16 & 0x3ff) } else { noise(&mut s) as u16 };
            pair.copy_from_slice(&bits.to_le_bytes());
        }
    }
    for line in &mut data.acts {
        line.0.iter_mut().for_each(|b| *b = (noise(&mut s) % 255) as i8 as u8);
    }
    for line in &mut data.scales {
        line.0.chunks_exact_mut(4).for_each(|b| b.copy_from_slice(&((noise(&mut s) % 1000 + 1) as f32 * 1e-4).to_le_bytes()));
    }
    for line in &mut data.starts {
        line.0.chunks_exact_mut(4).for_each(|b| b.copy_from_slice(&(noise(&mut s) as i32 % 8000 - 4000).to_le_bytes()));
    }
}

impl Gate {
    fn new() -> Self {
        let target = known::find("x86_64-avx512vnni").expect("a known target");
        let mut module = KernelModule::default();
        for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
            module.kernels.push(kernels::decode(&format!("decode{i}"), rows, cols));
            module.kernels.push(kernels::prefill(&format!("prefill{i}"), TOKENS, rows, cols));
        }
        let backend = slmc_backends::lookup("llvm").expect("the feature llvm");
        let start = Instant::now();
        let listing = std::env::args().any(|a| a == "--listing");
        let verified = verify_module(&module).expect("both kernels are valid");
        let artifact = backend.emit(verified, &target, &EmitOptions { listing, threads: 2, ..EmitOptions::default() }).expect("both kernels compile");
        println!("{} kernels compiled in {:.0} ms", module.kernels.len(), start.elapsed().as_secs_f64() * 1e3);
        if let Some(text) = &artifact.listing {
            println!("{text}");
        }
        let native = Native::load(&artifact, module.kernels.len());

        let dir = tempfile::tempdir().expect("a temporary folder");
        let library = dir.path().join("reference.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/gate/reference.c");
        let made = Command::new("cc").args(["-O3", "-march=native", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(made.expect("a C compiler `cc`").success());
        // SAFETY: the library was just made from reference.c, which has no initializers and these functions.
        let (reference, decode, prefill, clock) = unsafe {
            let l = libloading::Library::new(&library).expect("the library loads");
            let decode = *l.get::<RefDecode>(b"reference_decode").expect("a symbol of reference.c");
            let prefill = *l.get::<RefPrefill>(b"reference_prefill").expect("a symbol of reference.c");
            let clock = *l.get::<Seconds>(b"thread_seconds").expect("a symbol of reference.c");
            (l, decode, prefill, clock)
        };

        let widest = SHAPES.iter().map(|s| s.1).max().unwrap_or(0) as usize;
        let tallest = SHAPES.iter().map(|s| s.0).max().unwrap_or(0) as usize;
        let (t, groups) = (TOKENS as usize, widest / 32);
        let out = lines(t * tallest * 4);
        let mut data = Data {
            weights: lines(SHAPES.iter().map(|s| matrix_bytes(*s)).sum::<usize>() * LAYERS),
            acts: lines(t * widest),
            scales: lines(t * groups * 4),
            starts: lines(t * groups * 4),
            outs: [out.clone(), out],
        };
        fill(&mut data);
        Self { data, native, decode, prefill, clock, _reference: reference, _dir: dir }
    }

    /// Seconds that `layers` layers take.
    fn time(&mut self, side: Side, prefill: bool, layers: usize) -> f64 {
        let d = &mut self.data;
        let acts: (*const i8, *const f32, *const i32) = (d.acts.as_ptr().cast(), d.scales.as_ptr().cast(), d.starts.as_ptr().cast());
        let out: *mut f32 = d.outs[side as usize].as_mut_ptr().cast();
        let mut weights: *const u8 = d.weights.as_ptr().cast();
        // SAFETY: it only reads a clock.
        let start = unsafe { (self.clock)() };
        for _ in 0..layers {
            for (i, (rows, cols)) in SHAPES.into_iter().enumerate() {
                let ours = self.native.kernel(2 * i + usize::from(prefill));
                match side {
                    Side::Ours => tiles(ours, [weights.cast_mut(), acts.0 as _, acts.1 as _, acts.2 as _, out.cast()], rows, prefill),
                    // SAFETY: all buffers are as long as the largest shape needs, and the weights as all layers.
                    Side::Hand if prefill => unsafe { (self.prefill)(weights, rows as i32, cols as i32, TOKENS as i32, acts.0, acts.1, acts.2, out) },
                    // SAFETY: as above.
                    Side::Hand => unsafe { (self.decode)(weights, rows as i32, cols as i32, acts.0, acts.1, acts.2, out) },
                }
                weights = weights.wrapping_add(matrix_bytes((rows, cols)));
            }
        }
        // SAFETY: it only reads a clock.
        unsafe { (self.clock)() - start }
    }
}

/// Runs all tiles of a kernel, as the stub does on one thread.
fn tiles(kernel: KernelFn, bindings: [*mut u8; 5], rows: u32, prefill: bool) {
    let (step, columns) = if prefill { ([TOKENS, 0, 0, 0], TOKENS / kernels::TOKENS) } else { ([1, 0, 0, 0], 1) };
    for x in 0..rows / u32::from(kernels::ROWS) {
        for y in 0..columns {
            // SAFETY: the bindings are the kernel's buffers, as long as it declares, and the tile lies in its grid.
            unsafe { kernel(bindings.as_ptr(), &step, x, y, 0) }
        }
    }
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn run() {
    let mut gate = Gate::new();
    let weights: f64 = SHAPES.iter().map(|(n, k)| f64::from(*n) * f64::from(*k)).sum();
    println!("{:<22}{:>14}{:>14}{:>14}{:>16}", "", "kernel IR", "by hand", "best / best", "median of pairs");
    // Decode from memory, decode of one layer that stays in the caches, prefill.
    let rows = [("decode, from memory", false, LAYERS), ("decode, cached", false, 1), ("prefill", true, 1)];
    for (name, prefill, layers) in rows {
        let mut times = [Vec::new(), Vec::new()];
        for pair in 0..=PAIRS {
            let order = if pair % 2 == 0 { [Side::Ours, Side::Hand] } else { [Side::Hand, Side::Ours] };
            for side in order {
                let time = gate.time(side, prefill, layers);
                // The first pair warms up.
                if pair > 0 {
                    times[side as usize].push(time);
                }
            }
        }
        let ratio = median(times[0].iter().zip(&times[1]).map(|(ours, hand)| hand / ours).collect());
        let best = |t: &Vec<f64>| t.iter().copied().fold(f64::INFINITY, f64::min);
        let best_ratio = best(&times[1]) / best(&times[0]);
        let (unit, scale) = if prefill {
            ("Tops/s", 2.0 * weights * f64::from(TOKENS) * layers as f64 / 1e12)
        } else {
            ("GB/s", weights / 512.0 * 288.0 * layers as f64 / 1e9)
        };
        let [ours, hand] = times.map(|t| format!("{:.2} {unit}", scale / best(&t)));
        println!("{name:<22}{ours:>14}{hand:>14}{:>13.1}%{:>15.1}%", 100.0 * best_ratio, 100.0 * ratio);
        let [ours, hand] = &gate.data.outs;
        let same = ours.iter().zip(hand).all(|(a, b)| a.0 == b.0);
        assert!(same, "{name}: the results differ from the reference's");
    }
}
