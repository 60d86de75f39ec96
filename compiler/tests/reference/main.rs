//! The reference executor against Hugging Face's own numbers, and its errors.

mod expected;
mod faults;
mod fixture;
mod formats;
mod ops;
