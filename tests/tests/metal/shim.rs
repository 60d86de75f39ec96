//! The shim against plain Rust: WGSL through naga's MSL writer, run lane by lane, and the faults it has to find.

use half::f16;
use slmc_tests::msl::compile::{CompileError, skipped};

use crate::launch::{Kernels, Launch};
use crate::wgsl::to_msl;

/// Loads the MSL of a WGSL module.
fn kernels(wgsl: &str) -> Kernels {
    let text = to_msl(wgsl);
    Kernels::new(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// One row of groups; both orders of lanes and several sizes of simdgroups.
fn launches(groups: u32, lanes: u32, arrays: &[u64]) -> Vec<Launch> {
    let one = |simdgroup, descending| Launch { groups: [groups, 1, 1], lanes: [lanes, 1, 1], simdgroup, descending, arrays: arrays.to_vec() };
    [32, 8, 64].iter().flat_map(|&size| [one(size, false), one(size, true)]).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn as_floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

fn as_words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
}

fn noise(count: usize) -> Vec<u32> {
    let mut state = 5u64;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Sums 512 floats for each of 128 lanes' groups by a tree in workgroup memory.
const TREE: &str = "
var<workgroup> part: array<f32, 128>;
@group(0) @binding(0) var<storage, read> a: array<f32, 2048>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32, 4>;
@compute @workgroup_size(128) fn tree(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < 512u; i += 128u) { sum = sum + a[group.x * 512u + i]; }
    part[lane] = sum;
    workgroupBarrier();
    for (var width = 64u; width > 0u; width = width / 2u) {
        if (lane < width) { part[lane] = part[lane] + part[lane + width]; }
        workgroupBarrier();
    }
    if (lane == 0u) { sums[group.x] = part[0]; }
}";

fn tree_input() -> (Vec<Vec<u8>>, Vec<f32>) {
    let a: Vec<f32> = noise(2048).iter().map(|n| (n % 1000) as f32 - 500.0).collect();
    let sums = a.chunks(512).map(|part| part.iter().sum()).collect();
    (vec![floats(&a), floats(&[0.0; 4])], sums)
}

#[test]
fn lanes_meet_at_barriers_in_either_order() {
    if skipped("lanes_meet_at_barriers_in_either_order").is_some() {
        return;
    }
    let kernels = kernels(TREE);
    let (input, expected) = tree_input();
    for how in launches(4, 128, &[512]) {
        let found = kernels.run("tree", &input, &how).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(as_floats(&found[1]), expected, "{how:?}");
    }
}

#[test]
fn a_missing_barrier_gives_wrong_numbers() {
    if skipped("a_missing_barrier_gives_wrong_numbers").is_some() {
        return;
    }
    let text = to_msl(TREE);
    let barrier = text.lines().find(|l| l.contains("threadgroup_barrier")).expect("the kernel has barriers");
    let (input, expected) = tree_input();
    for missing in 0..2 {
        let at = text.match_indices(barrier).nth(missing).expect("two barriers").0;
        let seeded = format!("{}{}", &text[..at], &text[at + barrier.len()..]);
        let kernels = Kernels::new(&seeded).unwrap_or_else(|e| panic!("{e}"));
        let differs = |how: &Launch| {
            let found = kernels.run("tree", &input, how).unwrap_or_else(|e| panic!("{e}"));
            as_floats(&found[1]) != expected
        };
        assert!(launches(4, 128, &[512]).iter().any(differs), "barrier {missing} can be removed and nothing shows");
    }
}

#[test]
fn a_barrier_in_divergent_flow_is_reported() {
    if skipped("a_barrier_in_divergent_flow_is_reported").is_some() {
        return;
    }
    let head = "
#include <metal_stdlib>
#include <simd/simd.h>
struct type_1 { metal::uint inner[64]; };
kernel void diverges(metal::uint lane [[thread_index_in_threadgroup]], device type_1& out [[buffer(0)]]) {
";
    let barrier = "metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);";
    for (body, what) in [
        (format!("if (lane < 3u) {{\n{barrier}\n}}"), "deadlock: 3 of 64 lanes"),
        (format!("if (lane < 3u) {{\n{barrier}\n}} else {{\n{barrier}\n}}"), "lanes of one group meet at line"),
        ("if (lane == 7u) { return; }\nout.inner[lane] = metal::simd_sum(lane);".to_owned(), "deadlock"),
        ("out.inner[lane] = metal::simd_shuffle_xor(lane, 64u);".to_owned(), "reads lane"),
    ] {
        let kernels = Kernels::new(&format!("{head}{body}\n}}\n")).unwrap_or_else(|e| panic!("{e}"));
        for how in &launches(1, 64, &[])[..2] {
            let error = kernels.run("diverges", &[words(&[0; 64])], how).expect_err("must be reported");
            assert!(error.contains(what), "{error}");
        }
    }
}

/// Subgroup operations, written so that their result does not depend on the size of a subgroup.
const SUBGROUPS: &str = "
var<workgroup> part: array<f32, 128>;
@group(0) @binding(0) var<storage, read> a: array<f32, 128>;
@group(0) @binding(1) var<storage, read_write> out: array<f32, 8>;
@group(0) @binding(2) var<storage, read_write> where_: array<vec4<u32>, 128>;
@compute @workgroup_size(128) fn subgroups(
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) group: u32, @builtin(subgroup_invocation_id) inside: u32,
    @builtin(num_subgroups) count: u32, @builtin(subgroup_size) size: u32) {
    where_[lane] = vec4<u32>(group, inside, count, size);
    let x = a[lane];
    let sum = subgroupAdd(x);
    let top = subgroupMax(x);
    let low = subgroupMin(x);
    let ones = subgroupAdd(1u);
    if (inside == 0u) { part[group] = sum; part[32u + group] = top; part[64u + group] = low; part[96u + group] = f32(ones); }
    workgroupBarrier();
    if (lane == 0u) {
        var sums = 0.0; var tops = -1e30; var lows = 1e30; var lanes = 0.0;
        for (var i = 0u; i < count; i += 1u) {
            sums += part[i]; tops = max(tops, part[32u + i]); lows = min(lows, part[64u + i]); lanes += part[96u + i];
        }
        out[0] = sums; out[1] = tops; out[2] = lows; out[3] = lanes;
    }
}";

#[test]
fn simdgroups_of_any_size_reduce() {
    if skipped("simdgroups_of_any_size_reduce").is_some() {
        return;
    }
    let kernels = kernels(SUBGROUPS);
    let a: Vec<f32> = noise(128).iter().map(|n| (n % 1000) as f32 - 500.0).collect();
    let buffers = vec![floats(&a), floats(&[0.0; 8]), words(&[0; 512])];
    let (top, low) = (a.iter().copied().fold(f32::MIN, f32::max), a.iter().copied().fold(f32::MAX, f32::min));
    for how in launches(1, 128, &[512]) {
        let found = kernels.run("subgroups", &buffers, &how).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(as_floats(&found[1])[..4], [a.iter().sum(), top, low, 128.0], "{how:?}");
        let places: Vec<u32> = (0..128).flat_map(|l| [l / how.simdgroup, l % how.simdgroup, 128 / how.simdgroup, how.simdgroup]).collect();
        assert_eq!(as_words(&found[2]), places);
    }
}

/// The forms in which packed words are read and written, and the loops and branches around them.
const PACKED: &str = "
struct Step { t: u32, p: u32, row: u32 }
@group(0) @binding(0) var<storage, read> a: array<vec2<u32>, 64>;
@group(0) @binding(1) var<storage, read_write> sums: array<vec4<i32>, 64>;
@group(0) @binding(2) var<storage, read_write> halves: array<vec4<f32>, 64>;
@group(0) @binding(3) var<storage, read_write> back: array<vec4<u32>, 64>;
var<immediate> step: Step;
@compute @workgroup_size(64) fn packed(@builtin(global_invocation_id) at: vec3<u32>) {
    let w = a[at.x];
    let bytes = unpack4xI8(w.x);
    let other = unpack4xU8(w.y);
    let nibbles = (vec4<u32>(w.x) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    sums[at.x] = vec4<i32>(dot4I8Packed(w.x, w.y), dot(bytes, vec4<i32>(other)), dot(vec4<i32>(nibbles), bytes), i32(step.t + step.p * 2u));
    let h = unpack2x16float(w.x & 0x3bff3bffu);
    let g = vec2<f32>(vec2<u32>(w.y & 0xffu, w.y >> 24u));
    halves[at.x] = select(vec4<f32>(h, fma(h, g, g)), vec4<f32>(-1.0), vec4<u32>(w.x & 1u) == vec4<u32>(0u, 1u, 0u, 1u));
    back[at.x] = vec4<u32>(pack4xI8(bytes), pack4xU8(other), pack2x16float(h * 1.001), pack4xI8Clamp(bytes * 3));
}";

#[test]
fn packed_words_hold_what_the_scalars_do() {
    if skipped("packed_words_hold_what_the_scalars_do").is_some() {
        return;
    }
    let kernels = kernels(PACKED);
    let a = noise(128);
    let buffers = vec![words(&a), words(&[0; 256]), words(&[0; 256]), words(&[0; 256]), words(&[5, 7, 0])];
    let how = Launch { groups: [1, 1, 1], lanes: [64, 1, 1], simdgroup: 32, descending: true, arrays: vec![] };
    let found = kernels.run("packed", &buffers, &how).unwrap_or_else(|e| panic!("{e}"));
    for (lane, w) in a.chunks(2).enumerate() {
        let signed = |w: u32| w.to_le_bytes().map(|b| i32::from(b as i8));
        let dot = |a: [i32; 4], b: [i32; 4]| -> i32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let nibbles = [0, 4, 8, 12].map(|s| (w[0] >> s & 15) as i32);
        let bytes = signed(w[0]);
        let sums = [dot(bytes, signed(w[1])), dot(bytes, w[1].to_le_bytes().map(i32::from)), dot(nibbles, bytes), 19].map(|n| n as u32);
        assert_eq!(as_words(&found[1])[lane * 4..][..4], sums);
        let small = w[0] & 0x3bff_3bff;
        let h = [small & 0xffff, small >> 16].map(|bits| f16::from_bits(bits as u16).to_f32());
        let g = [(w[1] & 0xff) as f32, (w[1] >> 24) as f32];
        let mut halves = [h[0], h[1], h[0].mul_add(g[0], g[0]), h[1].mul_add(g[1], g[1])];
        for (i, half) in halves.iter_mut().enumerate() {
            if w[0] & 1 == [0, 1, 0, 1][i] {
                *half = -1.0;
            }
        }
        assert_eq!(as_floats(&found[2])[lane * 4..][..4], halves);
        let half = |x: f32| u32::from(f16::from_f32(x * 1.001).to_bits());
        let clamped = u32::from_le_bytes(bytes.map(|b| (b * 3).clamp(-128, 127) as u8));
        assert_eq!(as_words(&found[3])[lane * 4..][..4], [w[0], w[1], half(h[0]) | half(h[1]) << 16, clamped]);
    }
}

#[test]
fn a_store_outside_its_buffer_is_reported() {
    if skipped("a_store_outside_its_buffer_is_reported").is_some() {
        return;
    }
    let kernels = kernels(
        "
@group(0) @binding(0) var<storage, read_write> a: array<u32, 64>;
@compute @workgroup_size(64) fn leaves(@builtin(local_invocation_index) lane: u32) { a[lane + 1u] = lane; }",
    );
    let how = &launches(1, 64, &[])[0];
    let error = kernels.run("leaves", &[words(&[0; 64])], how).expect_err("must be reported");
    assert!(error.contains("byte 256 of a buffer of 256 was written"), "{error}");
    let error = kernels.run("leaves", &[words(&[0; 63])], how).expect_err("must be reported");
    assert!(error.contains("has 252 bytes, its declaration needs 256"), "{error}");
}

#[test]
fn lengths_of_threadgroup_arrays_have_to_fit() {
    if skipped("lengths_of_threadgroup_arrays_have_to_fit").is_some() {
        return;
    }
    let kernels = kernels(TREE);
    for (arrays, what) in [(vec![], "1 threadgroup arrays, but lengths for 0"), (vec![496], "has 496 bytes"), (vec![520], "multiple of 16")] {
        let how = Launch { groups: [1, 1, 1], lanes: [128, 1, 1], simdgroup: 32, descending: false, arrays };
        let error = kernels.run("tree", &tree_input().0, &how).expect_err("must be reported");
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn what_metal_would_not_compile_does_not_compile_here() {
    if skipped("what_metal_would_not_compile_does_not_compile_here").is_some() {
        return;
    }
    let head = "#include <metal_stdlib>\nstruct type_1 { float inner[4]; };\n";
    for (rest, what) in [
        ("kernel void k(device type_1 const& a [[buffer(0)]]) { a.inner[0] = 1.0; }", "const"),
        ("kernel void k(device type_1& a [[buffer(0)]], threadgroup type_1& b) { threadgroup type_1& c = a; c.inner[0] = 1.0; }", "type_1"),
        (
            "kernel void k(device type_1& a [[buffer(0)]]) { metal::float4 b = metal::float4(a.inner[0], 1.0, 2.0); a.inner[0] = b.x; }",
            "as many lanes",
        ),
        ("kernel void k(device type_1& a [[buffer(0)]]) { a.inner[0] = metal::nothing(1.0); }", "nothing"),
    ] {
        match Kernels::new(&format!("{head}{rest}\n")) {
            Err(CompileError::Invalid(messages)) => assert!(messages.contains(what), "{messages}"),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("compiles: {rest}"),
        }
    }
}
