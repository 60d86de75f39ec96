//! Arguments that say how tokens are picked.

use slmc::engine::{GenerateOptions, Sampling};

/// How to pick tokens; greedy unless a temperature is given.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "sampling")]
pub struct SamplingArgs {
    /// 0 picks the likeliest token; higher is more varied
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Keep this many of the likeliest tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Keep the fewest tokens whose probabilities sum to this
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Drop tokens less likely than this share of the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,
    /// Make tokens of the last 64 less likely; 1 is off
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    repetition_penalty: f32,
    /// The same seed gives the same answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Most tokens of an answer; 0 is what the context holds
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_tokens: u32,
    /// End the answer before this text; repeatable
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl SamplingArgs {
    /// As the engine takes them.
    pub fn options(&self) -> GenerateOptions {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            repetition_window: 64,
            seed: self.seed,
        };
        GenerateOptions { sampling, max_tokens: self.max_tokens, stops: self.stop.clone(), ..GenerateOptions::default() }
    }
}
