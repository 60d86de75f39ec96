//! The student as a bundle for a phone: compiled by the library, opened by the stub, run through Metal's calls on the fake
//! runtime. Its logits are those of the plan interpreter.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use slmc_ir::interp::plan::PlanInterp;
use slmc_runtime_stub::abi::{ABI_VERSION, CODE_MAGIC, CodeHeader, PlanHeader};
use slmc_runtime_stub::bundle::Bundle;
use slmc_runtime_stub::model::{Model, OpenOptions};
use slmc_runtime_stub::sample::Sampling;
use slmc_runtime_stub::session::{Logits, Session};
use slmc_runtime_stub::walk::Kernels;
use slmc_runtime_stub::wire::Wire as _;
use slmc_tests::msl::compile::skipped;
use slmc_tests::native::build;

use crate::fake::{Fake, Traits};
use crate::program::{compile_for, warehouse};
use crate::toy::{c_path, text};

const TARGET: &str = "iphone15-metal";
const CTX: u32 = 256;
const CHUNK: u32 = 32;

/// What the code of a bundle without functions says: the plan names it.
fn code_of(bundle: &Path) -> Kernels {
    let plan = std::fs::read(bundle.join("plan.bin")).unwrap_or_else(|e| panic!("{e}"));
    let code_id = PlanHeader::get(&plan).code_id;
    let header = Box::new(CodeHeader { magic: CODE_MAGIC, abi_version: ABI_VERSION, kernel_count: 0, features: 0, code_id, reserved: 0 });
    // SAFETY: there is no function to call.
    unsafe { Kernels::new(Box::leak(header), &[]) }
}

/// Greatest difference over the RMS of `expected`.
fn difference(expected: &[f32], found: &[f32]) -> f32 {
    assert_eq!(expected.len(), found.len());
    let rms = (expected.iter().map(|x| x * x).sum::<f32>() / expected.len() as f32).sqrt();
    let worst = expected.iter().zip(found).map(|(a, b)| if a.is_finite() && b.is_finite() { (a - b).abs() } else { f32::INFINITY });
    worst.fold(0.0, f32::max) / rms
}

#[test]
fn a_prompt_and_a_token_of_the_student_equal_the_plan_interpreter() {
    if skipped("a_prompt_and_a_token_of_the_student_equal_the_plan_interpreter").is_some() {
        return;
    }
    let built = build(&warehouse(), TARGET, "q4g32", |options| {
        options.ctx = Some(CTX as usize);
        options.chunk = CHUNK;
    });
    let program = compile_for(&warehouse(), TARGET, "fold,share,quantize,fuse", CTX, CHUNK);
    let packed = std::fs::read(built.path().join("weights.bin")).unwrap_or_else(|e| panic!("{e}"));
    assert!(packed == program.weights, "the bundle holds what is interpreted");
    let shipped = std::fs::read(built.path().join("kernels.metal")).unwrap_or_else(|e| panic!("{e}"));
    assert!(shipped == program.shaders.bytes, "the bundle has the kernels that are interpreted");
    let mut oracle = PlanInterp::new(&program.plan, &program.kernels, &program.weights).unwrap_or_else(|e| panic!("{e}")).with_subgroups(32);

    let fake = Fake::new(Traits { descending: true, ..Traits::phone() });
    let code = code_of(&built.path());
    let start = Instant::now();
    let fault = |fault| -> ! { panic!("{}", text(&fault)) };
    let bundle = Bundle::open(&c_path(&built.path()), code.header(), 0).unwrap_or_else(|f| fault(f));
    let model = Model::open(&bundle, code, OpenOptions::default()).unwrap_or_else(|f| fault(f));
    println!("opened in {:?}", start.elapsed());
    let mut session = Session::open(&model).unwrap_or_else(|f| fault(f));
    let go = AtomicBool::new(false);
    let ids: Vec<u32> = (0..47).map(|i| 3 + i * 61 % 900).collect();

    let start = Instant::now();
    session.eval(&ids, Logits::Last, &go).unwrap_or_else(|f| fault(f));
    let expected = oracle.eval(&ids, CHUNK, false).unwrap_or_else(|e| panic!("{e}"));
    let off = difference(&expected[0], session.logits().unwrap_or_else(|f| fault(f)));
    println!("a prompt of {}: {off:e} of the RMS, {:?}", ids.len(), start.elapsed());
    assert!(off <= 1e-5, "the prompt's logits differ by {off:e} of their RMS");

    let next = session.sample(&Sampling::GREEDY).unwrap_or_else(|f| fault(f));
    session.eval(&[next], Logits::Pick, &go).unwrap_or_else(|f| fault(f));
    let picked = session.sample(&Sampling::GREEDY).unwrap_or_else(|f| fault(f));
    let expected = oracle.eval(&[next], 1, false).unwrap_or_else(|e| panic!("{e}"));
    let off = difference(&expected[0], session.logits().unwrap_or_else(|f| fault(f)));
    println!("a token: {off:e} of the RMS, {:?}", start.elapsed());
    assert!(off <= 1e-5, "the token's logits differ by {off:e} of their RMS");
    assert_eq!(Some(picked), oracle.pick().unwrap_or_else(|e| panic!("{e}")), "the pick of the device");

    drop(session);
    drop(model);
    assert!(fake.dispatches() > 100);
    fake.finish();
}
