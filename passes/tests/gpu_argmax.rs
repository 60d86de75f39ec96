//! The token that GPUs pick is the first of the greatest logits, whatever the row holds.

use slmc_ir::interp::kernel::{Compiled, Machine, Memory, Step};
use slmc_ir::kernel::{Kernel, verify_kernel};
use slmc_ir::target::{Gpu, known};
use slmc_passes::lower::gpu::argmax::Argmax;
use slmc_passes::lower::launch::Limits;

/// Devices that differ in how lanes meet: lanes, lanes of a subgroup (0: none).
const DEVICES: [(u32, u32); 4] = [(32, 0), (64, 4), (128, 8), (64, 32)];

struct Picker {
    kernels: [Kernel; 2],
    bytes: usize,
    subgroup: u32,
    what: String,
}

impl Picker {
    fn new(vocab: u32, lanes: u32, subgroup: u32) -> Self {
        let generic = known::find("vulkan-generic").and_then(|t| t.gpu).expect("a GPU target");
        let gpu = Gpu { lanes, subgroups: subgroup > 0, ..generic };
        let limits = Limits { chunk: 4, ctx: 8, head_rows: 2 };
        let argmax = Argmax { vocab, gpu: &gpu };
        let kernels = [argmax.scan("scan", &limits).kernel, argmax.pick("pick", &limits).kernel];
        for kernel in &kernels {
            if let Err(faults) = verify_kernel(kernel) {
                panic!("vocab {vocab}: {faults:#?}");
            }
        }
        Self { kernels, bytes: argmax.bytes() as usize, subgroup, what: format!("vocab {vocab}, {lanes} lanes, subgroups of {subgroup}") }
    }

    /// The id picked for a row that others follow.
    fn pick(&self, row: &[f32]) -> u32 {
        let mut logits: Vec<u8> = row.iter().chain(&[f32::INFINITY; 3]).flat_map(|x| x.to_le_bytes()).collect();
        let mut candidates = vec![0xaa; self.bytes];
        let mut picked = vec![0xaa; 4];
        let [scan, pick] = &self.kernels;
        let step = Step { t: 1, p: 3, row: 2 };
        self.run(scan, vec![&mut logits, &mut candidates], step);
        self.run(pick, vec![&mut candidates, &mut picked], step);
        u32::from_le_bytes([picked[0], picked[1], picked[2], picked[3]])
    }

    fn run(&self, kernel: &Kernel, slices: Vec<&mut [u8]>, step: Step) {
        let code = Compiled::new(kernel).expect("sound");
        let (mut memory, places) = Memory::of_slices(slices);
        if let Err(fault) = Machine::new(&code).with_subgroups(self.subgroup.max(1)).grid(&mut memory, &places, step, kernel.grid) {
            panic!("{}: {fault}", self.what);
        }
    }

    fn check(&self, row: &[f32]) {
        let mut expected = 0;
        for (i, &x) in row.iter().enumerate() {
            if x > row[expected] || (row[expected].is_nan() && !x.is_nan()) {
                expected = i;
            }
        }
        assert_eq!(self.pick(row) as usize, expected, "{}: {:?}", self.what, &row[..row.len().min(40)]);
    }
}

#[test]
fn the_first_of_the_greatest_wins() {
    for vocab in [1u32, 2, 31, 32, 511, 513, 1000, 4099] {
        for (lanes, subgroup) in DEVICES {
            let picker = Picker::new(vocab, lanes, subgroup);
            let n = vocab as usize;
            let mut state = vocab;
            for levels in [3u32, 1_000_000] {
                let row: Vec<f32> = (0..vocab)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        ((state >> 8) % levels) as f32 - (levels / 2) as f32
                    })
                    .collect();
                picker.check(&row);
            }
            picker.check(&vec![-7.5; n]);
            let mut row = vec![-3.0; n];
            row[n - 1] = -2.5;
            picker.check(&row);
            row[n / 2] = -2.5;
            picker.check(&row);
        }
    }
}

#[test]
fn odd_numbers_have_their_place() {
    for (lanes, subgroup) in DEVICES {
        let n = 700usize;
        let picker = Picker::new(n as u32, lanes, subgroup);
        let with = |base: f32, changes: &[(usize, f32)]| {
            let mut row = vec![base; n];
            changes.iter().for_each(|&(i, x)| row[i] = x);
            row
        };
        picker.check(&vec![f32::NEG_INFINITY; n]);
        picker.check(&vec![f32::NAN; n]);
        picker.check(&with(f32::NAN, &[(600, f32::NEG_INFINITY), (650, f32::NEG_INFINITY)]));
        picker.check(&with(f32::NEG_INFINITY, &[(0, f32::NAN), (699, f32::MIN)]));
        picker.check(&with(1.0, &[(5, f32::NAN), (6, -f32::NAN), (500, f32::INFINITY), (501, f32::INFINITY)]));
        picker.check(&with(-0.0, &[(40, 0.0), (41, -1.0)]));
        picker.check(&with(-1.0, &[(40, 0.0), (600, -0.0)]));
        picker.check(&with(-1.0, &[(40, -0.0), (600, 0.0)]));
        picker.check(&with(-f32::from_bits(1), &[(333, f32::from_bits(1))]));
    }
}
