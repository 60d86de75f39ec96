//! Kernels in Metal's language on this machine: MSL text is compiled as C++ against the `metal_stdlib` of `tests/metal`.
//!
//! [`signature`] reads what each entry point wants from its own parameter list, so that slots, built-ins and the order of
//! threadgroup arrays are those of the text and not those we think it has; [`caller`] writes the C++ that makes such calls;
//! [`compile`] runs the compiler. Loading and launching stand in `tests/tests/metal`, as they need `unsafe`.

pub mod signature;

pub mod caller;

pub mod compile;
