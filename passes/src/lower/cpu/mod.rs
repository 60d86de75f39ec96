//! CPU schedules: the groups of the fused graph as a few parametrized kernels, one lane a tile.

pub mod activation;
pub mod attention;
pub mod cache;
pub mod dots;
pub mod embed;
pub mod epilogue;
pub mod groups;
pub mod head_norm;
pub mod heads;
pub mod matmul;
pub mod norm;
pub mod product;
pub mod quantize;
pub mod schedule;
pub mod tiles;
pub mod unpack;

use slmc_ir::graph::{AttentionAttrs, DType};
use slmc_ir::kernel::Kernel;
use slmc_ir::plan::MatrixLayout;
use slmc_ir::target::Target;

use super::activation::{ActShape, GROUP};
use super::emit::{Attention, Embed, Emit, Epilogue, Frame, HeadNorm, Norm, Pick, Spans};
use super::heads::Heads;
use super::launch::{HEAD_ROWS, Launch, Limits, Phase};
use epilogue::{GatedOutput, LogitsOutput, ResidualOutput, RowsOutput};
use heads::QkvOutput;
use schedule::Schedule;

/// The schedules of CPUs.
#[derive(Debug)]
pub struct Cpu {
    sched: Schedule,
}

impl Cpu {
    /// The schedules for a target.
    pub fn new(target: &Target) -> Self {
        Self { sched: Schedule::new(target) }
    }
}

impl Emit for Cpu {
    fn kind(&self) -> &'static str {
        "CPU"
    }

    fn matrix_layout(&self, dtype: DType) -> MatrixLayout {
        let q8_offset = if dtype == DType::Q8 { self.sched.q8_offset } else { 0 };
        let k_step = if dtype.is_quantized_weight() { self.sched.k_step } else { 4 };
        MatrixLayout { dtype, lanes: self.sched.lanes, k_step, q8_offset }
    }

    fn packed_columns(&self, k: u32) -> u32 {
        k
    }

    fn section_bytes(&self) -> u64 {
        u64::MAX
    }

    fn spare_rows(&self) -> u32 {
        self.sched.token_tile.max(HEAD_ROWS)
    }

    fn act_buffers(&self, shape: &ActShape) -> Vec<(&'static str, u64)> {
        activation::buffers(shape)
    }

    fn caches(&self) -> &'static [DType] {
        &[DType::F16, DType::Q8, DType::F32]
    }

    fn heads(&self, attrs: &AttentionAttrs, cache: DType, limits: &Limits) -> Heads {
        let lanes = u32::from(self.sched.lanes);
        let dims = if cache == DType::Q8 { lanes.max(GROUP) } else { lanes };
        Heads::new(attrs, cache, limits, dims, dims, self.sched.attention_positions)
    }

    fn over_limits(&self, _: &Kernel) -> Vec<String> {
        Vec::new()
    }

    fn embed(&self, name: &str, embed: &Embed, limits: &Limits) -> Launch {
        embed::launch(name, embed, &self.sched, limits)
    }

    fn project(&self, name: &str, frame: &Frame, epilogue: &Epilogue, limits: &Limits) -> Launch {
        let sched = &self.sched;
        match *epilogue {
            Epilogue::Qkv { heads, parts, rotated, rows } => {
                let declare = |b: &mut _| QkvOutput::declare(b, heads, parts, rotated, rows, sched);
                matmul::launch(frame, name, sched, limits, declare, |b, o, done| o.store(b, sched, &done))
            }
            Epilogue::Residual { features, out, rows } => {
                matmul::launch(frame, name, sched, limits, |b| ResidualOutput::declare(b, features, out, rows), |b, o, done| o.store(b, &done))
            }
            Epilogue::Rows { features, rows } => {
                matmul::launch(frame, name, sched, limits, |b| RowsOutput::declare(b, features, rows), |b, o, done| o.store(b, &done))
            }
            Epilogue::Gated { gate, out } => {
                matmul::launch(frame, name, sched, limits, |b| GatedOutput::declare(b, gate, out), |b, o, done| o.store(b, &done))
            }
            Epilogue::Logits { vocab, rows, softcap } => {
                matmul::launch(frame, name, sched, limits, |b| LogitsOutput::declare(b, vocab, rows, softcap), |b, o, done| o.store(b, &done))
            }
        }
    }

    fn attention(&self, name: &str, attention: &Attention, limits: &Limits) -> Launch {
        attention::launch(name, attention, &self.sched, limits)
    }

    fn spans(&self, name: &str, attention: &Attention, limits: &Limits) -> Option<Spans> {
        attention::spans(name, attention, &self.sched, limits)
    }

    fn norm(&self, name: &str, norm: &Norm, limits: &Limits) -> Launch {
        norm::launch(name, norm, &self.sched, limits)
    }

    fn head_norm(&self, name: &str, norm: &HeadNorm, limits: &Limits) -> Launch {
        head_norm::launch(name, norm, &self.sched, limits)
    }

    fn quantize(&self, name: &str, from: ActShape, to: ActShape, phase: Phase, limits: &Limits) -> Launch {
        quantize::launch(name, from, to, phase, &self.sched, limits)
    }

    fn pick(&self, _: u32, _: &Limits) -> Option<Pick> {
        None
    }
}
