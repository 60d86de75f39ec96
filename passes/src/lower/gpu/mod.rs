//! GPU schedules: kernels whose tiles are workgroups of `Kernel::lanes` invocations.
//!
//! Everything follows from the device's data: lanes of a workgroup, workgroup memory, whether it multiplies packed bytes or
//! reduces over subgroups. Matrices lie in blocks of 32 rows, a word of each row after the other.

pub mod activation;
pub mod argmax;
pub mod attention;
pub mod bias;
pub mod embed;
pub mod epilogue;
pub mod head_norm;
pub mod heads;
pub mod matmul;
pub mod matvec;
pub mod norm;
pub mod product;
pub mod qkv;
pub mod quantize;
pub mod reduce;
pub mod schedule;
pub mod tile;
pub mod weights;

use slmc_ir::graph::{AttentionAttrs, DType};
use slmc_ir::kernel::{Kernel, Space};
use slmc_ir::plan::MatrixLayout;
use slmc_ir::target;

use super::activation::{ActShape, GROUP};
use super::emit::{Attention, Embed, Emit, Epilogue, Frame, HeadNorm, Norm, Pick, Spans};
use super::heads::Heads;
use super::launch::{HEAD_ROWS, Launch, Limits, Phase};
use argmax::Argmax;
use heads::BLOCK;
use schedule::Schedule;

/// The schedules of GPUs.
#[derive(Debug)]
pub struct Gpu {
    sched: Schedule,
}

impl Gpu {
    /// The schedules for a device.
    pub fn new(gpu: &target::Gpu) -> Self {
        Self { sched: Schedule::new(gpu) }
    }
}

impl Emit for Gpu {
    fn kind(&self) -> &'static str {
        "GPU"
    }

    fn matrix_layout(&self, dtype: DType) -> MatrixLayout {
        MatrixLayout { dtype, lanes: BLOCK as u16, k_step: 4, q8_offset: 0 }
    }

    fn packed_columns(&self, k: u32) -> u32 {
        k.next_multiple_of(GROUP)
    }

    fn section_bytes(&self) -> u64 {
        self.sched.gpu.binding_bytes
    }

    fn spare_rows(&self) -> u32 {
        // What the head's rows may ask for past a chunk that is shorter than they.
        HEAD_ROWS
    }

    fn act_buffers(&self, shape: &ActShape) -> Vec<(&'static str, u64)> {
        activation::buffers(shape)
    }

    fn caches(&self) -> &'static [DType] {
        &[DType::F16, DType::F32]
    }

    fn heads(&self, attrs: &AttentionAttrs, cache: DType, limits: &Limits) -> Heads {
        heads::geometry(attrs, cache, limits)
    }

    fn over_limits(&self, kernel: &Kernel) -> Vec<String> {
        let gpu = &self.sched.gpu;
        let params = kernel.params().count() as u32;
        let arrays = kernel.buffers.iter().filter(|(_, b)| b.space == Space::Workgroup);
        let shared: u32 = arrays.map(|(_, b)| (b.len * b.elem.bytes()).next_multiple_of(16)).sum();
        let mut over = Vec::new();
        for (what, needs, has) in [
            ("storage buffers", params, gpu.storage_buffers),
            ("bytes of workgroup memory", shared, gpu.shared_bytes),
            ("lanes", kernel.lanes, gpu.lanes),
        ] {
            if needs > has {
                over.push(format!("its kernel takes {needs} {what}, the target has {has}"));
            }
        }
        over
    }

    fn embed(&self, name: &str, embed: &Embed, limits: &Limits) -> Launch {
        embed::launch(name, embed, &self.sched, limits)
    }

    fn project(&self, name: &str, frame: &Frame, epilogue: &Epilogue, limits: &Limits) -> Launch {
        match frame.phase {
            Phase::Decode | Phase::HeadOne => matvec::launch(name, frame, epilogue, &self.sched, limits),
            Phase::Prefill | Phase::HeadMany => matmul::launch(name, frame, epilogue, &self.sched, limits),
        }
    }

    fn attention(&self, name: &str, what: &Attention, limits: &Limits) -> Launch {
        attention::Attention::new(what, &self.sched.gpu).launch(name, limits)
    }

    fn spans(&self, name: &str, what: &Attention, limits: &Limits) -> Option<Spans> {
        let attention = attention::Attention::new(what, &self.sched.gpu);
        (attention.spans(limits) > 1).then(|| Spans { parts: attention.parts(limits), combine: attention.combine(name, limits) })
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

    fn pick(&self, vocab: u32, limits: &Limits) -> Option<Pick> {
        let argmax = Argmax { vocab, gpu: &self.sched.gpu };
        let names = [format!("scan_v{vocab}"), format!("pick_v{vocab}")];
        Some(Pick { between: argmax.bytes(), scan: argmax.scan(&names[0], limits), pick: argmax.pick(&names[1], limits) })
    }
}
