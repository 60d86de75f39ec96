//! Statements: loops, conditions, variables, arrays of lanes, the step and the grid.

use crate::case::{BOUNDS, Case, Gen, numbers};
use slmc_ir::kernel::{Access, BinaryOp, Builtin, CmpOp, Expr, Imm, KernelBuilder, Operand, Scalar, Type, ValueId};

const F32: Type = Type::scalar(Scalar::F32);
const U32: Type = Type::INDEX;

/// A case that is exact.
pub fn case(name: &str, lanes: u32, grid: [u32; 3], build: impl FnOnce(&mut KernelBuilder) -> Vec<Vec<u8>>) -> Case {
    let mut b = KernelBuilder::new(name, BOUNDS, grid);
    b.lanes(lanes);
    let buffers = build(&mut b);
    Case::new(b.finish(), buffers, grid)
}

/// All cases; any device can run them.
pub fn statements() -> Vec<Case> {
    let mut cases =
        vec![step_and_grid(1), step_and_grid(24), branches(), in_place(), lane_bounds(), private_arrays(), variables(), prefetch(), nothing()];
    for unroll in [1, 2, 3, 4, 8] {
        cases.push(fixed_loop(unroll));
        cases.push(dynamic_loop(unroll));
    }
    cases
}

/// A number for each lane of each tile: index, least first.
pub fn global(b: &mut KernelBuilder, lanes: u32, grid: [u32; 3]) -> ValueId {
    let axes: Vec<ValueId> = (0..3).map(|axis| b.builtin(Builtin::Grid(axis))).collect();
    let rows = b.mul(axes[2], grid[1]);
    let rows = b.add(rows, axes[1]);
    let tiles = b.mul(rows, grid[0]);
    let tile = b.add(tiles, axes[0]);
    let first = b.mul(tile, lanes);
    let lane = b.builtin(Builtin::Lane);
    b.add(first, lane)
}

/// Every builtin of the step and the grid, stored where lane and tile say.
fn step_and_grid(lanes: u32) -> Case {
    let grid = [3, 2, 4];
    let all = lanes * 24;
    case(&format!("step_and_grid_{lanes}"), lanes, grid, |b| {
        let builtins = [Builtin::T, Builtin::P, Builtin::Row, Builtin::Grid(0), Builtin::Grid(1), Builtin::Grid(2), Builtin::Lane];
        let outs: Vec<_> = (0..builtins.len()).map(|i| b.param(&format!("out{i}"), U32, all, Access::Write, 64)).collect();
        let at = global(b, lanes, grid);
        for (out, builtin) in outs.into_iter().zip(builtins) {
            let v = b.builtin(builtin);
            b.store(out, at, v);
        }
        vec![vec![0; 4 * all as usize]; builtins.len()]
    })
}

/// A loop of 11 trips whose copies leave a remainder.
fn fixed_loop(unroll: u32) -> Case {
    case(&format!("fixed_loop_{unroll}"), 1, [1, 1, 1], |b| {
        let input = b.param("in", F32, 64, Access::Read, 64);
        let out = b.param("out", F32, 64, Access::ReadWrite, 64);
        let sum = b.var(F32, 0.5f32);
        b.for_unrolled(3u32, 35u32, 3, unroll, |b, i| {
            let v = b.load(F32, input, i);
            let s = b.get(sum);
            let v = b.mul(v, 1.25f32);
            let s = b.add(v, s);
            b.set(sum, s);
            b.store(out, i, s);
        });
        b.for_unrolled(7u32, 7u32, 1, unroll, |b, i| b.store(out, i, 99.0f32));
        let s = b.get(sum);
        b.store(out, 0u32, s);
        vec![numbers(Scalar::F32, 64, Gen::Small, 3), vec![0; 256]]
    })
}

/// Loops within loops whose bounds come from the step.
fn dynamic_loop(unroll: u32) -> Case {
    case(&format!("dynamic_loop_{unroll}"), 1, [1, 1, 1], |b| {
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
        b.for_unrolled(end, t, 1, unroll, |b, i| b.store(out, i, 99u32));
        vec![vec![0; 256]]
    })
}

/// Loops whose bounds differ between the lanes of a tile, one in another.
fn lane_bounds() -> Case {
    case("lane_bounds", 32, [1, 1, 1], |b| {
        let out = b.param("out", U32, 32, Access::Write, 64);
        let lane = b.builtin(Builtin::Lane);
        let sum = b.var(U32, 0u32);
        b.for_(0u32, lane, 1, |b, i| {
            b.for_unrolled(i, lane, 3, 2, |b, j| {
                let s = b.get(sum);
                let s = b.min(s, 10_000u32);
                let s = b.add(s, j);
                b.set(sum, s);
            });
        });
        let s = b.get(sum);
        b.store(out, lane, s);
        vec![vec![0; 128]]
    })
}

fn branches() -> Case {
    case("branches", 32, [1, 1, 1], |b| {
        let out = b.param("out", U32, 32, Access::Write, 64);
        let lane = b.builtin(Builtin::Lane);
        let p = b.builtin(Builtin::P);
        let small = b.cmp(CmpOp::Lt, lane, p);
        let result = b.var(U32, 1u32);
        b.if_else(
            small,
            |b| {
                let odd = b.binary(BinaryOp::And, lane, 1u32);
                let odd = b.cmp(CmpOp::Eq, odd, 1u32);
                b.if_(odd, |b| b.set(result, lane));
            },
            |b| b.set(result, 77u32),
        );
        let v = b.get(result);
        b.store(out, lane, v);
        vec![vec![0; 128]]
    })
}

