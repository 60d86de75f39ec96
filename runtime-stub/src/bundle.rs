//! The files of a bundle: `plan.bin` read and checked; weights, tokenizer and shaders mapped, sizes compared.
//!
//! `plan.bin` is copied, so that what was checked is what runs; the large files are mapped and shared with other
//! processes. Their contents are not yet trusted here: that is `verify.rs`.

use core::ffi::CStr;

use crate::abi::{CodeHeader, FileEntry, device_kind, file_kind};
use crate::fault::{Code, Fault, Outcome};
use crate::path::Path;
use crate::plan::Plan;
use crate::platform::memory::{FileMap, Table};
use crate::platform::unix::{File, FileStat};

/// The largest plan that is read: a bound on what a damaged bundle can make us allocate.
const MAX_PLAN_BYTES: u64 = 1 << 30;

/// The open files of a bundle.
pub struct Bundle {
    plan: Table<u8>,
    header: crate::abi::PlanHeader,
    weights: Mapped,
    tokenizer: Mapped,
    kernels: Mapped,
}

/// A mapped file, with what the plan and the system say about it.
pub struct Mapped {
    /// Its name in the bundle.
    pub name: &'static str,
    /// What the plan says.
    pub entry: FileEntry,
    /// What the system says; zeros for an absent file.
    pub stat: FileStat,
    /// The contents.
    pub map: FileMap,
}

impl Bundle {
    /// Opens the bundle in folder `dir` for the given code, on a machine with the given CPU features.
    ///
    /// # Errors
    /// [`Code::Io`], [`Code::Corrupt`] (sizes, the plan's hash) and those of [`Plan::check`].
    pub fn open(dir: &CStr, code: &CodeHeader, machine: u64) -> Outcome<Self> {
        let bytes = read_plan(dir)?;
        let plan = Plan::check(&bytes, code, machine)?;
        let weights = open_mapped(dir, "weights.bin", plan.file(file_kind::WEIGHTS))?;
        let tokenizer = open_mapped(dir, "tokenizer.bin", plan.file(file_kind::TOKENIZER))?;
        let kernels = open_mapped(dir, kernels_name(plan.header.device), plan.file(file_kind::KERNELS))?;
        let header = plan.header;
        Ok(Self { plan: bytes, header, weights, tokenizer, kernels })
    }

    /// The checked plan.
    pub fn plan(&self) -> Plan<'_> {
        Plan::checked_before(&self.plan, self.header)
    }

    /// `weights.bin`.
    pub fn weights(&self) -> &Mapped {
        &self.weights
    }

    /// `tokenizer.bin`; empty if the bundle has none.
    pub fn tokenizer(&self) -> &Mapped {
        &self.tokenizer
    }

    /// `kernels.spv` or `kernels.metal`; empty on CPUs.
    pub fn kernels(&self) -> &Mapped {
        &self.kernels
    }
}

/// The name of the kernels file for a device kind.
pub const fn kernels_name(device: u32) -> &'static str {
    if device == device_kind::METAL { "kernels.metal" } else { "kernels.spv" }
}

fn read_plan(dir: &CStr) -> Outcome<Table<u8>> {
    const NAME: &str = "plan.bin";
    let file = open(dir, NAME)?;
    let stat = file.stat().map_err(|errno| Fault::system(Code::Io, NAME, "cannot be examined", errno))?;
    if stat.bytes > MAX_PLAN_BYTES {
        return Err(Fault::new(Code::Corrupt, NAME, "is too large").numbers(MAX_PLAN_BYTES, stat.bytes));
    }
    let mut bytes = Table::<u8>::zeroed(stat.bytes as usize).map_err(|errno| Fault::system(Code::Memory, NAME, "no memory to read it", errno))?;
    let got = file.read_full(&mut bytes).map_err(|errno| Fault::system(Code::Io, NAME, "cannot be read", errno))?;
    if got as u64 != stat.bytes {
        return Err(Fault::new(Code::Corrupt, NAME, "is cut short").numbers(stat.bytes, got as u64));
    }
    Ok(bytes)
}

fn open_mapped(dir: &CStr, name: &'static str, entry: FileEntry) -> Outcome<Mapped> {
    if entry.bytes == 0 {
        let stat = FileStat { device: 0, inode: 0, bytes: 0, seconds: 0, nanoseconds: 0 };
        return Ok(Mapped { name, entry, stat, map: FileMap::empty() });
    }
    let file = open(dir, name)?;
    let stat = file.stat().map_err(|errno| Fault::system(Code::Io, name, "cannot be examined", errno))?;
    if stat.bytes != entry.bytes {
        return Err(Fault::new(Code::Corrupt, name, "size differs").numbers(entry.bytes, stat.bytes).hint("copy the bundle again"));
    }
    let map = FileMap::new(&file, stat.bytes as usize).map_err(|errno| Fault::system(Code::Io, name, "cannot be mapped", errno))?;
    Ok(Mapped { name, entry, stat, map })
}

fn open(dir: &CStr, name: &'static str) -> Outcome<File> {
    let path = Path::join(dir, &[name.as_bytes()])?;
    File::open(path.as_c_str()).map_err(|errno| Fault::system(Code::Io, name, "cannot be opened in the bundle's folder", errno))
}
