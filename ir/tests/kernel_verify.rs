//! The verifier of kernels: each rule reports its fault, and accepts what can be proven.

use slmc_ir::arena::{Arena, Id};
use slmc_ir::kernel::{
    Access, BinaryOp, BufId, Builtin, CmpOp, Def, Expr, Imm, Kernel, KernelBuilder, KernelModule, Operand, ReduceOp, Scalar, Space, StepBounds, Stmt,
    Type, UnaryOp, Value, ValueId, VarId, verify_kernel, verify_module,
};

const BOUNDS: StepBounds = StepBounds { t: (1, 16), p: (0, 63), row: (0, 15) };

/// Ends a closure with nothing.
fn done(_: ValueId) {}

fn ty(text: &str) -> Type {
    Type::parse(text).expect("a type")
}

struct Bufs {
    x: BufId,
    y: BufId,
    tmp: BufId,
}

/// A kernel with `x: f32[64] read`, `y: f32[64] write`, `tmp: f32[16] private`.
fn kernel(f: impl FnOnce(&mut KernelBuilder, &Bufs)) -> Kernel {
    let mut k = KernelBuilder::new("case", BOUNDS, [4, 2, 1]);
    let x = k.param("x", ty("f32"), 64, Access::Read, 64);
    let y = k.param("y", ty("f32"), 64, Access::Write, 64);
    let tmp = k.private("tmp", ty("f32"), 16);
    f(&mut k, &Bufs { x, y, tmp });
    k.finish()
}

fn faults(kernel: &Kernel) -> Vec<(&'static str, String)> {
    verify_kernel(kernel).err().unwrap_or_default().into_iter().map(|e| (e.rule, e.to_string())).collect()
}

#[track_caller]
fn accepted(f: impl FnOnce(&mut KernelBuilder, &Bufs)) {
    assert_eq!(faults(&kernel(f)), []);
}

/// There is exactly one fault, of this rule, and its message has this part.
#[track_caller]
fn refused(kernel: &Kernel, rule: &str, part: &str) {
    let found = faults(kernel);
    assert!(found.len() == 1 && found[0].0 == rule && found[0].1.contains(part), "expected one `{rule}` with `{part}`, found {found:#?}");
}

#[track_caller]
fn refused_by(rule: &str, part: &str, f: impl FnOnce(&mut KernelBuilder, &Bufs)) {
    refused(&kernel(f), rule, part);
}

#[test]
fn signature() {
    let with = |f: &dyn Fn(&mut Kernel)| {
        let mut k = kernel(|_, _| {});
        f(&mut k);
        k
    };
    let buffer = |k: &mut Kernel, i: usize, f: &dyn Fn(&mut slmc_ir::kernel::Buffer)| f(&mut k.buffers[BufId::new(i)]);
    assert_eq!(faults(&with(&|_| {})), []);
    refused(&with(&|k| k.name = "a b".into()), "signature", "`a b` is not an identifier");
    refused(&with(&|k| k.grid[1] = 0), "signature", "an axis of 0 tiles");
    refused(&with(&|k| k.lanes = 0), "signature", "0 invocations");
    refused(&with(&|k| k.lanes = 1025), "signature", "1025 invocations");
    refused(&with(&|k| buffer(k, 2, &|b| b.len = 1 << 19)), "signature", "arrays take 2097152 bytes");
    refused(&with(&|k| k.bounds.t = (0, 4)), "signature", "bounds 0..4");
    refused(&with(&|k| k.bounds.p = (5, 4)), "signature", "bounds 5..4");
    refused(&with(&|k| k.bounds.row = (0, u32::MAX)), "signature", "most is 4294967295");
    refused(&with(&|k| buffer(k, 1, &|b| b.name = "x".into())), "signature", "b1 %x: another buffer has this name");
    refused(&with(&|k| buffer(k, 1, &|b| b.name = "%".into())), "signature", "not an identifier");
    refused(&with(&|k| buffer(k, 1, &|b| b.align = 12)), "signature", "alignment 12");
    refused(&with(&|k| buffer(k, 1, &|b| b.elem = ty("boolx4"))), "signature", "boolx4 have no memory form");
    refused(&with(&|k| buffer(k, 0, &|b| b.space = Space::Private)), "signature", "parameters come first");
    refused(&with(&|k| buffer(k, 2, &|b| b.space = Space::Workgroup)), "signature", "one lane");
    refused(&with(&|k| buffer(k, 2, &|b| b.elem = Type { scalar: Scalar::F32, lanes: 3 })), "signature", "3 lanes");
    let mut module = KernelModule::default();
    module.kernels.push(with(&|_| {}));
    module.kernels.push(with(&|_| {}));
    let errors = verify_module(&module).expect_err("one name twice");
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "kernel @case: k1: another kernel of the module has this name; rename one [signature]");
}

