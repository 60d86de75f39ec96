//! The runtime stub as an object for each triple: compiled with this crate and embedded in it.
//!
//! An object exports the functions of `slm.h`, and wants the symbols `slmc_code` and `slmc_kernels` of the kernels
//! object and a few functions of the C library. There is one for each [`Runtime`]: the one for processors has no line of
//! a driver's interface and cannot load a library.

include!(concat!(env!("OUT_DIR"), "/stubs.rs"));

/// The public header of the stub, which every bundle carries.
pub const HEADER: &str = include_str!("../../runtime-stub/include/slm.h");

/// What a stub runs plans on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// The processor.
    Cpu,
    /// A Vulkan device, or the processor.
    Vulkan,
    /// A Metal device, or the processor.
    Metal,
}

/// The stub for a target triple; `None` if this build has none, because no toolchain had `core` for the triple
/// (`rustup target add TRIPLE`, or a toolchain with the library's sources, then build again).
pub fn object(triple: &str, runtime: Runtime) -> Option<&'static [u8]> {
    OBJECTS.iter().find(|(name, kind, _)| *name == triple && *kind == runtime).map(|(_, _, object)| *object)
}

/// The library that Java calls a bundle by (`Java_slmc_Model_…`), as an object without a model in it; `None` where [`object()`] would
/// have none, and on Apple's systems.
pub fn java_bridge(triple: &str) -> Option<&'static [u8]> {
    BRIDGES.iter().find(|(name, _)| *name == triple).map(|(_, object)| *object)
}

/// The triples that have a stub, in no order that means anything.
pub fn triples() -> impl Iterator<Item = &'static str> {
    OBJECTS.iter().filter(|(_, kind, _)| *kind == Runtime::Cpu).map(|(name, _, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host's object, where the host is one the stub supports.
    fn host(runtime: Runtime) -> &'static [u8] {
        let triple = if cfg!(target_arch = "x86_64") { "x86_64-unknown-linux-gnu" } else { "aarch64-unknown-linux-gnu" };
        object(triple, runtime).expect("the host has a stub")
    }

    fn holds(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn the_host_has_an_elf_object_with_the_exports() {
        for runtime in [Runtime::Cpu, Runtime::Vulkan] {
            assert!(host(runtime).starts_with(b"\x7fELF"));
            for name in ["slm_open", "slm_generate", "slmc_code", "slmc_kernels"] {
                assert!(holds(host(runtime), name), "{name}");
            }
            assert_eq!(object("sparc-unknown-none", runtime), None);
        }
        assert!(triples().count() >= 1);
    }

    #[test]
    fn only_the_object_for_gpus_can_load_a_library() {
        for name in ["dlopen", "dlsym", "libvulkan.so", "vkQueueSubmit"] {
            assert!(holds(host(Runtime::Vulkan), name), "{name}");
            assert!(!holds(host(Runtime::Cpu), name), "{name}");
        }
    }

    #[test]
    fn the_bridge_to_java_has_its_methods_and_no_model() {
        let bridge = java_bridge("x86_64-unknown-linux-gnu").or_else(|| java_bridge("aarch64-unknown-linux-gnu")).expect("the host has one");
        assert!(holds(bridge, "Java_slmc_Model_nativeGenerate"));
        assert!(!holds(bridge, "slmc_code"));
    }

    #[test]
    fn no_machine_path_and_no_unwinding_is_inside() {
        for (triple, object) in OBJECTS.iter().map(|(triple, _, object)| (triple, object)).chain(BRIDGES.iter().map(|(t, o)| (t, o))) {
            for text in [env!("CARGO_MANIFEST_DIR"), "/.cargo/", "/home/", "rust_eh_personality", "panicked at"] {
                assert!(!holds(object, text), "{triple}: {text}");
            }
        }
    }
}
