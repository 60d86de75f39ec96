//! The text form of kernels: every construct comes back equal, printing is stable, and bad text is an error with a place.

use slmc_ir::kernel::{
    Access, Builtin, CmpOp, Def, Expr, Imm, Kernel, KernelBuilder, KernelModule, Operand, StepBounds, Stmt, Type, verify_structure,
};

/// Every statement, expression, type of immediate and kind of buffer, as the printer writes it.
const EVERYTHING: &str = "kernel @everything {t = 1..16, p = 0..63, row = 0..15, grid = [4, 2, 1], lanes = 4} (
  b0 %bytes: u8[4096] param read align 64,
  b1 %out: f32x4[256] param write align 16,
  b2 %state: i32[64] param read_write align 4) {
  private b3 %tmp: f32[64] align 64
  workgroup b4 %shared: f16[128] align 64
  private b5 %once: bf16[8] write align 2
  v0: u32 = t
  v1: u32 = p
  v2: u32 = row
  v3: u32 = grid x
  v4: u32 = grid y
  v5: u32 = grid z
  v6: u32 = lane
  v7: u32 = add v0, 4294967295
  v8: u32 = sub v7, v1
  v9: u32 = mul v8, 3
  v10: u32 = div v9, 2
  v11: u32 = rem v10, 7
  v12: u32 = min v11, v2
  v13: u32 = max v12, 0
  v14: u32 = shl v13, 2
  v15: u32 = shr v14, 1
  v16: u8x64 = load b0[v15]
  v17: u8x64 = and v16, 15
  v18: u8x64 = or v17, v16
  v19: u8x64 = xor v18, 255
  v20: u8x64 = not v19
  v21: i8x64 = bitcast v20
  v22: i32x16 = dot4 -7, v16, v21 {max_a = 255}
  v23: i16x32 = dot2 v16, v21
  v24: i32x16 = dot2 v23, v23
  v25: f32x16 = convert v24
  v26: f32x16 = neg v25
  v27: f32x16 = abs v26
  v28: f32x16 = sqrt v27
  v29: f32x16 = round v28
  v30: f32x16 = floor v29
  v31: f32x16 = exp v30
  v32: f32x16 = tanh v31
  v33: f32x16 = fma v32, 0x1.99999ap-4, -0x0p0
  v34: boolx16 = cmp lt v33, inf
  v35: boolx16 = cmp ne v22, -1
  v36: boolx16 = and v34, v35
  v37: f32x16 = select v36, v33, -inf
  v38: f32 = reduce max v37
  v39: f32 = reduce add v37
  v40: f32 = reduce min v37
  v41: f32x2 = repeat v38
  v42: f32x16 = repeat v41
  v43: f32 = extract v42, 15
  v44: f32x4 = shuffle v42, v37, [0, 31, 16, 7]
  x0: f32x4 = var 0x0p0
  x1: bool = var 1
  prefetch b0[4294967295]
  store b1[3], v44
  store b3[0], 0x1p-149
  for v45 in 0..v0 step 1 {
    v46: f32x4 = get x0
    set x0 = v46
    for v47 in v45..64 step 4 unroll 2 {
      v48: bool = get x1
      if v48 {
        set x1 = 0
      } else {
        if 1 {
        }
        store b2[v47], -5
      }
    }
    barrier
  }
}
";

#[test]
fn every_construct_comes_back() {
    let kernel = Kernel::parse(EVERYTHING).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(kernel.to_string(), EVERYTHING);
    assert_eq!(verify_structure(&kernel), Ok(()));
    let mut numbered = kernel.clone();
    numbered.renumber();
    assert_eq!(Kernel::parse(&numbered.to_string()), Ok(numbered));
    let mut module = KernelModule::default();
    module.kernels.push(kernel);
    let text = module.to_string();
    assert!(text.starts_with("slmir 0\n\nkernel @everything"));
    assert_eq!(KernelModule::parse(&text), Ok(module));
}

