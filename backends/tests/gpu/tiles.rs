//! Statements of lanes that work together: workgroup arrays, barriers, subgroups.

use crate::case::{Case, Gen, numbers};
use crate::flow::{case, global};
use slmc_ir::kernel::{Access, BinaryOp, Builtin, CmpOp, ReduceOp, Scalar, Type, UnaryOp};

const F32: Type = Type::scalar(Scalar::F32);
const I32: Type = Type::scalar(Scalar::I32);
const U32: Type = Type::INDEX;

/// Workgroup memory and barriers; any device can run them.
pub fn workgroups() -> Vec<Case> {
    let elems = [F32, Type::vector(Scalar::F32, 4), Type::vector(Scalar::U32, 2), Type::vector(Scalar::I8, 16), Type::vector(Scalar::F16, 2)];
    let mut cases: Vec<Case> = elems.into_iter().map(neighbours).collect();
    cases.extend([tree(64), tree(128), rounds()]);
    cases
}

/// Each lane writes a workgroup array, waits, and reads what the lane opposite wrote. A storage buffer has the same shape.
fn neighbours(elem: Type) -> Case {
    const LANES: u32 = 64;
    case(&format!("neighbours_{elem}"), LANES, [2, 1, 1], |b| {
        let input = b.param("in", elem, LANES, Access::Read, 64);
        let out = b.param("out", elem, 2 * LANES, Access::Write, 64);
        let shared = b.workgroup("shared", elem, LANES);
        let lane = b.builtin(Builtin::Lane);
        let v = b.load(elem, input, lane);
        b.store(shared, lane, v);
        b.barrier();
        let other = b.constant(U32, LANES - 1);
        let other = b.sub(other, lane);
        let v = b.load(elem, shared, other);
        let at = global(b, LANES, [2, 1, 1]);
        b.store(out, at, v);
        vec![numbers(elem.scalar, LANES * u32::from(elem.lanes), Gen::Small, 11), vec![0; (2 * LANES * elem.bytes()) as usize]]
    })
}

/// A sum over all lanes in workgroup memory, halves onto halves, with barriers in a loop.
fn tree(lanes: u32) -> Case {
    let grid = [2, 1, 1];
    case(&format!("tree_{lanes}"), lanes, grid, |b| {
        let input = b.param("in", F32, 2 * lanes, Access::Read, 64);
        let out = b.param("out", F32, 2, Access::Write, 64);
        let shared = b.workgroup("shared", F32, lanes);
        let lane = b.builtin(Builtin::Lane);
        let at = global(b, lanes, grid);
        let v = b.load(F32, input, at);
        let v = b.mul(v, 1.000_123_4f32);
        b.store(shared, lane, v);
        let mut half = lanes / 2;
        while half > 0 {
            b.barrier();
            let works = b.cmp(CmpOp::Lt, lane, half);
            b.if_(works, |b| {
                let mine = b.load(F32, shared, lane);
                let other = b.add(lane, half);
                let other = b.min(other, lanes - 1);
                let other = b.load(F32, shared, other);
                let sum = b.add(mine, other);
                b.store(shared, lane, sum);
            });
            half /= 2;
        }
        let first = b.cmp(CmpOp::Eq, lane, 0u32);
        b.if_(first, |b| {
            let tile = b.builtin(Builtin::Grid(0));
            let sum = b.load(F32, shared, 0u32);
            b.store(out, tile, sum);
        });
        vec![numbers(Scalar::F32, 2 * lanes, Gen::Small, 12), vec![0; 8]]
    })
}

