//! Plans: text form, verifier and interpreter, on a plan whose logits are running sums of table entries.

use slmc_ir::arena::Id;
use slmc_ir::interp::plan::{PlanError, PlanInterp};
use slmc_ir::kernel::{KernelModule, verify_module};
use slmc_ir::plan::{ArenaId, Binding, Extent, PackedId, Plan, parse_lowered, print_lowered, verify_plan};

const TEXT: &str = r#"slmir 0

kernel @body {t = 1..4, p = 0..7, row = 0..0, grid = [1, 1, 1], lanes = 1} (
  b0 %tokens: u32[4] param read align 64,
  b1 %table: f32[16] param read align 64,
  b2 %cache: f32[8] param read_write align 64,
  b3 %hidden: f32[4] param write align 64) {
  v0: u32 = t
  v1: u32 = p
  for v2 in 0..v0 step 1 {
    v3: u32 = load b0[v2]
    v4: u32 = min v3, 2
    v5: f32 = load b1[v4]
    v6: u32 = add v1, v2
    store b2[v6], v5
    x0: f32 = var 0x0p0
    v7: u32 = add v6, 1
    for v8 in 0..v7 step 1 {
      v9: f32 = load b2[v8]
      v10: f32 = get x0
      v11: f32 = add v9, v10
      set x0 = v11
    }
    v12: f32 = get x0
    store b3[v2], v12
  }
}

kernel @head {t = 1..2, p = 0..7, row = 0..3, grid = [2, 1, 1], lanes = 1} (
  b0 %hidden: f32[4] param read align 64,
  b1 %logits: f32[6] param write align 64) {
  v0: u32 = grid x
  v1: u32 = t
  v2: bool = cmp lt v0, v1
  if v2 {
    v3: u32 = row
    v4: u32 = add v3, v0
    v5: f32 = load b0[v4]
    v6: u32 = mul v0, 3
    v7: f32 = mul v5, 0x1p1
    store b1[v6], v5
    v8: u32 = add v6, 1
    store b1[v8], v7
    v9: u32 = add v6, 2
    store b1[v9], 0x0p0
  }
}

plan {chunk = 4, ctx = 8, vocab = 3, head_rows = 2, tokens = a0, logits = a2} {
  arena 192 {
    a0 "tokens" 16 at 0 pinned
    a1 "hidden" 16 at 64 pinned
    a2 "logits" 24 at 128 pinned
  }
  kv 64 {
    kv0 slot 0 k 32 at 0 per 4
  }
  weights 64 {
    p0 "table" 64 at 0 vector w0 len 16
  }
  decode {
    @body (a0, p0, kv0, a1) grid [1, 1, 1]
  }
  prefill {
    @body (a0, p0, kv0, a1) grid [1, 1, 1]
  }
  head_one {
    @head (a1, a2) grid [1, 1, 1]
  }
  head_many {
    @head (a1, a2) grid [t / 1 max 2, 1, 1]
  }
}
"#;

fn read() -> (KernelModule, Plan) {
    parse_lowered(TEXT).unwrap_or_else(|e| panic!("{e}"))
}