#[test]
fn a_built_kernel_as_text() {
    let f32x16 = Type::parse("f32x16").expect("a type");
    let bounds = StepBounds { t: (1, 8), p: (0, 63), row: (0, 0) };
    let mut k = KernelBuilder::new("scale", bounds, [8, 1, 1]);
    let x = k.param("x", Type::parse("f32").expect("a type"), 512, Access::Read, 64);
    let y = k.param("x", Type::parse("f32").expect("a type"), 512, Access::Write, 64);
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
    assert_eq!(Kernel::parse(&kernel.to_string()).as_ref(), Ok(&kernel));
    kernel.renumber();
    let expected = "kernel @scale {t = 1..8, p = 0..63, row = 0..0, grid = [8, 1, 1], lanes = 1} (
  b0 %x: f32[512] param read align 64,
  b1 %x_2: f32[512] param write align 64) {
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

/// A kernel with these lines as its body.
fn body(lines: &str) -> String {
    format!("kernel @k {{t = 1..1, p = 0..0, row = 0..0, grid = [1, 1, 1], lanes = 1}} (b0 %a: f32[8] param read_write align 4) {{\n{lines}\n}}")
}

#[test]
fn numbers_in_text_keep_their_order() {
    let kernel = Kernel::parse(&body("v9: u32 = t\nv4: u32 = add v9, 1 ; numbers may have gaps\nx7: f32 = var 2.5")).expect("reads");
    assert_eq!(kernel.values.len(), 2);
    let [first, second] = [0, 1].map(|i| kernel.values.iter().nth(i).expect("two values").1.clone());
    assert!(matches!(first.def, Def::Expr(Expr::Binary(..))), "v4 is the lesser number: {first:?}");
    assert!(matches!(second.def, Def::Expr(Expr::Builtin(Builtin::T))));
    assert!(matches!(kernel.body[2], Stmt::Var { init: Operand::Imm(Imm::Float(2.5)), .. }));
    assert_eq!(Kernel::parse(&kernel.to_string()).as_ref(), Ok(&kernel));
}

#[test]
fn errors_name_place_expected_and_found() {
    let error = |text: &str| Kernel::parse(text).expect_err("an error").to_string();
    assert_eq!(error("graph"), "1:1: expected `kernel`, found `graph`");
    assert_eq!(error("kernel @a {t = 1..1}"), "1:20: expected `,`, found `}`");
    let cases = [
        ("v0: u32 = ad 1, 2", "2:11: expected an operation such as `add`, `load` or `grid`, found `ad`"),
        ("v0: u33 = t", "2:5: expected a type such as `f32` or `u8x64`, found `u33`"),
        ("v0: f32x3 = t", "2:5: expected a type such as `f32` or `u8x64`, found `f32x3`"),
        ("v0: u32 = add v1, 2", "2:15: v1 is not defined"),
        ("v0: f32 = load b1[0]", "2:16: b1 is not defined"),
        ("set x0 = 1", "2:5: x0 is not defined"),
        ("v0: u32 = t\nv0: u32 = p", "3:1: v0 is defined twice; give the second another name"),
        ("v0: u32 = grid w", "2:16: expected `x`, `y` or `z`, found `w`"),
        ("v0: u32 = add 1 2", "2:17: expected `,`, found `2`"),
        ("store b0[0], }", "2:14: expected a value such as `v0` or a number, found `}`"),
        ("v0: i32 = dot4 v0, v0, v0 {max_a = 256}", "2:36: number 256 does not fit: expected 0 to 255"),
        ("v0: f32 = extract v0, 70000", "2:23: number 70000 does not fit: expected a lane below 65536"),
        ("v0: f32 = mul v0, 0x1.00000001p0", "2:19: number 0x1.00000001p0 does not fit: expected a finite f32, exact if hex"),
        ("nonsense", "2:1: expected a statement or `}`, found `nonsense`"),
        ("if 1 {", "4:1: expected a statement or `}`, found the end of the text"),
    ];
    for (lines, message) in cases {
        let found = error(&body(lines));
        let found = if lines == "if 1 {" { error(&format!("{}\n", body(lines))) } else { found };
        assert_eq!(found, message, "{lines}");
    }
    let deep = body(&format!("{}{}", "if 1 {".repeat(200), "}".repeat(200)));
    assert!(error(&deep).ends_with("blocks are nested deeper than 64"), "{}", error(&deep));
}

/// A small generator of pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n.max(1) as u64) as usize
    }
}

#[test]
fn mutated_text_never_panics_and_what_is_read_keeps_the_laws() {
    let tokens = [
        "v0",
        "v77",
        "x0",
        "b0",
        "99999999999",
        "-",
        "0x1p9",
        "{",
        "}",
        "(",
        "[",
        "]",
        ",",
        "..",
        "for",
        "if",
        "f32x64",
        "u8",
        "=",
        ":",
        "nan",
        "\"",
        "@",
        "é",
    ];
    let mut numbers = Numbers(1);
    let mut read = 0;
    for _ in 0..1500 {
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(text.len());
            match numbers.below(4) {
                0 => drop(text.drain(at..(at + 1 + numbers.below(8)).min(text.len()))),
                1 => drop(text.splice(at..at, tokens[numbers.below(tokens.len())].chars()).count()),
                2 => text[at] = char::from(b"0123456789vxb "[numbers.below(14)]),
                _ => text.truncate(text.len() - numbers.below(4)),
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(mut kernel) = Kernel::parse(&text) {
            read += 1;
            // What compares unequal to itself (NaN immediates) is left out.
            let printed = kernel.to_string();
            let again = Kernel::parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
            assert_eq!(again.to_string(), printed);
            if !printed.contains("nan") {
                assert_eq!(again, kernel);
            }
            let _ = slmc_ir::kernel::verify_kernel(&kernel);
            let _ = slmc_ir::interp::kernel::Compiled::new(&kernel);
            kernel.renumber();
            let _ = kernel.to_string();
        }
    }
    assert!(read > 100, "only {read} mutants were read");
}
