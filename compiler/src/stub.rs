//! The runtime stub as an object for each triple: compiled with this crate and embedded in it.
//!
//! An object exports the functions of `slm.h`, and wants the symbols `slmc_code` and `slmc_kernels` of the kernels
//! object and a few functions of the C library.

include!(concat!(env!("OUT_DIR"), "/stubs.rs"));

/// The public header of the stub, which every bundle carries.
pub const HEADER: &str = include_str!("../../runtime-stub/include/slm.h");

/// The stub for a target triple; `None` if this build has none, because its toolchain had no `core` for the triple
/// (`rustup target add TRIPLE`, then build again).
pub fn object(triple: &str) -> Option<&'static [u8]> {
    OBJECTS.iter().find(|(name, _)| *name == triple).map(|(_, object)| *object)
}

/// The triples that have a stub, in no order that means anything.
pub fn triples() -> impl Iterator<Item = &'static str> {
    OBJECTS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host's object, where the host is one the stub supports.
    fn host() -> &'static [u8] {
        let triple = if cfg!(target_arch = "x86_64") { "x86_64-unknown-linux-gnu" } else { "aarch64-unknown-linux-gnu" };
        object(triple).expect("the host has a stub")
    }

    fn holds(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn the_host_has_an_elf_object_with_the_exports() {
        assert!(host().starts_with(b"\x7fELF"));
        for name in ["slm_open", "slm_generate", "slmc_code", "slmc_kernels"] {
            assert!(holds(host(), name), "{name}");
        }
        assert!(triples().count() >= 1);
        assert_eq!(object("sparc-unknown-none"), None);
    }

    #[test]
    fn no_machine_path_and_no_unwinding_is_inside() {
        for (triple, object) in OBJECTS {
            for text in [env!("CARGO_MANIFEST_DIR"), "/.cargo/", "/home/", "rust_eh_personality", "panicked at"] {
                assert!(!holds(object, text), "{triple}: {text}");
            }
        }
    }
}
