//! An Objective-C runtime with as much of Metal as the stub uses, for tests of the real host code on this system.
//!
//! Objects are entries of a table and ids are their numbers, so a message to what is no object, or no more, is noticed and
//! nothing is ever read through an id. Library texts are compiled through the shim, and a command buffer runs when it is
//! waited for: what is read before that is what was there before. Stricter than Metal: bindings are forgotten after each
//! dispatch, so that none is left over from another kernel.
//!
//! Whatever Metal would not define is noted as a failure, and [`Fake::finish`] panics with all of them.

mod objects;

mod message;

mod methods;

mod run;

use std::sync::{Mutex, MutexGuard, PoisonError};

use slmc_runtime_stub::platform::metal::objc::{self, Runtime};

use objects::State;

static STATE: Mutex<State> = Mutex::new(State::new());
static IN_USE: Mutex<()> = Mutex::new(());

static RUNTIME: Runtime = Runtime {
    class: methods::class,
    selector: message::register,
    send: message::send,
    release: methods::release,
    pool_push: methods::pool_push,
    pool_pop: methods::pool_pop,
    default_device: methods::default_device,
};

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the device is like.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// Whether there is one.
    pub present: bool,
    /// GPU families it supports.
    pub families: &'static [isize],
    /// Bytes of its longest buffer.
    pub longest_buffer: usize,
    /// Bytes of its threadgroup memory.
    pub threadgroup_memory: usize,
    /// Lanes of a threadgroup.
    pub most_lanes: usize,
    /// Lanes of a simdgroup.
    pub simdgroup: u32,
    /// Whether lanes run from the last to the first.
    pub descending: bool,
}

impl Traits {
    /// A phone of the Apple8 family.
    pub const fn phone() -> Self {
        Self {
            present: true,
            families: &[1007, 1008],
            longest_buffer: 1 << 31,
            threadgroup_memory: 32 << 10,
            most_lanes: 1024,
            simdgroup: 32,
            descending: false,
        }
    }
}

/// The installed runtime. One test at a time has it.
pub struct Fake {
    _alone: MutexGuard<'static, ()>,
}

impl Fake {
    /// Installs it with one device.
    pub fn new(traits: Traits) -> Self {
        let alone = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        *state() = State::with(traits);
        // SAFETY: the functions behave as those of the system for what the stub sends, and note what it must not send.
        unsafe { objc::install(&RUNTIME) };
        Self { _alone: alone }
    }

    /// Dispatches that ran so far.
    pub fn dispatches(&self) -> usize {
        state().dispatches
    }

    /// Lets the next command buffer fail with these words.
    pub fn fail_next(&self, words: &str) {
        state().failure = Some(words.to_owned());
    }

    /// What was noted so far; forgets it.
    pub fn failures(&self) -> Vec<String> {
        std::mem::take(&mut state().failures)
    }

    /// Ends the use of it.
    ///
    /// # Panics
    /// With everything that was noted, and with the objects that were never released.
    pub fn finish(self) {
        let (mut failures, left) = (self.failures(), state().left());
        failures.extend(left.into_iter().map(|what| format!("never released: {what}")));
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }
}