#[test]
fn scope_and_once() {
    let v = |i| Operand::Value(ValueId::new(i));
    let undefined = kernel(|k, b| k.store(b.y, v(7), 1.0));
    refused(&undefined, "scope", "v7 does not exist");
    let mut early = kernel(|k, b| {
        let i = k.builtin(Builtin::T);
        k.store(b.y, i, 1.0);
    });
    early.body.swap(0, 1);
    refused(&early, "scope", "v0 is not visible here");
    let mut outside = kernel(|k, _| k.for_(0u32, 4u32, 1, |k, i| done(k.add(i, 1u32))));
    outside.body.push(Stmt::Store { buf: BufId::new(1), index: v(1), value: 1.0.into() });
    refused(&outside, "scope", "store b1: v1 is not visible here");
    let no_buffer = kernel(|k, _| k.store(BufId::new(9), 0u32, 1.0));
    refused(&no_buffer, "scope", "b9 does not exist");
    let mut var = kernel(|_, _| {});
    var.vars.push(ty("f32"));
    var.body.push(Stmt::Set { var: VarId::new(0), value: 1.0.into() });
    var.body.push(Stmt::Var { var: VarId::new(0), init: 1.0.into() });
    refused(&var, "scope", "set x0: x0 is not declared here");
    let mut twice = kernel(|k, _| done(k.builtin(Builtin::T)));
    twice.body.push(twice.body[0].clone());
    refused(&twice, "once", "v0: defined by more than one statement");
    let mut dead = kernel(|_, _| {});
    dead.values.push(Value { ty: ty("u32"), def: Def::Stmt });
    refused(&dead, "once", "v0: no statement defines this value");
    let mut wrong = kernel(|_, _| {});
    wrong.values.push(Value { ty: ty("u32"), def: Def::Stmt });
    wrong.body.push(Stmt::Let(ValueId::new(0)));
    refused(&wrong, "once", "it has no expression");
    let mut undeclared = kernel(|_, _| {});
    undeclared.vars.push(ty("f32"));
    refused(&undeclared, "once", "x0: no statement declares this variable");
}

