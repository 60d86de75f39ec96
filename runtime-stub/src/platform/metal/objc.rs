//! The Objective-C runtime: objects, selectors, messages, pools.
//!
//! A message is a call of `objc_msgSend` through the type of the method. That type is stated where the message is sent,
//! next to the selector, and is the one promise that nothing checks; everything that follows from ownership is checked
//! by types: an [`Object`] is released once, and what a method returns without ownership is used inside the [`Pool`]
//! that was open when it came.

use core::ffi::{c_char, c_void};
use core::ptr::NonNull;

/// A reference to an object, or null.
pub type Id = *mut c_void;

/// A registered selector.
pub type Selector = *const c_void;

/// `MTLSize`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Along x.
    pub width: usize,
    /// Along y.
    pub height: usize,
    /// Along z.
    pub depth: usize,
}

/// The functions below everything else: those of libobjc, and the one function of Metal that is not a method.
#[derive(Clone, Copy)]
pub struct Runtime {
    /// `objc_getClass`.
    pub class: unsafe extern "C" fn(name: *const c_char) -> Id,
    /// `sel_registerName`.
    pub selector: unsafe extern "C" fn(name: *const c_char) -> Selector,
    /// `objc_msgSend`, whose type is that of the method called.
    pub send: unsafe extern "C" fn(),
    /// `objc_release`.
    pub release: unsafe extern "C" fn(object: Id),
    /// `objc_autoreleasePoolPush`.
    pub pool_push: unsafe extern "C" fn() -> *mut c_void,
    /// `objc_autoreleasePoolPop`.
    pub pool_pop: unsafe extern "C" fn(pool: *mut c_void),
    /// `MTLCreateSystemDefaultDevice`, whose result belongs to the caller.
    pub default_device: unsafe extern "C" fn() -> Id,
}

#[cfg(target_vendor = "apple")]
mod source {
    use super::{Id, Runtime, Selector, c_char, c_void};

    #[link(name = "objc")]
    unsafe extern "C" {
        fn objc_getClass(name: *const c_char) -> Id;
        fn sel_registerName(name: *const c_char) -> Selector;
        fn objc_msgSend();
        fn objc_release(object: Id);
        fn objc_autoreleasePoolPush() -> *mut c_void;
        fn objc_autoreleasePoolPop(pool: *mut c_void);
    }

    // CoreGraphics is what a system-wide default device needs on macOS; Foundation has the strings and errors.
    #[link(name = "CoreGraphics", kind = "framework")]
    #[link(name = "Foundation", kind = "framework")]
    #[link(name = "Metal", kind = "framework")]
    unsafe extern "C" {
        fn MTLCreateSystemDefaultDevice() -> Id;
    }

    static LINKED: Runtime = Runtime {
        class: objc_getClass,
        selector: sel_registerName,
        send: objc_msgSend,
        release: objc_release,
        pool_push: objc_autoreleasePoolPush,
        pool_pop: objc_autoreleasePoolPop,
        default_device: MTLCreateSystemDefaultDevice,
    };

    /// The system's.
    pub fn runtime() -> Option<&'static Runtime> {
        Some(&LINKED)
    }
}

#[cfg(not(target_vendor = "apple"))]
mod source {
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, Ordering};

    use super::Runtime;

    static INSTALLED: AtomicPtr<Runtime> = AtomicPtr::new(ptr::null_mut());

    /// The one that was installed.
    pub fn runtime() -> Option<&'static Runtime> {
        // SAFETY: only `install` stores here, and it stores a reference that lives for ever.
        unsafe { INSTALLED.load(Ordering::Acquire).as_ref() }
    }

    /// Makes `runtime` the source of devices on a system without Metal; for tests.
    ///
    /// # Safety
    /// Its functions behave as those they are named after, for every selector and class that this folder names.
    pub unsafe fn install(runtime: &'static Runtime) {
        INSTALLED.store(ptr::from_ref(runtime).cast_mut(), Ordering::Release);
    }
}

#[cfg(not(target_vendor = "apple"))]
pub use source::install;

/// The functions of this system; none where there is no Metal.
pub fn runtime() -> Option<&'static Runtime> {
    source::runtime()
}

