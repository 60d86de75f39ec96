//! Whether two kernels compute the same, by the interpreter, on memory made up from a hash.
//!
//! Integers have to be equal, floats close: legalization replaces `exp` and `tanh` by polynomials. Both kernels run one
//! whole grid at the greatest step of their bounds.

use slmc_ir::interp::kernel::{Compiled, Fault, Memory, Step, run_grid};
use slmc_ir::kernel::{Kernel, Scalar};

/// Relative difference that a polynomial may make.
const TOLERANCE: f32 = 1e-6;

/// Greatest bytes that are tried, in turn: a `dot4` whose first operand has to be small faults on larger ones.
const MOST: [u8; 3] = [255, 127, 15];

/// Runs both kernels on the same memory; `Err` names the first element that differs.
pub fn same(before: &Kernel, after: &Kernel) -> Result<(), String> {
    let mut fault = None;
    for most in MOST {
        let mut memory = made_up(before, most);
        let mut found = memory.clone();
        if let Err(f) = run(before, &mut memory) {
            fault = Some(f);
            continue;
        }
        run(after, &mut found).map_err(|f| format!("now faults: {f}"))?;
        return before.params().zip(memory.iter().zip(&found)).try_for_each(|((_, b), (expected, found))| {
            match differs(b.elem.scalar, expected, found) {
                None => Ok(()),
                Some(at) => Err(format!("computes something else: %{} differs in element {at}", b.name)),
            }
        });
    }
    fault.map_or(Ok(()), |f| Err(format!("the input of the pass faults: {f}")))
}

fn run(kernel: &Kernel, memory: &mut [Vec<u8>]) -> Result<(), String> {
    let code = Compiled::new(kernel).map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let b = kernel.bounds;
    let t = b.t.1;
    let step = Step { t, p: b.p.1.min(b.most_p_plus_t() - t), row: b.row.1.min(b.most_row_plus_t() - t) };
    let (mut memory, places) = Memory::of_slices(memory.iter_mut().map(Vec::as_mut_slice).collect());
    run_grid(&code, &mut memory, &places, step, kernel.grid).map_err(|f: Fault| f.to_string())
}

/// One buffer for each parameter; integers up to `most`, floats in −8 … 8.
fn made_up(kernel: &Kernel, most: u8) -> Vec<Vec<u8>> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let mut buffers = Vec::new();
    for (_, b) in kernel.params() {
        let lanes = u64::from(b.len) * u64::from(b.elem.lanes);
        let mut bytes = Vec::new();
        for _ in 0..lanes {
            let (n, x) = (next(), (f64::from(next()) / 4096.0 - 8.0) as f32);
            let n = n % (u32::from(most) + 1);
            match b.elem.scalar {
                Scalar::F32 => bytes.extend(x.to_le_bytes()),
                // Exponents that are neither tiny nor huge, whatever the mantissa.
                Scalar::F16 => bytes.extend((0x3800 | n as u16).to_le_bytes()),
                Scalar::Bf16 => bytes.extend((0x3f00 | (n as u16 & 0x7f)).to_le_bytes()),
                Scalar::U32 | Scalar::I32 => bytes.extend(n.to_le_bytes()),
                Scalar::I16 => bytes.extend((n as u16).to_le_bytes()),
                Scalar::U8 | Scalar::I8 => bytes.push(n as u8),
                Scalar::Bool => {}
            }
        }
        buffers.push(bytes);
    }
    buffers
}

/// The first element in which two buffers of lanes differ.
fn differs(scalar: Scalar, a: &[u8], b: &[u8]) -> Option<usize> {
    let size = scalar.bytes().max(1) as usize;
    let close = |a: &[u8], b: &[u8]| match (scalar, <[u8; 4]>::try_from(a), <[u8; 4]>::try_from(b)) {
        (Scalar::F32, Ok(a), Ok(b)) => {
            let (a, b) = (f32::from_le_bytes(a), f32::from_le_bytes(b));
            a.to_bits() == b.to_bits() || (a - b).abs() <= TOLERANCE * a.abs().max(1e-3)
        }
        _ => a == b,
    };
    a.chunks(size).zip(b.chunks(size)).position(|(a, b)| !close(a, b))
}