#[test]
fn types_of_expressions() {
    type Make = fn(&mut KernelBuilder, ValueId, ValueId, ValueId) -> (Type, Expr);
    // a: f32x4, i: i32x4, u: u8x16
    let cases: &[(&str, Make)] = &[
        ("expected u32", |_, _, _, _| (ty("i32"), Expr::Builtin(Builtin::T))),
        ("`neg` is not defined for u8x16", |_, _, _, u| (ty("u8x16"), Expr::Unary(UnaryOp::Neg, u.into()))),
        ("`round` is not defined for i32x4", |_, _, i, _| (ty("i32x4"), Expr::Unary(UnaryOp::Round, i.into()))),
        ("`not` is not defined for f32x4", |_, a, _, _| (ty("f32x4"), Expr::Unary(UnaryOp::Not, a.into()))),
        ("operand 2, v2, has type i32x4; expected f32x4", |_, a, i, _| (ty("f32x4"), Expr::Binary(BinaryOp::Add, a.into(), i.into()))),
        ("`rem` is not defined for i32x4", |_, _, i, _| (ty("i32x4"), Expr::Binary(BinaryOp::Rem, i.into(), 3i32.into()))),
        ("`shl` is not defined for f32x4", |_, a, _, _| (ty("f32x4"), Expr::Binary(BinaryOp::Shl, a.into(), a.into()))),
        ("`and` is not defined for f32x4", |_, a, _, _| (ty("f32x4"), Expr::Binary(BinaryOp::And, a.into(), a.into()))),
        ("immediate 256 does not fit u8x16", |_, _, _, u| (ty("u8x16"), Expr::Binary(BinaryOp::And, u.into(), 256i32.into()))),
        ("an integer immediate stands in a place of type f32x4", |_, a, _, _| (ty("f32x4"), Expr::Binary(BinaryOp::Add, a.into(), 1i32.into()))),
        ("a float immediate stands in a place of type i32x4", |_, _, i, _| (ty("i32x4"), Expr::Binary(BinaryOp::Add, i.into(), 1.0.into()))),
        ("`fma` is not defined for i32x4", |_, _, i, _| (ty("i32x4"), Expr::Fma(i.into(), i.into(), i.into()))),
        ("expected boolx4", |_, a, _, _| (ty("boolx8"), Expr::Cmp(CmpOp::Lt, a.into(), a.into()))),
        ("operand 1 is an immediate", |_, _, _, _| (ty("bool"), Expr::Cmp(CmpOp::Lt, 1i32.into(), 2i32.into()))),
        ("operand 1 has type f32x4; expected boolx4 or bool", |_, a, _, _| (ty("f32x4"), Expr::Select(a.into(), a.into(), a.into()))),
        ("4 lanes become 8", |_, a, _, _| (ty("i32x8"), Expr::Convert(a.into()))),
        ("f32x4 has 16 bytes, u8x8 has 8", |_, a, _, _| (ty("u8x8"), Expr::Bitcast(a.into()))),
        ("expected u8x16 or i8x16", |_, _, i, _| (ty("i32x4"), Expr::Dot4 { acc: i.into(), a: i.into(), b: 0i32.into(), max_a: 1 })),
        ("operand 3, v3, has type u8x16; expected i8x16", |_, _, i, u| {
            (ty("i32x4"), Expr::Dot4 { acc: i.into(), a: u.into(), b: u.into(), max_a: 1 })
        }),
        ("expected u8 or i16 lanes", |_, _, i, _| (ty("i32x2"), Expr::Dot2(i.into(), i.into()))),
        ("the result has type i32x2; expected i32 lanes, a multiple of four", |_, _, _, _| {
            (ty("i32x2"), Expr::Mmla(0i32.into(), 1i32.into(), 1i32.into()))
        }),
        ("operand 2, v3, has type u8x16; expected i8x16", |_, _, i, u| (ty("i32x4"), Expr::Mmla(i.into(), u.into(), 1i32.into()))),
        ("f32x4 cannot be repeated to f32x2", |_, a, _, _| (ty("f32x2"), Expr::Repeat(a.into()))),
        ("lane 4 of f32x4", |_, a, _, _| (ty("f32"), Expr::Extract(a.into(), 4))),
        ("lane 8 of two f32x4", |_, a, _, _| (ty("f32x2"), Expr::Shuffle(a.into(), a.into(), vec![0, 8]))),
        ("3 lanes of f32x4 give no f32x4", |_, a, _, _| (ty("f32x4"), Expr::Shuffle(a.into(), a.into(), vec![0, 1, 2]))),
        ("the result has type i32; expected f32", |_, a, _, _| (ty("i32"), Expr::Reduce(ReduceOp::Max, a.into()))),
        ("the grid has no axis 3", |_, _, _, _| (ty("u32"), Expr::Builtin(Builtin::Grid(3)))),
    ];
    for (part, make) in cases {
        refused_by("type", part, |k, b| {
            let a = k.load(ty("f32x4"), b.x, 0u32);
            let one = k.load(ty("i32"), b.x, 0u32);
            let i = k.repeat(one, 4);
            // v3 is loaded, so that the ids are v0 to v3 in all cases.
            let u = k.load(ty("u8x16"), b.x, 0u32);
            let (t, e) = make(k, a, i, u);
            k.expr(t, e);
        });
    }
}

#[test]
fn types_of_statements() {
    refused_by("type", "v0 has type i32; expected u32", |k, b| {
        let i = k.load(ty("i32"), b.x, 0u32);
        k.store(b.y, i, 1.0);
    });
    refused_by("type", "an integer immediate stands in a place of type f32", |k, b| k.store(b.y, 0u32, 1u32));
    refused_by("type", "boolx4 has no memory form", |k, b| {
        let a = k.load(ty("f32x4"), b.x, 0u32);
        let m = k.cmp(CmpOp::Lt, a, 0.0);
        k.store(b.y, 0u32, m);
    });
    refused_by("type", "step 0", |k, _| k.for_(0u32, 4u32, 0, |_, _| {}));
    refused_by("type", "unroll 0", |k, _| k.for_unrolled(0u32, 4u32, 1, 0, |_, _| {}));
    refused_by("type", "v0 has type u32; expected bool", |k, _| {
        let t = k.builtin(Builtin::T);
        k.if_(t, |_| {});
    });
    refused_by("type", "v0 has type u32; expected f32", |k, _| {
        let x = k.var(ty("f32"), 0.0);
        let t = k.builtin(Builtin::T);
        k.set(x, t);
    });
    let mut three = kernel(|k, b| done(k.load(ty("f32"), b.x, 0u32)));
    three.values[ValueId::new(0)].ty.lanes = 3;
    refused(&three, "type", "3 lanes");
}

