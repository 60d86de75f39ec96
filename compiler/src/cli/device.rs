//! `--device` and `--threads` of the commands that run a bundle.

use slmc::bundle::Manifest;

use crate::report::Failure;

/// What runs the bundle.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DeviceArgs {
    /// Device that runs the kernels: `cpu`, `vulkan`, or `vulkan:N` with a number of `slmc devices` [default: the best of the kind
    /// that the bundle is for]
    #[arg(long, value_name = "DEVICE", value_parser = parse)]
    device: Option<Device>,
    /// Threads [default: as compiled]
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
}

/// A kind of device and, where there are several, which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    kind: &'static str,
    number: Option<u8>,
}

const KINDS: [&str; 3] = ["cpu", "vulkan", "metal"];

fn parse(text: &str) -> Result<Device, String> {
    let (name, number) = match text.split_once(':') {
        None => (text, None),
        Some((name, number)) => match number.parse::<u8>().ok().filter(|n| *n < u8::MAX) {
            Some(number) => (name, Some(number)),
            None => return Err(format!("{number:?} is no number of a device; `slmc devices` lists them")),
        },
    };
    match KINDS.iter().find(|kind| **kind == name) {
        Some(&kind) => Ok(Device { kind, number }),
        None => Err(format!("no kind of device is called {name:?}; there are {}", KINDS.join(", "))),
    }
}

impl DeviceArgs {
    /// The number to open the bundle with, if the device asked for is of the bundle's kind.
    pub fn number(&self, manifest: &Manifest) -> Result<Option<u8>, Failure> {
        let Some(device) = self.device else { return Ok(None) };
        let kind = manifest.target.gpu.as_ref().map_or("cpu", |gpu| gpu.api.as_str());
        if device.kind == kind {
            return Ok(device.number);
        }
        let message = format!("the bundle runs on {kind} (target {}), not on {}", manifest.target.name, device.kind);
        Err(Failure::new(message).hint("compile the model for such a device: `slmc targets` lists the names for --target"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_a_kind_and_a_number() {
        assert_eq!(parse("vulkan:2"), Ok(Device { kind: "vulkan", number: Some(2) }));
        assert_eq!(parse("cpu"), Ok(Device { kind: "cpu", number: None }));
        for (text, part) in [("opencl", "vulkan"), ("vulkan:x", "slmc devices"), ("vulkan:255", "slmc devices")] {
            let message = parse(text).expect_err("bad");
            assert!(message.contains(part), "{message}");
        }
    }
}
