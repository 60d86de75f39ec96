//! What is demanded of every SPIR-V module: Khronos' validator where it is installed, and that no type of workgroup, private or
//! function memory has a layout, which older validators do not see.

use slmc_backends::Artifact;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Once;

/// The words of kernel `i`.
pub fn words(artifact: &Artifact, i: usize) -> Vec<u32> {
    let shaders = artifact.shaders.as_ref().expect("a GPU's artifact has shaders");
    let shader = &shaders.kernels[i];
    let module = &shaders.bytes[shader.offset as usize..(shader.offset + shader.bytes) as usize];
    module.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

/// Fails on a module that is not valid.
pub fn check(words: &[u32], name: &str) {
    let laid = laid_out_locals(words);
    assert!(laid.is_empty(), "{name}: types {laid:?} of memory without a layout have one");
    validate(words, name);
}

/// `spirv-val --target-env vulkan1.1`, if it is installed.
fn validate(words: &[u32], name: &str) {
    static SKIPPED: Once = Once::new();
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let mut command = Command::new("spirv-val");
    command.args(["--target-env", "vulkan1.1", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        SKIPPED.call_once(|| println!("skipped: spirv-val is not installed; install spirv-tools"));
        return;
    };
    child.stdin.take().expect("its input is a pipe").write_all(&bytes).expect("spirv-val reads its input");
    let out = child.wait_with_output().expect("spirv-val ends");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{name}: {text}");
}

/// All instructions: opcode and operands.
pub fn instructions(words: &[u32]) -> Vec<(u32, &[u32])> {
    let mut rest = &words[5..];
    let mut out = Vec::new();
    while let Some(first) = rest.first() {
        let (one, tail) = rest.split_at((first >> 16) as usize);
        out.push((first & 0xffff, &one[1..]));
        rest = tail;
    }
    out
}

/// Types that a workgroup, private or function variable consists of and that have an array stride or member offsets.
pub fn laid_out_locals(words: &[u32]) -> BTreeSet<u32> {
    let all = instructions(words);
    let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut laid = BTreeSet::new();
    let mut locals = Vec::new();
    for (op, x) in all {
        match op {
            // OpTypeVector, OpTypeMatrix, OpTypeArray, OpTypeRuntimeArray
            23 | 24 | 28 | 29 => drop(parts.insert(x[0], vec![x[1]])),
            // OpTypeStruct
            30 => drop(parts.insert(x[0], x[1..].to_vec())),
            // OpTypePointer
            32 => drop(parts.insert(x[0], vec![x[2]])),
            // OpVariable of Workgroup, Private, Function
            59 if matches!(x[2], 4 | 6 | 7) => locals.push(x[0]),
            // OpDecorate ArrayStride
            71 if x[1] == 6 => drop(laid.insert(x[0])),
            // OpMemberDecorate Offset
            72 if x[2] == 35 => drop(laid.insert(x[0])),
            _ => {}
        }
    }
    let mut reached = BTreeSet::new();
    while let Some(ty) = locals.pop() {
        if reached.insert(ty) {
            locals.extend(parts.get(&ty).into_iter().flatten());
        }
    }
    reached.intersection(&laid).copied().collect()
}
