//! Which instruction sets this machine has, as bits of [`crate::abi::feature`].
//!
//! An x86 extension with wider registers counts only if the system saves them (XGETBV), else its first use would fault.

#[cfg(not(all(target_arch = "aarch64", target_vendor = "apple")))]
use crate::abi::feature;

/// The features of this machine that [`feature`] names.
#[cfg(target_arch = "x86_64")]
pub fn features() -> u64 {
    use core::arch::x86_64::{__cpuid, __cpuid_count};

    const OSXSAVE: u32 = 1 << 27;
    const YMM: u64 = 0b110;
    const ZMM: u64 = 0b1110_0110;

    if __cpuid(0).eax < 7 {
        return 0;
    }
    let basic = __cpuid(1);
    let extended = __cpuid_count(7, 0);
    let saved = if basic.ecx & OSXSAVE != 0 { saved_registers() } else { 0 };
    let mut found = 0;
    let mut add = |word: u32, bit: u32, registers: u64, name: u64| {
        if word & (1 << bit) != 0 && saved & registers == registers {
            found |= name;
        }
    };
    add(basic.ecx, 12, YMM, feature::FMA);
    add(basic.ecx, 29, YMM, feature::F16C);
    add(extended.ebx, 5, YMM, feature::AVX2);
    add(extended.ebx, 16, ZMM, feature::AVX512F);
    add(extended.ebx, 17, ZMM, feature::AVX512DQ);
    add(extended.ebx, 30, ZMM, feature::AVX512BW);
    add(extended.ebx, 31, ZMM, feature::AVX512VL);
    add(extended.ecx, 11, ZMM, feature::AVX512VNNI);
    found
}

#[cfg(target_arch = "x86_64")]
fn saved_registers() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: OSXSAVE is set, so XGETBV exists; it reads register 0 and changes nothing else.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// The features of this machine that [`feature`] names.
#[cfg(all(target_arch = "aarch64", any(target_os = "linux", target_os = "android")))]
pub fn features() -> u64 {
    let (first, second) = (super::unix::hardware_capabilities(16), super::unix::hardware_capabilities(26));
    let mut found = 0;
    if first & (1 << 20) != 0 {
        found |= feature::DOTPROD;
    }
    if first & (1 << 10) != 0 {
        found |= feature::FP16;
    }
    if second & (1 << 13) != 0 {
        found |= feature::I8MM;
    }
    found
}

#[cfg(all(target_arch = "aarch64", target_vendor = "apple"))]
pub use super::darwin::features;

/// The features of this machine that [`feature`] names.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", any(target_os = "linux", target_os = "android", target_vendor = "apple")))))]
pub fn features() -> u64 {
    0
}
