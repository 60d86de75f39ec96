//! Reductions over the lanes of a workgroup: each lane gives values, every lane gets the result.
//!
//! Two ways. [`Way::Tree`] needs no subgroups: values meet in workgroup memory, `~√lanes` sums of `~√lanes` values are formed at
//! once, then the sums of these; a step of a tree costs a barrier, and a wide tree has few. [`Way::Subgroups`] reduces each
//! subgroup by the device's own operation and lets one lane of each leave its result in memory; the number of subgroups is
//! read from the device, as their size is unknown at compile time.
//!
//! Several values are reduced together at the price of one set of barriers; a value may be a vector, reduced lane by lane of
//! the vector. All lanes call in uniform flow. The order in which floats are added depends on the way, the number of lanes and
//! the size of subgroups, on nothing else.
//!
//! Cost: barriers (two or three of a tree, one or two with subgroups) and the latency of workgroup memory; arithmetic is
//! nothing beside it. Callers on a hot path reduce all their values in one call.

use slmc_ir::kernel::{BinaryOp, BufId, Builtin, CmpOp, KernelBuilder, ReduceOp, Scalar, Type, ValueId, VarId};
use slmc_ir::target::Gpu;

/// Fewest lanes of a subgroup on any device; workgroup memory has a slot for each subgroup there can be.
pub const LEAST_SUBGROUP: u32 = 4;

/// How lanes of a workgroup meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through workgroup memory only.
    Tree,
    /// Subgroups first, then workgroup memory.
    Subgroups,
}

impl Way {
    /// The way for a device.
    pub fn of(gpu: &Gpu) -> Self {
        if gpu.subgroups { Way::Subgroups } else { Way::Tree }
    }
}

/// Workgroup memory for reductions of values of one type over all lanes.
#[derive(Debug, Clone, Copy)]
pub struct Reducer {
    way: Way,
    ty: Type,
    lanes: u32,
    /// Most values at once.
    most: u32,
    /// [`Way::Tree`]: `ty [most, lanes]`, what lanes gave; [`Way::Subgroups`]: `ty [most, lanes / 4]`, what subgroups gave.
    given: BufId,
    /// [`Way::Tree`]: `ty [parts, most]`, sums of parts.
    parts: Option<BufId>,
}

/// Parts in which a tree forms sums: the square root of the lanes, rounded up to a power of two.
fn parts_of(lanes: u32) -> u32 {
    1 << lanes.ilog2().div_ceil(2)
}

impl Reducer {
    /// Declares it for up to `most` values of type `ty` at once; `lanes`, those of the workgroup, are a power of two.
    pub fn declare(b: &mut KernelBuilder, way: Way, ty: Type, lanes: u32, most: u32) -> Self {
        let (given, parts) = match way {
            Way::Tree => (b.workgroup("given", ty, most * lanes), Some(b.workgroup("parts", ty, most * parts_of(lanes)))),
            Way::Subgroups => (b.workgroup("given", ty, most * lanes.div_ceil(LEAST_SUBGROUP)), None),
        };
        Self { way, ty, lanes, most, given, parts }
    }

    /// Bytes of workgroup memory that [`Self::declare`] takes.
    pub fn bytes(way: Way, ty: Type, lanes: u32, most: u32) -> u32 {
        let values = match way {
            Way::Tree => lanes + parts_of(lanes),
            Way::Subgroups => lanes.div_ceil(LEAST_SUBGROUP),
        };
        values * most * ty.bytes()
    }

    /// Reduces each of `values` over all lanes. Sums are for floats: sums of `u32` could wrap.
    pub fn all(&self, b: &mut KernelBuilder, op: ReduceOp, values: &[ValueId]) -> Vec<ValueId> {
        self.settle(b);
        self.all_settled(b, op, values)
    }

    /// As [`Self::all`], where a barrier stands between the last reduction and this one, or there was none: saves one with
    /// subgroups.
    pub fn all_settled(&self, b: &mut KernelBuilder, op: ReduceOp, values: &[ValueId]) -> Vec<ValueId> {
        match self.parts {
            None => {
                let reduced: Vec<ValueId> = values.iter().map(|&v| subgroup(b, op, v)).collect();
                self.over_slots(b, &reduced, |b, a, c| a.iter().zip(c).map(|(&a, &c)| combine(b, op, a, c)).collect())
            }
            Some(parts) => self.tree(b, parts, values, 1, |b, a, c| vec![combine(b, op, a[0], c[0])]),
        }
    }

