//! The text form of a small kernel, and canonical numbering.

use slmc_ir::kernel::{Access, Builtin, CmpOp, KernelBuilder, StepBounds, Type};

const BOUNDS: StepBounds = StepBounds { t: (1, 8), p: (0, 63), row: (0, 0) };

#[test]
fn a_kernel_as_text() {
    let f32x16 = Type::parse("f32x16").expect("a type");
    let mut k = KernelBuilder::new("scale", BOUNDS, [8, 1, 1]);
    let x = k.param("x", Type::parse("f32").expect("a type"), 512, Access::Read, 64);
    let y = k.param("y", Type::parse("f32").expect("a type"), 512, Access::Write, 64);
    k.private("tmp", f32x16, 4);
    let tile = k.builtin(Builtin::Grid(0));
    let t = k.builtin(Builtin::T);
    let live = k.cmp(CmpOp::Lt, tile, t);
    k.if_(live, |k| {
        let base = k.mul(tile, 64u32);
        k.for_unrolled(0u32, 64u32, 16, 2, |k, i| {
            let at = k.add(base, i);
            let v = k.load(f32x16, x, at);
            let dead = k.add(v, 1.5);
            k.add(dead, 2.0);
            let v = k.mul(v, 0.1);
            k.store(y, at, v);
        });
    });
    let mut kernel = k.finish();
    kernel.renumber();
    let expected = "kernel @scale {t = 1..8, p = 0..63, row = 0..0, grid = [8, 1, 1], lanes = 1} (
  b0 %x: f32[512] param read align 64,
  b1 %y: f32[512] param write align 64) {
  private b2 %tmp: f32x16[4] align 64
  v0: u32 = grid x
  v1: u32 = t
  v2: bool = cmp lt v0, v1
  if v2 {
    v3: u32 = mul v0, 64
    for v4 in 0..64 step 16 unroll 2 {
      v5: u32 = add v3, v4
      v6: f32x16 = load b0[v5]
      v7: f32x16 = mul v6, 0x1.99999ap-4
      store b1[v5], v7
    }
  }
}
";
    assert_eq!(kernel.to_string(), expected);
    let once = kernel.clone();
    kernel.renumber();
    assert_eq!(kernel, once);
}
