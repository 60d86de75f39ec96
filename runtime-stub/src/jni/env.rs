//! The few functions of the Java Native Interface that the methods use, by their places in its table (JNI 1.6, unchanged since).

use core::ffi::c_void;
use core::mem::{size_of, transmute_copy};

/// A reference that Java gave for the time of a call.
pub(super) type Object = *mut c_void;

/// Places in the table of functions.
mod at {
    pub const DELETE_LOCAL_REF: usize = 23;
    pub const GET_OBJECT_CLASS: usize = 31;
    pub const GET_METHOD_ID: usize = 33;
    pub const CALL_BOOLEAN_METHOD_A: usize = 39;
    pub const GET_ARRAY_LENGTH: usize = 171;
    pub const NEW_BYTE_ARRAY: usize = 176;
    pub const GET_BYTE_ARRAY_ELEMENTS: usize = 184;
    pub const GET_INT_ARRAY_ELEMENTS: usize = 187;
    pub const RELEASE_BYTE_ARRAY_ELEMENTS: usize = 192;
    pub const RELEASE_INT_ARRAY_ELEMENTS: usize = 195;
    pub const SET_BYTE_ARRAY_REGION: usize = 208;
    pub const SET_LONG_ARRAY_REGION: usize = 212;
    pub const EXCEPTION_CHECK: usize = 228;
}

/// Writes back what was changed.
const COMMIT_AND_FREE: i32 = 0;
/// Drops what a release would write back.
const JNI_ABORT: i32 = 2;

/// The interface of the calling thread.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Env(*mut *const *const c_void);

impl Env {
    /// # Safety
    /// `F` is the type of the function at this place.
    unsafe fn function<F: Copy>(self, place: usize) -> F {
        const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
        // SAFETY: Java's table has all these places, and the caller knows the type.
        unsafe { transmute_copy::<*const c_void, F>(&*(*self.0).add(place)) }
    }

    fn length(self, array: Object) -> usize {
        // SAFETY: `jsize GetArrayLength(JNIEnv*, jarray)`.
        let length: i32 = unsafe { self.function::<unsafe extern "C" fn(Env, Object) -> i32>(at::GET_ARRAY_LENGTH)(self, array) };
        usize::try_from(length).unwrap_or(0)
    }

    /// Whether a Java exception is under way: no other function may be called then.
    pub(super) fn has_exception(self) -> bool {
        // SAFETY: `jboolean ExceptionCheck(JNIEnv*)`.
        unsafe { self.function::<unsafe extern "C" fn(Env) -> u8>(at::EXCEPTION_CHECK)(self) != 0 }
    }

    /// A new array with these bytes; null with an exception under way.
    pub(super) fn new_bytes(self, bytes: &[u8]) -> Object {
        // SAFETY: `jbyteArray NewByteArray(JNIEnv*, jsize)`.
        let array = unsafe { self.function::<unsafe extern "C" fn(Env, i32) -> Object>(at::NEW_BYTE_ARRAY)(self, bytes.len() as i32) };
        if !array.is_null() {
            self.set_bytes(array, bytes);
        }
        array
    }

    /// Writes to the beginning of an array; nothing if the array is shorter.
    pub(super) fn set_bytes(self, array: Object, bytes: &[u8]) {
        if bytes.len() <= self.length(array) {
            // SAFETY: `void SetByteArrayRegion(JNIEnv*, jbyteArray, jsize, jsize, const jbyte*)`, within both.
            unsafe {
                self.function::<unsafe extern "C" fn(Env, Object, i32, i32, *const u8)>(at::SET_BYTE_ARRAY_REGION)(
                    self,
                    array,
                    0,
                    bytes.len() as i32,
                    bytes.as_ptr(),
                );
            }
        }
    }

    /// Writes to the beginning of an array; nothing if the array is shorter.
    pub(super) fn set_longs(self, array: Object, longs: &[i64]) {
        if longs.len() <= self.length(array) {
            // SAFETY: `void SetLongArrayRegion(JNIEnv*, jlongArray, jsize, jsize, const jlong*)`, within both.
            unsafe {
                self.function::<unsafe extern "C" fn(Env, Object, i32, i32, *const i64)>(at::SET_LONG_ARRAY_REGION)(
                    self,
                    array,
                    0,
                    longs.len() as i32,
                    longs.as_ptr(),
                );
            }
        }
    }