fn in_place() -> Case {
    let grid = [3, 1, 1];
    case("in_place", 16, grid, |b| {
        let data = b.param("data", Type::vector(Scalar::I32, 4), 48, Access::ReadWrite, 64);
        let at = global(b, 16, grid);
        let v = b.load(Type::vector(Scalar::I32, 4), data, at);
        let v = b.mul(v, 3i32);
        b.store(data, at, v);
        vec![numbers(Scalar::I32, 192, Gen::Any, 5)]
    })
}

/// Private arrays, written in one order and read in another, of scalars, vectors and packed words; constant indices too.
fn private_arrays() -> Case {
    let (quad, bytes, halves) = (Type::vector(Scalar::F32, 4), Type::vector(Scalar::I8, 4), Type::vector(Scalar::F16, 4));
    case("private_arrays", 4, [1, 1, 1], |b| {
        let floats = b.param("floats", quad, 32, Access::Read, 64);
        let words = b.param("words", bytes, 32, Access::Read, 64);
        let pairs = b.param("pairs", halves, 32, Access::Read, 64);
        let outs = [
            b.param("quads", quad, 32, Access::Write, 64),
            b.param("bytes", bytes, 32, Access::Write, 64),
            b.param("halves", halves, 32, Access::Write, 64),
        ];
        let locals = [b.private("quads", quad, 8), b.private("bytes", bytes, 8), b.private("halves", halves, 8)];
        let single = b.private("single", U32, 2);
        let lane = b.builtin(Builtin::Lane);
        let first = b.mul(lane, 8u32);
        let types = [quad, bytes, halves];
        b.for_(0u32, 8u32, 1, |b, i| {
            let at = b.add(first, i);
            let mirrored = b.constant(U32, 7u32);
            let mirrored = b.sub(mirrored, i);
            for ((ty, input), local) in types.into_iter().zip([floats, words, pairs]).zip(locals) {
                let v = b.load(ty, input, at);
                b.store(local, mirrored, v);
            }
        });
        b.store(single, 1u32, lane);
        b.for_unrolled(0u32, 8u32, 1, 4, |b, i| {
            let at = b.add(first, i);
            for ((ty, out), local) in types.into_iter().zip(outs).zip(locals) {
                let v = b.load(ty, local, i);
                b.store(out, at, v);
            }
        });
        let lane = b.load(U32, single, 1u32);
        let lane = b.min(lane, 3u32);
        let at = b.mul(lane, 8u32);
        let v = b.load(quad, locals[0], 3u32);
        b.store(outs[0], at, v);
        let inputs = [numbers(Scalar::F32, 128, Gen::Small, 6), numbers(Scalar::I8, 128, Gen::Any, 7), numbers(Scalar::F16, 128, Gen::Small, 8)];
        let outs = [512, 128, 256].map(|n| vec![0; n]);
        inputs.into_iter().chain(outs).collect()
    })
}

/// Variables of every kind of type.
fn variables() -> Case {
    let (bytes, halves, truths) = (Type::vector(Scalar::U8, 8), Type::vector(Scalar::F16, 2), Type::vector(Scalar::Bool, 4));
    case("variables", 8, [1, 1, 1], |b| {
        let bytes_in = b.param("bytes_in", bytes, 8, Access::Read, 64);
        let halves_in = b.param("halves_in", halves, 8, Access::Read, 64);
        let bytes_out = b.param("bytes_out", bytes, 8, Access::Write, 64);
        let halves_out = b.param("halves_out", halves, 8, Access::Write, 64);
        let truths_out = b.param("truths_out", Type::vector(Scalar::I32, 4), 8, Access::Write, 64);
        let lane = b.builtin(Builtin::Lane);
        let (x, y, z) = (b.var(bytes, 7u32), b.var(halves, 0.5f32), b.var(truths, 0u32));
        let few = b.cmp(CmpOp::Lt, lane, 5u32);
        b.if_(few, |b| {
            let v = b.load(bytes, bytes_in, lane);
            b.set(x, v);
            let v = b.load(halves, halves_in, lane);
            b.set(y, v);
            let lanes = b.repeat(lane, 4);
            let v = b.cmp(CmpOp::Gt, lanes, 2u32);
            b.set(z, v);
        });
        let v = b.get(x);
        b.store(bytes_out, lane, v);
        let v = b.get(y);
        b.store(halves_out, lane, v);
        let v = b.get(z);
        let ints = Type::vector(Scalar::I32, 4);
        let v = b.expr(ints, Expr::Select(v.into(), Operand::Imm(Imm::Int(1)), Operand::Imm(Imm::Int(0))));
        b.store(truths_out, lane, v);
        vec![numbers(Scalar::U8, 64, Gen::Any, 9), numbers(Scalar::F16, 16, Gen::Small, 10), vec![0; 64], vec![0; 32], vec![0; 128]]
    })
}

fn prefetch() -> Case {
    case("prefetch", 1, [1, 1, 1], |b| {
        let data = b.param("data", F32, 16, Access::ReadWrite, 64);
        b.prefetch(data, 1_000_000_000u32);
        b.store(data, 4u32, 2.5f32);
        b.barrier();
        vec![numbers(Scalar::F32, 16, Gen::Small, 7)]
    })
}

/// A kernel that does nothing with what it has.
fn nothing() -> Case {
    case("nothing", 32, [1, 1, 1], |b| {
        let _ = b.param("unused", F32, 16, Access::ReadWrite, 64);
        let _ = b.workgroup("unused_array", F32, 16);
        vec![numbers(Scalar::F32, 16, Gen::Small, 7)]
    })
}
