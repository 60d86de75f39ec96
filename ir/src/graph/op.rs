//! The ops of the graph IR and their attributes, described in one table.
//!
//! [`OPS`] feeds the printer, the parser, the arity check and the generated op reference; shape inference matches on [`Op`]
//! exhaustively, so a new op is a compile error until every place knows it.

/// An operation with its attributes. `x` is a tensor operand, `w` a weight operand; K is the last dim of `x`.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `embed tokens, table` → f32[T, D]: row `tokens[t]` of table [V, D], dequantized.
    Embed,
    /// `linear x, w (, bias)` → f32[T, N]: `x · wᵀ + bias`, w `[N, K]`, bias `[N]`. If `x` is a8g32 the products of a group are
    /// summed exactly in i32, then scaled.
    Linear,
    /// `rms_norm x, w` → f32[T, K]: `x / sqrt(mean(x²) + eps) · w` over each of `heads` equal parts of the row; w [K / heads].
    /// Zhang & Sennrich, arXiv 1910.07467.
    RmsNorm(NormAttrs),
    /// `layer_norm x, w (, b)` → f32[T, K]: `(x − mean(x)) / sqrt(var(x) + eps) · w + b` over the row, with the variance of the
    /// row itself (divided by K); w and b `[K]`. Ba, Kiros & Hinton, arXiv 1607.06450.
    LayerNorm {
        /// Added to the variance.
        eps: f32,
    },
    /// `rope x` → f32[T, K]: rotary position embedding of token P + t, halves style (Su et al., arXiv 2104.09864, in the
    /// layout of Hugging Face: dim i pairs with i + rotary_dim / 2).
    Rope(RopeAttrs),
    /// `kv_append x` → [P+T, K]: writes the rows of this step to a KV slot, rounded to the result's dtype as
    /// [`CacheRows::round`](crate::quant::CacheRows::round) does it, and gives the whole slot.
    KvAppend(KvAppendAttrs),
    /// `attention q, k, v` → f32[T, heads · head_dim]: causal scaled dot-product attention with grouped KV heads; query t
    /// sees cache rows 0..=P + t.
    Attention(AttentionAttrs),
    /// `silu x` → `x / (1 + exp(−x))`.
    Silu,
    /// `gelu_tanh x` → the tanh form of GELU.
    GeluTanh,
    /// `mul a, b` element by element.
    Mul,
    /// `add a, b` element by element.
    Add,
    /// `scale x` → `x · factor`.
    Scale {
        /// The factor.
        factor: f32,
    },
    /// `softcap x` → `cap · tanh(x / cap)`.
    Softcap {
        /// The cap.
        cap: f32,
    },
    /// `quantize_act x` → a8g32[T, K]: per group of 32, scale = max|x| / 127 and round(x / scale) to nearest even; a group
    /// of zeros has scale 0.
    QuantizeAct,
}

/// Attributes of `rms_norm`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormAttrs {
    /// Added to the mean square.
    pub eps: f32,
    /// Parts of the row that are normed on their own; 1 norms the whole row.
    pub heads: u32,
    /// The factor is `1 + w`, as in Gemma.
    pub unit_offset: bool,
}

/// Attributes of `rope`.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeAttrs {
    /// Heads in a row.
    pub heads: u32,
    /// Dims of a head.
    pub head_dim: u32,
    /// Leading dims of each head that are rotated; even.
    pub rotary_dim: u32,
    /// Base of the geometric series of wave lengths.
    pub theta: f32,
    /// How frequencies are scaled for long contexts.
    pub scaling: RopeScaling,
}

/// Frequency scaling of `rope`.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// None.
    Default,
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Llama 3: by wave-length band.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f32,
        /// Band edge: wave lengths over `original / low` are divided.
        low: f32,
        /// Band edge: wave lengths under `original / high` stay.
        high: f32,
        /// Context the model was first trained with.
        original: u32,
    },
    /// LongRoPE: every frequency has its own divisor. Ding et al., arXiv 2402.13753.
    PerPair {
        /// Factor on cosines and sines.
        magnitude: f32,
        /// Divisor of each of the `rotary_dim / 2` frequencies.
        divisors: Vec<f32>,
    },
}

/// Which half of a KV slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KvPart {
    /// Keys.
    K,
    /// Values.
    V,
}

/// Attributes of `kv_append`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvAppendAttrs {
    /// The slot, `0..Graph::kv_slots`.
    pub slot: u32,
    /// Keys or values.
    pub part: KvPart,
}

