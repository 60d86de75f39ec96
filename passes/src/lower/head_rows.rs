//! The order in which rows of q, k and v projections are packed: head by head, each padded to whole blocks, RoPE partners
//! beside each other, so that a rotation needs neighbours only. Dot products of q and k do not see the order of dims.

use slmc_ir::graph::WeightId;

/// Packed rows of `heads` heads of `head_dim` dims of a weight, each padded to `stored` rows. The first `rotary` dims of a head
/// are pairs of RoPE partners (0: none are).
pub fn head_rows(weight: WeightId, heads: u32, head_dim: u32, stored: u32, rotary: u32) -> Vec<Option<(WeightId, u32)>> {
    let mut rows = Vec::with_capacity((heads * stored) as usize);
    for head in 0..heads {
        rows.extend((0..stored).map(|d| source_dim(d, head_dim, rotary).map(|d| (weight, head * head_dim + d))));
    }
    rows
}

/// The dim of the checkpoint that is packed as dim `d` of a head.
fn source_dim(d: u32, head_dim: u32, rotary: u32) -> Option<u32> {
    if d < rotary {
        Some(if d.is_multiple_of(2) { d / 2 } else { rotary / 2 + d / 2 })
    } else if d < head_dim {
        Some(d)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use slmc_ir::arena::Id;

    use super::*;

    #[test]
    fn partners_are_neighbours_and_padding_has_no_row() {
        let w = WeightId::new(0);
        let rows: Vec<Option<u32>> = head_rows(w, 2, 6, 8, 4).into_iter().map(|r| r.map(|(_, row)| row)).collect();
        let head = |first: u32| [0, 2, 1, 3, 4, 5].map(|d| Some(first + d)).into_iter().chain([None, None]);
        assert_eq!(rows, head(0).chain(head(6)).collect::<Vec<_>>());
    }
}
