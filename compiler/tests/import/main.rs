//! Import of checkpoints: what is right comes out right, and everything wrong is named without a panic.

mod config_faults;
mod copies;
mod equivalents;
mod family_faults;
mod file_faults;
#[path = "../fixture/mod.rs"]
mod fixture;
mod graphs;
mod header_faults;
mod interpreted;
mod mutations;
mod published;
mod tensor_faults;
