//! Loads a compiled MSL text and runs its entry points over grids.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::Mutex;

use libloading::Library;
use slmc_tests::msl::compile::{CompileError, Compiled};
use slmc_tests::msl::signature::Param;

use crate::guarded::Guarded;

/// As `SlmcLaunch` of `shim/launch.h`.
#[repr(C)]
struct RawLaunch {
    groups: [u32; 3],
    lanes: [u32; 3],
    simdgroup_lanes: u32,
    descending: u32,
    arrays: u32,
    array_bytes: *const u64,
}

type LaunchEntry = unsafe extern "C" fn(u32, *const *mut u8, *const *mut u8, *const RawLaunch) -> *const c_char;
type EntryBytes = unsafe extern "C" fn(u32, u32, u32) -> u64;

/// How to run an entry point.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Threadgroups along x, y, z.
    pub groups: [u32; 3],
    /// Lanes of a threadgroup along x, y, z.
    pub lanes: [u32; 3],
    /// Lanes of a simdgroup.
    pub simdgroup: u32,
    /// Whether lanes run from the last to the first.
    pub descending: bool,
    /// Bytes of the threadgroup arrays, in order.
    pub arrays: Vec<u64>,
}

/// Memory at a slot.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Its first byte.
    pub at: *mut u8,
    /// Its length.
    pub bytes: u64,
}

/// The kernels of a text in this process.
pub struct Kernels {
    /// The text's entry points.
    pub compiled: Compiled,
    /// The library has one set of lanes.
    lanes: Mutex<()>,
    launch: LaunchEntry,
    entry_bytes: EntryBytes,
    _library: Library,
}

impl Kernels {
    /// Compiles and loads.
    pub fn new(text: &str) -> Result<Self, CompileError> {
        let compiled = Compiled::new(text)?;
        // SAFETY: the library was just made from our headers and has no initializers.
        let library = unsafe { Library::new(compiled.path()) }.expect("the compiled library loads");
        // SAFETY: `caller.rs` exports functions of these types.
        let (launch, entry_bytes) = unsafe {
            let launch = library.get::<LaunchEntry>(b"slmc_launch_entry").expect("an exported function");
            let bytes = library.get::<EntryBytes>(b"slmc_entry_bytes").expect("an exported function");
            (*launch, *bytes)
        };
        Ok(Self { compiled, lanes: Mutex::new(()), launch, entry_bytes, _library: library })
    }

    /// Bytes that the declaration of threadgroup array `index` needs.
    pub fn array_bytes(&self, entry: usize, index: usize) -> u64 {
        assert!(index < self.compiled.entries[entry].array_count());
        // SAFETY: entry and index are in range.
        unsafe { (self.entry_bytes)(entry as u32, 1, index as u32) }
    }

    fn buffer_bytes(&self, entry: usize, slot: u32) -> u64 {
        assert!((slot as usize) < self.compiled.entries[entry].slot_end());
        // SAFETY: entry and slot are in range.
        unsafe { (self.entry_bytes)(entry as u32, 0, slot) }
    }

    /// Runs an entry point over `slots`, indexed by slot.
    ///
    /// # Errors
    /// A slot that is not bound or shorter than its declaration, arrays that differ in number or are too short, and
    /// what the lanes did: a deadlock, meetings at different barriers.
    ///
    /// # Safety
    /// Every bound slot is valid memory of its length, aligned for its elements, that nothing else touches; the text
    /// stays inside it.
    pub unsafe fn launch(&self, entry: usize, slots: &[Option<Bound>], how: &Launch) -> Result<(), String> {
        let signature = &self.compiled.entries[entry];
        let fault = |what: String| Err(format!("kernel {}: {what}", signature.name));
        let lanes = how.lanes.iter().product::<u32>();
        if let Some(most) = signature.most_lanes.filter(|&most| lanes > most) {
            return fault(format!("{lanes} lanes in a threadgroup, its attribute allows {most}"));
        }
        let mut addresses = vec![ptr::null_mut(); signature.slot_end().max(1)];
        for slot in signature.slots() {
            let need = self.buffer_bytes(entry, slot);
            match slots.get(slot as usize).copied().flatten() {
                None => return fault(format!("nothing is bound to buffer slot {slot}")),
                Some(bound) if bound.bytes < need => {
                    return fault(format!("buffer slot {slot} has {} bytes, its declaration needs {need}", bound.bytes));
                }
                Some(bound) => addresses[slot as usize] = bound.at,
            }
        }
        if how.arrays.len() != signature.array_count() {
            return fault(format!("{} threadgroup arrays, but lengths for {}", signature.array_count(), how.arrays.len()));
        }
        for (i, &bytes) in how.arrays.iter().enumerate() {
            let need = self.array_bytes(entry, i);
            if bytes < need || !bytes.is_multiple_of(16) {
                return fault(format!("threadgroup array {i} has {bytes} bytes; expected a multiple of 16 and at least {need}"));
            }
        }
        let mut arrays: Vec<Guarded> = how.arrays.iter().map(|&bytes| Guarded::new(&vec![0; bytes as usize])).collect();
        let mut array_addresses: Vec<*mut u8> = arrays.iter_mut().map(Guarded::address).collect();
        array_addresses.push(ptr::null_mut());
        let raw = RawLaunch {
            groups: how.groups,
            lanes: how.lanes,
            simdgroup_lanes: how.simdgroup,
            descending: how.descending.into(),
            arrays: arrays.len() as u32,
            array_bytes: how.arrays.as_ptr(),
        };
        let held = self.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: all slots and arrays of the signature are bound with the bytes that their declarations need, the caller
        // promises for the memory, and the lock keeps other launches out.
        let message = unsafe { (self.launch)(entry as u32, addresses.as_ptr(), array_addresses.as_ptr(), &raw const raw) };
        if !message.is_null() {
            // SAFETY: the message ends with a zero and stays as long as the lock is held.
            return fault(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned());
        }
        drop(held);
        arrays.iter().try_for_each(|array| array.bytes().map(drop)).or_else(|what| fault(format!("threadgroup memory: {what}")))
    }

    /// Runs an entry point on copies of `buffers`, the slots 0, 1, …, and gives what they hold afterwards.
    ///
    /// # Errors
    /// Those of [`Kernels::launch`]; writes outside a buffer or to one that the text declares read-only.
    ///
    /// # Panics
    /// When the text has no such entry point.
    pub fn run(&self, name: &str, buffers: &[Vec<u8>], how: &Launch) -> Result<Vec<Vec<u8>>, String> {
        let (entry, signature) = self.compiled.entry(name).unwrap_or_else(|| panic!("the text has no kernel {name}"));
        let mut guarded: Vec<Guarded> = buffers.iter().map(|b| Guarded::new(b)).collect();
        let slots: Vec<Option<Bound>> = guarded.iter_mut().map(|g| Some(Bound { at: g.address(), bytes: g.len() as u64 })).collect();
        // SAFETY: the copies are ours, aligned to 64, and guards catch what leaves them by a little.
        unsafe { self.launch(entry, &slots, how) }?;
        let fault = |slot: usize, what: String| format!("kernel {name}: buffer slot {slot}: {what}");
        let after: Vec<Vec<u8>> = guarded.iter().enumerate().map(|(i, g)| g.bytes().map_err(|what| fault(i, what))).collect::<Result<_, _>>()?;
        for param in &signature.params {
            if let Param::Buffer { slot, writable: false, .. } = param {
                let slot = *slot as usize;
                if after[slot] != buffers[slot] {
                    return Err(fault(slot, "it is declared read-only and was written".to_owned()));
                }
            }
        }
        Ok(after)
    }
}
