//! Counts of what launches take.

use slmc_ir::arena::Id;
use slmc_ir::kernel::{Access, Builtin, CmpOp, Kernel, KernelBuilder, KernelId, KernelModule, Scalar, StepBounds, Type};
use slmc_ir::plan::{Launched, Work, work};

fn parsed(body: &str) -> Kernel {
    let text = format!(
        "slmir 0\n\nkernel @k {{t = 1..4, p = 0..8, row = 0..0, grid = [2, 1, 1], lanes = 1}} (\n  b0 %tokens: u32[4] param read align 64,\n  \
         b1 %cache: f32[8] param read_write align 64) {{\n{body}}}\n"
    );
    let module = KernelModule::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    module.kernels[KernelId::new(0)].clone()
}

/// A triangle: a loop whose length is the position in an outer one, by both ends.
#[test]
fn loops_of_growing_length_are_summed() {
    let kernel = parsed(
        "  v0: u32 = t
  v1: u32 = p
  for v2 in 0..v0 step 1 {
    v3: u32 = load b0[v2]
    v4: u32 = add v1, v2
    x0: f32 = var 0x0p0
    for v5 in 0..v4 step 1 {
      v6: f32 = load b1[v5]
      v7: f32 = get x0
      v8: f32 = add v6, v7
      set x0 = v8
    }
    v9: f32 = get x0
    store b1[v2], v9
  }
",
    );
    // Positions 2, 3 and 4 look at as many places.
    let counted = work(&kernel, Launched { t: 3, p: 2, grid: [1, 1, 1] });
    assert_eq!(counted, Work { byte_products: 0, float_ops: 9, loaded: vec![12, 36], stored: vec![0, 12] });
    // The cache has 32 bytes: more cannot come from memory.
    assert_eq!(counted.traffic(&kernel), 12 + 32 + 12);
    let twice = work(&kernel, Launched { t: 3, p: 2, grid: [2, 1, 1] });
    assert_eq!((twice.float_ops, twice.loaded[1]), (18, 72));
    assert_eq!(work(&kernel, Launched { t: 3, p: 2, grid: [0, 1, 1] }).float_ops, 0);
}

#[test]
fn what_only_memory_knows_counts_once() {
    let kernel = parsed(
        "  v0: u32 = load b0[0]
  v1: u32 = min v0, 8
  for v2 in 0..v1 step 1 {
    v3: f32 = load b1[v2]
    v4: bool = cmp lt v1, 3
    if v4 {
      store b1[v2], v3
    } else {
      v5: f32 = add v3, v3
    }
  }
",
    );
    assert_eq!(
        work(&kernel, Launched { t: 1, p: 0, grid: [1, 1, 1] }),
        Work { byte_products: 0, float_ops: 0, loaded: vec![4, 4], stored: vec![0, 4] }
    );
}

#[test]
fn tiles_that_differ_are_counted_one_by_one() {
    let bounds = StepBounds { t: (1, 8), p: (0, 0), row: (0, 0) };
    let mut b = KernelBuilder::new("k", bounds, [4, 2, 1]);
    let bytes = Type::vector(Scalar::I8, 64);
    let data = b.param("data", Type::scalar(Scalar::I8), 64, Access::Read, 64);
    let sums = b.param("sums", Type::scalar(Scalar::I32), 16, Access::Write, 64);
    let (x, t) = (b.builtin(Builtin::Grid(0)), b.builtin(Builtin::T));
    let is_there = b.cmp(CmpOp::Lt, x, t);
    b.if_(is_there, |b| {
        let v = b.load(bytes, data, 0u32);
        let zero = b.constant(Type::vector(Scalar::I32, 16), 0i32);
        let sum = b.dot4(zero, v, v, 127);
        b.store(sums, 0u32, sum);
    });
    let kernel = b.finish();
    // Three of the four tiles along x have a token, twice along y.
    let counted = work(&kernel, Launched { t: 3, p: 0, grid: [4, 2, 1] });
    assert_eq!(counted, Work { byte_products: 6 * 64, float_ops: 0, loaded: vec![6 * 64, 0], stored: vec![0, 6 * 64] });
    assert_eq!(counted.traffic(&kernel), 128);
}
