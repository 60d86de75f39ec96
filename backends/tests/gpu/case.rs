//! A case: a kernel, its inputs, and how what it writes is held against the interpreter. Who runs it is not said here: Vulkan
//! devices do, and Metal's language on a CPU.

pub use crate::numbers::{Gen, numbers};
use slmc_backends::{Artifact, EmitOptions};
use slmc_ir::interp::kernel::{Compiled, Machine, Memory, Step};
use slmc_ir::kernel::{Access, Builtin, CmpOp, Kernel, KernelBuilder, KernelModule, Scalar, StepBounds, Type, ValueId, verify_module};
use slmc_ir::target::{Gpu, GpuApi, Target, known};

/// What the step gives in every case.
pub const STEP: Step = Step { t: 5, p: 7, row: 2 };
/// Bounds that allow it.
pub const BOUNDS: StepBounds = StepBounds { t: (1, 8), p: (0, 16), row: (0, 4) };
/// Lanes of the kernels that try expressions; each has numbers of its own.
pub const LANES: u32 = 32;
/// Parameters of these kernels.
const PARAMS: usize = 16;

/// One kernel with data.
pub struct Case {
    pub kernel: Kernel,
    /// The bytes of each parameter.
    pub buffers: Vec<Vec<u8>>,
    /// Units in the last place that each parameter's f32s may be off; 0 compares bytes.
    pub ulps: Vec<u32>,
    pub grid: [u32; 3],
}

impl Case {
    /// A case that is exact.
    pub fn new(kernel: Kernel, buffers: Vec<Vec<u8>>, grid: [u32; 3]) -> Self {
        let ulps = vec![0; buffers.len()];
        Self { kernel, buffers, ulps, grid }
    }
}

/// Kernels that apply many expressions, each to inputs of its own, one lane each.
pub struct Sheet {
    name: String,
    done: Vec<Case>,
    builder: KernelBuilder,
    lane: Option<ValueId>,
    buffers: Vec<Vec<u8>>,
    ulps: Vec<u32>,
}

impl Sheet {
    pub fn new(name: &str) -> Self {
        let builder = KernelBuilder::new(format!("{name}_0"), BOUNDS, [1, 1, 1]);
        Self { name: name.into(), done: Vec::new(), builder, lane: None, buffers: Vec::new(), ulps: Vec::new() }
    }

    /// Applies `f` to inputs and stores its result.
    pub fn apply(&mut self, name: &str, inputs: &[(Type, Gen)], f: impl FnOnce(&mut KernelBuilder, &[ValueId]) -> ValueId) {
        self.apply_within(0, name, inputs, f);
    }

    /// As [`apply`](Self::apply), with a result that devices may round otherwise.
    pub fn apply_within(&mut self, ulps: u32, name: &str, inputs: &[(Type, Gen)], f: impl FnOnce(&mut KernelBuilder, &[ValueId]) -> ValueId) {
        if self.buffers.len() + inputs.len() + 1 > PARAMS {
            self.flush();
        }
        let b = &mut self.builder;
        let lane = *self.lane.get_or_insert_with(|| b.builtin(Builtin::Lane));
        let mut values = Vec::new();
        for (i, (ty, kind)) in inputs.iter().enumerate() {
            let count = LANES * u32::from(ty.lanes);
            let buffer = b.param(&format!("{name}_{i}"), *ty, LANES, Access::Read, 64);
            self.buffers.push(numbers(ty.scalar, count, *kind, i as u64 + 1));
            self.ulps.push(0);
            values.push(b.load(*ty, buffer, lane));
        }
        let result = f(b, &values);
        let result = storable(b, result);
        let ty = b.ty(result);
        let out = b.param(name, ty, LANES, Access::Write, 64);
        self.buffers.push(vec![0; (LANES * ty.bytes()) as usize]);
        self.ulps.push(ulps);
        b.store(out, lane, result);
    }

    fn flush(&mut self) {
        let next = KernelBuilder::new(format!("{}_{}", self.name, self.done.len() + 1), BOUNDS, [1, 1, 1]);
        let mut done = std::mem::replace(&mut self.builder, next);
        done.lanes(LANES);
        let kernel = done.finish();
        self.lane = None;
        let (buffers, ulps) = (std::mem::take(&mut self.buffers), std::mem::take(&mut self.ulps));
        self.done.push(Case { kernel, buffers, ulps, grid: [1, 1, 1] });
    }

