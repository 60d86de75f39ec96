//! Writes `plan.bin` from slices, into a buffer the caller owns: what `slmc` calls, and the tests.
//!
//! The section offsets, counts and sizes of the header are computed here, so the writer of a plan states contents
//! only. Nothing is validated: a plan that the stub must refuse can be written too.

use sha2::{Digest as _, Sha256};

use crate::abi::{ABI_VERSION, Binding, Dispatch, FileEntry, KvSlot, PLAN_HASH_BYTES, PLAN_MAGIC, PlanHeader, SECTION_ALIGN, Section, Shader, list};
use crate::wire::Wire;

/// The contents of a plan. Of `header`, the fields `magic`, `abi_version`, `header_bytes`, `total_bytes`, `lists`,
/// `bindings`, `kv_slots`, `files`, `hashes` and `shaders` are filled in by [`encode`].
#[derive(Clone, Copy, Debug)]
pub struct PlanParts<'a> {
    /// Sizes, offsets and identities.
    pub header: PlanHeader,
    /// Dispatch lists in the order of [`list`].
    pub lists: [&'a [Dispatch]; list::COUNT],
    /// Bindings that the dispatches refer to.
    pub bindings: &'a [Binding],
    /// Caches inside the KV region.
    pub kv_slots: &'a [KvSlot],
    /// Weights, tokenizer, kernels.
    pub files: &'a [FileEntry],
    /// SHA-256 of the files' pieces.
    pub hashes: &'a [[u8; 32]],
    /// Shaders of a plan for a GPU.
    pub shaders: &'a [Shader],
}

/// Bytes of the file that [`encode`] writes.
pub fn encoded_bytes(parts: &PlanParts<'_>) -> usize {
    placed(parts).total_bytes as usize
}

/// Writes the file to `out`, which must be exactly [`encoded_bytes`] long.
///
/// # Panics
/// If `out` has another length.
pub fn encode(parts: &PlanParts<'_>, out: &mut [u8]) {
    let header = placed(parts);
    assert!(out.len() as u64 == header.total_bytes, "the buffer must be encoded_bytes long");
    out.fill(0);
    header.put(out);
    for (section, dispatches) in header.lists.iter().zip(parts.lists) {
        put_all(out, section, dispatches);
    }
    put_all(out, &header.bindings, parts.bindings);
    put_all(out, &header.kv_slots, parts.kv_slots);
    put_all(out, &header.files, parts.files);
    put_all(out, &header.hashes, parts.hashes);
    put_all(out, &header.shaders, parts.shaders);
    seal(out);
}

/// Rewrites the closing SHA-256 of a plan whose bytes were changed. `plan` is at least [`PLAN_HASH_BYTES`] long.
pub fn seal(plan: &mut [u8]) {
    let (body, hash) = plan.split_at_mut(plan.len() - PLAN_HASH_BYTES);
    hash.copy_from_slice(&Sha256::digest(&*body));
}

fn placed(parts: &PlanParts<'_>) -> PlanHeader {
    let mut at = PlanHeader::BYTES as u64;
    let mut place = |count: usize, bytes: usize| {
        let offset = at.next_multiple_of(SECTION_ALIGN);
        at = offset + (count * bytes) as u64;
        Section { offset, count: count as u32, reserved: 0 }
    };
    let lists = parts.lists.map(|dispatches| place(dispatches.len(), Dispatch::BYTES));
    let bindings = place(parts.bindings.len(), Binding::BYTES);
    let kv_slots = place(parts.kv_slots.len(), KvSlot::BYTES);
    let files = place(parts.files.len(), FileEntry::BYTES);
    let hashes = place(parts.hashes.len(), 32);
    let shaders = place(parts.shaders.len(), Shader::BYTES);
    let total_bytes = at.next_multiple_of(SECTION_ALIGN) + PLAN_HASH_BYTES as u64;
    PlanHeader {
        magic: PLAN_MAGIC,
        abi_version: ABI_VERSION,
        header_bytes: PlanHeader::BYTES as u32,
        total_bytes,
        lists,
        bindings,
        kv_slots,
        files,
        hashes,
        shaders,
        ..parts.header
    }
}

fn put_all<T: Wire>(out: &mut [u8], section: &Section, values: &[T]) {
    for (i, value) in values.iter().enumerate() {
        value.put(&mut out[section.offset as usize + i * T::BYTES..]);
    }
}
