//! What lowering asks of the schedules of a target kind: layouts as numbers, and the kernel of each group.
//!
//! Parameters come in an order that all kinds share, because the bindings are made from the graph:
//! - embedding: tokens, table, residual rows, then norm weight and activations written (if a norm follows);
//! - projection: activations read, weights, bias (if there is one), then those of the [`Epilogue`];
//! - attention: q, key cache, value cache, activations written (split over positions: q, key cache, value cache, parts
//!   written; then parts read, activations written);
//! - norm: rows of a product and the weight of their norm (if they are joined), residual rows, norm weight, norm bias (if there
//!   is one), activations written;
//! - norm per head: rows of a product, weight of the q norm, weight of the k norm (those that the parts name), then those of
//!   [`Epilogue::Qkv`];
//! - quantization: f32 rows, activations written.

use slmc_ir::graph::{AttentionAttrs, DType};
use slmc_ir::kernel::Kernel;
use slmc_ir::plan::MatrixLayout;

use super::activation::ActShape;
use super::gate::Gate;
use super::heads::{Heads, Parts};
use super::launch::{Launch, Limits, Phase};

/// Schedules of a target kind. Kernels depend on the arguments and the target's data only.
pub trait Emit {
    /// The kind of target in words, for messages.
    fn kind(&self) -> &'static str;
    /// How a matrix of a format lies in memory.
    fn matrix_layout(&self, dtype: DType) -> MatrixLayout;
    /// Columns as packed of a matrix that has `k`.
    fn packed_columns(&self, k: u32) -> u32;
    /// Most bytes of a matrix section; greater matrices are split by rows.
    fn section_bytes(&self) -> u64;
    /// Rows past those of the step that a kernel may read from the arena.
    fn spare_rows(&self) -> u32;
    /// Names and bytes of the buffers of activations, in the order of the parameters.
    fn act_buffers(&self, shape: &ActShape) -> Vec<(&'static str, u64)>;
    /// The formats in which the KV cache may be.
    fn caches(&self) -> &'static [DType];
    /// The geometry of a layer's heads.
    fn heads(&self, attrs: &AttentionAttrs, cache: DType, limits: &Limits) -> Heads;
    /// What a kernel asks for that the target does not have, in words.
    fn over_limits(&self, kernel: &Kernel) -> Vec<String>;
    /// The kernel that begins the residual stream.
    fn embed(&self, name: &str, embed: &Embed, limits: &Limits) -> Launch;
    /// The kernel of a product with a matrix, and what follows it.
    fn project(&self, name: &str, frame: &Frame, epilogue: &Epilogue, limits: &Limits) -> Launch;
    /// The kernel of attention over the cache.
    fn attention(&self, name: &str, attention: &Attention, limits: &Limits) -> Launch;
    /// What follows attention that is split over positions, under the name given; `None` where one kernel does it all.
    fn spans(&self, name: &str, attention: &Attention, limits: &Limits) -> Option<Spans>;
    /// The kernel of a norm that is a launch of its own.
    fn norm(&self, name: &str, norm: &Norm, limits: &Limits) -> Launch;
    /// The kernel that norms and rotates heads and writes q rows and the cache.
    fn head_norm(&self, name: &str, norm: &HeadNorm, limits: &Limits) -> Launch;
    /// The kernel that quantizes f32 rows.
    fn quantize(&self, name: &str, from: ActShape, to: ActShape, phase: Phase, limits: &Limits) -> Launch;
    /// The kernels that pick a greedy token; `None` where the host picks.
    fn pick(&self, vocab: u32, limits: &Limits) -> Option<Pick>;
}

/// Attention split over positions: its kernel writes parts in place of activations.
#[derive(Debug)]
pub struct Spans {
    /// Names and bytes of the buffers of parts, in the order of the parameters.
    pub parts: Vec<(&'static str, u64)>,
    /// Parts to activations.
    pub combine: Launch,
}

/// Kernels that pick the greatest logit: the first reads logits and writes candidates, the second reads these and writes the
/// id.
#[derive(Debug)]
pub struct Pick {
    /// Bytes of the candidates.
    pub between: u64,
    /// Logits to candidates.
    pub scan: Launch,
    /// Candidates to the id, `u32[1]`.
    pub pick: Launch,
}

/// A run of rows of a matrix that is one packed section, in units of what an epilogue sees together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First unit.
    pub first: u32,
    /// Units of the section.
    pub count: u32,
    /// Units of the whole matrix.
    pub of: u32,
}

impl Span {
    /// The part of a kernel's name that tells which of several sections it reads; empty if there is one.
    pub fn tag(self) -> String {
        if self.count == self.of { String::new() } else { format!("_u{}to{}", self.first, self.first + self.count) }
    }
}

/// What shapes the embedding kernel.
#[derive(Debug, Clone)]
pub struct Embed {
    /// How the table lies in memory.
    pub layout: MatrixLayout,
    /// Rows of the table.
    pub vocab: u32,
    /// Blocks of the table's rows that the bound section holds; the kernel does the tokens whose rows these are.
    pub span: Span,
    /// Columns as packed.
    pub k: u32,
    /// Features of a row.
    pub features: u32,
    /// Factor on the rows.
    pub scale: f32,
    /// Activations written, where a split norm follows.
    pub out: Option<ActShape>,
    /// Rows of the residual in the arena.
    pub residual_rows: u32,
    /// Which list it is for.
    pub phase: Phase,
}

/// What shapes a product.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Which list it is for.
    pub phase: Phase,
    /// How the matrix lies in memory.
    pub layout: MatrixLayout,
    /// Columns as packed.
    pub k: u32,
    /// The row units that the bound section holds. Bias and outputs are those of the whole matrix.
    pub span: Span,
    /// Blocks of a unit.
    pub unit_blocks: u32,
    /// The activations read.
    pub act: ActShape,
    /// Whether each packed row has a bias.
    pub bias: bool,
}

