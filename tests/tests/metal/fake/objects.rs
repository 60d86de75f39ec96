//! The table of objects, with their counts, and the open pools.

use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::Arc;

use crate::guarded::Guarded;
use crate::launch::Kernels;

use super::Traits;
use super::run::{Recorded, Slot};

/// A reference as the stub holds it: a number that is no address.
pub type Id = *mut c_void;

/// What an object is.
pub enum Kind {
    Class(String),
    Text(CString),
    /// `NSString` before `init…`.
    Allocated,
    Options {
        language: usize,
        fast_math: bool,
    },
    Device,
    Queue,
    Library(Arc<Kernels>),
    Function(Arc<Kernels>, usize),
    Pipeline(Arc<Kernels>, usize),
    Buffer {
        at: usize,
        bytes: usize,
        /// Where the buffer is Metal's own memory.
        memory: Option<Guarded>,
    },
    Commands {
        recorded: Vec<Recorded>,
        encoders: usize,
        ended: usize,
        status: usize,
        error: Option<String>,
    },
    Encoder {
        commands: usize,
        open: bool,
        pipeline: Option<usize>,
        slots: BTreeMap<usize, Slot>,
        arrays: BTreeMap<usize, usize>,
    },
    Error(CString),
}

impl Kind {
    /// Its class, by which methods are found.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Class(_) => "class",
            Self::Text(_) => "NSString",
            Self::Allocated => "allocated NSString",
            Self::Options { .. } => "MTLCompileOptions",
            Self::Device => "MTLDevice",
            Self::Queue => "MTLCommandQueue",
            Self::Library(_) => "MTLLibrary",
            Self::Function(..) => "MTLFunction",
            Self::Pipeline(..) => "MTLComputePipelineState",
            Self::Buffer { .. } => "MTLBuffer",
            Self::Commands { .. } => "MTLCommandBuffer",
            Self::Encoder { .. } => "MTLComputeCommandEncoder",
            Self::Error(_) => "NSError",
        }
    }
}

/// An object.
pub struct Thing {
    pub kind: Kind,
    references: usize,
}

/// Everything.
pub struct State {
    pub traits: Traits,
    things: BTreeMap<usize, Thing>,
    next: usize,
    pools: Vec<Vec<usize>>,
    pub failures: Vec<String>,
    pub dispatches: usize,
    /// What the next command buffer fails with.
    pub failure: Option<String>,
}

/// Ids start here and go up in steps, so that a small number or an address is not taken for one.
const FIRST: usize = 0x5_0000_0000;

impl State {
    pub const fn new() -> Self {
        Self { traits: Traits::phone(), things: BTreeMap::new(), next: FIRST, pools: Vec::new(), failures: Vec::new(), dispatches: 0, failure: None }
    }

    pub fn with(traits: Traits) -> Self {
        Self { traits, ..Self::new() }
    }

    pub fn fail(&mut self, what: impl Into<String>) {
        self.failures.push(what.into());
    }

    /// A new object that belongs to the caller.
    pub fn owned(&mut self, kind: Kind) -> Id {
        self.next += 0x10;
        self.things.insert(self.next, Thing { kind, references: 1 });
        self.next as Id
    }

    /// A new object that belongs to the innermost pool.
    pub fn pooled(&mut self, kind: Kind) -> Id {
        let class = kind.class();
        let id = self.owned(kind);
        match self.pools.last_mut() {
            Some(pool) => pool.push(id as usize),
            None => self.fail(format!("an {class} without an owner, and no pool is open")),
        }
        id
    }

    /// The class object of this name; it is never released.
    pub fn class(&mut self, name: &str) -> Id {
        let known = self.things.iter().find(|(_, t)| matches!(&t.kind, Kind::Class(n) if n == name));
        match known {
            Some((&id, _)) => id as Id,
            None => self.owned(Kind::Class(name.to_owned())),
        }
    }

    pub fn get(&self, id: usize) -> Option<&Kind> {
        self.things.get(&id).map(|t| &t.kind)
    }

    pub fn get_mut(&mut self, id: usize) -> Option<&mut Kind> {
        self.things.get_mut(&id).map(|t| &mut t.kind)
    }

    /// Replaces what an object is.
    pub fn become_(&mut self, id: Id, kind: Kind) {
        if let Some(thing) = self.things.get_mut(&(id as usize)) {
            thing.kind = kind;
        }
    }

    pub fn release(&mut self, id: usize) {
        match self.things.get_mut(&id) {
            None => self.fail("release of what is no object, or no more"),
            Some(thing) => {
                thing.references -= 1;
                if thing.references == 0 {
                    let thing = self.things.remove(&id);
                    if let Some(Err(what)) =
                        thing.and_then(|t| if let Kind::Buffer { memory: Some(m), .. } = t.kind { Some(m.bytes()) } else { None })
                    {
                        self.fail(what);
                    }
                }
            }
        }
    }

    pub fn push(&mut self) -> usize {
        self.pools.push(Vec::new());
        self.pools.len()
    }

    pub fn pop(&mut self, token: usize) {
        if token != self.pools.len() || token == 0 {
            return self.fail("pools are not closed in the reverse order of their opening");
        }
        for id in self.pools.pop().unwrap_or_default() {
            self.release(id);
        }
    }

    /// Objects that are left, classes aside.
    pub fn left(&self) -> Vec<&'static str> {
        self.things.values().map(|t| t.kind.class()).filter(|class| *class != "class").collect()
    }
}
