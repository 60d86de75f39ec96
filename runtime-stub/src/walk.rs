//! Runs one dispatch list over a pool: the only place that calls generated code.
#![allow(unsafe_code, reason = "kernels are foreign functions")]

use core::sync::atomic::AtomicPtr;

use crate::abi::{CodeHeader, Dispatch, KernelFn, Step};
use crate::plan::Plan;
use crate::pool::Work;

/// The generated code of a model.
#[derive(Clone, Copy)]
pub struct Kernels {
    header: &'static CodeHeader,
    functions: &'static [KernelFn],
}

impl Kernels {
    /// Wraps the code header and the kernels that belong to it.
    ///
    /// # Safety
    /// Run with any plan of the same code id that passes [`Plan::check`], the functions keep the promises of
    /// [`KernelFn`], and `functions` has [`CodeHeader::kernel_count`] entries.
    pub const unsafe fn new(header: &'static CodeHeader, functions: &'static [KernelFn]) -> Self {
        Self { header, functions }
    }

    /// What the code says about itself.
    pub fn header(&self) -> &'static CodeHeader {
        self.header
    }
}

/// One pass over a dispatch list.
pub struct Walk<'a> {
    /// The checked plan.
    pub plan: &'a Plan<'a>,
    /// The code that the plan was checked against.
    pub kernels: Kernels,
    /// The address of every binding of the plan in this session.
    pub addresses: &'a [AtomicPtr<u8>],
    /// Which list of [`crate::abi::list`].
    pub list: usize,
    /// T, P and row, within the bounds of the plan.
    pub step: Step,
}

impl Walk<'_> {
    fn extents(&self, dispatch: &Dispatch) -> [u32; 3] {
        dispatch.grid.map(|extent| extent.tiles(self.step.t, self.step.p))
    }
}

impl Work for Walk<'_> {
    fn tiles(&self, stage: u32) -> Option<u32> {
        if stage >= self.plan.header.lists[self.list].count {
            return None;
        }
        let [x, y, z] = self.extents(&self.plan.dispatch(self.list, stage));
        Some(x * y * z)
    }

    fn run(&self, stage: u32, tile: u32) {
        let dispatch = self.plan.dispatch(self.list, stage);
        let [width, height, _] = self.extents(&dispatch);
        let (row, x) = (tile / width, tile % width);
        let (z, y) = (row / height, row % height);
        let bindings = &self.addresses[dispatch.first_binding as usize..][..dispatch.binding_count as usize];
        // SAFETY: the plan was checked against this code, so the kernel index is in range, every address has its
        // binding's length behind it, and step and tile are within the bounds the kernel was compiled for. An
        // AtomicPtr has the layout of a pointer, and nothing stores into the table during a walk. Tiles of one
        // dispatch write disjoint memory, and the pool orders dispatches.
        unsafe {
            self.kernels.functions[dispatch.kernel as usize](bindings.as_ptr().cast::<*mut u8>(), &raw const self.step, x, y, z);
        }
    }
}
