//! Compiled shaders: one pipeline for each shader of the plan, one layout for each number of parameters.
//!
//! Drivers take long to compile, so all threads of the pool share the work, and what comes out is kept in the cache
//! folder.

use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::cache::{CacheFile, Compiled, HEAD_BYTES};
use super::device::Logical;
use super::ffi::*;
use super::result::{check, fault};
use crate::abi::{MAX_PARAMETERS, Shader, Step};
use crate::fault::{Code, Fault, Outcome};
use crate::plan::Plan;
use crate::platform::memory::{Plain, Table};
use crate::pool::{Pool, Work};

const LAYOUTS: usize = MAX_PARAMETERS as usize + 1;

// SAFETY: zero bits are the number 0, and an atomic has nothing to drop.
unsafe impl Plain for AtomicU64 {}

/// Pipelines and layouts of a model. Its owner calls [`Pipelines::destroy`].
pub struct Pipelines {
    /// Set layout and pipeline layout for each number of parameters; null where no shader has that many.
    layouts: [(Handle, Handle); LAYOUTS],
    /// One for each shader of the plan.
    pipelines: Table<AtomicU64>,
}

impl Pipelines {
    /// No pipelines.
    pub const NONE: Self = Self { layouts: [(0, 0); LAYOUTS], pipelines: Table::empty() };

    /// Compiles the plan's shaders, whose modules are in `file`. On an error, what was made so far stays for
    /// [`Pipelines::destroy`].
    ///
    /// # Errors
    /// Those of the driver; [`Code::Memory`]; [`Code::Format`] for a module that is none.
    pub fn create(&mut self, logical: &Logical, plan: &Plan<'_>, file: &[u8], cache_dir: Option<&CStr>, pool: &Pool) -> Outcome<Compiled> {
        let count = plan.header.shaders.count;
        self.pipelines = Table::zeroed(count as usize).map_err(|errno| Fault::system(Code::Memory, "model", "no memory for pipelines", errno))?;
        for index in 0..count {
            let shader = plan.shader(index);
            let module = module_bytes(&shader, file);
            if module.get(..4) != Some(&[3, 2, 0x23, 7]) {
                return Err(Fault::new(Code::Format, "kernels.spv", "holds a shader that is no SPIR-V").at(index).hint("compile the model again"));
            }
            let layout = &mut self.layouts[shader.binding_count as usize];
            if layout.0 == 0 {
                create_layout(logical, shader.binding_count, layout)?;
            }
        }
        let cache_file = cache_dir.map(|dir| CacheFile::new(dir, plan.hash(), &logical.physical.description));
        let found = match &cache_file {
            Some(file) => file.read()?,
            None => None,
        };
        let initial = found.as_deref().map_or(&[][..], |contents| &contents[HEAD_BYTES..contents.len() - 32]);
        let mut cache = DriverCache::new(logical, initial)?;
        let building = Building { logical, plan, file, pipelines: self, cache: cache.handle, result: AtomicI32::new(SUCCESS) };
        pool.run(&building);
        let result = building.result.into_inner();
        check(result, "vkCreateComputePipelines")?;
        let compiled = match cache_file {
            None => Compiled::NotWritten,
            Some(_) if found.is_some() && cache.bytes()? == initial.len() => Compiled::Cached,
            Some(file) if file.write(&cache.data()?)? => Compiled::Written,
            Some(_) => Compiled::NotWritten,
        };
        cache.destroy();
        Ok(compiled)
    }

    /// The pipeline of a shader.
    pub fn pipeline(&self, shader: u32) -> Handle {
        self.pipelines[shader as usize].load(Ordering::Relaxed)
    }

    /// The layout of descriptor sets with this many parameters.
    pub fn set_layout(&self, parameters: u32) -> Handle {
        self.layouts[parameters as usize].0
    }

    /// The layout of pipelines with this many parameters.
    pub fn pipeline_layout(&self, parameters: u32) -> Handle {
        self.layouts[parameters as usize].1
    }

    /// Gives everything back.
    pub fn destroy(&mut self, logical: &Logical) {
        let (device, functions) = (logical.handle, &logical.functions);
        // SAFETY: all are of this device or null, and used no more.
        unsafe {
            for pipeline in self.pipelines.iter_mut() {
                (functions.destroy_pipeline)(device, core::mem::take(pipeline.get_mut()), core::ptr::null());
            }
            for (set, pipeline) in core::mem::replace(&mut self.layouts, [(0, 0); LAYOUTS]) {
                (functions.destroy_pipeline_layout)(device, pipeline, core::ptr::null());
                (functions.destroy_descriptor_set_layout)(device, set, core::ptr::null());
            }
        }
    }
}

/// A shader's module; the plan was checked, so it is inside the file.
fn module_bytes<'a>(shader: &Shader, file: &'a [u8]) -> &'a [u8] {
    file.get(shader.offset as usize..(shader.offset + shader.bytes) as usize).unwrap_or_default()
}