impl Frame {
    /// Rows of a unit.
    pub fn unit_rows(&self) -> u32 {
        self.unit_blocks * u32::from(self.layout.lanes)
    }

    /// The part of a kernel's name that tells the frame.
    pub fn tag(&self) -> String {
        format!(
            "{}_n{}_{}{}_{}{}",
            self.layout.dtype,
            self.span.of * self.unit_rows(),
            self.act.tag(),
            if self.bias { "_bias" } else { "" },
            self.phase.tag(),
            self.span.tag()
        )
    }
}

/// What follows a product. A unit is the rows that it sees together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Epilogue {
    /// Rotates q and k, writes q rows and the cache; units are [`Heads::unit_rows`]. Parameters: rope table (if rotated), q rows, key cache,
    /// value cache, those that `parts` names.
    Qkv {
        /// Geometry.
        heads: Heads,
        /// Projections in the matrix, one after the other.
        parts: Parts,
        /// Whether q and k are rotated.
        rotated: bool,
        /// Rows of q in the arena.
        rows: u32,
    },
    /// Adds to the residual rows in place and, where a split norm follows, writes its activations; units are 32 features.
    /// Parameters: residual rows, then norm weight and activations written.
    Residual {
        /// Features of a row.
        features: u32,
        /// The activations written.
        out: Option<ActShape>,
        /// Rows of the residual in the arena.
        rows: u32,
    },
    /// Writes f32 rows; units are 32 features. Parameter: the rows, `[rows, features rounded up to 32]`.
    Rows {
        /// Features of a row.
        features: u32,
        /// Rows in the arena.
        rows: u32,
    },
    /// Gates; units are 32 gate rows and 32 up rows. Parameters: activations written.
    Gated {
        /// Which function gates.
        gate: Gate,
        /// The activations written.
        out: ActShape,
    },
    /// Writes logits f32 [rows, vocab]; units are blocks. Parameter: logits.
    Logits {
        /// Rows of the matrix, without padding.
        vocab: u32,
        /// Rows of logits.
        rows: u32,
        /// Soft cap on them.
        softcap: Option<f32>,
    },
}

