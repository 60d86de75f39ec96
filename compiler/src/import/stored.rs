//! The number formats of stored weights: names, sizes, conversion to f32 and the search for values that are no numbers.
//!
//! Bytes are little-endian at any alignment. The loops are written over fixed-size blocks so that they vectorize; f16
//! goes through `half`, which uses the processor's own conversion where it has one.

use half::{f16, slice::HalfFloatSliceExt};
use safetensors::Dtype;

/// Elements converted at a time: 4 KiB of f16, which stays in the first-level cache.
const BLOCK: usize = 2048;

/// A number format that weights may be stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredDtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    BF16,
}

/// What a search for NaN and infinities found in a run of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonFinite {
    /// Index of the first such element.
    pub first: u64,
    /// Count of NaN elements.
    pub nan: u64,
    /// Count of infinite elements.
    pub infinite: u64,
}

impl StoredDtype {
    /// The weight format that a header's dtype means, if it is one.
    pub fn from_header(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::BF16),
            _ => None,
        }
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// Name as written in a safetensors header.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
        }
    }

    /// Appends the elements of `bytes` to `out` as f32, exactly.
    ///
    /// `bytes` is a whole number of elements; a ragged tail is ignored.
    pub fn extend_f32(self, bytes: &[u8], out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + bytes.len() / self.size(), 0.0);
        let out = &mut out[start..];
        match self {
            Self::F32 => {
                for (to, from) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                    *to = f32::from_le_bytes(*from);
                }
            }
            Self::BF16 => {
                for (to, from) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                    *to = f32::from_bits(u32::from(u16::from_le_bytes(*from)) << 16);
                }
            }
            Self::F16 => {
                let mut aligned = [f16::ZERO; BLOCK];
                for (to, from) in out.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
                    let aligned = &mut aligned[..to.len()];
                    for (half, pair) in aligned.iter_mut().zip(from.as_chunks::<2>().0) {
                        *half = f16::from_le_bytes(*pair);
                    }
                    aligned.convert_to_f32_slice(to);
                }
            }
        }
    }

    /// NaN and infinite elements of `bytes`, or `None` when all are finite.
    pub fn non_finite(self, bytes: &[u8]) -> Option<NonFinite> {
        // The exponent bits, all ones in NaN and infinity, and the fraction bits, zero in infinity only.
        match self {
            Self::F32 => search::<4>(bytes, 0x7f80_0000, 0x007f_ffff, u32::from_le_bytes),
            Self::F16 => search::<2>(bytes, 0x7c00, 0x03ff, |b| u32::from(u16::from_le_bytes(b))),
            Self::BF16 => search::<2>(bytes, 0x7f80, 0x007f, |b| u32::from(u16::from_le_bytes(b))),
        }
    }
}

fn search<const N: usize>(bytes: &[u8], exponent: u32, fraction: u32, bits: impl Fn([u8; N]) -> u32) -> Option<NonFinite> {
    let mut found: Option<NonFinite> = None;
    for (block, run) in bytes.chunks(BLOCK * N).enumerate() {
        let elements = run.as_chunks::<N>().0;
        let any = elements.iter().fold(false, |any, e| any | (bits(*e) & exponent == exponent));
        if !any {
            continue;
        }
        for (i, element) in elements.iter().enumerate() {
            let value = bits(*element);
            if value & exponent != exponent {
                continue;
            }
            let all = found.get_or_insert(NonFinite { first: (block * BLOCK + i) as u64, nan: 0, infinite: 0 });
            if value & fraction == 0 {
                all.infinite += 1;
            } else {
                all.nan += 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn every_f16_and_bf16_converts_exactly() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for dtype in [StoredDtype::F16, StoredDtype::BF16] {
            let mut out = vec![7.0];
            dtype.extend_f32(&bytes, &mut out);
            assert_eq!(out.len(), 1 + 65536);
            assert_eq!(out[0], 7.0);
            for (bits, got) in (0..=u16::MAX).zip(&out[1..]) {
                let want = match dtype {
                    StoredDtype::F16 => f16::from_bits(bits).to_f32(),
                    _ => bf16::from_bits(bits).to_f32(),
                };
                assert!(got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()), "{dtype:?} {bits:#06x}: {got} is not {want}");
            }
        }
    }

    #[test]
    fn unaligned_bytes_convert() {
        let mut bytes = vec![0u8];
        bytes.extend(1.5f32.to_le_bytes());
        bytes.extend((-0.25f32).to_le_bytes());
        let mut out = Vec::new();
        StoredDtype::F32.extend_f32(&bytes[1..], &mut out);
        assert_eq!(out, [1.5, -0.25]);
    }

    #[test]
    fn non_finite_values_are_counted_and_placed() {
        let mut values = vec![0.5f32; 5000];
        assert_eq!(StoredDtype::F32.non_finite(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()), None);
        values[4097] = f32::NAN;
        values[4099] = f32::NEG_INFINITY;
        values[4999] = f32::INFINITY;
        let want = Some(NonFinite { first: 4097, nan: 1, infinite: 2 });
        let f32s: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let f16s: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let bf16s: Vec<u8> = values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
        assert_eq!(StoredDtype::F32.non_finite(&f32s), want);
        assert_eq!(StoredDtype::F16.non_finite(&f16s), want);
        assert_eq!(StoredDtype::BF16.non_finite(&bf16s), want);
    }
}
