//! The names by which a runtime finds the code, in every back end's objects.

/// The symbol of the code header.
pub(crate) const CODE: &str = "slmc_code";
/// The symbol of the table of kernels.
pub(crate) const KERNELS: &str = "slmc_kernels";
/// The object that holds both.
pub(crate) const TABLE: &str = "slmc_table";
