//! Finding Vulkan: the loader's library, and an instance of it.
//!
//! The library stays loaded until the process ends: drivers keep threads and handlers that outlive any one instance.

use core::ffi::{CStr, c_char, c_void};

use super::ffi::*;
use super::functions::{GetInstanceProcAddr, GlobalFunctions, InstanceFunctions};
use super::result::check;
use crate::fault::{Code, Fault, Outcome, Value};
use crate::platform::memory::{Plain, Table};
use crate::platform::unix;

/// The loader's library on this system.
pub const LIBRARY: &CStr = if cfg!(target_os = "android") {
    c"libvulkan.so"
} else if cfg!(target_os = "macos") {
    c"libvulkan.1.dylib"
} else {
    c"libvulkan.so.1"
};

pub(super) const INSTALL: &str = "install the Vulkan loader and a driver (Debian, Ubuntu: libvulkan1 and mesa-vulkan-drivers)";

// SAFETY: bytes and a number.
unsafe impl Plain for ExtensionProperties {}

/// A connection to the loader, closed when dropped.
pub struct Connection {
    /// For the calls of `functions`.
    pub handle: Instance,
    /// What can be called.
    pub functions: InstanceFunctions,
}

impl Connection {
    /// Loads the library, or the one named, and makes an instance of Vulkan 1.1.
    ///
    /// # Errors
    /// [`Code::Device`] without a loader, without a driver, and for those that know Vulkan 1.0 only.
    pub fn open(library: Option<&CStr>) -> Outcome<Self> {
        let get = find_entry(library.unwrap_or(LIBRARY))?;
        // SAFETY: the loader answers for the global functions without an instance.
        let global = unsafe { GlobalFunctions::load(|name| get(0, name.as_ptr()))? };
        let mut version = 0;
        // SAFETY: the loader's function, as declared in the specification.
        check(unsafe { (global.enumerate_instance_version)(&mut version) }, "vkEnumerateInstanceVersion")?;
        if version < API_1_1 {
            return Err(Fault::new(Code::Device, "Vulkan", "loader is older than version 1.1").hint(INSTALL));
        }
        let handle = create_instance(&global)?;
        // SAFETY: the loader answers for the functions of its instance.
        let functions = unsafe { InstanceFunctions::load(|name| get(handle, name.as_ptr()))? };
        Ok(Self { handle, functions })
    }

    /// Fills `out` with the physical devices and returns how many there are, at most as many as fit.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn physical_devices(&self, out: &mut [PhysicalDevice]) -> Outcome<usize> {
        let mut count = out.len() as u32;
        // SAFETY: `out` has room for `count` handles.
        let result = unsafe { (self.functions.enumerate_physical_devices)(self.handle, &mut count, out.as_mut_ptr()) };
        if result != INCOMPLETE {
            check(result, "vkEnumeratePhysicalDevices")?;
        }
        Ok(count as usize)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: a live instance whose devices are gone; used no more.
        unsafe { (self.functions.destroy_instance)(self.handle, core::ptr::null()) };
    }
}

fn find_entry(library: &CStr) -> Outcome<GetInstanceProcAddr> {
    let missing = |what| Fault::new(Code::Device, "the Vulkan loader", what).hint(INSTALL);
    let Some(library) = unix::Library::open(library) else {
        return Err(missing("cannot be loaded")
            .values(if cfg!(target_os = "android") { Value::Text("libvulkan.so") } else { Value::Text("libvulkan.so.1") }, Value::None));
    };
    let entry = library.symbol(c"vkGetInstanceProcAddr");
    if entry.is_null() {
        return Err(missing("has no vkGetInstanceProcAddr"));
    }
    // SAFETY: the symbol of this name in a Vulkan loader is this function.
    Ok(unsafe { core::mem::transmute::<*const c_void, GetInstanceProcAddr>(entry) })
}

fn create_instance(global: &GlobalFunctions) -> Outcome<Instance> {
    const PORTABILITY: &CStr = c"VK_KHR_portability_enumeration";
    let extensions = list_extensions(|count, out| {
        // SAFETY: `out` is null or has room for `count` entries.
        unsafe { (global.enumerate_instance_extension_properties)(core::ptr::null(), count, out) }
    })?;
    // Without it, drivers that lack some of Vulkan (none of which is used here) stay hidden.
    let portable = has_extension(&extensions, PORTABILITY);
    let application =
        ApplicationInfo { application_name: c"slm".as_ptr(), engine_name: c"slmc".as_ptr(), api_version: API_1_1, ..ApplicationInfo::EMPTY };
    let names: [*const c_char; 1] = [PORTABILITY.as_ptr()];
    let info = InstanceCreateInfo {
        flags: if portable { INSTANCE_ENUMERATE_PORTABILITY } else { 0 },
        application_info: &application,
        enabled_extension_count: portable.into(),
        enabled_extension_names: names.as_ptr(),
        ..InstanceCreateInfo::EMPTY
    };
    let mut instance = 0;
    // SAFETY: `info` and what it points to live until the call returns.
    let result = unsafe { (global.create_instance)(&info, core::ptr::null(), &mut instance) };
    match result {
        ERROR_INCOMPATIBLE_DRIVER => Err(Fault::new(Code::Device, "Vulkan", "has no driver").hint(INSTALL)),
        _ => check(result, "vkCreateInstance").map(|()| instance),
    }
}

/// All extensions that one of the listing functions names.
///
/// # Errors
/// Those of the driver; [`Code::Memory`].
pub fn list_extensions(list: impl Fn(*mut u32, *mut ExtensionProperties) -> VkResult) -> Outcome<Table<ExtensionProperties>> {
    let mut count = 0;
    check(list(&mut count, core::ptr::null_mut()), "listing Vulkan extensions")?;
    let mut table = Table::<ExtensionProperties>::zeroed(count as usize)
        .map_err(|errno| Fault::system(Code::Memory, "Vulkan", "no memory for the list of extensions", errno))?;
    let result = list(&mut count, table.as_mut_ptr());
    // More may have appeared meanwhile; those that fit are listed, and rows of zeros match no name.
    if result != INCOMPLETE {
        check(result, "listing Vulkan extensions")?;
    }
    Ok(table)
}

/// Whether an extension is in the list.
pub fn has_extension(list: &[ExtensionProperties], name: &CStr) -> bool {
    list.iter().any(|entry| entry.extension_name.starts_with(name.to_bytes_with_nul()))
}