#[test]
fn access() {
    refused_by("access", "stores to b0, whose access is `read`", |k, b| k.store(b.x, 0u32, 1.0));
    refused_by("access", "loads from b1, whose access is `write`", |k, b| done(k.load(ty("f32"), b.y, 0u32)));
}

/// A kernel of four lanes.
fn lanes(f: impl FnOnce(&mut KernelBuilder, &Bufs)) -> Kernel {
    let mut k = kernel(f);
    k.lanes = 4;
    k
}

#[test]
fn uniform() {
    let guarded = |b: Builtin| {
        lanes(move |k, _| {
            let v = k.builtin(b);
            let c = k.cmp(CmpOp::Lt, v, 2u32);
            k.if_(c, KernelBuilder::barrier);
        })
    };
    assert_eq!(faults(&guarded(Builtin::T)), []);
    assert_eq!(faults(&guarded(Builtin::Grid(0))), []);
    refused(&guarded(Builtin::Lane), "uniform", "barrier: stands in `if v1`");
    let in_loop = lanes(|k, _| {
        let lane = k.builtin(Builtin::Lane);
        k.for_(0u32, lane, 1, |k, _| k.barrier());
    });
    refused(&in_loop, "uniform", "the loop of v1");
    // A variable that is set under a varying condition varies from then on, also in the loop iteration before the text.
    let by_variable = lanes(|k, _| {
        let lane = k.builtin(Builtin::Lane);
        let first = k.cmp(CmpOp::Eq, lane, 0u32);
        let x = k.var(ty("u32"), 0u32);
        k.for_(0u32, 3u32, 1, |k, _| {
            let n = k.get(x);
            let c = k.cmp(CmpOp::Eq, n, 0u32);
            k.if_(c, KernelBuilder::barrier);
            k.if_(first, |k| k.set(x, 1u32));
        });
    });
    refused(&by_variable, "uniform", "stands in `if v4`");
}

#[test]
fn range_by_intervals() {
    accepted(|k, b| done(k.load(ty("f32x64"), b.x, 0u32)));
    accepted(|k, b| done(k.load(ty("f32x4"), b.x, 60u32)));
    refused_by("range", "may be 61; b0 %x of 64 elements takes a f32x4 up to index 60", |k, b| done(k.load(ty("f32x4"), b.x, 61u32)));
    refused_by("range", "b2 %tmp of 64 bytes holds no f32x32", |k, b| done(k.load(ty("f32x32"), b.tmp, 0u32)));
    accepted(|k, b| {
        let (x, y) = (k.builtin(Builtin::Grid(0)), k.builtin(Builtin::Grid(1)));
        let at = k.mul(x, 16u32);
        let y = k.mul(y, 8u32);
        let at = k.add(at, y);
        k.for_(0u32, 8u32, 4, |k, i| {
            let at = k.add(at, i);
            done(k.load(ty("f32x4"), b.x, at));
        });
    });
    refused_by("range", "may be 61", |k, b| {
        let x = k.builtin(Builtin::Grid(0));
        let at = k.mul(x, 20u32);
        let at = k.add(at, 1u32);
        done(k.load(ty("f32x4"), b.x, at));
    });
    // What is loaded may be anything, unless it is clamped.
    refused_by("range", "may be 4294967295", |k, b| {
        let i = k.load(ty("u32"), b.x, 0u32);
        done(k.load(ty("f32"), b.x, i));
    });
    for op in [BinaryOp::Min, BinaryOp::Rem, BinaryOp::And] {
        accepted(|k, b| {
            let i = k.load(ty("u32"), b.x, 0u32);
            let i = k.binary(op, i, 63u32);
            done(k.load(ty("f32"), b.x, i));
        });
    }
    accepted(|k, b| {
        let i = k.load(ty("u8"), b.x, 0u32);
        let i = k.convert(i, Scalar::U32);
        let i = k.div(i, 4u32);
        done(k.load(ty("f32"), b.x, i));
    });
    accepted(|k, b| {
        let i = k.load(ty("i32"), b.x, 0u32);
        let i = k.max(i, 0i32);
        let i = k.min(i, 63i32);
        let i = k.convert(i, Scalar::U32);
        done(k.load(ty("f32"), b.x, i));
    });
    refused_by("range", "may be 64", |k, b| k.for_(0u32, 65u32, 1, |k, i| done(k.load(ty("f32"), b.x, i))));
    accepted(|k, b| k.for_(2u32, 65u32, 4, |k, i| done(k.load(ty("f32x2"), b.x, i))));
    accepted(|k, b| k.for_(70u32, 70u32, 1, |k, i| done(k.load(ty("f32"), b.x, i))));
}