impl Epilogue {
    /// The name of the kernel of a product with this epilogue.
    pub fn kernel_name(&self, frame: &Frame) -> String {
        let frame = frame.tag();
        match self {
            Epilogue::Qkv { heads, parts, rotated, .. } => {
                format!("{}_{frame}_{}{}", parts.tag(), heads.tag(), if *rotated { "_rope" } else { "" })
            }
            Epilogue::Residual { out: Some(out), .. } => format!("residual_{frame}_to_{}", out.tag()),
            Epilogue::Residual { out: None, features, .. } => format!("residual_{frame}_f{features}"),
            Epilogue::Rows { features, .. } => format!("rows_{frame}_f{features}"),
            Epilogue::Gated { gate, out } => format!("gated_{}_{frame}_to_{}", gate.tag(), out.tag()),
            Epilogue::Logits { vocab, softcap, .. } => format!("logits_v{vocab}{}_{frame}", cap_tag(*softcap)),
        }
    }
}

/// What shapes the attention kernel.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Head geometry.
    pub heads: Heads,
    /// Factor on `q · k`.
    pub scale: f32,
    /// Soft cap on the scaled scores.
    pub softcap: Option<f32>,
    /// Where results go.
    pub out: ActShape,
    /// Which list it is for.
    pub phase: Phase,
    /// Rows of q in the arena.
    pub q_rows: u32,
}

impl Attention {
    /// The name of the kernel.
    pub fn kernel_name(&self) -> String {
        let (scale, cap) = (self.scale.to_bits(), cap_tag(self.softcap));
        format!("attention_{}_s{scale:x}{cap}_{}_{}", self.heads.tag(), self.out.tag(), self.phase.tag())
    }
}

/// What shapes the kernel of a norm that is a launch of its own: one tile has a whole row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Features of a row.
    pub features: u32,
    /// Rows of a product are normed by their root mean square, with this added to the mean, and added to the residual first.
    pub joined: Option<f32>,
    /// How the residual rows are normed.
    pub by: NormBy,
    /// Activations written; nothing is left to their consumer.
    pub out: ActShape,
    /// Rows of the residual, and of the product, in the arena.
    pub rows: u32,
    /// Which list it is for.
    pub phase: Phase,
}

/// A norm of whole rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NormBy {
    /// `rms_norm`.
    RootMeanSquare {
        /// Added to the mean square.
        eps: f32,
    },
    /// `layer_norm`.
    Deviation {
        /// Added to the variance.
        eps: f32,
        /// Whether a bias is added.
        bias: bool,
    },
}

impl Norm {
    /// The name of the kernel.
    pub fn kernel_name(&self) -> String {
        let joined = self.joined.map_or(String::new(), |eps| format!("join_n{:x}_", eps.to_bits()));
        let by = match self.by {
            NormBy::RootMeanSquare { eps } => format!("rms_n{:x}", eps.to_bits()),
            NormBy::Deviation { eps, bias } => format!("layer_n{:x}{}", eps.to_bits(), if bias { "_bias" } else { "" }),
        };
        format!("{joined}{by}_r{}_to_{}_{}", self.rows, self.out.tag(), self.phase.tag())
    }
}

/// What shapes the kernel that norms and rotates heads. It reads the rows of a product in the order of packed projections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadNorm {
    /// Geometry.
    pub heads: Heads,
    /// Projections in the rows, one after the other; values are only moved.
    pub parts: Parts,
    /// Added to the mean square of a head.
    pub eps: f32,
    /// Whether q and k are rotated.
    pub rotated: bool,
    /// Rows of the product, and of q, in the arena.
    pub rows: u32,
    /// Which list it is for.
    pub phase: Phase,
}

impl HeadNorm {
    /// Rows of the packed projections: features of a row read, before rounding up to 32.
    pub fn features(&self) -> u32 {
        let Heads { heads, kv_heads, packed_rows, .. } = self.heads;
        let count = |on: bool, heads: u32| if on { heads } else { 0 };
        (count(self.parts.q, heads) + count(self.parts.k, kv_heads) + count(self.parts.v, kv_heads)) * packed_rows
    }

    /// The name of the kernel.
    pub fn kernel_name(&self) -> String {
        let rope = if self.rotated { "_rope" } else { "" };
        format!("norm_{}_{}_n{:x}_r{}{rope}_{}", self.parts.tag(), self.heads.tag(), self.eps.to_bits(), self.rows, self.phase.tag())
    }
}

/// The part of a kernel's name that tells a soft cap.
fn cap_tag(softcap: Option<f32>) -> String {
    softcap.map_or(String::new(), |cap| format!("_cap{:x}", cap.to_bits()))
}
