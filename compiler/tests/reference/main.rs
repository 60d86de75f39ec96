//! The reference executor against Hugging Face's own numbers, and its errors.

mod expected;
mod faults;
#[path = "../fixture/mod.rs"]
mod fixture;
mod formats;
mod odd;
#[path = "../../../tests/src/odd_models.rs"]
mod odd_models;
mod ops;
#[path = "../../../tests/src/random_model.rs"]
mod random_model;
