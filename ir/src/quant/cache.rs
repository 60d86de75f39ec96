//! What a KV slot keeps of the rows that are appended to it.

use half::f16;

use super::act::{ACT_GROUP, quantize_act_group};
use super::format::round_row;
use crate::graph::{DType, Graph, Node, Op, paired_dim};

/// How rows of a slot are divided: by heads, and heads by the order of their dims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRows {
    /// Dims of a head.
    pub head_dim: u32,
    /// Dims of a head that are rotated, 0 for none.
    pub rotary_dim: u32,
}

impl CacheRows {
    /// The division of the rows that a `kv_append` of `graph` appends: heads are those of the attention that reads the slot.
    pub fn of(graph: &Graph, append: &Node) -> Self {
        let mut nodes = graph.nodes.iter().map(|(_, node)| node);
        let head_dim = nodes.find_map(|node| match node.op {
            Op::Attention(a) if node.inputs.contains(&append.output) => Some(a.head_dim),
            _ => None,
        });
        let rotary_dim = graph.nodes.iter().find_map(|(_, node)| match &node.op {
            Op::Rope(a) if append.inputs.contains(&node.output) => Some(a.rotary_dim),
            _ => None,
        });
        let width = append.inputs.first().and_then(|x| graph.values[*x].ty.last()).unwrap_or(1);
        Self { head_dim: head_dim.unwrap_or(width).max(1), rotary_dim: rotary_dim.unwrap_or(0) }
    }

    /// Replaces a row `[kv_heads · head_dim]` by what a slot of format `dtype` keeps of it. In q8g32 a group is 32 dims of a head, the
    /// last one what is left, rotated dims beside their partners; its codes are those of a8g32, its scale `max|x| / 127` as f16.
    ///
    /// # Panics
    /// If `dtype` is no format of a cache.
    pub fn round(&self, dtype: DType, row: &mut [f32]) {
        if dtype != DType::Q8 {
            return round_row(dtype, row);
        }
        let order: Vec<usize> = (0..self.head_dim).map(|place| paired_dim(place, self.rotary_dim) as usize).collect();
        for head in row.chunks_mut(self.head_dim as usize) {
            for dims in order.chunks(ACT_GROUP) {
                let (mut x, mut codes) = ([0.0; ACT_GROUP], [0; ACT_GROUP]);
                for (x, &d) in x.iter_mut().zip(dims) {
                    *x = head[d];
                }
                let (scale, _) = quantize_act_group(&x, &mut codes);
                let scale = f16::from_f32(scale).to_f32();
                for (&code, &d) in codes.iter().zip(dims) {
                    head[d] = scale * f32::from(code);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_rotated_dims_beside_their_partners() {
        let rows = CacheRows { head_dim: 64, rotary_dim: 64 };
        let mut row: Vec<f32> = (0..64).map(|i| if i == 40 { 127.0 } else { 1.3 }).collect();
        rows.round(DType::Q8, &mut row);
        // Dim 40 is the partner of dim 8, so dims 0..16 and 32..48 share its scale of 1.
        for (d, x) in row.iter().enumerate() {
            let expected = match d {
                40 => 127.0,
                0..16 | 32..48 => 1.0,
                _ => 1.3,
            };
            assert!((x - expected).abs() < 1e-3, "dim {d}: {x}, expected {expected}");
        }
    }

    #[test]
    fn the_last_group_of_a_head_may_be_short() {
        let rows = CacheRows { head_dim: 40, rotary_dim: 0 };
        let mut row: Vec<f32> = (0..80).map(|i| if i % 40 < 32 { 100.0 } else { 0.01 }).collect();
        rows.round(DType::Q8, &mut row);
        assert!(row.iter().enumerate().all(|(i, x)| if i % 40 < 32 { (x - 100.0).abs() < 0.1 } else { (x - 0.01).abs() < 1e-5 }), "{row:?}");
    }
}
