//! Shape inference: the result type of an op from its operands' types, and with it every rule on operand types.
//!
//! Rows are `[T, K]` in both segments. `kv_append` is the one op whose result dtype is a choice (what the cache stores):
//! [`infer`] gives f32 and [`is_kv_dtype`] says which others are allowed.

use super::op::Op;
use super::{DType, Dim, Graph, SegmentKind, TensorType, ValueId, WeightId};

/// The result type of `op`. `Err` names the operand, what it is and what it should be; arity is checked as well.
/// Attributes that make no sense on their own (0 heads) give an error, never a panic.
pub fn infer(op: &Op, inputs: &[&TensorType], weights: &[&TensorType]) -> Result<TensorType, String> {
    check_arity(op, inputs.len(), weights.len())?;
    match op {
        Op::Embed => {
            let tokens = TensorType { dtype: DType::U32, shape: vec![Dim::T] };
            if *inputs[0] != tokens {
                return Err(format!("tokens are {}, expected {tokens}", inputs[0]));
            }
            let [_, width] = matrix("table", weights[0])?;
            Ok(TensorType::rows(DType::F32, width))
        }
        Op::Linear => {
            let k = rows("x", inputs[0], &[DType::F32, DType::A8])?;
            let [n, wk] = matrix("weight", weights[0])?;
            if wk != k {
                return Err(format!("weight is {}, expected K = {k} as in x {}", weights[0], inputs[0]));
            }
            if inputs[0].dtype == DType::A8 && !weights[0].dtype.is_quantized_weight() {
                return Err(format!("x is a8g32 but the weight is {}: expected a quantized weight, or x in f32", weights[0].dtype));
            }
            if let Some(bias) = weights.get(1) {
                vector("bias", bias, n)?;
            }
            Ok(TensorType::rows(DType::F32, n))
        }
        Op::RmsNorm(a) => {
            let k = rows("x", inputs[0], &[DType::F32])?;
            if a.heads == 0 || k % a.heads != 0 {
                return Err(format!("heads = {} does not divide the row of {k}", a.heads));
            }
            vector("weight", weights[0], k / a.heads)?;
            Ok(inputs[0].clone())
        }
        Op::LayerNorm { .. } => {
            let k = rows("x", inputs[0], &[DType::F32])?;
            vector("weight", weights[0], k)?;
            if let Some(bias) = weights.get(1) {
                vector("bias", bias, k)?;
            }
            Ok(inputs[0].clone())
        }
        Op::Rope(a) => {
            let k = rows("x", inputs[0], &[DType::F32])?;
            heads("x", k, a.heads, "heads", a.head_dim)?;
            Ok(inputs[0].clone())
        }
        Op::KvAppend(_) => {
            let k = rows("x", inputs[0], &[DType::F32])?;
            Ok(TensorType { dtype: DType::F32, shape: vec![Dim::PT, Dim::Const(k)] })
        }
        Op::Attention(a) => {
            let k = rows("q", inputs[0], &[DType::F32])?;
            heads("q", k, a.heads, "heads", a.head_dim)?;
            for (name, ty) in [("k", inputs[1]), ("v", inputs[2])] {
                match ty.shape[..] {
                    [Dim::PT, Dim::Const(width)] if is_kv_dtype(ty.dtype) => heads(name, width, a.kv_heads, "kv_heads", a.head_dim)?,
                    _ => return Err(format!("{name} is {ty}, expected a KV slot: f32, f16 or q8g32 [P+T, kv_heads · head_dim]")),
                }
            }
            Ok(inputs[0].clone())
        }
        Op::Silu | Op::GeluTanh | Op::Scale { .. } | Op::Softcap { .. } => {
            rows("x", inputs[0], &[DType::F32])?;
            Ok(inputs[0].clone())
        }
        Op::Mul | Op::Add => {
            rows("a", inputs[0], &[DType::F32])?;
            if inputs[0] != inputs[1] {
                return Err(format!("a is {} and b is {}: expected equal types", inputs[0], inputs[1]));
            }
            Ok(inputs[0].clone())
        }
        Op::QuantizeAct => {
            let k = rows("x", inputs[0], &[DType::F32])?;
            if k % 32 != 0 {
                return Err(format!("x is {}: expected a row that groups of 32 divide", inputs[0]));
            }
            Ok(TensorType::rows(DType::A8, k))
        }
    }
}

/// Whether a KV slot can store this format.
pub fn is_kv_dtype(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::Q8)
}

/// Checks the numbers of operands against the op table.
pub fn check_arity(op: &Op, inputs: usize, weights: usize) -> Result<(), String> {
    let info = op.info();
    let (least, most) = info.weights;
    if inputs != info.inputs {
        return Err(format!("{} has {inputs} tensor operands, expected {}", info.name, info.inputs));
    }
    if weights < least || weights > most {
        let expected = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        return Err(format!("{} has {weights} weights, expected {expected}", info.name));
    }
    Ok(())
}

impl Graph {
    /// Appends a node whose result type is inferred (a `kv_append` gets f32; to store f16, change the result's dtype).
    /// `Err` is [`infer`]'s, or names an operand that does not exist.
    pub fn add_inferred(&mut self, which: SegmentKind, op: Op, inputs: &[ValueId], weights: &[WeightId]) -> Result<ValueId, String> {
        let x: Result<Vec<_>, _> = inputs.iter().map(|&v| self.values.get(v).map(|x| &x.ty).ok_or(format!("{v} does not exist"))).collect();
        let w: Result<Vec<_>, _> = weights.iter().map(|&w| self.weights.get(w).map(|x| &x.ty).ok_or(format!("{w} does not exist"))).collect();
        let ty = infer(&op, &x?, &w?)?;
        Ok(self.add_node(which, op, inputs, weights, ty))
    }
}

/// The K of rows `[T, K]` in one of `dtypes`.
fn rows(name: &str, ty: &TensorType, dtypes: &[DType]) -> Result<u32, String> {
    match ty.shape[..] {
        [Dim::T, Dim::Const(k)] if dtypes.contains(&ty.dtype) => Ok(k),
        _ => {
            let names: Vec<_> = dtypes.iter().map(|d| d.to_string()).collect();
            Err(format!("{name} is {ty}, expected rows {}[T, K]", names.join(" or ")))
        }
    }
}

/// The dims of a weight `[N, K]` of any weight format.
fn matrix(name: &str, ty: &TensorType) -> Result<[u32; 2], String> {
    match ty.shape[..] {
        [Dim::Const(n), Dim::Const(k)] if !matches!(ty.dtype, DType::U32 | DType::A8) => Ok([n, k]),
        _ => Err(format!("{name} is {ty}, expected two constant dims and a weight format")),
    }
}

/// A weight `[k]` in an unquantized format.
fn vector(name: &str, ty: &TensorType, k: u32) -> Result<(), String> {
    if ty.shape == [Dim::Const(k)] && matches!(ty.dtype, DType::F32 | DType::F16 | DType::Bf16) {
        return Ok(());
    }
    Err(format!("{name} is {ty}, expected f32, f16 or bf16 [{k}]"))
}

fn heads(name: &str, width: u32, heads: u32, attr: &str, head_dim: u32) -> Result<(), String> {
    if u64::from(heads) * u64::from(head_dim) == u64::from(width) {
        return Ok(());
    }
    Err(format!("{name} has rows of {width}, expected {attr} · head_dim = {heads} · {head_dim}"))
}
