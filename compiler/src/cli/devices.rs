//! `slmc devices`: the GPUs of this machine, in the order of their numbers, and the targets that each satisfies.
//!
//! A device satisfies a target if it has all that kernels for the target may ask for. A bundle may ask for less, so one
//! that is for a target with higher demands can still run. Targets for other systems are left out.

use serde::Serialize;
use slmc::pipeline::human;
use slmc::target::machine_lacks;
use slmc_ir::target::{Gpu, GpuApi, known};
use slmc_runtime_stub::abi::device_feature;
use slmc_runtime_stub::fault::Fault;
use slmc_runtime_stub::platform::vulkan;
use slmc_runtime_stub::platform::vulkan::physical::{Description, Kind};

use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc devices`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct DeviceJson {
    /// What `--device` takes.
    device: String,
    number: usize,
    name: String,
    kind: &'static str,
    api_version: String,
    driver_version: String,
    memory_bytes: u64,
    subgroups: bool,
    f16: bool,
    int_dot: bool,
    invocations: u32,
    workgroup_bytes: u32,
    storage_buffers: u32,
    binding_bytes: u64,
    /// Why no bundle runs on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    targets: Vec<TargetJson>,
}

#[derive(Serialize)]
struct TargetJson {
    name: &'static str,
    satisfied: bool,
    /// What the target asks for and the device lacks.
    lacks: Vec<String>,
}

/// Lists devices.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut devices = Vec::new();
    vulkan::devices(None, |description| devices.push(describe(devices.len(), description))).map_err(|fault| none(&fault))?;
    if args.json {
        say_json(&devices);
    } else {
        let blocks: Vec<String> = devices.iter().map(|device| columns(&rows(device))).collect();
        say(blocks.join("\n\n"));
    }
    Ok(())
}

/// The stub's reason, with its advice as a hint.
fn none(fault: &Fault) -> Failure {
    let failure = Failure::new(format_args!("no GPU can be reached: {}", words(&fault.hint(""))));
    failure.hint(if fault.hint.is_empty() {
        "install or update the driver of the GPU; on Linux, Mesa has one for processors as well"
    } else {
        fault.hint
    })
}

fn words(fault: &Fault) -> String {
    let mut text = [0; 512];
    let len = fault.write(&mut text);
    String::from_utf8_lossy(&text[..len]).into_owned()
}

fn describe(number: usize, device: &Description) -> DeviceJson {
    let name = device.name.split(|&byte| byte == 0).next().unwrap_or_default();
    let has = |feature| device.features & feature != 0;
    let [major, minor, patch] = device.api_version;
    let mut described = DeviceJson {
        device: format!("vulkan:{number}"),
        number,
        name: String::from_utf8_lossy(name).into_owned(),
        kind: match device.kind {
            Kind::Discrete => "discrete",
            Kind::Integrated => "integrated",
            Kind::Virtual => "virtual",
            Kind::Cpu => "cpu",
            Kind::Other => "other",
        },
        api_version: format!("{major}.{minor}.{patch}"),
        driver_version: driver_version(device.vendor_id, device.driver_version),
        memory_bytes: device.memory_bytes,
        subgroups: has(device_feature::SUBGROUP),
        f16: has(device_feature::F16),
        int_dot: has(device_feature::INT_DOT),
        invocations: device.limits.lanes,
        workgroup_bytes: device.limits.shared_bytes,
        storage_buffers: device.limits.storage_buffers,
        binding_bytes: device.limits.binding_bytes,
        unusable: device.unusable.map(|fault| words(&fault)),
        targets: Vec::new(),
    };
    for target in known::known() {
        if let Some(gpu) = target.gpu.filter(|gpu| gpu.api == GpuApi::Vulkan && machine_lacks(target.triple, &target.features).is_none()) {
            let lacks = lacks(&described, &gpu);
            described.targets.push(TargetJson { name: target.name, satisfied: lacks.is_empty(), lacks });
        }
    }
    described
}

/// The version of a driver as its maker writes it: NVIDIA packs 10, 8, 8 and 6 bits, others do it as Vulkan does.
fn driver_version(vendor: u32, version: u32) -> String {
    const NVIDIA: u32 = 0x10de;
    if vendor == NVIDIA {
        return format!("{}.{}.{}", version >> 22, version >> 14 & 0xff, version >> 6 & 0xff);
    }
    format!("{}.{}.{}", version >> 22, version >> 12 & 0x3ff, version & 0xfff)
}

/// What the device lacks of all that a target's kernels may ask for.
fn lacks(device: &DeviceJson, gpu: &Gpu) -> Vec<String> {
    let mut lacks: Vec<String> = device.unusable.iter().cloned().collect();
    let features = [("subgroups", gpu.subgroups, device.subgroups), ("f16", gpu.f16, device.f16), ("int_dot", gpu.int_dot, device.int_dot)];
    lacks.extend(features.iter().filter(|(_, asked, has)| *asked && !has).map(|(name, ..)| (*name).to_owned()));
    let limits: [(&str, u64, u64); 4] = [
        ("invocations", gpu.lanes.into(), device.invocations.into()),
        ("workgroup bytes", gpu.shared_bytes.into(), device.workgroup_bytes.into()),
        ("storage buffers", gpu.storage_buffers.into(), device.storage_buffers.into()),
        ("binding bytes", gpu.binding_bytes, device.binding_bytes),
    ];
    lacks.extend(limits.iter().filter(|(_, asked, has)| has < asked).map(|(name, asked, has)| format!("{asked} {name} (it has {has})")));
    lacks
}

fn rows(device: &DeviceJson) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let features = [("subgroups", device.subgroups), ("f16", device.f16), ("int_dot", device.int_dot)];
    let features: Vec<&str> = features.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let targets = device
        .targets
        .iter()
        .map(|target| if target.satisfied { target.name.to_owned() } else { format!("not {} (lacks {})", target.name, target.lacks.join(", ")) });
    let targets: Vec<String> = targets.collect();
    let or_none = |list: String| if list.is_empty() { "none".to_owned() } else { list };
    let mut rows = vec![
        row(&device.device, format!("{} ({})", device.name, device.kind)),
        row("  version", format!("Vulkan {}, driver {}", device.api_version, device.driver_version)),
        row("  memory", human(device.memory_bytes)),
        row("  features", or_none(features.join(", "))),
        row(
            "  limits",
            format!(
                "{} invocations and {} of a workgroup, {} storage buffers, {} a binding",
                device.invocations,
                human(device.workgroup_bytes.into()),
                device.storage_buffers,
                human(device.binding_bytes)
            ),
        ),
        row("  targets", or_none(targets.join("; "))),
    ];
    rows.extend(device.unusable.iter().map(|why| row("  unusable", why.clone())));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_versions_are_read_as_their_makers_pack_them() {
        assert_eq!(driver_version(0x10de, 550 << 22 | 54 << 14 | 15 << 6), "550.54.15");
        assert_eq!(driver_version(0x10005, 25 << 22 | 1 << 12 | 7), "25.1.7");
    }
}
