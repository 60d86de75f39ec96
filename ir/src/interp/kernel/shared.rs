//! Workgroup memory that knows who touched it: between two barriers, bytes that one lane writes belong to that lane.
//!
//! On a device the lanes of a tile run at the same time, here one after another; without this check a missing barrier would
//! show nothing but the right numbers.

use super::FaultKind;
use super::memory::Local;
use crate::kernel::Type;

/// What happened to a byte since the barrier that began `epoch`; lanes count from 1, 0 is none.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    epoch: u64,
    writer: u32,
    reader: u32,
}

/// Several lanes read a byte.
const MANY: u32 = u32::MAX;

/// A workgroup array.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    local: Local,
    marks: Vec<Mark>,
    epoch: u64,
}

impl Shared {
    /// An array of some bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self { local: Local::new(bytes), marks: vec![Mark::default(); bytes], epoch: 1 }
    }

    /// A tile begins.
    pub(super) fn forget(&mut self) {
        self.local.forget();
        self.epoch += 1;
    }

    /// All lanes met.
    pub(super) fn barrier(&mut self) {
        self.epoch += 1;
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.local.len()
    }

    /// Reads for a lane.
    pub(super) fn load(&mut self, lane: u32, start: usize, ty: Type, d: &mut [u32]) -> Result<(), FaultKind> {
        let me = lane + 1;
        for (i, mark) in self.marks[start..start + ty.bytes() as usize].iter_mut().enumerate() {
            if mark.epoch != self.epoch {
                *mark = Mark { epoch: self.epoch, writer: 0, reader: 0 };
            }
            if mark.writer != 0 && mark.writer != me {
                return Err(FaultKind::Race { byte: (start + i) as u64, other: mark.writer - 1 });
            }
            mark.reader = if mark.reader == 0 || mark.reader == me { me } else { MANY };
        }
        self.local.load(start, ty, d)
    }

    /// Writes for a lane.
    pub(super) fn store(&mut self, lane: u32, start: usize, ty: Type, value: &[u32]) -> Result<(), FaultKind> {
        let me = lane + 1;
        for (i, mark) in self.marks[start..start + ty.bytes() as usize].iter_mut().enumerate() {
            if mark.epoch != self.epoch {
                *mark = Mark { epoch: self.epoch, writer: 0, reader: 0 };
            }
            if let Some(&other) = [mark.writer, mark.reader].iter().find(|&&other| other != 0 && other != me) {
                // Of several readers none is named: lane 0 stands for them.
                return Err(FaultKind::Race { byte: (start + i) as u64, other: if other == MANY { 0 } else { other - 1 } });
            }
            mark.writer = me;
        }
        self.local.store(start, ty, value);
        Ok(())
    }
}
