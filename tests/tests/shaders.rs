//! Every module of every GPU target: accepted by naga's validator (which every emission asks) and by Khronos' where it is
//! installed; for targets with and without each optional feature.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use slmc::target::TargetSpec;
use slmc_backends::EmitOptions;
use slmc_ir::kernel::verify_module;
use slmc_ir::target::{GpuApi, Target, known};
use slmc_passes::kernel::legalize::legalize;
use slmc_tests::compiled::compile;
use slmc_tests::expected::fixture;
use slmc_tests::random_llama::RandomLlama;

/// Checkpoints whose kernels the student lacks: biases, norms of rows and heads, windows, soft caps, partial rotation.
const FAMILIES: [&str; 5] = ["gemma2", "gemma3", "phi3-longrope", "qwen3", "stablelm2"];
/// Of these, what they are compiled with.
const FAMILY_SCHEMES: [&str; 2] = ["fold,share,quantize{body=f32,embed=f32,head=f32,kv=f32},fuse", "fold,share,quantize,fuse"];

const SCHEMES: [&str; 5] = [
    "fold,share,quantize{body=f32,embed=f32,head=f32,kv=f32},fuse",
    "fold,share,quantize{body=f16,embed=f16,head=f16},fuse",
    "fold,share,quantize,fuse",
    "fold,share,quantize{body=q4g64,kv=f32},fuse",
    "fold,share,quantize{body=q8g32,embed=q8g32,head=q8g32},fuse",
];

/// All known targets, and the generic one with each feature alone.
fn targets() -> Vec<Target> {
    let mut targets: Vec<Target> = known::known().into_iter().filter(|t| t.gpu.is_some()).collect();
    for feature in ["+subgroups", "+f16", "+int_dot", "binding=256K"] {
        let text = format!("vulkan-generic,{feature}");
        targets.push(TargetSpec::parse(&text).unwrap_or_else(|e| panic!("{e}")).target);
    }
    targets
}

/// What `spirv-val` says against a module; `None` if it is not installed.
fn complaints(module: &[u8]) -> Option<String> {
    let mut command = Command::new("spirv-val");
    command.args(["--target-env", "vulkan1.1", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().expect("its input is a pipe").write_all(module).expect("spirv-val reads its input");
    let out = child.wait_with_output().expect("spirv-val ends");
    let words = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Some(if out.status.success() { String::new() } else { format!("refused: {words}") })
}

#[test]
fn every_module_of_every_gpu_target_is_valid() {
    let student = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/warehouse");
    validate(&student, &targets(), 512, &SCHEMES);
}

#[test]
fn so_is_every_module_of_the_other_families() {
    for name in FAMILIES {
        validate(&fixture(name), &targets(), 256, &FAMILY_SCHEMES);
    }
}

#[test]
fn so_is_every_module_for_a_long_context() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    RandomLlama { ctx: 2000, ..RandomLlama::default() }.write(dir.path());
    // A table of rotations is one binding.
    let targets: Vec<Target> = targets().into_iter().filter(|t| t.gpu.as_ref().is_some_and(|gpu| gpu.binding_bytes >= 1 << 20)).collect();
    validate(dir.path(), &targets, 2000, &FAMILY_SCHEMES);
}

/// Emits a checkpoint for targets with schemes, and has every module validated.
fn validate(checkpoint: &Path, targets: &[Target], ctx: u32, schemes: &[&str]) {
    let backend = slmc_backends::lookup("naga").expect("the feature naga");
    let (mut valid, mut unseen) = (0, 0);
    for target in targets {
        for passes in schemes {
            let mut kernels = compile(checkpoint, target, passes, ctx, 32).lowered.kernels;
            legalize(&mut kernels, target);
            let verified = verify_module(&kernels).unwrap_or_else(|faults| panic!("{} {passes}: {faults:#?}", target.name));
            let artifact = backend.emit(verified, target, &EmitOptions::default()).unwrap_or_else(|e| panic!("{} {passes}: {e}", target.name));
            let shaders = artifact.shaders.expect("a GPU's kernels are shaders");
            if target.gpu.as_ref().is_none_or(|gpu| gpu.api != GpuApi::Vulkan) {
                continue;
            }
            for shader in &shaders.kernels {
                match complaints(&shaders.bytes[shader.offset as usize..][..shader.bytes as usize]) {
                    Some(words) => assert!(words.is_empty(), "{} {passes}: {}: {words}", target.name, shader.entry),
                    None => unseen += 1,
                }
                valid += 1;
            }
        }
    }
    println!("{valid} modules");
    if unseen > 0 {
        println!("skipped: spirv-val is not installed; install spirv-tools");
    }
}
