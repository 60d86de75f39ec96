//! Packing a plan's sections into `weights.bin`, straight from the checkpoint.

use slmc_ir::plan::{Packed, Plan};
use slmc_passes::pack::{block_bytes, block_count, pack_blocks};

use crate::bundle::digest::FileDigest;
use crate::bundle::weights::{self, PackError, Section};
use crate::bundle::{BundleError, Stage, WEIGHTS};
use crate::import::Imported;

/// Writes `weights.bin`; `tick` is told the bytes written.
pub(super) fn weights(stage: &Stage, imported: &Imported, plan: &Plan, tick: &(dyn Fn(u64) + Sync)) -> Result<FileDigest, BundleError> {
    let mut packed: Vec<&Packed> = plan.packed.iter().map(|(_, packed)| packed).collect();
    packed.sort_by_key(|packed| packed.offset);
    let sections: Vec<Section<'_>> = packed
        .iter()
        .map(|packed| Section {
            name: &packed.name,
            offset: packed.offset,
            bytes: packed.bytes,
            blocks: block_count(packed),
            block_bytes: block_bytes(packed),
        })
        .collect();
    let fill = |section: usize, blocks: std::ops::Range<u32>, out: &mut [u8]| {
        let packed = packed[section];
        let wanted = (u64::from(blocks.end - blocks.start) * block_bytes(packed)) as usize;
        let room = out.len();
        let out = out.get_mut(..wanted).ok_or_else(|| format!("its blocks take {wanted} bytes, the plan gives them {room}"))?;
        pack_blocks(&imported.graph, packed, &imported.checkpoint, blocks, out).map_err(|e| e.to_string())
    };
    let file = stage.create(WEIGHTS)?;
    weights::write(file, plan.weights_bytes, &sections, fill, &mut |bytes| tick(bytes)).map_err(|e| match e {
        PackError::Pack(section, detail) => BundleError::Pack { section: packed[section].name.clone(), detail },
        PackError::Write(e) => stage.write_error(WEIGHTS, &e),
    })
}
