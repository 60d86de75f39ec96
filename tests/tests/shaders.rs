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
    let backend = slmc_backends::lookup("naga").expect("the feature naga");
    let (mut valid, mut unseen) = (0, 0);
    for target in targets() {
        for passes in SCHEMES {
            let mut kernels = compile(&student, &target, passes, 512, 32).lowered.kernels;
            legalize(&mut kernels, &target);
            let verified = verify_module(&kernels).unwrap_or_else(|faults| panic!("{} {passes}: {faults:#?}", target.name));
            let artifact = backend.emit(verified, &target, &EmitOptions::default()).unwrap_or_else(|e| panic!("{} {passes}: {e}", target.name));
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
