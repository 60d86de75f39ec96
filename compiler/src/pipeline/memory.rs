//! What running a bundle takes, known before anything is written.

use slmc_ir::plan::Plan;
use slmc_ir::target::Target;

use super::CompileError;
use crate::bundle::manifest::Memory;

/// Memory of a running bundle, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Mapped weights.
    pub weights: u64,
    /// Activations of a session.
    pub arena: u64,
    /// Cache of a session.
    pub kv: u64,
    /// Cache for each token.
    pub kv_per_token: u64,
    /// Code, plan and tokenizer.
    pub rest: u64,
}

impl MemoryPlan {
    /// Of a finished plan and the sizes of code and tokenizer.
    pub(super) fn of(plan: &Plan, code: u64, tokenizer: u64) -> Self {
        Self {
            weights: plan.weights_bytes,
            arena: plan.arena_bytes,
            kv: plan.kv_bytes,
            kv_per_token: plan.kv.iter().map(|kv| u64::from(kv.bytes_per_position)).sum(),
            rest: code + tokenizer,
        }
    }

    /// All of it, with one session.
    pub fn peak(&self) -> u64 {
        self.weights + self.arena + self.kv + self.rest
    }

    pub(super) fn check(&self, target: &Target) -> Result<(), CompileError> {
        if self.peak() <= target.memory_budget {
            return Ok(());
        }
        let detail = format!("weights {}, KV cache {}, activations {}", human(self.weights), human(self.kv), human(self.arena));
        Err(CompileError::Memory { need: human(self.peak()), detail, budget: human(target.memory_budget) })
    }

    pub(super) fn manifest(&self) -> Memory {
        Memory { weights: self.weights, arena: self.arena, kv_per_token: self.kv_per_token, kv: self.kv, peak: self.peak() }
    }
}

/// Bytes for people: `637.4 MiB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(17), "17 bytes");
        assert_eq!(human(1024), "1.0 KiB");
        assert_eq!(human(1_015_808), "992.0 KiB");
        assert_eq!(human(668_361_523), "637.4 MiB");
    }
}
