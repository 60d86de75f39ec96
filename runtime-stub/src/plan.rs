//! Reading `plan.bin`: every magic, size, index and range is checked once, so that later reads need no checks.
//!
//! After [`Plan::check`] no value of the file can lead a kernel outside its regions, apart from what the kernels
//! themselves do: their promise is bound to the code id.

use sha2::{Digest as _, Sha256};

use crate::abi::{
    ABI_VERSION, Binding, CODE_MAGIC, CodeHeader, Dispatch, FileEntry, HEAD_ROWS, KvSlot, MAX_TILES, NO_PICK, PLAN_HASH_BYTES, PLAN_MAGIC,
    PlanHeader, Section, Shader, device_kind, file_kind, kv_kind, list, region,
};
use crate::fault::{Code, Fault, Outcome, Value, hash_value};
use crate::plan_device;
use crate::wire::Wire;

pub(crate) const PLAN: &str = "plan.bin";
pub(crate) const REBUILD: &str = "compile the model again";

/// A checked plan.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    bytes: &'a [u8],
    /// Sizes, offsets and identities.
    pub header: PlanHeader,
}

impl<'a> Plan<'a> {
    /// Checks the file against itself, against the code it came with and against the features of this machine.
    ///
    /// # Errors
    /// [`Code::Format`], [`Code::Corrupt`], [`Code::Mismatch`], [`Code::Cpu`]; the first that applies, from the
    /// outside in.
    pub fn check(bytes: &'a [u8], code: &CodeHeader, machine: u64) -> Outcome<Self> {
        let header = check_frame(bytes)?;
        let plan = Self { bytes, header };
        plan.check_code(code, machine)?;
        plan.check_sizes()?;
        plan.check_kv_slots()?;
        plan.check_files()?;
        let (bindings, kernels) = (header.bindings.count, header.kernel_count);
        for i in 0..bindings {
            plan.check_binding(i)?;
        }
        for l in 0..list::COUNT {
            for i in 0..header.lists[l].count {
                check_dispatch(&plan.dispatch(l, i), kernels, bindings, i)?;
            }
        }
        plan_device::check(&plan)?;
        Ok(plan)
    }

    /// A plan whose bytes went through [`Plan::check`] before, with the header that gave.
    pub(crate) fn checked_before(bytes: &'a [u8], header: PlanHeader) -> Self {
        Self { bytes, header }
    }

    /// Dispatch `index` of a list of [`list`]; the index is below the section's count.
    #[inline]
    pub fn dispatch(&self, list: usize, index: u32) -> Dispatch {
        self.record(&self.header.lists[list], index)
    }

    /// Binding `index`, which is below the section's count.
    pub fn binding(&self, index: u32) -> Binding {
        self.record(&self.header.bindings, index)
    }

    /// KV slot `index`, which is below the section's count.
    pub fn kv_slot(&self, index: u32) -> KvSlot {
        self.record(&self.header.kv_slots, index)
    }

    /// Shader `index`, which is below the section's count.
    pub fn shader(&self, index: u32) -> Shader {
        self.record(&self.header.shaders, index)
    }

    /// The entry of a file of [`file_kind`]; an absent one if the plan does not name it.
    pub fn file(&self, kind: u32) -> FileEntry {
        (0..self.header.files.count)
            .map(|i| self.record::<FileEntry>(&self.header.files, i))
            .find(|entry| entry.kind == kind)
            .unwrap_or(FileEntry::absent(kind))
    }

    /// The hash of piece `index` of a file.
    pub fn piece_hash(&self, entry: &FileEntry, index: u32) -> [u8; 32] {
        self.record(&self.header.hashes, entry.first_hash + index)
    }

    /// The closing hash: the identity of this plan.
    pub fn hash(&self) -> [u8; 32] {
        <[u8; 32]>::get(&self.bytes[self.bytes.len() - PLAN_HASH_BYTES..])
    }

    /// Bytes that one position takes in all caches together.
    pub fn kv_position_bytes(&self) -> u64 {
        (0..self.header.kv_slots.count).map(|i| u64::from(self.kv_slot(i).position_bytes)).sum()
    }

    /// Whether a session that has written positions below `written` can go on from `position`: every cache still has what
    /// tokens from there on see.
    pub fn keeps(&self, position: u32, written: u32) -> bool {
        position == 0
            || (0..self.header.kv_slots.count).all(|i| {
                let slot = self.kv_slot(i);
                slot.kind == kv_kind::FULL || position.saturating_sub(slot.window - 1) >= written.saturating_sub(slot.positions)
            })
    }

    fn record<T: Wire>(&self, section: &Section, index: u32) -> T {
        T::get(&self.bytes[section.offset as usize + index as usize * T::BYTES..])
    }