    /// Calls `boolean piece(int, byte[])` of `receiver`, whose identity [`Env::piece_method`] gave.
    pub(super) fn call_piece(self, receiver: Object, method: Object, id: u32, text: Object) -> bool {
        // Each argument has eight bytes; an int has the first four.
        let arguments = [u64::from(id), text as u64];
        // SAFETY: `jboolean CallBooleanMethodA(JNIEnv*, jobject, jmethodID, const jvalue*)` with the method's arguments.
        unsafe {
            self.function::<unsafe extern "C" fn(Env, Object, Object, *const u64) -> u8>(at::CALL_BOOLEAN_METHOD_A)(
                self,
                receiver,
                method,
                arguments.as_ptr(),
            ) != 0
        }
    }

    /// The method `boolean piece(int, byte[])` of an object's class; null with an exception under way.
    pub(super) fn piece_method(self, receiver: Object) -> Object {
        // SAFETY: `jclass GetObjectClass(JNIEnv*, jobject)` of an object that is not null, then
        // `jmethodID GetMethodID(JNIEnv*, jclass, const char*, const char*)`.
        unsafe {
            let class = self.function::<unsafe extern "C" fn(Env, Object) -> Object>(at::GET_OBJECT_CLASS)(self, receiver);
            self.function::<unsafe extern "C" fn(Env, Object, *const u8, *const u8) -> Object>(at::GET_METHOD_ID)(
                self,
                class,
                c"piece".as_ptr().cast(),
                c"(I[B)Z".as_ptr().cast(),
            )
        }
    }

    /// Gives a reference back before the call ends, so that long answers do not fill the table of references.
    pub(super) fn forget(self, object: Object) {
        // SAFETY: `void DeleteLocalRef(JNIEnv*, jobject)`; may be called with an exception under way.
        unsafe { self.function::<unsafe extern "C" fn(Env, Object)>(at::DELETE_LOCAL_REF)(self, object) };
    }
}

/// The contents of an array of bytes or ints, given back when dropped.
pub(super) struct Elements<T> {
    env: Env,
    array: Object,
    at: *mut T,
    count: usize,
    release: usize,
    mode: i32,
}

impl Elements<u8> {
    /// Of a `byte[]`.
    pub(super) fn bytes(env: Env, array: Object) -> Self {
        Self::get(env, array, at::GET_BYTE_ARRAY_ELEMENTS, at::RELEASE_BYTE_ARRAY_ELEMENTS)
    }
}

impl Elements<u32> {
    /// Of an `int[]`.
    pub(super) fn ints(env: Env, array: Object) -> Self {
        Self::get(env, array, at::GET_INT_ARRAY_ELEMENTS, at::RELEASE_INT_ARRAY_ELEMENTS)
    }

    /// Of an `int[]` that takes what is written to them.
    pub(super) fn ints_to_write(env: Env, array: Object) -> Self {
        let mut elements = Self::ints(env, array);
        elements.mode = COMMIT_AND_FREE;
        elements
    }
}

impl<T> Elements<T> {
    fn get(env: Env, array: Object, get: usize, release: usize) -> Self {
        if array.is_null() {
            return Self { env, array, at: core::ptr::null_mut(), count: 0, release, mode: JNI_ABORT };
        }
        let count = env.length(array);
        // SAFETY: `T* Get…ArrayElements(JNIEnv*, array, jboolean*)`.
        let at = unsafe { env.function::<unsafe extern "C" fn(Env, Object, *mut u8) -> *mut T>(get)(env, array, core::ptr::null_mut()) };
        Self { env, array, at, count, release, mode: JNI_ABORT }
    }

    /// The elements; none of a null reference.
    pub(super) fn get_all(&self) -> &[T] {
        // SAFETY: Java holds `count` elements there until the release.
        if self.at.is_null() { &[] } else { unsafe { core::slice::from_raw_parts(self.at, self.count) } }
    }

    /// The elements, to be changed.
    pub(super) fn get_all_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and this is the only way to them.
        if self.at.is_null() { &mut [] } else { unsafe { core::slice::from_raw_parts_mut(self.at, self.count) } }
    }
}

impl<T> Drop for Elements<T> {
    fn drop(&mut self) {
        if !self.at.is_null() {
            // SAFETY: `void Release…ArrayElements(JNIEnv*, array, T*, jint)` of what the matching function gave.
            unsafe { self.env.function::<unsafe extern "C" fn(Env, Object, *mut T, i32)>(self.release)(self.env, self.array, self.at, self.mode) };
        }
    }
}