#[test]
fn range_by_guards() {
    // Tiles of 5 tokens, T at most 16: the last tile is partly empty.
    let tile = |guard: Option<CmpOp>| {
        kernel(move |k, b| {
            let (t, x) = (k.builtin(Builtin::T), k.builtin(Builtin::Grid(0)));
            let base = k.mul(x, 5u32);
            k.for_(0u32, 5u32, 1, |k, i| {
                let token = k.add(base, i);
                let at = k.mul(token, 4u32);
                let body = |k: &mut KernelBuilder| done(k.load(ty("f32x4"), b.x, at));
                match guard {
                    None => body(k),
                    Some(op) => {
                        let c = k.cmp(op, token, t);
                        k.if_(c, body);
                    }
                }
            });
        })
    };
    assert_eq!(faults(&tile(Some(CmpOp::Lt))), []);
    refused(&tile(None), "range", "may be 76");
    refused(&tile(Some(CmpOp::Le)), "range", "may be 64");
    refused(&tile(Some(CmpOp::Gt)), "range", "may be 76");
    accepted(|k, b| {
        let i = k.load(ty("u32"), b.x, 0u32);
        let high = k.cmp(CmpOp::Ge, i, 32u32);
        let j = k.load(ty("u32"), b.x, 1u32);
        let low = k.cmp(CmpOp::Lt, j, 32u32);
        let high = k.unary(UnaryOp::Not, high);
        let both = k.binary(BinaryOp::And, high, low);
        k.if_(both, |k| {
            let sum = k.add(i, j);
            done(k.load(ty("f32x2"), b.x, sum));
        });
    });
    refused_by("range", "b0", |k, b| {
        let i = k.load(ty("u32"), b.x, 0u32);
        let c = k.cmp(CmpOp::Lt, i, 32u32);
        k.if_else(c, |_| {}, |k| done(k.load(ty("f32"), b.x, i)));
    });
    // What a guard says ends with its block, for quotients as well.
    refused_by("range", "b0", |k, b| {
        let i = k.load(ty("u32"), b.x, 0u32);
        let c = k.cmp(CmpOp::Lt, i, 64u32);
        k.if_(c, |k| {
            let q = k.div(i, 2u32);
            done(k.load(ty("f32"), b.x, q));
        });
        let q = k.div(i, 2u32);
        done(k.load(ty("f32"), b.x, q));
    });
}

#[test]
fn range_by_the_step() {
    // P + t < ctx for t < T, though P <= 63 and t <= 15.
    let position = |end: Builtin| {
        kernel(move |k, b| {
            let (p, t) = (k.builtin(Builtin::P), k.builtin(end));
            k.for_(0u32, t, 1, |k, i| {
                let at = k.add(p, i);
                done(k.load(ty("f32"), b.x, at));
            });
        })
    };
    assert_eq!(faults(&position(Builtin::T)), []);
    refused(&position(Builtin::Row), "range", "may be 77");
    // Steps of 16 positions up to P + T: the last one starts before ctx.
    accepted(|k, b| {
        let (p, t) = (k.builtin(Builtin::P), k.builtin(Builtin::T));
        let end = k.add(p, t);
        let steps = k.add(end, 15u32);
        let steps = k.div(steps, 16u32);
        k.for_(0u32, steps, 1, |k, s| {
            let at = k.mul(s, 16u32);
            done(k.load(ty("f32x16"), b.x, at));
        });
    });
    // Rows of the head: ROW + T is at most the body's rows.
    accepted(|k, b| {
        let (row, t) = (k.builtin(Builtin::Row), k.builtin(Builtin::T));
        k.for_(0u32, t, 1, |k, i| {
            let r = k.add(row, i);
            let at = k.mul(r, 4u32);
            done(k.load(ty("f32x4"), b.x, at));
        });
    });
    accepted(|k, b| {
        let (t, x) = (k.builtin(Builtin::T), k.builtin(Builtin::Grid(0)));
        let begin = k.mul(x, 6u32);
        let end = k.add(begin, 6u32);
        let end = k.min(end, t);
        k.for_(begin, end, 1, |k, i| {
            let at = k.mul(i, 4u32);
            let v = k.load(ty("f32x4"), b.x, at);
            let slot = k.binary(BinaryOp::Rem, i, 4u32);
            let slot = k.mul(slot, 4u32);
            k.store(b.tmp, slot, v);
        });
    });
}