    fn check_code(&self, code: &CodeHeader, machine: u64) -> Outcome<()> {
        let header = &self.header;
        if code.magic != CODE_MAGIC || code.abi_version != ABI_VERSION {
            return Err(Fault::new(Code::Format, "code", "has another ABI version than this runtime")
                .numbers(u64::from(ABI_VERSION), u64::from(code.abi_version))
                .hint(REBUILD));
        }
        if code.code_id != header.code_id {
            return Err(Fault::new(Code::Mismatch, PLAN, "belongs to other code: code id differs")
                .values(hash_value(&code.code_id), hash_value(&header.code_id))
                .hint("take all files from one bundle"));
        }
        let in_code = if header.device == device_kind::CPU { header.kernel_count } else { 0 };
        if code.kernel_count != in_code {
            return Err(Fault::new(Code::Mismatch, PLAN, "number of kernels differs from the code's")
                .numbers(u64::from(code.kernel_count), u64::from(in_code))
                .hint("take all files from one bundle"));
        }
        let missing = (code.features | header.features) & !machine;
        if missing != 0 {
            return Err(Fault::new(Code::Cpu, "this processor", "lacks instruction sets that the bundle needs")
                .values(Value::Features(code.features | header.features), Value::Features(machine))
                .hint("compile the model for this machine with a lesser target"));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Outcome<()> {
        let h = &self.header;
        let ids = u64::from(h.chunk) * 4;
        let logits = u64::from(h.vocab) * u64::from(h.head_rows) * 4;
        require(h.ctx >= 1 && h.chunk >= 1 && h.chunk <= h.ctx, "chunk must lie in 1 to ctx", h.chunk.into())?;
        require(h.vocab >= 1, "vocabulary is empty", 0)?;
        require((1..=HEAD_ROWS).contains(&h.head_rows), "head rows must lie in 1 to 8", h.head_rows.into())?;
        require(h.page_bytes.is_power_of_two(), "page size must be a power of two", h.page_bytes.into())?;
        require(h.arena_bytes < 1 << 47, "arena is too large", h.arena_bytes)?;
        require(h.kv_bytes < 1 << 47, "KV cache is too large", h.kv_bytes)?;
        let inside = |at: u64, len: u64| at.is_multiple_of(4) && at <= h.arena_bytes && len <= h.arena_bytes - at;
        require(inside(h.token_ids, ids), "token ids do not fit into the arena at offset", h.token_ids)?;
        require(inside(h.logits, logits), "logits do not fit into the arena at offset", h.logits)?;
        let picks = h.lists[list::ARGMAX].count > 0;
        require(picks == (h.picked != NO_PICK), "only one of picked id and list that picks it is there, at offset", h.picked)?;
        require(!picks || inside(h.picked, 4), "picked id does not fit into the arena at offset", h.picked)?;
        require(h.lists[list::DECODE].count > 0, "decode list is empty", 0)?;
        require(h.chunk == 1 || h.lists[list::CHUNK].count > 0, "chunk list is empty", 0)?;
        require(h.lists[list::HEAD_ONE].count > 0, "head list for one row is empty", 0)?;
        require(h.head_rows == 1 || h.lists[list::HEAD_ROWS].count > 0, "head list for rows is empty", 0)
    }

    fn check_kv_slots(&self) -> Outcome<()> {
        let size = self.header.kv_bytes;
        for i in 0..self.header.kv_slots.count {
            let slot = self.kv_slot(i);
            let fits = slot.offset <= size && slot.bytes <= size - slot.offset;
            let known = slot.kind == kv_kind::FULL && slot.positions >= self.header.ctx
                || slot.kind == kv_kind::RING
                    && slot.window >= 1
                    && u64::from(slot.positions) + 1 >= u64::from(slot.window) + u64::from(self.header.chunk);
            let filled = u64::from(slot.positions) * u64::from(slot.position_bytes) <= slot.bytes;
            if !fits || !known || !filled {
                return Err(Fault::new(Code::Format, PLAN, "KV slot is malformed").at(i).hint(REBUILD));
            }
        }
        Ok(())
    }

    fn check_files(&self) -> Outcome<()> {
        let h = &self.header;
        for i in 0..h.files.count {
            let entry: FileEntry = self.record(&h.files, i);
            let known = matches!(entry.kind, file_kind::WEIGHTS | file_kind::TOKENIZER | file_kind::KERNELS);
            let pieces = if entry.chunk_bytes == 0 { 0 } else { entry.bytes.div_ceil(u64::from(entry.chunk_bytes)) };
            let hashed = entry.chunk_bytes > 0
                && pieces == u64::from(entry.hash_count)
                && entry.hash_count <= MAX_TILES
                && u64::from(entry.first_hash) + pieces <= u64::from(h.hashes.count);
            if !known || !hashed {
                return Err(Fault::new(Code::Format, PLAN, "file entry is malformed").at(i).hint(REBUILD));
            }
        }
        let weights = self.file(file_kind::WEIGHTS).bytes;
        if weights != h.weights_bytes {
            return Err(Fault::new(Code::Format, PLAN, "two sizes of weights.bin").numbers(h.weights_bytes, weights).hint(REBUILD));
        }
        Ok(())
    }

    fn check_binding(&self, index: u32) -> Outcome<()> {
        let binding = self.binding(index);
        let size = match binding.region {
            region::ARENA => self.header.arena_bytes,
            region::WEIGHTS => self.header.weights_bytes,
            region::KV => self.header.kv_bytes,
            other => {
                return Err(Fault::new(Code::Format, PLAN, "binding names no region").at(index).numbers(2, other.into()).hint(REBUILD));
            }
        };
        if binding.offset > size || binding.len > size - binding.offset {
            return Err(Fault::new(Code::Format, PLAN, "binding leaves its region")
                .at(index)
                .numbers(size, binding.offset.saturating_add(binding.len))
                .hint(REBUILD));
        }
        Ok(())
    }
}

fn check_dispatch(dispatch: &Dispatch, kernels: u32, bindings: u32, index: u32) -> Outcome<()> {
    if dispatch.kernel >= kernels {
        return Err(Fault::new(Code::Format, PLAN, "dispatch names no kernel")
            .at(index)
            .numbers(kernels.into(), dispatch.kernel.into())
            .hint(REBUILD));
    }
    let end = u64::from(dispatch.first_binding) + u64::from(dispatch.binding_count);
    if end > u64::from(bindings) {
        return Err(Fault::new(Code::Format, PLAN, "dispatch names no bindings").at(index).numbers(bindings.into(), end).hint(REBUILD));
    }
    let tiles = dispatch.grid.iter().map(|e| u128::from(e.max)).product::<u128>();
    if tiles > u128::from(MAX_TILES) || dispatch.grid.iter().any(|extent| extent.d == 0) {
        return Err(Fault::new(Code::Format, PLAN, "dispatch has a malformed grid")
            .at(index)
            .numbers(MAX_TILES.into(), u64::try_from(tiles).unwrap_or(u64::MAX))
            .hint(REBUILD));
    }
    Ok(())
}

/// Magic, version, length, hash, and that every section lies inside the file.
fn check_frame(bytes: &[u8]) -> Outcome<PlanHeader> {
    let smallest = PlanHeader::BYTES + PLAN_HASH_BYTES;
    if bytes.len() < smallest {
        return Err(Fault::new(Code::Corrupt, PLAN, "is cut short").numbers(smallest as u64, bytes.len() as u64));
    }
    let header = PlanHeader::get(bytes);
    if header.magic != PLAN_MAGIC {
        return Err(Fault::new(Code::Format, PLAN, "is no plan: its first bytes differ").hint(REBUILD));
    }
    if header.abi_version != ABI_VERSION || header.header_bytes as usize != PlanHeader::BYTES {
        return Err(Fault::new(Code::Format, PLAN, "has another ABI version than this runtime")
            .numbers(ABI_VERSION.into(), header.abi_version.into())
            .hint(REBUILD));
    }
    if header.total_bytes != bytes.len() as u64 {
        return Err(Fault::new(Code::Corrupt, PLAN, "size differs").numbers(header.total_bytes, bytes.len() as u64));
    }
    let (body, stated) = bytes.split_at(bytes.len() - PLAN_HASH_BYTES);
    let (stated, found) = (<[u8; 32]>::get(stated), <[u8; 32]>::from(Sha256::digest(body)));
    if stated != found {
        return Err(Fault::new(Code::Corrupt, PLAN, "SHA-256 differs").values(hash_value(&stated), hash_value(&found)).hint("copy the bundle again"));
    }
    let sections = header.lists.iter().map(|s| (s, Dispatch::BYTES)).chain([
        (&header.bindings, Binding::BYTES),
        (&header.kv_slots, KvSlot::BYTES),
        (&header.files, FileEntry::BYTES),
        (&header.hashes, 32),
        (&header.shaders, Shader::BYTES),
    ]);
    for (section, record) in sections {
        let end = u128::from(section.offset) + u128::from(section.count) * record as u128;
        if end > body.len() as u128 {
            return Err(Fault::new(Code::Format, PLAN, "section leaves the file")
                .numbers(body.len() as u64, u64::try_from(end).unwrap_or(u64::MAX))
                .hint(REBUILD));
        }
    }
    Ok(header)
}

pub(crate) fn require(holds: bool, what: &'static str, found: u64) -> Outcome<()> {
    if holds {
        return Ok(());
    }
    Err(Fault::new(Code::Format, PLAN, what).values(Value::None, Value::Number(found)).hint(REBUILD))
}
