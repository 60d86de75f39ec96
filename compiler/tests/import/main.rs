//! Import of checkpoints: what is right comes out right, and everything wrong is named without a panic.

mod config_faults;
mod copies;
mod file_faults;
mod graphs;
mod header_faults;
mod mutations;
mod tensor_faults;