/// Attributes of `attention`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionAttrs {
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`. Query head h uses KV head `h / (heads / kv_heads)`.
    pub kv_heads: u32,
    /// Dims of a head.
    pub head_dim: u32,
    /// Factor on `q · k`.
    pub scale: f32,
    /// Sees only the last `window` positions, itself included.
    pub window: Option<u32>,
    /// Soft cap on the scaled scores.
    pub softcap: Option<f32>,
}

/// What is known of an op without its attributes.
#[derive(Debug)]
pub struct OpInfo {
    /// Name in the text form.
    pub name: &'static str,
    /// Number of tensor operands.
    pub inputs: usize,
    /// Least and most weight operands.
    pub weights: (usize, usize),
    /// Names of the attributes, in printing order.
    pub attrs: &'static [&'static str],
    /// One line for the op reference.
    pub summary: &'static str,
}

/// Every op, in the order of [`Op`].
pub static OPS: &[OpInfo] = &[
    OpInfo { name: "embed", inputs: 1, weights: (1, 1), attrs: &[], summary: "rows of a table by token id" },
    OpInfo { name: "linear", inputs: 1, weights: (1, 2), attrs: &[], summary: "x · wᵀ (+ bias), w [N, K]" },
    OpInfo {
        name: "rms_norm",
        inputs: 1,
        weights: (1, 1),
        attrs: &["eps", "heads", "unit_offset"],
        summary: "root-mean-square norm, per row or per head",
    },
    OpInfo { name: "layer_norm", inputs: 1, weights: (1, 2), attrs: &["eps"], summary: "norm by mean and variance of the row" },
    OpInfo {
        name: "rope",
        inputs: 1,
        weights: (0, 0),
        attrs: &["heads", "head_dim", "rotary_dim", "theta", "scaling"],
        summary: "rotary position embedding, halves style",
    },
    OpInfo { name: "kv_append", inputs: 1, weights: (0, 0), attrs: &["slot", "part"], summary: "append rows to a KV slot; gives the whole slot" },
    OpInfo {
        name: "attention",
        inputs: 3,
        weights: (0, 0),
        attrs: &["heads", "kv_heads", "head_dim", "scale", "window", "softcap"],
        summary: "causal grouped-query attention",
    },
    OpInfo { name: "silu", inputs: 1, weights: (0, 0), attrs: &[], summary: "x · sigmoid(x)" },
    OpInfo { name: "gelu_tanh", inputs: 1, weights: (0, 0), attrs: &[], summary: "tanh form of GELU" },
    OpInfo { name: "mul", inputs: 2, weights: (0, 0), attrs: &[], summary: "element-wise product" },
    OpInfo { name: "add", inputs: 2, weights: (0, 0), attrs: &[], summary: "element-wise sum" },
    OpInfo { name: "scale", inputs: 1, weights: (0, 0), attrs: &["factor"], summary: "product with a constant" },
    OpInfo { name: "softcap", inputs: 1, weights: (0, 0), attrs: &["cap"], summary: "cap · tanh(x / cap)" },
    OpInfo { name: "quantize_act", inputs: 1, weights: (0, 0), attrs: &[], summary: "f32 rows to a8g32" },
];

impl Op {
    /// The op's row of [`OPS`].
    pub fn info(&self) -> &'static OpInfo {
        let index = match self {
            Op::Embed => 0,
            Op::Linear => 1,
            Op::RmsNorm(_) => 2,
            Op::LayerNorm { .. } => 3,
            Op::Rope(_) => 4,
            Op::KvAppend(_) => 5,
            Op::Attention(_) => 6,
            Op::Silu => 7,
            Op::GeluTanh => 8,
            Op::Mul => 9,
            Op::Add => 10,
            Op::Scale { .. } => 11,
            Op::Softcap { .. } => 12,
            Op::QuantizeAct => 13,
        };
        &OPS[index]
    }
}

/// The dim of a head in place `place` of the order in which partners of a rotation of `rotary_dim` dims are neighbours.
pub fn paired_dim(place: u32, rotary_dim: u32) -> u32 {
    match place {
        p if p >= rotary_dim => p,
        p if p.is_multiple_of(2) => p / 2,
        p => rotary_dim / 2 + p / 2,
    }
}

impl RopeAttrs {
    /// Inverse frequencies `[rotary_dim / 2]` after scaling, as Hugging Face computes them in f32.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let half = self.rotary_dim / 2;
        (0..half)
            .map(|i| {
                let exponent = (2 * i) as f32 / self.rotary_dim as f32;
                let f = (1.0 / f64::from(self.theta).powf(f64::from(exponent))) as f32;
                self.scaling.apply(i as usize, f)
            })
            .collect()
    }
    /// `(cos, sin)` of every pair for position `p`: `rotary_dim / 2` of them.
    pub fn rotation(&self, p: u32) -> Vec<(f32, f32)> {
        let magnitude = f64::from(self.scaling.magnitude());
        self.inverse_frequencies()
            .into_iter()
            .map(|f| {
                let angle = f64::from(p as f32 * f);
                ((angle.cos() * magnitude) as f32, (angle.sin() * magnitude) as f32)
            })
            .collect()
    }
}

impl RopeScaling {
    /// Factor on cosines and sines.
    pub fn magnitude(&self) -> f32 {
        match self {
            RopeScaling::PerPair { magnitude, .. } => *magnitude,
            RopeScaling::Default | RopeScaling::Linear { .. } | RopeScaling::Llama3 { .. } => 1.0,
        }
    }
    /// Scales the inverse frequency of a pair.
    pub fn apply(&self, pair: usize, f: f32) -> f32 {
        match *self {
            RopeScaling::Default => f,
            RopeScaling::PerPair { ref divisors, .. } => f / divisors.get(pair).copied().unwrap_or(1.0),
            RopeScaling::Linear { factor } => f / factor,
            RopeScaling::Llama3 { factor, low, high, original } => {
                let wave = 2.0 * std::f32::consts::PI / f;
                let original = original as f32;
                if wave > original / low {
                    f / factor
                } else if wave < original / high {
                    f
                } else {
                    let smooth = (original / wave - low) / (high - low);
                    (1.0 - smooth) * f / factor + smooth * f
                }
            }
        }
    }
}
