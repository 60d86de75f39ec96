//! Fixed little-endian records, read and written without `unsafe`, padding or an allocator.
//!
//! A record is a `repr(C)` struct whose fields leave no padding (asserted at compile time), so its bytes in a file
//! equal its bytes in the memory of a little-endian machine. Reading copies field by field: a file mapping needs no
//! alignment, and a big-endian compiler machine writes the same bytes.

/// A value with a fixed number of bytes in a file.
pub trait Wire: Sized {
    /// Bytes of one value.
    const BYTES: usize;

    /// Writes the value to the first [`Wire::BYTES`] bytes of `out`, which must be that long.
    fn put(&self, out: &mut [u8]);

    /// Reads a value from the first [`Wire::BYTES`] bytes of `bytes`, which must be that long.
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! wire_integer {
    ($($ty:ty),*) => { $(
        impl Wire for $ty {
            const BYTES: usize = size_of::<$ty>();

            #[inline]
            fn put(&self, out: &mut [u8]) {
                out[..Self::BYTES].copy_from_slice(&self.to_le_bytes());
            }

            #[inline]
            fn get(bytes: &[u8]) -> Self {
                let mut le = [0; size_of::<$ty>()];
                le.copy_from_slice(&bytes[..Self::BYTES]);
                <$ty>::from_le_bytes(le)
            }
        }
    )* };
}

wire_integer!(u8, u32, i32, u64);

impl<T: Wire, const N: usize> Wire for [T; N] {
    const BYTES: usize = T::BYTES * N;

    #[inline]
    fn put(&self, out: &mut [u8]) {
        for (i, value) in self.iter().enumerate() {
            value.put(&mut out[i * T::BYTES..]);
        }
    }

    #[inline]
    fn get(bytes: &[u8]) -> Self {
        core::array::from_fn(|i| T::get(&bytes[i * T::BYTES..]))
    }
}

/// Declares a `repr(C)` record of the stated size and its [`Wire`] form; a hole or another size does not compile.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $bytes:literal bytes {
            $( $(#[$field_meta:meta])* pub $field:ident: $ty:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl $crate::wire::Wire for $name {
            const BYTES: usize = 0 $( + <$ty as $crate::wire::Wire>::BYTES )*;

            #[inline]
            fn put(&self, mut out: &mut [u8]) {
                $(
                    self.$field.put(out);
                    out = &mut out[<$ty as $crate::wire::Wire>::BYTES..];
                )*
                let _ = out;
            }

            #[inline]
            fn get(mut bytes: &[u8]) -> Self {
                $(
                    let $field = <$ty as $crate::wire::Wire>::get(bytes);
                    bytes = &bytes[<$ty as $crate::wire::Wire>::BYTES..];
                )*
                let _ = bytes;
                Self { $( $field ),* }
            }
        }

        const _: () = assert!(core::mem::size_of::<$name>() == $bytes);
        const _: () = assert!(<$name as $crate::wire::Wire>::BYTES == $bytes);
    };
}

pub(crate) use record;