    /// All kernels.
    pub fn finish(mut self) -> Vec<Case> {
        self.flush();
        self.done
    }
}

/// A value with a memory form, the same for all NaNs.
fn storable(b: &mut KernelBuilder, mut v: ValueId) -> ValueId {
    if b.ty(v).scalar == Scalar::Bool {
        let ints = b.ty(v).with_scalar(Scalar::I32);
        let (one, zero) = (b.constant(ints, 1i32), b.constant(ints, 0i32));
        return b.select(v, one, zero);
    }
    if b.ty(v).scalar == Scalar::F16 && b.ty(v).lanes <= 4 {
        v = b.convert(v, Scalar::F32);
    }
    if b.ty(v).scalar == Scalar::F32 {
        let nan = b.cmp(CmpOp::Ne, v, v);
        let fixed = b.constant(b.ty(v), 12345.0f32);
        v = b.select(nan, fixed, v);
    }
    v
}

/// A GPU like any, and one with everything that a target can have.
pub fn target(api: GpuApi, able: bool) -> Target {
    let gpu = Gpu {
        api,
        lanes: 128,
        shared_bytes: 16 << 10,
        storage_buffers: PARAMS as u32,
        binding_bytes: 128 << 20,
        offset_align: 256,
        subgroups: able,
        f16: able,
        int_dot: able,
    };
    let triple = if api == GpuApi::Metal { "aarch64-apple-ios" } else { "x86_64-unknown-linux-gnu" };
    let base = known::known().into_iter().next().expect("a target is known");
    Target { name: if able { "able" } else { "plain" }, triple, gpu: Some(gpu), ..base }
}

/// Emits a module that verifies.
pub fn emit(module: &KernelModule, target: &Target, listing: bool) -> Artifact {
    let verified = verify_module(module).unwrap_or_else(|faults| panic!("{faults:#?}\n{module}"));
    let backend = slmc_backends::lookup("naga").expect("the feature naga");
    let options = EmitOptions { header: b"a header".to_vec(), threads: 1, listing };
    backend.emit(verified, target, &options).unwrap_or_else(|e| panic!("{e}"))
}

/// A module of the kernels of cases.
pub fn module(cases: &[Case]) -> KernelModule {
    let mut module = KernelModule::default();
    for case in cases {
        module.kernels.push(case.kernel.clone());
    }
    module
}

/// T, P, ROW, 0.
pub fn step() -> [u32; 4] {
    [STEP.t, STEP.p, STEP.row, 0]
}

/// Fails where parameter `p` differs from what the interpreter wrote.
pub fn compare(case: &Case, p: usize, expected: &[u8], found: &[u8]) {
    let word = |bytes: &[u8]| i32::from_le_bytes(std::array::from_fn(|i| bytes.get(i).copied().unwrap_or(0)));
    for (i, (e, f)) in expected.chunks(4).zip(found.chunks(4)).enumerate() {
        if e == f || word(e).abs_diff(word(f)) <= case.ulps[p] {
            continue;
        }
        let (id, buffer) = case.kernel.buffers.iter().nth(p).expect("a buffer for each parameter");
        let at = 4 * i as u32;
        let element = at / buffer.elem.bytes();
        panic!(
            "kernel {}, {id} %{}: element {element} ({}), byte {at}: found {f:x?}, expected {e:x?}\n{}",
            case.kernel.name, buffer.name, buffer.elem, case.kernel
        );
    }
}

/// The parameters after the interpreter ran a case, with subgroups of so many lanes.
pub fn interpret(case: &Case, subgroup: u32) -> Vec<Vec<u8>> {
    let code = Compiled::new(&case.kernel).unwrap_or_else(|faults| panic!("{faults:#?}\n{}", case.kernel));
    let mut buffers = case.buffers.clone();
    let (mut memory, places) = Memory::of_slices(buffers.iter_mut().map(Vec::as_mut_slice).collect());
    let mut machine = Machine::new(&code).with_subgroups(subgroup);
    machine.grid(&mut memory, &places, STEP, case.grid).unwrap_or_else(|fault| panic!("{fault}\n{}", case.kernel));
    buffers
}
