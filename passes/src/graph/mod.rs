//! The graph passes, one file each. A file is named as its pass and nothing else lives here.

pub mod fold;
pub mod fuse;
pub mod quantize;
pub mod share;

use slmc_ir::graph::Graph;

use crate::manager::PassInfo;

/// Every graph pass, in the usual order.
pub static GRAPH_PASSES: &[&PassInfo<Graph>] = &[&fold::INFO, &share::INFO, &quantize::INFO, &fuse::INFO];