    /// The pair with the greatest key and, among those, the least index; both `u32`. The reducer is one of `u32` with
    /// `most >= 2`.
    pub fn greatest(&self, b: &mut KernelBuilder, key: ValueId, index: ValueId) -> (ValueId, ValueId) {
        self.settle(b);
        let pick = |b: &mut KernelBuilder, a: &[ValueId], c: &[ValueId]| {
            let (key, index) = greater(b, (a[0], a[1]), (c[0], c[1]));
            vec![key, index]
        };
        let found = match self.parts {
            None => {
                let most = b.subgroup(ReduceOp::Max, key);
                let is_most = b.cmp(CmpOp::Eq, key, most);
                let index = b.select(is_most, index, u32::MAX);
                let index = b.subgroup(ReduceOp::Min, index);
                self.over_slots(b, &[most, index], pick)
            }
            Some(parts) => self.tree(b, parts, &[key, index], 2, pick),
        };
        (found[0], found[1])
    }

    /// Waits until slots that a reduction before may still read can be written. A tree's own barriers do that.
    fn settle(&self, b: &mut KernelBuilder) {
        if self.way == Way::Subgroups {
            b.barrier();
        }
    }

    /// Reduces what each subgroup found.
    fn over_slots(
        &self,
        b: &mut KernelBuilder,
        reduced: &[ValueId],
        pick: impl Fn(&mut KernelBuilder, &[ValueId], &[ValueId]) -> Vec<ValueId>,
    ) -> Vec<ValueId> {
        let slots = self.lanes.div_ceil(LEAST_SUBGROUP);
        let count = reduced.len() as u32;
        debug_assert!(count <= self.most, "invariant: declared for as many values");
        let first = b.builtin(Builtin::SubgroupLane);
        let first = b.cmp(CmpOp::Eq, first, 0u32);
        b.if_(first, |b| {
            let slot = b.builtin(Builtin::Subgroup);
            let slot = b.min(slot, slots - 1);
            for (i, &v) in reduced.iter().enumerate() {
                let at = b.add(slot, i as u32 * slots);
                b.store(self.given, at, v);
            }
        });
        b.barrier();
        let load = |b: &mut KernelBuilder, slot: ValueId| -> Vec<ValueId> {
            (0..count)
                .map(|i| {
                    let at = b.add(slot, i * slots);
                    b.load(self.ty, self.given, at)
                })
                .collect()
        };
        let zero = b.constant(Type::INDEX, 0u32);
        let vars: Vec<VarId> = load(b, zero).into_iter().map(|v| b.var(self.ty, v)).collect();
        let end = b.builtin(Builtin::Subgroups);
        let end = b.min(end, slots);
        b.for_(1u32, end, 1, |b, slot| {
            let next = load(b, slot);
            let so_far: Vec<ValueId> = vars.iter().map(|&v| b.get(v)).collect();
            for (&var, new) in vars.iter().zip(pick(b, &so_far, &next)) {
                b.set(var, new);
            }
        });
        vars.iter().map(|&v| b.get(v)).collect()
    }

    /// Reduces through memory. Values are combined `arity` at a time, as one.
    fn tree(
        &self,
        b: &mut KernelBuilder,
        parts: BufId,
        values: &[ValueId],
        arity: u32,
        pick: impl Fn(&mut KernelBuilder, &[ValueId], &[ValueId]) -> Vec<ValueId>,
    ) -> Vec<ValueId> {
        let (lanes, most, width) = (self.lanes, self.most, parts_of(self.lanes));
        debug_assert!(values.len() as u32 <= most, "invariant: declared for as many values");
        let sets = values.len() as u32 / arity;
        let load_set = |b: &mut KernelBuilder, buf: BufId, at: ValueId, stride: u32| -> Vec<ValueId> {
            (0..arity)
                .map(|i| {
                    let at = b.add(at, i * stride);
                    b.load(self.ty, buf, at)
                })
                .collect()
        };
        let fold = |b: &mut KernelBuilder, sets: Vec<Vec<ValueId>>| -> Vec<ValueId> {
            let mut sets = sets;
            while sets.len() > 1 {
                sets = sets.chunks(2).map(|pair| if let [a, c] = pair { pick(b, a, c) } else { pair[0].clone() }).collect();
            }
            sets.swap_remove(0)
        };
        let lane = b.builtin(Builtin::Lane);
        for (i, &v) in values.iter().enumerate() {
            let at = b.add(lane, i as u32 * lanes);
            b.store(self.given, at, v);
        }
        b.barrier();
        // One part of one set per lane: what lanes `part`, `part + width`, … gave, so that neighbours read neighbours.
        let jobs = sets * width;
        for begin in (0..jobs).step_by(lanes as usize) {
            let job = b.add(lane, begin);
            // Clamped apart from the guard below: within it the verifier would see the clamp as idle.
            let set = b.div(job, width);
            let set = b.min(set, sets - 1);
            let part = b.binary(BinaryOp::Rem, job, width);
            let part_of_set = |b: &mut KernelBuilder| {
                let first = b.mul(set, arity * lanes);
                let first = b.add(first, part);
                let found = (0..lanes / width)
                    .map(|i| {
                        let at = b.add(first, i * width);
                        load_set(b, self.given, at, lanes)
                    })
                    .collect();
                let found = fold(b, found);
                let to = b.mul(part, most);
                let set = b.mul(set, arity);
                let to = b.add(to, set);
                for (i, v) in found.into_iter().enumerate() {
                    let to = b.add(to, i as u32);
                    b.store(parts, to, v);
                }
            };
            if begin + lanes <= jobs {
                part_of_set(b);
            } else {
                let has = b.cmp(CmpOp::Lt, job, jobs);
                b.if_(has, part_of_set);
            }
        }
        b.barrier();
        let whole = |b: &mut KernelBuilder, first: ValueId| {
            let found = (0..width)
                .map(|part| {
                    let at = b.add(first, part * most);
                    load_set(b, parts, at, 1)
                })
                .collect();
            fold(b, found)
        };
        // Few parts are read by every lane; many are first reduced by a lane for each set.
        if jobs * arity <= 32 {
            let zero = b.constant(Type::INDEX, 0u32);
            return (0..sets)
                .flat_map(|set| {
                    let first = b.add(zero, set * arity);
                    whole(b, first)
                })
                .collect();
        }
        let has = b.cmp(CmpOp::Lt, lane, sets);
        b.if_(has, |b| {
            let first = b.mul(lane, arity);
            for (i, v) in whole(b, first).into_iter().enumerate() {
                let to = b.add(first, i as u32);
                b.store(parts, to, v);
            }
        });
        b.barrier();
        (0..values.len() as u32).map(|i| b.load(self.ty, parts, i)).collect()
    }
}

