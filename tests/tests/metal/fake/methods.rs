//! The classes and methods that the stub uses, each with the types that Metal declares.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Arc;

use slmc_runtime_stub::platform::metal::objc::Size;

use crate::guarded::Guarded;
use crate::launch::Kernels;

use super::objects::{Id, Kind, State};
use super::run::{self, Slot};
use super::state;

/// The address of a method.
pub struct Method(pub *const c_void);

// SAFETY: the address of a function.
unsafe impl Sync for Method {}

/// Class, selector, method.
#[rustfmt::skip]
pub static METHODS: &[(&str, &str, Method)] = &[
    ("class", "alloc", Method(alloc as *const c_void)),
    ("class", "new", Method(new as *const c_void)),
    ("allocated NSString", "initWithBytes:length:encoding:", Method(init_bytes as *const c_void)),
    ("NSString", "UTF8String", Method(utf8 as *const c_void)),
    ("NSError", "localizedDescription", Method(description as *const c_void)),
    ("MTLCompileOptions", "setLanguageVersion:", Method(set_language as *const c_void)),
    ("MTLCompileOptions", "setFastMathEnabled:", Method(set_fast_math as *const c_void)),
    ("MTLDevice", "name", Method(device_name as *const c_void)),
    ("MTLDevice", "supportsFamily:", Method(supports_family as *const c_void)),
    ("MTLDevice", "maxBufferLength", Method(longest_buffer as *const c_void)),
    ("MTLDevice", "maxThreadgroupMemoryLength", Method(threadgroup_memory as *const c_void)),
    ("MTLDevice", "newCommandQueue", Method(new_queue as *const c_void)),
    ("MTLDevice", "newLibraryWithSource:options:error:", Method(new_library as *const c_void)),
    ("MTLDevice", "newComputePipelineStateWithFunction:error:", Method(new_pipeline as *const c_void)),
    ("MTLDevice", "newBufferWithLength:options:", Method(new_buffer as *const c_void)),
    ("MTLDevice", "newBufferWithBytesNoCopy:length:options:deallocator:", Method(new_buffer_over as *const c_void)),
    ("MTLLibrary", "newFunctionWithName:", Method(new_function as *const c_void)),
    ("MTLComputePipelineState", "maxTotalThreadsPerThreadgroup", Method(most_lanes as *const c_void)),
    ("MTLBuffer", "contents", Method(contents as *const c_void)),
    ("MTLCommandQueue", "commandBuffer", Method(command_buffer as *const c_void)),
    ("MTLCommandBuffer", "computeCommandEncoder", Method(encoder as *const c_void)),
    ("MTLCommandBuffer", "commit", Method(commit as *const c_void)),
    ("MTLCommandBuffer", "waitUntilCompleted", Method(wait as *const c_void)),
    ("MTLCommandBuffer", "status", Method(status as *const c_void)),
    ("MTLCommandBuffer", "error", Method(error as *const c_void)),
    ("MTLComputeCommandEncoder", "setComputePipelineState:", Method(set_pipeline as *const c_void)),
    ("MTLComputeCommandEncoder", "setBuffer:offset:atIndex:", Method(set_buffer as *const c_void)),
    ("MTLComputeCommandEncoder", "setBytes:length:atIndex:", Method(set_bytes as *const c_void)),
    ("MTLComputeCommandEncoder", "setThreadgroupMemoryLength:atIndex:", Method(set_array as *const c_void)),
    ("MTLComputeCommandEncoder", "dispatchThreadgroups:threadsPerThreadgroup:", Method(dispatch as *const c_void)),
    ("MTLComputeCommandEncoder", "endEncoding", Method(end_encoding as *const c_void)),
];

type Sel = *const c_void;
const NULL: Id = std::ptr::null_mut();

/// Notes it if an argument is not an object of this class.
fn expect(state: &mut State, id: Id, class: &str, method: &str) -> bool {
    let found = state.get(id as usize).map(Kind::class);
    let right = found == Some(class);
    if !right {
        state.fail(format!("{method}: expected an {class}, found {}", found.unwrap_or("no object")));
    }
    right
}

fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).expect("no zero bytes")
}

pub unsafe extern "C" fn class(name: *const c_char) -> Id {
    // SAFETY: the caller's name ends with a zero.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    let mut state = state();
    match name.as_str() {
        "NSString" | "MTLCompileOptions" => state.class(&name),
        _ => {
            state.fail(format!("there is no class {name}"));
            NULL
        }
    }
}

pub unsafe extern "C" fn release(id: Id) {
    state().release(id as usize);
}

pub unsafe extern "C" fn pool_push() -> *mut c_void {
    state().push() as *mut c_void
}

pub unsafe extern "C" fn pool_pop(token: *mut c_void) {
    state().pop(token as usize);
}

pub unsafe extern "C" fn default_device() -> Id {
    let mut state = state();
    if state.traits.present { state.owned(Kind::Device) } else { NULL }
}

extern "C" fn alloc(this: Id, _: Sel) -> Id {
    let mut state = state();
    match state.get(this as usize) {
        Some(Kind::Class(name)) if name == "NSString" => state.owned(Kind::Allocated),
        _ => {
            state.fail("alloc of a class that is made otherwise");
            NULL
        }
    }
}

extern "C" fn new(this: Id, _: Sel) -> Id {
    let mut state = state();
    match state.get(this as usize) {
        // As Metal's: the newest language, fast math.
        Some(Kind::Class(name)) if name == "MTLCompileOptions" => state.owned(Kind::Options { language: usize::MAX, fast_math: true }),
        _ => {
            state.fail("new of a class that is made otherwise");
            NULL
        }
    }
}

unsafe extern "C" fn init_bytes(this: Id, _: Sel, bytes: *const u8, len: usize, encoding: usize) -> Id {
    let mut state = state();
    if encoding != 4 {
        state.fail(format!("encoding {encoding}; UTF-8 is 4"));
    }
    // SAFETY: the caller's bytes are readable for their length.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            state.become_(this, Kind::Text(c_string(text)));
            this
        }
        Err(_) => {
            state.release(this as usize);
            NULL
        }
    }
}

extern "C" fn utf8(this: Id, _: Sel) -> *const c_char {
    match state().get(this as usize) {
        Some(Kind::Text(text)) => text.as_ptr(),
        _ => std::ptr::null(),
    }
}

extern "C" fn description(this: Id, _: Sel) -> Id {
    let mut state = state();
    let text = if let Some(Kind::Error(text)) = state.get(this as usize) { text.clone() } else { CString::default() };
    state.pooled(Kind::Text(text))
}

extern "C" fn set_language(this: Id, _: Sel, version: usize) {
    if let Some(Kind::Options { language, .. }) = state().get_mut(this as usize) {
        *language = version;
    }
}

extern "C" fn set_fast_math(this: Id, _: Sel, on: bool) {
    if let Some(Kind::Options { fast_math, .. }) = state().get_mut(this as usize) {
        *fast_math = on;
    }
}

extern "C" fn device_name(_: Id, _: Sel) -> Id {
    state().pooled(Kind::Text(c"Shim of Metal".to_owned()))
}

extern "C" fn supports_family(_: Id, _: Sel, family: isize) -> bool {
    state().traits.families.contains(&family)
}

extern "C" fn longest_buffer(_: Id, _: Sel) -> usize {
    state().traits.longest_buffer
}

extern "C" fn threadgroup_memory(_: Id, _: Sel) -> usize {
    state().traits.threadgroup_memory
}

extern "C" fn new_queue(_: Id, _: Sel) -> Id {
    state().owned(Kind::Queue)
}

/// Stores an error where the caller wants one.
unsafe fn give_error(state: &mut State, text: &str, out: *mut Id) {
    let id = state.pooled(Kind::Error(c_string(text)));
    if !out.is_null() {
        // SAFETY: the caller's place for an error.
        unsafe { *out = id };
    }
}