fn create_layout(logical: &Logical, parameters: u32, layout: &mut (Handle, Handle)) -> Outcome<()> {
    let (device, functions) = (logical.handle, &logical.functions);
    let mut bindings = [DescriptorSetLayoutBinding {
        descriptor_type: DESCRIPTOR_STORAGE_BUFFER,
        descriptor_count: 1,
        stage_flags: STAGE_COMPUTE,
        ..DescriptorSetLayoutBinding::EMPTY
    }; MAX_PARAMETERS as usize];
    for (index, binding) in (0..).zip(&mut bindings) {
        binding.binding = index;
    }
    let info = DescriptorSetLayoutCreateInfo { binding_count: parameters, bindings: bindings.as_ptr(), ..DescriptorSetLayoutCreateInfo::EMPTY };
    // SAFETY: a live device; `info` and what it points to live until the call returns.
    check(unsafe { (functions.create_descriptor_set_layout)(device, &info, core::ptr::null(), &mut layout.0) }, "vkCreateDescriptorSetLayout")?;
    let range = PushConstantRange { stage_flags: STAGE_COMPUTE, offset: 0, size: size_of::<Step>() as u32 };
    let info = PipelineLayoutCreateInfo {
        set_layout_count: 1,
        set_layouts: &layout.0,
        push_constant_range_count: 1,
        push_constant_ranges: &range,
        ..PipelineLayoutCreateInfo::EMPTY
    };
    // SAFETY: as above.
    check(unsafe { (functions.create_pipeline_layout)(device, &info, core::ptr::null(), &mut layout.1) }, "vkCreatePipelineLayout")
}

/// Compiles shader after shader, each on whichever thread is free.
struct Building<'a> {
    logical: &'a Logical,
    plan: &'a Plan<'a>,
    file: &'a [u8],
    pipelines: &'a Pipelines,
    cache: Handle,
    /// The last failure, or success.
    result: AtomicI32,
}

impl Work for Building<'_> {
    fn tiles(&self, stage: u32) -> Option<u32> {
        (stage == 0).then_some(self.plan.header.shaders.count)
    }

    fn run(&self, _stage: u32, index: u32) {
        let shader = self.plan.shader(index);
        match compile(self.logical, &shader, module_bytes(&shader, self.file), self.pipelines.pipeline_layout(shader.binding_count), self.cache) {
            Ok(pipeline) => self.pipelines.pipelines[index as usize].store(pipeline, Ordering::Relaxed),
            Err(result) => self.result.store(result, Ordering::Relaxed),
        }
    }
}

fn compile(logical: &Logical, shader: &Shader, code: &[u8], layout: Handle, cache: Handle) -> Result<Handle, VkResult> {
    let (device, functions) = (logical.handle, &logical.functions);
    let (mut module, mut pipeline) = (0, 0);
    let info = ShaderModuleCreateInfo { code_size: code.len(), code: code.as_ptr().cast(), ..ShaderModuleCreateInfo::EMPTY };
    // SAFETY: a live device; the code is a whole number of words, aligned to one as the file is mapped at a page, and
    // slmc's own, validated when it was compiled and hashed since.
    let result = unsafe { (functions.create_shader_module)(device, &info, core::ptr::null(), &mut module) };
    if result != SUCCESS {
        return Err(result);
    }
    let stage =
        PipelineShaderStageCreateInfo { stage: STAGE_COMPUTE, module, name: shader.entry.as_ptr().cast(), ..PipelineShaderStageCreateInfo::EMPTY };
    let info = ComputePipelineCreateInfo { stage, layout, base_pipeline_index: -1, ..ComputePipelineCreateInfo::EMPTY };
    // SAFETY: as above; the entry's name ends with a zero; the cache takes calls from several threads.
    let result = unsafe { (functions.create_compute_pipelines)(device, cache, 1, &info, core::ptr::null(), &mut pipeline) };
    // SAFETY: a pipeline does not need its module any more.
    unsafe { (functions.destroy_shader_module)(device, module, core::ptr::null()) };
    if result == SUCCESS { Ok(pipeline) } else { Err(result) }
}

/// The driver's side of the cache.
struct DriverCache<'d> {
    logical: &'d Logical,
    handle: Handle,
}

impl<'d> DriverCache<'d> {
    fn new(logical: &'d Logical, initial: &[u8]) -> Outcome<Self> {
        let mut cache = Self { logical, handle: 0 };
        let info =
            PipelineCacheCreateInfo { initial_data_size: initial.len(), initial_data: initial.as_ptr().cast(), ..PipelineCacheCreateInfo::EMPTY };
        // SAFETY: a live device; the data is whole and of this driver, which checks it again.
        let result = unsafe { (logical.functions.create_pipeline_cache)(logical.handle, &info, core::ptr::null(), &mut cache.handle) };
        check(result, "vkCreatePipelineCache")?;
        Ok(cache)
    }

    fn bytes(&self) -> Outcome<usize> {
        let mut bytes = 0;
        // SAFETY: a live cache; a null pointer asks for the length.
        let result = unsafe { (self.logical.functions.get_pipeline_cache_data)(self.logical.handle, self.handle, &mut bytes, core::ptr::null_mut()) };
        check(result, "vkGetPipelineCacheData").map(|()| bytes)
    }

    fn data(&self) -> Outcome<Table<u8>> {
        let mut bytes = self.bytes()?;
        let mut data = Table::<u8>::zeroed(bytes).map_err(|errno| Fault::system(Code::Memory, "model", "no memory for compiled shaders", errno))?;
        // SAFETY: a live cache and room for as many bytes as it said.
        let result =
            unsafe { (self.logical.functions.get_pipeline_cache_data)(self.logical.handle, self.handle, &mut bytes, data.as_mut_ptr().cast()) };
        if result != SUCCESS || bytes != data.len() {
            return Err(fault(result, "vkGetPipelineCacheData"));
        }
        Ok(data)
    }

    fn destroy(&mut self) {
        // SAFETY: of this device or null, and used no more.
        unsafe { (self.logical.functions.destroy_pipeline_cache)(self.logical.handle, core::mem::take(&mut self.handle), core::ptr::null()) };
    }
}

impl Drop for DriverCache<'_> {
    fn drop(&mut self) {
        self.destroy();
    }
}