/// Scalars as one vector of as many lanes: 1, 2 or 4.
pub fn vector_of(b: &mut KernelBuilder, parts: &[ValueId]) -> ValueId {
    let mut parts = parts.to_vec();
    while parts.len() > 1 {
        parts = parts
            .chunks(2)
            .map(|pair| {
                let lanes = b.ty(pair[0]).lanes * 2;
                b.shuffle(pair[0], pair[1], (0..lanes).collect())
            })
            .collect();
    }
    parts[0]
}

/// The lanes of a vector.
pub fn scalars_of(b: &mut KernelBuilder, v: ValueId) -> Vec<ValueId> {
    match b.ty(v).lanes {
        1 => vec![v],
        lanes => (0..lanes).map(|i| b.extract(v, i)).collect(),
    }
}

/// A number whose order as `u32` is that of floats: NaN (0) below all, −∞ next, both zeros equal. Order of integers is the
/// same on every device, whatever its driver assumes of NaN and infinities.
pub fn order_key(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let bits = b.bitcast(x, Type::scalar(Scalar::U32));
    let magnitude = b.binary(BinaryOp::And, bits, 0x7fff_ffffu32);
    let above = b.binary(BinaryOp::Or, magnitude, 0x8000_0000u32);
    let below = b.binary(BinaryOp::Xor, magnitude, 0x7fff_ffffu32);
    // Zeros: 0x80000000 for both.
    let is_negative = b.cmp(CmpOp::Gt, bits, 0x8000_0000u32);
    let key = b.select(is_negative, below, above);
    let is_number = b.cmp(CmpOp::Le, magnitude, 0x7f80_0000u32);
    b.select(is_number, key, 0u32)
}

/// The pair of greater key; of equal keys, that of the lesser index.
pub fn greater(b: &mut KernelBuilder, a: (ValueId, ValueId), c: (ValueId, ValueId)) -> (ValueId, ValueId) {
    let more = b.cmp(CmpOp::Gt, c.0, a.0);
    let same = b.cmp(CmpOp::Eq, c.0, a.0);
    let earlier = b.cmp(CmpOp::Lt, c.1, a.1);
    let tie = b.binary(BinaryOp::And, same, earlier);
    let takes = b.binary(BinaryOp::Or, more, tie);
    (b.select(takes, c.0, a.0), b.select(takes, c.1, a.1))
}

fn combine(b: &mut KernelBuilder, op: ReduceOp, a: ValueId, c: ValueId) -> ValueId {
    let op = match op {
        ReduceOp::Add => BinaryOp::Add,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    };
    b.binary(op, a, c)
}

/// A scalar or, lane by lane, a vector reduced over the subgroup.
fn subgroup(b: &mut KernelBuilder, op: ReduceOp, v: ValueId) -> ValueId {
    let parts: Vec<ValueId> = scalars_of(b, v).into_iter().map(|v| b.subgroup(op, v)).collect();
    vector_of(b, &parts)
}