unsafe extern "C" fn new_library(_: Id, _: Sel, source: Id, options: Id, out: *mut Id) -> Id {
    let mut state = state();
    if !expect(&mut state, source, "NSString", "newLibraryWithSource") || !expect(&mut state, options, "MTLCompileOptions", "newLibraryWithSource") {
        return NULL;
    }
    match state.get(options as usize) {
        Some(Kind::Options { language, fast_math: false }) if *language == 2 << 16 | 3 => {}
        _ => state.fail("a library has to be compiled as MSL 2.3 without fast math"),
    }
    let text = if let Some(Kind::Text(text)) = state.get(source as usize) { text.to_string_lossy().into_owned() } else { String::new() };
    match super::run::library(&text) {
        Ok(kernels) => state.owned(Kind::Library(kernels)),
        Err(error) => {
            // SAFETY: the caller's place for an error.
            unsafe { give_error(&mut state, &error, out) };
            NULL
        }
    }
}

extern "C" fn new_function(this: Id, _: Sel, name: Id) -> Id {
    let mut state = state();
    if !expect(&mut state, name, "NSString", "newFunctionWithName") {
        return NULL;
    }
    let name = if let Some(Kind::Text(text)) = state.get(name as usize) { text.to_string_lossy().into_owned() } else { String::new() };
    let Some(Kind::Library(kernels)) = state.get(this as usize) else { return NULL };
    let kernels: Arc<Kernels> = kernels.clone();
    match kernels.compiled.entry(&name).map(|(entry, _)| entry) {
        Some(entry) => state.owned(Kind::Function(kernels, entry)),
        None => NULL,
    }
}

unsafe extern "C" fn new_pipeline(_: Id, _: Sel, function: Id, out: *mut Id) -> Id {
    let mut state = state();
    if !expect(&mut state, function, "MTLFunction", "newComputePipelineState") {
        // SAFETY: the caller's place for an error.
        unsafe { give_error(&mut state, "no function", out) };
        return NULL;
    }
    let Some(Kind::Function(kernels, entry)) = state.get(function as usize) else { return NULL };
    let kind = Kind::Pipeline(kernels.clone(), *entry);
    state.owned(kind)
}

extern "C" fn most_lanes(this: Id, _: Sel) -> usize {
    let state = state();
    let most = state.traits.most_lanes;
    let Some(Kind::Pipeline(kernels, entry)) = state.get(this as usize) else { return 0 };
    kernels.compiled.entries[*entry].most_lanes.map_or(most, |own| most.min(own as usize))
}

extern "C" fn new_buffer(_: Id, _: Sel, bytes: usize, options: usize) -> Id {
    let mut state = state();
    if bytes == 0 || bytes > state.traits.longest_buffer || options != 0 {
        state.fail(format!("a buffer of {bytes} bytes with options {options}"));
        return NULL;
    }
    let mut memory = Guarded::new(&vec![0; bytes]);
    let at = memory.address() as usize;
    state.owned(Kind::Buffer { at, bytes, memory: Some(memory) })
}

extern "C" fn new_buffer_over(_: Id, _: Sel, at: *mut c_void, bytes: usize, options: usize, deallocator: *const c_void) -> Id {
    let mut state = state();
    if at.is_null() || !(at as usize).is_multiple_of(4096) || bytes == 0 || !bytes.is_multiple_of(16 << 10) || options != 0 || !deallocator.is_null()
    {
        state.fail(format!("a buffer over {bytes} bytes at {:#x} of a page, with options {options}", at as usize % 4096));
        return NULL;
    }
    state.owned(Kind::Buffer { at: at as usize, bytes, memory: None })
}

extern "C" fn contents(this: Id, _: Sel) -> *mut c_void {
    match state().get(this as usize) {
        Some(Kind::Buffer { at, .. }) => *at as *mut c_void,
        _ => NULL,
    }
}

extern "C" fn command_buffer(_: Id, _: Sel) -> Id {
    state().pooled(Kind::Commands { recorded: Vec::new(), encoders: 0, ended: 0, status: 0, error: None })
}