/// Barriers in a loop: two arrays passed around, as many rounds as the step has tokens.
fn rounds() -> Case {
    const LANES: u32 = 32;
    case("rounds", LANES, [1, 1, 1], |b| {
        let out = b.param("out", U32, LANES, Access::Write, 64);
        let shared = b.workgroup("shared", U32, LANES);
        let (lane, t) = (b.builtin(Builtin::Lane), b.builtin(Builtin::T));
        let value = b.var(U32, lane);
        b.for_(0u32, t, 1, |b, i| {
            let v = b.get(value);
            b.store(shared, lane, v);
            b.barrier();
            let next = b.add(lane, i);
            let next = b.add(next, 1u32);
            let next = b.binary(BinaryOp::Rem, next, LANES);
            let v = b.load(U32, shared, next);
            let v = b.min(v, 1000u32);
            let v = b.add(v, i);
            b.set(value, v);
            b.barrier();
        });
        let v = b.get(value);
        b.store(out, lane, v);
        vec![vec![0; 128]]
    })
}

/// Reductions over subgroups, and what the lanes know of theirs.
pub fn subgroups() -> Vec<Case> {
    let mut cases = Vec::new();
    for lanes in [32, 128] {
        for (op, name) in ReduceOp::ALL {
            for ty in [F32, I32, U32] {
                cases.push(case(&format!("subgroup_{name}_{ty}_{lanes}"), lanes, [1, 1, 1], |b| {
                    let input = b.param("in", ty, lanes, Access::Read, 64);
                    let out = b.param("out", ty, lanes, Access::Write, 64);
                    let lane = b.builtin(Builtin::Lane);
                    let v = b.load(ty, input, lane);
                    // Sums of these are exact in any order.
                    let v = if ty == F32 { b.unary(UnaryOp::Round, v) } else { v };
                    let v = b.subgroup(op, v);
                    b.store(out, lane, v);
                    vec![numbers(ty.scalar, lanes, Gen::Small, 13), vec![0; 4 * lanes as usize]]
                }));
            }
        }
    }
    cases.extend([subgroup_places(), whole_workgroup(), alone()]);
    cases
}

fn subgroup_places() -> Case {
    case("subgroup_places", 64, [2, 1, 1], |b| {
        let outs: Vec<_> = (0..3).map(|i| b.param(&format!("out{i}"), U32, 128, Access::Write, 64)).collect();
        let at = global(b, 64, [2, 1, 1]);
        for (out, builtin) in outs.into_iter().zip([Builtin::Subgroup, Builtin::SubgroupLane, Builtin::Subgroups]) {
            let v = b.builtin(builtin);
            b.store(out, at, v);
        }
        vec![vec![0; 512]; 3]
    })
}

/// A sum over the workgroup in two steps, whatever the size of a subgroup is.
fn whole_workgroup() -> Case {
    const LANES: u32 = 128;
    case("whole_workgroup", LANES, [1, 1, 1], |b| {
        let input = b.param("in", I32, LANES, Access::Read, 64);
        let out = b.param("out", I32, LANES, Access::Write, 64);
        let shared = b.workgroup("shared", I32, LANES);
        let lane = b.builtin(Builtin::Lane);
        let v = b.load(I32, input, lane);
        let sum = b.subgroup(ReduceOp::Add, v);
        let (group, place, groups) = (b.builtin(Builtin::Subgroup), b.builtin(Builtin::SubgroupLane), b.builtin(Builtin::Subgroups));
        let first = b.cmp(CmpOp::Eq, place, 0u32);
        b.if_(first, |b| b.store(shared, group, sum));
        b.barrier();
        let total = b.var(I32, 0i32);
        b.for_(0u32, groups, 1, |b, i| {
            let v = b.load(I32, shared, i);
            let s = b.get(total);
            let s = b.add(s, v);
            b.set(total, s);
        });
        let s = b.get(total);
        b.store(out, lane, s);
        vec![numbers(Scalar::I32, LANES, Gen::Any, 14), vec![0; 512]]
    })
}

/// A subgroup of one lane.
fn alone() -> Case {
    case("alone", 1, [1, 1, 1], |b| {
        let data = b.param("data", F32, 4, Access::ReadWrite, 64);
        let v = b.load(F32, data, 1u32);
        let v = b.subgroup(ReduceOp::Add, v);
        let groups = b.builtin(Builtin::Subgroups);
        b.store(data, groups, v);
        vec![numbers(Scalar::F32, 4, Gen::Small, 15)]
    })
}
