//! Memory of launches: regions of bytes, bindings into them, private arrays, and the memory form of lanes (little endian).

use half::f16;

use super::FaultKind;
use crate::kernel::{Scalar, Type};

/// The regions that bindings point into.
#[derive(Debug, Default)]
pub struct Memory<'a> {
    /// The regions; a [`Place`] names them by index.
    pub regions: Vec<Region<'a>>,
}

/// A region of bytes.
#[derive(Debug)]
pub enum Region<'a> {
    /// Stores fault.
    ReadOnly(&'a [u8]),
    /// May be written.
    ReadWrite(&'a mut [u8]),
}

/// What a parameter is bound to: bytes `offset..offset + bytes` of a region. Places of one launch may overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the region.
    pub region: usize,
    /// First byte.
    pub offset: usize,
    /// How many.
    pub bytes: usize,
}

impl<'a> Memory<'a> {
    /// One writable region per slice, and the places that cover them whole.
    pub fn of_slices(slices: Vec<&'a mut [u8]>) -> (Self, Vec<Place>) {
        let places = slices.iter().enumerate().map(|(region, s)| Place { region, offset: 0, bytes: s.len() }).collect();
        (Self { regions: slices.into_iter().map(Region::ReadWrite).collect() }, places)
    }

    /// The bytes of a region, none if it does not exist.
    pub fn bytes(&self, region: usize) -> &[u8] {
        match self.regions.get(region) {
            Some(Region::ReadOnly(b)) => b,
            Some(Region::ReadWrite(b)) => b,
            None => &[],
        }
    }

    pub(super) fn holds(&self, place: &Place) -> bool {
        place.offset.checked_add(place.bytes).is_some_and(|end| place.region < self.regions.len() && end <= self.bytes(place.region).len())
    }

    pub(super) fn bytes_mut(&mut self, region: usize) -> Option<&mut [u8]> {
        match self.regions.get_mut(region) {
            Some(Region::ReadWrite(b)) => Some(b),
            Some(Region::ReadOnly(_)) | None => None,
        }
    }
}

/// A private or workgroup array, with a mark for each byte that was written.
#[derive(Debug, Clone)]
pub(super) struct Local {
    bytes: Vec<u8>,
    written: Vec<u8>,
}

impl Local {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], written: vec![0; bytes] }
    }
    pub(super) fn forget(&mut self) {
        self.written.fill(0);
    }
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
    pub(super) fn load(&self, start: usize, ty: Type, d: &mut [u32]) -> Result<(), FaultKind> {
        let range = start..start + ty.bytes() as usize;
        if let Some(i) = self.written[range.clone()].iter().position(|&w| w == 0) {
            return Err(FaultKind::Undefined { byte: (start + i) as u64 });
        }
        read_lanes(ty.scalar, &self.bytes[range], d);
        Ok(())
    }
    pub(super) fn store(&mut self, start: usize, ty: Type, value: &[u32]) {
        let range = start..start + ty.bytes() as usize;
        self.written[range.clone()].fill(1);
        write_lanes(ty.scalar, &mut self.bytes[range], value);
    }
}

/// The byte range of an access, if it lies in `len` bytes.
pub(super) fn range_of(index: u32, elem: Type, ty: Type, len: u64) -> Result<usize, FaultKind> {
    let start = u64::from(index) * u64::from(elem.bytes());
    let end = start + u64::from(ty.bytes());
    if end <= len { Ok(start as usize) } else { Err(FaultKind::OutOfBounds { start, end, len }) }
}

/// Words of the lanes whose memory form is `bytes`.
pub(super) fn read_lanes(scalar: Scalar, bytes: &[u8], d: &mut [u32]) {
    let pairs = || bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]]));
    match scalar {
        Scalar::F32 | Scalar::I32 | Scalar::U32 => {
            for (d, c) in d.iter_mut().zip(bytes.chunks_exact(4)) {
                *d = u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
            }
        }
        Scalar::F16 => d.iter_mut().zip(pairs()).for_each(|(d, x)| *d = f16::from_bits(x).to_f32().to_bits()),
        Scalar::Bf16 => d.iter_mut().zip(pairs()).for_each(|(d, x)| *d = u32::from(x) << 16),
        Scalar::I16 => d.iter_mut().zip(pairs()).for_each(|(d, x)| *d = x as i16 as i32 as u32),
        Scalar::I8 => d.iter_mut().zip(bytes).for_each(|(d, &x)| *d = x as i8 as i32 as u32),
        Scalar::U8 => d.iter_mut().zip(bytes).for_each(|(d, &x)| *d = u32::from(x)),
        Scalar::Bool => {}
    }
}

/// The memory form of lanes.
pub(super) fn write_lanes(scalar: Scalar, bytes: &mut [u8], value: &[u32]) {
    match scalar {
        Scalar::F32 | Scalar::I32 | Scalar::U32 => {
            for (c, v) in bytes.chunks_exact_mut(4).zip(value) {
                c.copy_from_slice(&v.to_le_bytes());
            }
        }
        Scalar::F16 | Scalar::Bf16 | Scalar::I16 => {
            for (c, &v) in bytes.chunks_exact_mut(2).zip(value) {
                let x = match scalar {
                    Scalar::F16 => f16::from_f32(f32::from_bits(v)).to_bits(),
                    Scalar::Bf16 => (v >> 16) as u16,
                    _ => v as u16,
                };
                c.copy_from_slice(&x.to_le_bytes());
            }
        }
        Scalar::I8 | Scalar::U8 => bytes.iter_mut().zip(value).for_each(|(c, &v)| *c = v as u8),
        Scalar::Bool => {}
    }
}
