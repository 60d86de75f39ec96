//! `slmc targets`: the devices there are, and which of them this machine is.

use serde::Serialize;
use slmc::target;
use slmc_ir::target::{Target, known};

use crate::report::{Failure, columns, say, say_json};

/// Arguments of `slmc targets`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct TargetJson {
    name: String,
    summary: String,
    triple: String,
    cpu: String,
    features: Vec<String>,
    vector_bits: u16,
    cores: u32,
    page_bytes: u32,
    l2_bytes: u32,
    memory_budget: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu: Option<GpuJson>,
    is_host: bool,
}

#[derive(Serialize)]
struct GpuJson {
    api: &'static str,
    lanes: u32,
    shared_bytes: u32,
    storage_buffers: u32,
    binding_bytes: u64,
    offset_align: u32,
    subgroups: bool,
    f16: bool,
    int_dot: bool,
}

/// Lists targets.
pub fn run(args: &Args) -> Result<(), Failure> {
    let host = target::host().ok().map(|host| host.name);
    let targets = known::known();
    if args.json {
        say_json(&targets.iter().map(|target| json(target, host)).collect::<Vec<_>>());
        return Ok(());
    }
    let row = |target: &Target| {
        let mark = if host == Some(target.name) { "host: " } else { "" };
        vec![target.name.to_owned(), format!("{mark}{}", target.summary)]
    };
    say(columns(&targets.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn json(target: &Target, host: Option<&str>) -> TargetJson {
    TargetJson {
        name: target.name.to_owned(),
        summary: target.summary.to_owned(),
        triple: target.triple.to_owned(),
        cpu: target.cpu.to_owned(),
        features: target.features.iter().map(|&feature| feature.to_owned()).collect(),
        vector_bits: target.vector_bits,
        cores: target.cores,
        page_bytes: target.page_bytes,
        l2_bytes: target.l2_bytes,
        memory_budget: target.memory_budget,
        gpu: target.gpu.as_ref().map(|gpu| GpuJson {
            api: gpu.api.name(),
            lanes: gpu.lanes,
            shared_bytes: gpu.shared_bytes,
            storage_buffers: gpu.storage_buffers,
            binding_bytes: gpu.binding_bytes,
            offset_align: gpu.offset_align,
            subgroups: gpu.subgroups,
            f16: gpu.f16,
            int_dot: gpu.int_dot,
        }),
        is_host: host == Some(target.name),
    }
}
