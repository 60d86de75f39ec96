//! Products by `mmla`: tiles of two rows by two tokens, which stay tiles through the loop over K.
//!
//! A vector of sums holds, per segment of four lanes, rows 2i and 2i + 1 of a slice by two tokens: `[r0·t0, r0·t1, r1·t0, r1·t1]`.

use slmc_ir::kernel::{KernelBuilder, Scalar, Type, ValueId};

use super::groups::{Groups, Part, join};
use super::schedule::Schedule;
use crate::lower::activation::GROUP;

/// Columns of a step.
const STEP: u32 = 8;

/// Emits the loop over K for an even number of tokens; gives one f32 vector of row sums per token.
pub fn emit(b: &mut KernelBuilder, sched: &Schedule, groups: &Groups<'_>) -> Vec<ValueId> {
    let rows = sched.slice_rows;
    let slices = groups.product.layout.lanes / rows;
    let pairs = groups.product.tokens / 2;
    let lanes = 2 * rows;
    let sums: Vec<Vec<_>> = (0..pairs).map(|_| (0..slices).map(|_| b.var(Type::vector(Scalar::F32, lanes), 0.0f32)).collect()).collect();
    groups.walk(b, |b, part| {
        let pairs: Vec<Pair> = (0..pairs).map(|pair| Pair::read(b, part, 2 * pair)).collect();
        for slice in 0..slices {
            let mut unpack = part.unpack(slice * rows, rows);
            let mut ints: Vec<ValueId> = pairs
                .iter()
                .map(|pair| match pair.start {
                    Some(start) => b.repeat(start, lanes),
                    None => b.constant(Type::vector(Scalar::I32, lanes), 0i32),
                })
                .collect();
            for m in 0..GROUP / STEP {
                let w = unpack.columns(b, m);
                let w = b.bitcast(w, Type::vector(Scalar::I8, 4 * lanes));
                for (pair, int) in pairs.iter().zip(&mut ints) {
                    let a = b.repeat(pair.values[m as usize], 4 * lanes);
                    *int = b.mmla(*int, w, a);
                }
            }
            let scale = part.scales(b, slice * rows, rows);
            let scale = b.shuffle(scale, scale, (0..lanes).map(|i| i / 2).collect());
            for ((pair, int), sums) in pairs.iter().zip(ints).zip(&sums) {
                let sa = b.repeat(pair.scale, lanes);
                let sa = b.mul(scale, sa);
                let f = b.convert(int, Scalar::F32);
                let sum = sums[usize::from(slice)];
                let old = b.get(sum);
                let new = b.fma(f, sa, old);
                b.set(sum, new);
            }
        }
    });
    let mut out = Vec::new();
    for slices in sums {
        let slices: Vec<ValueId> = slices.into_iter().map(|v| b.get(v)).collect();
        for token in 0..2 {
            let of_token: Vec<ValueId> = slices.iter().map(|v| b.shuffle(*v, *v, (0..rows).map(|r| 2 * r + token).collect())).collect();
            out.push(join(b, &of_token));
        }
    }
    out
}

/// Two tokens' activations of 32 columns.
struct Pair {
    /// Per step, eight values of the first token, then eight of the second.
    values: Vec<ValueId>,
    /// The scale of each.
    scale: ValueId,
    /// The start value of each, if they have one.
    start: Option<ValueId>,
}

impl Pair {
    /// Of tokens `first` and `first + 1`.
    fn read(b: &mut KernelBuilder, part: &Part<'_>, first: u32) -> Self {
        let second = first + 1;
        let step = STEP as u16;
        let two = |b: &mut KernelBuilder, a: ValueId, c: ValueId| b.shuffle(a, c, vec![0, 1]);
        let mut values = Vec::new();
        for column in (0..GROUP).step_by(2 * STEP as usize) {
            let bytes = Type::vector(Scalar::I8, 2 * step);
            let (a, c) = (part.values(b, first, column, bytes), part.values(b, second, column, bytes));
            for half in [0, step] {
                values.push(b.shuffle(a, c, (0..2 * step).map(|i| half + i % step + i / step * 2 * step).collect()));
            }
        }
        let (a, c) = (part.act_scale(b, first), part.act_scale(b, second));
        let scale = two(b, a, c);
        let start = part.start(b, first, 1).zip(part.start(b, second, 1)).map(|(a, c)| two(b, a, c));
        Self { values, scale, start }
    }
}
