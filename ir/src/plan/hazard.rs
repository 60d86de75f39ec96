//! Which bytes a dispatch touches, and when two dispatches may not run at the same time.

use super::{Binding, Dispatch, Plan, place_of};
use crate::kernel::{Access, KernelModule};

/// A range of bytes that a dispatch reads or writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Touched {
    /// What is bound.
    pub binding: Binding,
    /// Its bytes `[start, end)` in its region.
    pub range: (u64, u64),
    /// How the kernel uses it.
    pub access: Access,
}

/// What a dispatch touches, binding by binding; what does not exist is left out.
pub fn touched(plan: &Plan, kernels: &KernelModule, dispatch: &Dispatch) -> Vec<Touched> {
    let Some(kernel) = kernels.kernels.get(dispatch.kernel) else { return Vec::new() };
    let params = kernel.params().zip(&dispatch.bindings);
    params
        .filter_map(|((_, buffer), &binding)| {
            let (offset, bytes) = place_of(plan, binding)?;
            Some(Touched { binding, range: (offset, offset.saturating_add(bytes)), access: buffer.access })
        })
        .collect()
}

/// The first pair of ranges, one of each side, that share a byte which one side writes.
pub fn conflict(a: &[Touched], b: &[Touched]) -> Option<(Touched, Touched)> {
    let meets = |x: &Touched, y: &Touched| {
        let region = std::mem::discriminant(&x.binding) == std::mem::discriminant(&y.binding);
        region && overlap(x.range, y.range) && (writes(x.access) || writes(y.access))
    };
    a.iter().find_map(|x| b.iter().find(|y| meets(x, y)).map(|y| (*x, *y)))
}

/// Whether two ranges share a byte.
pub(super) fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.1 && b.0 < a.1
}

/// Whether a parameter of this access is read.
pub(super) fn reads(access: Access) -> bool {
    matches!(access, Access::Read | Access::ReadWrite)
}

/// Whether a parameter of this access is written.
pub(super) fn writes(access: Access) -> bool {
    matches!(access, Access::Write | Access::ReadWrite)
}
