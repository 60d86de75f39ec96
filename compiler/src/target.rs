//! Targets as a user writes them: a known name or `host`, then overrides; and what this machine can run.
//!
//! `x86_64-avx2,cores=4,l2=1M,memory=2G,+avx512vnni,-f16c`, `vulkan-generic,lanes=256,shared=32K,+subgroups`. The overrides change
//! data only; what follows from the features (the integer dot product, conversions of 16-bit floats) is derived again, unless `dot=`
//! behind them names it, as one does to see what legalization makes for another device.

use std::num::NonZero;
use std::thread;

use slmc_ir::target::{DotKind, Gpu, Parameter, Target, known};
use slmc_runtime_stub::abi::feature;

/// A target and how it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetSpec {
    /// The target with all overrides applied.
    pub target: Target,
    /// Its name with the overrides that were given; `host` replaced by what was detected.
    pub text: String,
}

/// A target that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No such name.
    #[error("no target is called {name:?}; known are host, {}", names().join(", "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// This machine runs none of the known targets.
    #[error("this machine runs none of the known targets: {detail}")]
    Host {
        /// What it lacks for the least of them.
        detail: String,
    },
    /// An override that is not understood.
    #[error("target override {text:?}: {detail}")]
    Override {
        /// The override.
        text: String,
        /// What is wrong.
        detail: String,
    },
}

fn names() -> Vec<&'static str> {
    known::known().iter().map(|t| t.name).collect()
}

impl TargetSpec {
    /// Understands a target as written on the command line.
    ///
    /// # Errors
    /// Names the part that is not understood and what there is instead.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let mut parts = text.split(',').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let mut target = match name {
            "host" => host()?,
            name => known::find(name).ok_or_else(|| TargetError::Unknown { name: name.to_owned() })?,
        };
        let mut text = target.name.to_owned();
        let known = known::find(target.name).map(|t| t.tuning).unwrap_or_default();
        for (parameter, name) in Parameter::ALL.into_iter().filter(|(p, _)| target.tuning.get(*p) != known.get(*p)) {
            text.extend(target.tuning.get(parameter).map(|value| format!(",{name}={value}")));
        }
        for part in parts {
            apply(&mut target, part).map_err(|detail| TargetError::Override { text: part.to_owned(), detail })?;
            text.push(',');
            text.push_str(part);
        }
        Ok(Self { target, text })
    }
}

fn apply(target: &mut Target, part: &str) -> Result<(), String> {
    if let Some((name, on)) = part.strip_prefix('+').map(|name| (name, true)).or_else(|| part.strip_prefix('-').map(|name| (name, false)))
        && let Some(gpu) = &mut target.gpu
    {
        *gpu_feature(gpu, name)? = on;
        target.dot = dot_of(target);
        return Ok(());
    }
    if let Some(name) = part.strip_prefix('+') {
        let name = known_feature(name)?;
        if !target.features.contains(&name) {
            target.features.push(name);
        }
        (target.dot, target.half_convert) = (dot_of(target), half_convert_of(target));
        return Ok(());
    }
    if let Some(name) = part.strip_prefix('-') {
        let name = known_feature(name)?;
        target.features.retain(|feature| *feature != name);
        (target.dot, target.half_convert) = (dot_of(target), half_convert_of(target));
        return Ok(());
    }
    let Some((key, value)) = part.split_once('=') else {
        let schedule: Vec<String> = Parameter::ALL.iter().map(|(_, name)| format!("{name}=N")).collect();
        return Err(format!(
            "expected cores=N, l2=BYTES, memory=BYTES, rows=N, dot=KIND, +feature or -feature; for the schedules of CPUs {}; on GPUs lanes=N, \
             shared=BYTES, buffers=N, binding=BYTES",
            schedule.join(", ")
        ));
    };
    if let Some(gpu) = &mut target.gpu
        && apply_to_gpu(gpu, key, value)?
    {
        return Ok(());
    }
    if target.gpu.is_none()
        && let Some(parameter) = Parameter::named(key)
    {
        let (least, most) = parameter.range();
        let even = if parameter == Parameter::TokenTile { "an even number" } else { "a number" };
        let value = bytes(value).and_then(|n| u32::try_from(n).ok()).filter(|n| parameter.takes(*n));
        target.tuning.set(parameter, value.ok_or_else(|| format!("expected {even} in {least}..={most}, such as {}", parameter.candidates()[1]))?);
        return Ok(());
    }
    match key {
        "cores" => target.cores = value.parse().ok().filter(|n| (1..=256).contains(n)).ok_or("expected a number in 1..=256")?,
        "l2" => target.l2_bytes = bytes(value).and_then(|n| u32::try_from(n).ok()).ok_or("expected bytes such as 512K or 1M")?,
        "rows" => {
            let lanes = u32::from(target.vector_bits / 32);
            let fits = |n: &u16| (lanes..=32).contains(&u32::from(*n)) && n.is_power_of_two();
            target.block_rows = value.parse().ok().filter(fits).ok_or_else(|| format!("expected a power of two in {lanes}..=32"))?;
        }
        "memory" => target.memory_budget = bytes(value).ok_or("expected bytes such as 512M or 2G")?,
        "dot" => target.dot = dot_named(value).ok_or("expected one of u8i8, pairs, i8i8, mmla, none")?,
        _ => {
            let schedule: Vec<&str> = Parameter::ALL.iter().map(|(_, name)| *name).collect();
            return Err(format!("expected one of cores, l2, memory, rows, dot, {}", schedule.join(", ")));
        }
    }
    Ok(())
}

