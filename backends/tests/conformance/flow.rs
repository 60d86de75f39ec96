//! Cases of statements: loops, conditions, variables, arrays, memory of other types, the step and the grid.

use crate::case::{BOUNDS, Case, Gen, numbers};
use slmc_ir::kernel::{Access, BinaryOp, Builtin, CmpOp, KernelBuilder, Scalar, Type};

const F32: Type = Type::scalar(Scalar::F32);
const U32: Type = Type::INDEX;

fn case(name: &str, build: impl FnOnce(&mut KernelBuilder) -> Vec<Vec<u8>>) -> Case {
    let grid = [3, 2, 1];
    let mut b = KernelBuilder::new(name, BOUNDS, grid);
    let buffers = build(&mut b);
    Case { kernel: b.finish(), buffers, grid, vnni: false }
}

/// All statement cases.
pub fn statements() -> Vec<Case> {
    let mut cases = vec![step_and_grid(), branches(), array(), in_place(), other_types(), outer_prefetch()];
    for unroll in [1, 2, 3, 4, 8] {
        cases.push(fixed_loop(unroll));
        cases.push(dynamic_loop(unroll));
    }
    cases
}

const BUILTINS: [Builtin; 9] = [
    Builtin::T,
    Builtin::P,
    Builtin::Row,
    Builtin::Grid(0),
    Builtin::Grid(1),
    Builtin::Lane,
    Builtin::Subgroup,
    Builtin::SubgroupLane,
    Builtin::Subgroups,
];

/// Every builtin, stored where the tile says.
fn step_and_grid() -> Case {
    case("step_and_grid", |b| {
        let out = b.param("out", U32, 54, Access::Write, 64);
        let (x, y) = (b.builtin(Builtin::Grid(0)), b.builtin(Builtin::Grid(1)));
        let row = b.mul(y, 3u32);
        let tile = b.add(row, x);
        let first = b.mul(tile, 9u32);
        for (i, builtin) in BUILTINS.into_iter().enumerate() {
            let v = b.builtin(builtin);
            let at = b.add(first, i as u32);
            b.store(out, at, v);
        }
        vec![vec![0; 216]]
    })
}

/// A loop of 11 trips whose copies leave a remainder.
fn fixed_loop(unroll: u32) -> Case {
    case(&format!("fixed_loop_{unroll}"), |b| {
        let input = b.param("in", F32, 64, Access::Read, 64);
        let out = b.param("out", F32, 64, Access::ReadWrite, 64);
        let sum = b.var(F32, 0.5f32);
        b.for_unrolled(3u32, 35u32, 3, unroll, |b, i| {
            let v = b.load(F32, input, i);
            let s = b.get(sum);
            let s = b.fma(v, 1.25f32, s);
            b.set(sum, s);
            b.store(out, i, s);
        });
        let s = b.get(sum);
        b.store(out, 0u32, s);
        vec![numbers(Scalar::F32, 64, Gen::Small, 3), vec![0; 256]]
    })
}

/// Loops within loops whose bounds come from the step.
fn dynamic_loop(unroll: u32) -> Case {
    case(&format!("dynamic_loop_{unroll}"), |b| {
        let out = b.param("out", U32, 64, Access::ReadWrite, 64);
        let (t, p) = (b.builtin(Builtin::T), b.builtin(Builtin::P));
        let end = b.add(t, p);
        let count = b.var(U32, 0u32);
        b.for_unrolled(1u32, end, 1, unroll, |b, i| {
            b.for_unrolled(i, p, 2, unroll, |b, j| {
                let n = b.get(count);
                let n = b.min(n, 1000u32);
                let n = b.add(n, j);
                b.set(count, n);
            });
            let n = b.get(count);
            b.store(out, i, n);
        });
        // No trip at all.
        b.for_unrolled(end, t, 1, unroll, |b, i| b.store(out, i, 99u32));
        vec![vec![0; 256]]
    })
}

fn branches() -> Case {
    case("branches", |b| {
        let out = b.param("out", U32, 64, Access::ReadWrite, 64);
        let p = b.builtin(Builtin::P);
        b.for_(0u32, 32u32, 1, |b, i| {
            let small = b.cmp(CmpOp::Lt, i, p);
            let result = b.var(U32, 1u32);
            b.if_else(
                small,
                |b| {
                    let odd = b.binary(BinaryOp::And, i, 1u32);
                    let odd = b.cmp(CmpOp::Eq, odd, 1u32);
                    b.if_(odd, |b| b.set(result, i));
                },
                |b| b.set(result, 77u32),
            );
            let v = b.get(result);
            b.store(out, i, v);
        });
        b.barrier();
        vec![vec![0; 256]]
    })
}

/// A private array, written in one order and read in another, by element and by vector.
fn array() -> Case {
    case("array", |b| {
        let input = b.param("in", F32, 64, Access::Read, 64);
        let out = b.param("out", F32, 64, Access::Write, 64);
        let local = b.private("local", F32, 64);
        b.for_(0u32, 64u32, 1, |b, i| {
            let v = b.load(F32, input, i);
            let at = b.constant(U32, 63u32);
            let at = b.sub(at, i);
            b.store(local, at, v);
        });
        b.for_(0u32, 64u32, 16, |b, i| {
            let v = b.load(Type::vector(Scalar::F32, 16), local, i);
            b.store(out, i, v);
        });
        vec![numbers(Scalar::F32, 64, Gen::Small, 4), vec![0; 256]]
    })
}

fn in_place() -> Case {
    case("in_place", |b| {
        let data = b.param("data", Type::scalar(Scalar::I32), 96, Access::ReadWrite, 4);
        let x = b.builtin(Builtin::Grid(0));
        let first = b.mul(x, 32u32);
        b.for_(0u32, 4u32, 1, |b, i| {
            let at = b.mul(i, 8u32);
            let at = b.add(first, at);
            let v = b.load(Type::vector(Scalar::I32, 8), data, at);
            let v = b.add(v, 3i32);
            b.store(data, at, v);
        });
        vec![numbers(Scalar::I32, 96, Gen::Any, 5)]
    })
}

/// Loads and stores of other types than the buffer's, at byte offsets that no vector is aligned to; vectors as elements.
fn other_types() -> Case {
    case("other_types", |b| {
        let bytes = b.param("bytes", Type::scalar(Scalar::U8), 300, Access::Read, 1);
        let lines = b.param("lines", Type::vector(Scalar::F32, 4), 16, Access::Write, 16);
        let f16s = b.load(Type::vector(Scalar::F16, 16), bytes, 34u32);
        let wide = b.convert(f16s, Scalar::F32);
        b.store(lines, 2u32, wide);
        let ints = b.load(Type::vector(Scalar::I32, 8), bytes, 101u32);
        b.store(lines, 8u32, ints);
        let quad = b.load(Type::vector(Scalar::I8, 4), bytes, 7u32);
        let all = b.repeat(quad, 16);
        b.store(lines, 11u32, all);
        let single = b.load(Type::scalar(Scalar::I16), bytes, 255u32);
        b.store(lines, 12u32, single);
        b.store(lines, 14u32, 2.5f32);
        vec![numbers(Scalar::F16, 150, Gen::Small, 6), vec![0; 256]]
    })
}

fn outer_prefetch() -> Case {
    case("outer_prefetch", |b| {
        let data = b.param("data", F32, 16, Access::ReadWrite, 64);
        b.prefetch(data, 1_000_000_000u32);
        let v = b.load(F32, data, 3u32);
        b.store(data, 4u32, v);
        vec![numbers(Scalar::F32, 16, Gen::Small, 7)]
    })
}
