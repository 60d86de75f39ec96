//! `VkResult` as outcomes and words.

use super::ffi::*;
use crate::fault::{Code, Fault, Outcome, Value};

/// The name of a result in the Vulkan specification.
pub fn name(result: VkResult) -> &'static str {
    match result {
        SUCCESS => "VK_SUCCESS",
        NOT_READY => "VK_NOT_READY",
        TIMEOUT => "VK_TIMEOUT",
        INCOMPLETE => "VK_INCOMPLETE",
        ERROR_OUT_OF_HOST_MEMORY => "VK_ERROR_OUT_OF_HOST_MEMORY",
        ERROR_OUT_OF_DEVICE_MEMORY => "VK_ERROR_OUT_OF_DEVICE_MEMORY",
        ERROR_INITIALIZATION_FAILED => "VK_ERROR_INITIALIZATION_FAILED",
        ERROR_DEVICE_LOST => "VK_ERROR_DEVICE_LOST",
        ERROR_MEMORY_MAP_FAILED => "VK_ERROR_MEMORY_MAP_FAILED",
        ERROR_LAYER_NOT_PRESENT => "VK_ERROR_LAYER_NOT_PRESENT",
        ERROR_EXTENSION_NOT_PRESENT => "VK_ERROR_EXTENSION_NOT_PRESENT",
        ERROR_FEATURE_NOT_PRESENT => "VK_ERROR_FEATURE_NOT_PRESENT",
        ERROR_INCOMPATIBLE_DRIVER => "VK_ERROR_INCOMPATIBLE_DRIVER",
        ERROR_TOO_MANY_OBJECTS => "VK_ERROR_TOO_MANY_OBJECTS",
        ERROR_FRAGMENTED_POOL => "VK_ERROR_FRAGMENTED_POOL",
        ERROR_UNKNOWN => "VK_ERROR_UNKNOWN",
        ERROR_OUT_OF_POOL_MEMORY => "VK_ERROR_OUT_OF_POOL_MEMORY",
        _ => "a VkResult without a name here",
    }
}

/// Success, or the fault of `call`, which is the Vulkan function's name.
///
/// # Errors
/// [`Code::Memory`] when host or device have no more of it, [`Code::Device`] for all else.
pub fn check(result: VkResult, call: &'static str) -> Outcome<()> {
    if result == SUCCESS { Ok(()) } else { Err(fault(result, call)) }
}

/// The fault of `call`.
#[cold]
pub fn fault(result: VkResult, call: &'static str) -> Fault {
    let memory = matches!(result, ERROR_OUT_OF_HOST_MEMORY | ERROR_OUT_OF_DEVICE_MEMORY | ERROR_OUT_OF_POOL_MEMORY | ERROR_TOO_MANY_OBJECTS);
    let (code, hint) = match result {
        ERROR_DEVICE_LOST => (Code::Device, "the driver gave up the device; open the model again"),
        _ if memory => (Code::Memory, "close other sessions and programs that use the device, or compile with a smaller --ctx"),
        _ => (Code::Device, "update the device's driver"),
    };
    Fault::new(code, call, "failed").values(Value::Text("VK_SUCCESS"), Value::Text(name(result))).hint(hint)
}
