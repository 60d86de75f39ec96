//! GPU lowering: kernels whose tiles are workgroups of `Kernel::lanes` invocations.

pub mod activation;
pub mod argmax;
pub mod attention;
pub mod heads;
pub mod reduce;