/// A limit of a GPU; false if the key is none.
fn apply_to_gpu(gpu: &mut Gpu, key: &str, value: &str) -> Result<bool, String> {
    match key {
        "lanes" => {
            let fits = |n: &u32| (32..=1024).contains(n) && n.is_power_of_two();
            gpu.lanes = value.parse().ok().filter(fits).ok_or("expected a power of two in 32..=1024")?;
        }
        "shared" => {
            let small = |n| u32::try_from(n).ok().filter(|n| *n >= 1 << 10);
            gpu.shared_bytes = bytes(value).and_then(small).ok_or("expected bytes such as 16K, at least 1K")?;
        }
        "buffers" => gpu.storage_buffers = value.parse().ok().filter(|n| (4..=32).contains(n)).ok_or("expected a number in 4..=32")?,
        "binding" => gpu.binding_bytes = bytes(value).filter(|n| *n >= 1 << 10).ok_or("expected bytes such as 128M, at least 1K")?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// A feature of GPUs by its name.
fn gpu_feature<'g>(gpu: &'g mut Gpu, name: &str) -> Result<&'g mut bool, String> {
    match name {
        "subgroups" => Ok(&mut gpu.subgroups),
        "f16" => Ok(&mut gpu.f16),
        "int_dot" => Ok(&mut gpu.int_dot),
        _ => Err(format!("no feature of GPUs is called {name:?}; known are subgroups, f16, int_dot")),
    }
}

fn known_feature(name: &str) -> Result<&'static str, String> {
    let mut names = feature::NAMES.iter().map(|(_, known)| *known);
    names.find(|known| *known == name).ok_or_else(|| {
        let all: Vec<&str> = feature::NAMES.iter().map(|(_, known)| *known).collect();
        format!("no feature is called {name:?}; known are {}", all.join(", "))
    })
}

fn dot_named(name: &str) -> Option<DotKind> {
    let kinds = [("u8i8", DotKind::U8I8), ("pairs", DotKind::Pairs), ("i8i8", DotKind::I8I8), ("mmla", DotKind::Mmla), ("none", DotKind::None)];
    kinds.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
}

fn half_convert_of(target: &Target) -> bool {
    !target.triple.starts_with("x86_64") || target.features.contains(&"f16c")
}

fn dot_of(target: &Target) -> DotKind {
    let has = |name: &str| target.features.contains(&name);
    if let Some(gpu) = &target.gpu {
        return if gpu.int_dot { DotKind::I8I8 } else { DotKind::None };
    }
    if target.triple.starts_with("x86_64") {
        match (has("avx512vnni"), has("avx2")) {
            (true, _) => DotKind::U8I8,
            (false, true) => DotKind::Pairs,
            (false, false) => DotKind::None,
        }
    } else if has("dotprod") && has("i8mm") {
        DotKind::Mmla
    } else if has("dotprod") {
        DotKind::I8I8
    } else {
        DotKind::None
    }
}

/// A number of bytes with an optional suffix K, M or G (1024 each).
pub fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The first known target that this machine runs, with this machine's number of cores. On AMD's processors, which prefetch well by
/// themselves, kernels do not.
///
/// # Errors
/// [`TargetError::Host`] if there is none.
pub fn host() -> Result<Target, TargetError> {
    let mut detail = String::new();
    for mut target in known::known().into_iter().filter(|t| t.gpu.is_none()) {
        match machine_lacks(target.triple, &target.features) {
            None => {
                target.cores = cores();
                if is_amd() {
                    target.tuning.set(Parameter::Prefetch, 0);
                }
                return Ok(target);
            }
            Some(lacks) => detail = lacks,
        }
    }
    Err(TargetError::Host { detail })
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == *b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

/// Threads that this process may run at once.
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(1, NonZero::get) as u32
}