fn table() -> Vec<u8> {
    let mut values = [0f32; 16];
    values[..3].copy_from_slice(&[1.0, 10.0, 100.0]);
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn text_comes_back() {
    let (kernels, plan) = read();
    assert_eq!(print_lowered(&kernels, &plan), TEXT);
    if let Err(e) = verify_module(&kernels) {
        panic!("{e:?}");
    }
    if let Err(e) = verify_plan(&plan, &kernels) {
        panic!("{e:?}");
    }
}

#[test]
fn packed_sections_come_back() {
    let contents = [
        "matrix q4g32 lanes 16 k_step 8 q8_offset 0 k 64 rows [zip(w0[0..8], w0[8..16]), w1[4294967295..4294967296], zero 3, w1[0..4]]",
        "matrix q8g32 lanes 8 k_step 4 q8_offset 128 k 33 rows []",
        "gather [w3[5..6], w4[0..2], zero 1]",
        "vector w9 len 7",
        "vector w9 len 7 plus 0x1p0",
        "gather [w3[5..6]] plus 0x1p0",
        "rope heads 1 head_dim 8 rotary_dim 4 theta 0x1p3 scaling per_pair(magnitude = 0x1p1, divisors = [0x1p0, 0x1.8p0]) ctx 8 width 16",
        "rope heads 4 head_dim 16 rotary_dim 8 theta 0x1.388p13 scaling llama3(factor = 0x1p5, low = 0x1p0, high = 0x1p2, original = 8192) ctx 8 width 16",
    ];
    for content in contents {
        let text = TEXT.replace("vector w0 len 16", content);
        let (kernels, plan) = parse_lowered(&text).unwrap_or_else(|e| panic!("{content}: {e}"));
        assert_eq!(print_lowered(&kernels, &plan), text);
    }
    for extent in ["7", "t / 4 max 2", "2 * t + 3 * p + 5 / 4 max 9", "p + 1 / 2 max 3", "5 / 2 max 3", "0 / 1 max 4"] {
        let text = TEXT.replace("t / 1 max 2", extent);
        let (kernels, plan) = parse_lowered(&text).unwrap_or_else(|e| panic!("{extent}: {e}"));
        assert_eq!(print_lowered(&kernels, &plan), text);
    }
}

#[test]
fn bad_text_is_an_error_with_a_place() {
    let cases = [
        ("@body (a0, p0", "@nobody (a0, p0", "kernel @nobody is not defined"),
        ("a1 \"hidden\"", "a2 \"hidden\"", "expected a1, found a2; ids stand in order"),
        ("vector w0", "victor w0", "expected `matrix`, `vector`, `gather` or `rope`, found `victor`"),
        ("vector w0 len 16", "gather [w0[5..4]]", "rows 5..4; expected first <= end <= 2^32"),
        ("vector w0 len 16", "gather [w0[0..4294967295]]", "more than 16777216 rows in one section"),
        ("vector w0 len 16", "gather [zero 4294967295]", "more than 16777216 rows in one section"),
        ("vector w0 len 16", "gather [zip(w0[0..2], w0[0..3])]", "runs of 2 and 3 rows; `zip` takes equal ones"),
        ("t / 1 max 2", "t + t / 1 max 2", "a term of one kind stands twice; add them up"),
        ("t / 1 max 2", "t / 1", "expected `max`, found `,`"),
    ];
    for (old, new, message) in cases {
        let error = parse_lowered(&TEXT.replacen(old, new, 1)).expect_err(new).to_string();
        assert!(error.contains(message), "{new}: {error}");
    }
    // Cut at any byte: an error, never a panic.
    for end in 0..TEXT.trim_end().len() {
        assert!(parse_lowered(&TEXT[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn verifier_cases() {
    let (arena, packed) = (ArenaId::new, PackedId::new);
    type Break<'a> = &'a dyn Fn(&mut KernelModule, &mut Plan);
    let cases: &[(&str, &str, Break)] = &[
        ("plan", "chunk 4, ctx 3", &|_, p| p.ctx = 3),
        ("plan", "vocab 0", &|_, p| p.vocab = 0),
        ("plan", "the tokens are in a9", &|_, p| p.tokens = ArenaId::new(9)),
        ("plan", "the logits take 24 bytes, the buffer has 20", &|_, p| p.arena[arena(2)].bytes = 20),
        ("plan", "the buffer of tokens is not pinned", &|_, p| p.arena[arena(0)].pinned = false),
        ("region", "bytes 128..+24 lie outside the region of 130", &|_, p| p.arena_bytes = 130),
        ("region", "kv 0: offset 32 is no multiple of 64", &|_, p| p.kv[0].offset = 32),
        ("region", "a1 hidden: shares bytes with a0 tokens", &|_, p| p.arena[arena(1)].offset = 0),
        ("region", "p0 table: has 60 bytes, its content 64", &|_, p| p.packed[packed(0)].bytes = 60),
        ("binding", "kernel k7 does not exist", &|_, p| p.decode[0].kernel = slmc_ir::kernel::KernelId::new(7)),
        ("binding", "3 bindings for 4 parameters", &|_, p| p.decode[0].bindings.truncate(3)),
        ("binding", "b3 %hidden is bound to a8, which does not exist", &|_, p| p.decode[0].bindings[3] = Binding::Arena(ArenaId::new(8))),
        ("binding", "b1 %table takes 64 bytes, a1 has 16", &|_, p| p.decode[0].bindings[1] = Binding::Arena(ArenaId::new(1))),
        ("binding", "b3 %hidden is written, p0 holds weights", &|_, p| p.decode[0].bindings[3] = Binding::Packed(PackedId::new(0))),
        ("binding", "b0 %hidden is aligned to 128, a1 lies at 64", &|k, _| {
            k.kernels[slmc_ir::kernel::KernelId::new(1)].buffers[slmc_ir::kernel::BufId::new(0)].align = 128
        }),
        ("grid", "a step launches 3 tiles along x, the kernel takes 2", &|_, p| p.head_one[0].grid[0] = Extent::fixed(3)),
        ("grid", "the divisor of x is 0", &|_, p| p.head_many[0].grid[0].d = 0),
        ("bounds", "the list runs with t in 2..4, the kernel takes 1..3", &|k, _| k.kernels[slmc_ir::kernel::KernelId::new(0)].bounds.t = (1, 3)),
        ("bounds", "the list runs with p in 0..7, the kernel takes 0..5", &|k, _| k.kernels[slmc_ir::kernel::KernelId::new(0)].bounds.p = (0, 5)),
        ("live", "head_one[0] @head: reads a1 hidden, which nothing wrote before", &|_, p| p.arena[arena(1)].pinned = false),
    ];
    for (rule, message, breaks) in cases {
        let (mut kernels, mut plan) = read();
        breaks(&mut kernels, &mut plan);
        let faults = verify_plan(&plan, &kernels).expect_err(message);
        assert!(faults.iter().any(|f| f.rule == *rule && f.to_string().contains(message)), "expected `{rule}` with `{message}`, found {faults:#?}");
    }
    // A written range may be another one or the same, but not cut into it.
    let (kernels, mut plan) = read();
    plan.arena[arena(1)].bytes = 80;
    plan.arena_bytes = 256;
    plan.head_one[0].bindings[1] = Binding::Arena(arena(2));
    let faults = verify_plan(&plan, &kernels).expect_err("overlap");
    assert!(faults.iter().any(|f| f.rule == "overlap" && f.to_string().contains("b0 %hidden at a1 and b1 %logits at a2 overlap")), "{faults:#?}");
}

#[test]
fn sessions() {
    let (kernels, plan) = read();
    let weights = table();
    let tokens = [0, 1, 2, 0, 1, 1, 2, 0];
    let sums = [1.0, 11.0, 111.0, 112.0, 122.0, 132.0, 232.0, 233.0];
    let row = |s: f32| vec![s, 2.0 * s, 0.0];
    let mut session = PlanInterp::new(&plan, &kernels, &weights).expect("opens");
    for chunk in 1..=4 {
        session.reset();
        let all = session.eval(&tokens, chunk, true).expect("runs");
        assert_eq!(all, sums.map(row), "chunk {chunk}");
        session.rewind(2).expect("back");
        assert_eq!(session.eval(&tokens[2..7], chunk, false).expect("runs"), [row(232.0)]);
        assert_eq!(session.position(), 7);
    }
    session.rewind(0).expect("back");
    assert_eq!(session.eval(&[], 4, true).expect("nothing to do"), Vec::<Vec<f32>>::new());
    assert_eq!(session.eval(&[3], 4, true), Err(PlanError::Token { index: 0, id: 3, vocab: 3 }));
    assert_eq!(session.eval(&[0; 9], 4, true), Err(PlanError::Context { tokens: 9, position: 0, ctx: 8 }));
    assert_eq!(session.eval(&[0], 5, true), Err(PlanError::Chunk { chunk: 5, most: 4 }));
    assert_eq!(session.rewind(1), Err(PlanError::Rewind { to: 1, position: 0 }));
    assert_eq!(PlanInterp::new(&plan, &kernels, &weights[1..]).err(), Some(PlanError::Weights { expected: 64, found: 63 }));
}

#[test]
fn faults_name_the_dispatch() {
    let (kernels, mut plan) = read();
    plan.decode[0].bindings[1] = Binding::Arena(ArenaId::new(9));
    let weights = table();
    let mut session = PlanInterp::new(&plan, &kernels, &weights).expect("opens");
    assert_eq!(session.eval(&[0], 1, true).expect_err("no buffer").to_string(), "decode[0]: the plan lacks a9");
    let (mut kernels, plan) = read();
    kernels.kernels[slmc_ir::kernel::KernelId::new(0)].bounds.p = (0, 0);
    let mut session = PlanInterp::new(&plan, &kernels, &weights).expect("opens");
    session.eval(&[0], 1, true).expect("the first position is within bounds");
    let fault = session.eval(&[0], 1, true).expect_err("the second is not").to_string();
    assert!(fault.starts_with("decode[0]: kernel @body, tile [0, 0, 0], lane 0: launch: the launch breaks the kernel's bounds: p = 1"), "{fault}");
}