#[test]
fn wrap_divisor_shift() {
    refused_by("wrap", "`sub`: the result may be -1", |k, _| {
        let x = k.builtin(Builtin::Grid(0));
        k.sub(x, 1u32);
    });
    accepted(|k, _| {
        let x = k.builtin(Builtin::T);
        k.sub(x, 1u32);
    });
    refused_by("wrap", "`add`", |k, b| {
        let x = k.load(ty("u32"), b.x, 0u32);
        k.add(x, 1u32);
    });
    refused_by("wrap", "`mul`", |k, b| {
        let x = k.load(ty("u8"), b.x, 0u32);
        let x = k.convert(x, Scalar::U32);
        k.mul(x, 1u32 << 25);
    });
    refused_by("wrap", "the sum of 2 lanes", |k, b| {
        let x = k.load(ty("u32x2"), b.x, 0u32);
        k.reduce(ReduceOp::Add, x);
    });
    // Other integers wrap as they please.
    accepted(|k, b| {
        let x = k.load(ty("i32"), b.x, 0u32);
        let y = k.mul(x, x);
        k.add(y, 1i32);
    });
    refused_by("divisor", "`div` may be 0", |k, _| {
        let (t, p) = (k.builtin(Builtin::T), k.builtin(Builtin::P));
        k.div(t, p);
    });
    refused_by("divisor", "`div` may be 0", |k, b| {
        let x = k.load(ty("i32"), b.x, 0u32);
        k.div(x, x);
    });
    accepted(|k, b| {
        let t = k.builtin(Builtin::T);
        let n = k.load(ty("u32"), b.x, 0u32);
        let some = k.cmp(CmpOp::Gt, n, 0u32);
        k.if_(some, |k| done(k.binary(BinaryOp::Rem, t, n)));
    });
    refused_by("shift", "0..32", |k, b| {
        let (t, n) = (k.builtin(Builtin::T), k.load(ty("u32"), b.x, 0u32));
        k.binary(BinaryOp::Shl, t, n);
    });
    refused_by("shift", "0..8", |k, b| {
        let n = k.load(ty("u8x4"), b.x, 0u32);
        k.binary(BinaryOp::Shr, n, 8i32);
    });
    accepted(|k, b| {
        let n = k.load(ty("u32"), b.x, 0u32);
        let n = k.binary(BinaryOp::And, n, 31u32);
        k.binary(BinaryOp::Shl, n, n);
    });
}

#[test]
fn hostile_kernels_do_not_panic() {
    // Ids of every kind out of range, in every statement.
    let (v, x, b) = (ValueId::new(90), VarId::new(90), BufId::new(90));
    let o = Operand::Value(v);
    let mut k = kernel(|_, _| {});
    k.body = vec![
        Stmt::Let(v),
        Stmt::Load { dst: v, buf: b, index: o },
        Stmt::Store { buf: b, index: o, value: o },
        Stmt::Store { buf: b, index: o, value: Operand::Imm(Imm::Int(3)) },
        Stmt::Prefetch { buf: b, index: o },
        Stmt::Var { var: x, init: o },
        Stmt::Get { dst: v, var: x },
        Stmt::Set { var: x, value: o },
        Stmt::For { iv: v, start: o, end: o, step: 1, unroll: 1, body: vec![Stmt::Let(v)] },
        Stmt::If { cond: o, then: vec![], otherwise: vec![Stmt::Barrier] },
    ];
    assert!(faults(&k).len() > 12);
    let _ = k.to_string();
    k.renumber();
    assert!(faults(&k).len() > 12);
    let _ = k.to_string();
    k.buffers = Arena::new();
    assert!(!faults(&k).is_empty());
}
