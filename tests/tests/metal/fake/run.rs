//! What an encoder records, and its execution through the shim.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::guarded::Guarded;
use crate::launch::{Bound, Kernels, Launch};

use super::objects::{Kind, State};

/// What is bound to a buffer slot.
#[derive(Debug, Clone)]
pub enum Slot {
    /// A buffer from an offset on.
    Buffer { id: usize, offset: usize },
    /// Bytes that were copied.
    Bytes(Vec<u8>),
}

/// One dispatch.
pub struct Recorded {
    kernels: Arc<Kernels>,
    entry: usize,
    slots: BTreeMap<usize, Slot>,
    arrays: BTreeMap<usize, usize>,
    groups: [usize; 3],
    lanes: [usize; 3],
}

/// Library texts that were compiled, so that opening a model again costs no compile.
static LIBRARIES: Mutex<BTreeMap<String, Arc<Kernels>>> = Mutex::new(BTreeMap::new());

/// Compiles a library text through the shim.
pub fn library(text: &str) -> Result<Arc<Kernels>, String> {
    let mut known = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kernels) = known.get(text) {
        return Ok(kernels.clone());
    }
    let kernels = Arc::new(Kernels::new(text).map_err(|e| e.to_string())?);
    known.insert(text.to_owned(), kernels.clone());
    Ok(kernels)
}

/// Takes what is bound for a dispatch; the encoder forgets it.
pub fn record(state: &mut State, encoder: usize, groups: [usize; 3], lanes: [usize; 3]) {
    let (most_lanes, most_memory) = (state.traits.most_lanes, state.traits.threadgroup_memory);
    let Some(Kind::Encoder { commands, open: true, pipeline, slots, arrays }) = state.get_mut(encoder) else {
        return state.fail("dispatch on an encoder that ended");
    };
    let (commands, pipeline) = (*commands, *pipeline);
    let (slots, arrays) = (std::mem::take(slots), std::mem::take(arrays));
    if groups.contains(&0) || lanes.contains(&0) || lanes.iter().product::<usize>() > most_lanes {
        state.fail(format!("a grid of {groups:?} threadgroups of {lanes:?} lanes, where the device has {most_lanes}"));
    }
    let memory: usize = arrays.values().sum();
    if memory > most_memory {
        state.fail(format!("{memory} bytes of threadgroup memory, where the device has {most_memory}"));
    }
    let Some(Kind::Pipeline(kernels, entry)) = pipeline.and_then(|id| state.get(id)) else {
        return state.fail("a dispatch without a pipeline");
    };
    let recorded = Recorded { kernels: kernels.clone(), entry: *entry, slots, arrays, groups, lanes };
    if let Some(Kind::Commands { recorded: list, .. }) = state.get_mut(commands) {
        list.push(recorded);
    }
}

/// Runs everything that a committed command buffer holds.
pub fn complete(state: &mut State, id: usize) {
    let Some(Kind::Commands { recorded, status, .. }) = state.get_mut(id) else { return };
    if *status != 1 {
        return state.fail("a wait for a command buffer that was not committed, or twice");
    }
    let work = std::mem::take(recorded);
    let mut failure = state.failure.take();
    for dispatch in &work {
        if failure.is_some() {
            break;
        }
        state.dispatches += 1;
        if let Err(what) = run(state, dispatch) {
            state.fail(what.clone());
            failure = Some(what);
        }
    }
    if let Some(Kind::Commands { status, error, .. }) = state.get_mut(id) {
        *status = if failure.is_some() { 5 } else { 4 };
        *error = failure;
    }
}

fn run(state: &State, dispatch: &Recorded) -> Result<(), String> {
    let signature = &dispatch.kernels.compiled.entries[dispatch.entry];
    // Copies of bytes, kept until the launch is over, at an alignment that every type has.
    let mut copies: BTreeMap<usize, Guarded> = BTreeMap::new();
    let mut slots = vec![None; signature.slot_end()];
    for (&slot, bound) in &dispatch.slots {
        if !signature.slots().any(|s| s as usize == slot) {
            // A kernel has no parameter for what it does not touch.
            continue;
        }
        slots[slot] = Some(match bound {
            Slot::Bytes(bytes) => {
                let copy = copies.entry(slot).or_insert_with(|| Guarded::new(bytes));
                Bound { at: copy.address(), bytes: copy.len() as u64 }
            }
            Slot::Buffer { id, offset } => {
                let Some(Kind::Buffer { at, bytes, .. }) = state.get(*id) else {
                    return Err(format!("kernel {}: the buffer at slot {slot} was released", signature.name));
                };
                Bound { at: (at + offset) as *mut u8, bytes: (bytes - offset) as u64 }
            }
        });
    }
    let arrays: Vec<u64> = dispatch.arrays.values().map(|&bytes| bytes as u64).collect();
    if dispatch.arrays.keys().enumerate().any(|(i, &slot)| i != slot) {
        return Err(format!("kernel {}: threadgroup lengths at slots {:?}", signature.name, dispatch.arrays.keys()));
    }
    let how = Launch {
        groups: dispatch.groups.map(|n| n as u32),
        lanes: dispatch.lanes.map(|n| n as u32),
        simdgroup: state.traits.simdgroup,
        descending: state.traits.descending,
        arrays,
    };
    // SAFETY: every buffer lives in the table or in the stub's mapping, which outlives the wait; nothing else runs while
    // the state is locked.
    unsafe { dispatch.kernels.launch(dispatch.entry, &slots, &how) }
}