extern "C" fn encoder(this: Id, _: Sel) -> Id {
    let mut state = state();
    if let Some(Kind::Commands { encoders, ended, status, .. }) = state.get_mut(this as usize) {
        if encoders != ended || *status != 0 {
            state.fail("an encoder while another is open, or after the commit");
        } else {
            *encoders += 1;
        }
    }
    let commands = this as usize;
    state.pooled(Kind::Encoder { commands, open: true, pipeline: None, slots: BTreeMap::new(), arrays: BTreeMap::new() })
}

extern "C" fn commit(this: Id, _: Sel) {
    let mut state = state();
    match state.get_mut(this as usize) {
        Some(Kind::Commands { encoders, ended, status, .. }) if encoders == ended && *status == 0 => *status = 1,
        _ => state.fail("commit of a command buffer with an open encoder, or twice"),
    }
}

extern "C" fn wait(this: Id, _: Sel) {
    run::complete(&mut state(), this as usize);
}

extern "C" fn status(this: Id, _: Sel) -> usize {
    match state().get(this as usize) {
        Some(Kind::Commands { status, .. }) => *status,
        _ => 0,
    }
}

extern "C" fn error(this: Id, _: Sel) -> Id {
    let mut state = state();
    let text = if let Some(Kind::Commands { error: Some(text), .. }) = state.get(this as usize) { c_string(text) } else { return NULL };
    state.pooled(Kind::Error(text))
}

extern "C" fn set_pipeline(this: Id, _: Sel, pipeline: Id) {
    let mut state = state();
    if !expect(&mut state, pipeline, "MTLComputePipelineState", "setComputePipelineState") {
        return;
    }
    if let Some(Kind::Encoder { pipeline: bound, .. }) = state.get_mut(this as usize) {
        *bound = Some(pipeline as usize);
    }
}

extern "C" fn set_buffer(this: Id, _: Sel, buffer: Id, offset: usize, index: usize) {
    let mut state = state();
    if !expect(&mut state, buffer, "MTLBuffer", "setBuffer") {
        return;
    }
    if let Some(Kind::Buffer { bytes, .. }) = state.get(buffer as usize) {
        let bytes = *bytes;
        if offset >= bytes || !offset.is_multiple_of(256) || index > 30 {
            return state.fail(format!("a buffer of {bytes} bytes at offset {offset}, slot {index}"));
        }
    }
    if let Some(Kind::Encoder { slots, .. }) = state.get_mut(this as usize) {
        slots.insert(index, Slot::Buffer { id: buffer as usize, offset });
    }
}

unsafe extern "C" fn set_bytes(this: Id, _: Sel, bytes: *const u8, len: usize, index: usize) {
    let mut state = state();
    if bytes.is_null() || len == 0 || len > 4096 || index > 30 {
        return state.fail(format!("{len} bytes at slot {index}; setBytes takes up to 4096"));
    }
    // SAFETY: the caller's bytes are readable for their length.
    let copy = unsafe { std::slice::from_raw_parts(bytes, len) }.to_vec();
    if let Some(Kind::Encoder { slots, .. }) = state.get_mut(this as usize) {
        slots.insert(index, Slot::Bytes(copy));
    }
}

extern "C" fn set_array(this: Id, _: Sel, bytes: usize, index: usize) {
    let mut state = state();
    if bytes == 0 || !bytes.is_multiple_of(16) || index > 30 {
        return state.fail(format!("{bytes} bytes of threadgroup memory at slot {index}"));
    }
    if let Some(Kind::Encoder { arrays, .. }) = state.get_mut(this as usize) {
        arrays.insert(index, bytes);
    }
}

extern "C" fn dispatch(this: Id, _: Sel, groups: Size, lanes: Size) {
    let axes = |s: Size| [s.width, s.height, s.depth];
    run::record(&mut state(), this as usize, axes(groups), axes(lanes));
}

extern "C" fn end_encoding(this: Id, _: Sel) {
    let mut state = state();
    let Some(Kind::Encoder { commands, open, .. }) = state.get_mut(this as usize) else { return };
    let (commands, was_open) = (*commands, std::mem::replace(open, false));
    if !was_open {
        return state.fail("endEncoding twice");
    }
    if let Some(Kind::Commands { ended, .. }) = state.get_mut(commands) {
        *ended += 1;
    }
}