/// What this machine lacks to run code for `triple` with `features`, in words; `None` if nothing.
pub fn machine_lacks<S: AsRef<str>>(triple: &str, features: &[S]) -> Option<String> {
    let os_fits = cfg!(target_os = "linux") && triple.contains("-linux-gnu");
    if !os_fits || !triple.starts_with(std::env::consts::ARCH) {
        return Some(format!("this machine is {}-{}", std::env::consts::ARCH, std::env::consts::OS));
    }
    let lacking: Vec<&str> = features.iter().map(AsRef::as_ref).filter(|name| !has_feature(name)).collect();
    if lacking.is_empty() { None } else { Some(format!("this machine's CPU lacks {}", lacking.join(", "))) }
}

#[cfg(target_arch = "x86_64")]
fn has_feature(name: &str) -> bool {
    use std::arch::is_x86_feature_detected as detected;
    match name {
        "avx2" => detected!("avx2"),
        "fma" => detected!("fma"),
        "f16c" => detected!("f16c"),
        "avx512f" => detected!("avx512f"),
        "avx512bw" => detected!("avx512bw"),
        "avx512vl" => detected!("avx512vl"),
        "avx512dq" => detected!("avx512dq"),
        "avx512vnni" => detected!("avx512vnni"),
        _ => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn has_feature(name: &str) -> bool {
    use std::arch::is_aarch64_feature_detected as detected;
    match name {
        "dotprod" => detected!("dotprod"),
        "i8mm" => detected!("i8mm"),
        "fp16" => detected!("fp16"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_feature(_name: &str) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_change_data_and_what_follows_from_it() {
        let spec = TargetSpec::parse("x86_64-avx512vnni,cores=4,l2=512K,memory=2G,-avx512vnni").expect("good");
        assert_eq!((spec.target.cores, spec.target.l2_bytes, spec.target.memory_budget), (4, 512 << 10, 2 << 30));
        assert_eq!(spec.target.dot, DotKind::Pairs);
        assert_eq!(spec.text, "x86_64-avx512vnni,cores=4,l2=512K,memory=2G,-avx512vnni");
        assert_eq!(TargetSpec::parse("x86_64-avx2,dot=i8i8").expect("good").target.dot, DotKind::I8I8);
        let dot = |text: &str| TargetSpec::parse(text).expect("good").target.dot;
        assert_eq!((dot("linux-arm64-dotprod,+i8mm"), dot("linux-arm64-i8mm,-i8mm")), (DotKind::Mmla, DotKind::I8I8));
        assert_eq!(dot("linux-arm64-i8mm,dot=i8i8"), DotKind::I8I8);
        let tuning = TargetSpec::parse("x86_64-avx2,token_tile=6,decode_tile=96K").expect("good").target.tuning;
        assert_eq!(
            [Parameter::TokenTile, Parameter::DecodeTile, Parameter::Prefetch].map(|p| tuning.get(p)),
            [Some(6), Some(96 << 10), Some(4 << 10)]
        );
        let spec = TargetSpec::parse("vulkan-generic,lanes=256,shared=32K,buffers=16,binding=1G,+int_dot,memory=4G").expect("good");
        let gpu = spec.target.gpu.expect("a GPU");
        assert_eq!((gpu.lanes, gpu.shared_bytes, gpu.storage_buffers, gpu.binding_bytes), (256, 32 << 10, 16, 1 << 30));
        assert_eq!((gpu.int_dot, gpu.f16, spec.target.dot, spec.target.memory_budget), (true, false, DotKind::I8I8, 4 << 30));
    }

    #[test]
    fn faults_name_the_part_and_the_way_out() {
        let message = |text: &str| TargetSpec::parse(text).expect_err("bad").to_string();
        assert!(message("iphone99").contains("x86_64-avx2"));
        assert!(message("x86_64-avx2,cores=none").contains("1..=256"));
        assert!(message("x86_64-avx2,+mmx").contains("avx512vnni"));
        assert!(message("x86_64-avx2,fast").contains("cores=N"));
        assert!(message("x86_64-avx2,dot=mmx").contains("pairs"));
        assert!(message("vulkan-generic,+avx2").contains("subgroups"));
        assert!(message("vulkan-generic,lanes=48").contains("power of two"));
        assert!(message("x86_64-avx2,lanes=64").contains("expected one of"));
        assert!(message("x86_64-avx2,token_tile=3").contains("an even number in 2..=32"));
        assert!(message("x86_64-avx2,prefetch=128K").contains("0..=65536"));
        assert!(message("vulkan-generic,token_tile=4").contains("expected one of"));
    }

    #[test]
    fn bundles_for_other_machines_are_recognised() {
        let none: [&str; 0] = [];
        assert!(machine_lacks("riscv64-unknown-linux-gnu", &none).is_some());
        assert!(machine_lacks("x86_64-unknown-linux-gnu", &["no-such-feature"]).is_some());
    }
}