macro_rules! selectors {
    ($($field:ident = $name:literal,)*) => {
        /// Every selector that is sent, registered once.
        #[derive(Clone, Copy)]
        pub struct Selectors {
            $(#[doc = concat!("`", stringify!($name), "`")] pub $field: Selector,)*
        }

        impl Selectors {
            /// Registers them.
            pub fn register(runtime: &Runtime) -> Self {
                // SAFETY: every name ends with a zero.
                unsafe { Self { $($field: (runtime.selector)($name.as_ptr()),)* } }
            }
        }
    };
}

selectors! {
    alloc = c"alloc",
    new = c"new",
    init_bytes = c"initWithBytes:length:encoding:",
    utf8 = c"UTF8String",
    name = c"name",
    description = c"localizedDescription",
    supports_family = c"supportsFamily:",
    longest_buffer = c"maxBufferLength",
    most_threadgroup_memory = c"maxThreadgroupMemoryLength",
    new_queue = c"newCommandQueue",
    set_language = c"setLanguageVersion:",
    set_fast_math = c"setFastMathEnabled:",
    new_library = c"newLibraryWithSource:options:error:",
    new_function = c"newFunctionWithName:",
    new_pipeline = c"newComputePipelineStateWithFunction:error:",
    most_lanes = c"maxTotalThreadsPerThreadgroup",
    new_buffer = c"newBufferWithLength:options:",
    new_buffer_over = c"newBufferWithBytesNoCopy:length:options:deallocator:",
    contents = c"contents",
    command_buffer = c"commandBuffer",
    encoder = c"computeCommandEncoder",
    set_pipeline = c"setComputePipelineState:",
    set_buffer = c"setBuffer:offset:atIndex:",
    set_bytes = c"setBytes:length:atIndex:",
    set_array = c"setThreadgroupMemoryLength:atIndex:",
    dispatch = c"dispatchThreadgroups:threadsPerThreadgroup:",
    end_encoding = c"endEncoding",
    commit = c"commit",
    wait = c"waitUntilCompleted",
    status = c"status",
    error = c"error",
}

/// The runtime with its selectors registered.
#[derive(Clone, Copy)]
pub struct Objc {
    /// The functions.
    pub runtime: &'static Runtime,
    /// The selectors.
    pub selectors: Selectors,
}

// SAFETY: selectors are names that never change, and the functions of the runtime may be called by any thread.
unsafe impl Send for Objc {}
// SAFETY: as above.
unsafe impl Sync for Objc {}

impl Objc {
    /// The runtime of this system; none where there is no Metal.
    pub fn new() -> Option<Self> {
        let runtime = runtime()?;
        Some(Self { runtime, selectors: Selectors::register(runtime) })
    }

    /// Opens a pool. What methods return without ownership lives until it is dropped.
    pub fn pool(&self) -> Pool {
        // SAFETY: no argument; the pool is popped when the value is dropped.
        Pool { token: unsafe { (self.runtime.pool_push)() }, runtime: self.runtime }
    }

    /// Takes an object over from a method that gives ownership (`new…`, `alloc`); none for null.
    ///
    /// # Safety
    /// `id` is null or a live object of which one release is ours.
    pub unsafe fn own(&self, id: Id) -> Option<Object> {
        NonNull::new(id).map(|id| Object { id, runtime: self.runtime })
    }
}

/// Sends `selector` to `receiver`: `send!(objc, receiver, selector, argument => type, …; result)`.
///
/// Expands to an unsafe call: the receiver is live and has a method of this selector with these types.
macro_rules! send {
    ($objc:expr, $receiver:expr, $selector:ident $(, $argument:expr => $kind:ty)*; $result:ty) => {{
        let function: unsafe extern "C" fn($crate::platform::metal::objc::Id, $crate::platform::metal::objc::Selector $(, $kind)*) -> $result =
            core::mem::transmute($objc.runtime.send);
        function($receiver, $objc.selectors.$selector $(, $argument)*)
    }};
}
pub(super) use send;

/// A reference that is ours: released when dropped.
pub struct Object {
    id: NonNull<c_void>,
    runtime: &'static Runtime,
}

// SAFETY: references may be passed to and released by any thread. Which methods may be called at the same time is up to
// the class; devices, queues, libraries, pipelines and buffers allow it, and nothing else is kept.
unsafe impl Send for Object {}
// SAFETY: as above.
unsafe impl Sync for Object {}

impl Object {
    /// The reference, valid as long as `self`.
    pub fn id(&self) -> Id {
        self.id.as_ptr()
    }

    /// Gives up ownership; [`Objc::own`] takes it back.
    pub fn into_id(self) -> Id {
        let id = self.id();
        core::mem::forget(self);
        id
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: one release of the object is ours.
        unsafe { (self.runtime.release)(self.id()) };
    }
}

/// An open autorelease pool of this thread, closed when dropped. Pools close in the reverse order of their opening, as
/// they are locals.
pub struct Pool {
    token: *mut c_void,
    runtime: &'static Runtime,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the token is of the push that made `self`, on this thread: a raw pointer keeps the type from moving.
        unsafe { (self.runtime.pool_pop)(self.token) };
    }
}
