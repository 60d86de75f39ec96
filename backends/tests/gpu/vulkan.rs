//! Runs one dispatch on the machine's Vulkan device, under the validation layer where it is installed.
//!
//! Everything is made for one dispatch and destroyed after it, one dispatch at a time. What the validation layer reports is a
//! failure.

use ash::vk;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Mutex, OnceLock};

/// One dispatch.
pub struct Job<'a> {
    pub words: &'a [u32],
    pub entry: &'a str,
    /// By binding.
    pub buffers: &'a [Vec<u8>],
    pub step: [u32; 4],
    pub grid: [u32; 3],
}

/// A device.
pub struct Vulkan {
    device: ash::Device,
    queue: vk::Queue,
    family: u32,
    memory: vk::PhysicalDeviceMemoryProperties,
    /// Lanes of a subgroup.
    pub subgroup: u32,
    // What the device was made by must live as long.
    _instance: ash::Instance,
    _entry: ash::Entry,
}

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "system" fn said(
    _: vk::DebugUtilsMessageSeverityFlagsEXT,
    _: vk::DebugUtilsMessageTypeFlagsEXT,
    data: *const vk::DebugUtilsMessengerCallbackDataEXT<'_>,
    _: *mut c_void,
) -> vk::Bool32 {
    // SAFETY: the layer gives a valid structure whose message, where there is one, is a C string.
    let text = unsafe { data.as_ref().and_then(|d| d.message_as_c_str()).unwrap_or_default() };
    SAID.lock().expect("no test panics while it holds the list").push(text.to_string_lossy().into_owned());
    vk::FALSE
}

/// The device with its one user at a time; `None`, after a line that says so, if there is none.
pub fn device() -> Option<&'static Mutex<Vulkan>> {
    static DEVICE: OnceLock<Option<Mutex<Vulkan>>> = OnceLock::new();
    let open = || match Vulkan::open() {
        Ok(device) => Some(Mutex::new(device)),
        Err(why) => {
            println!("skipped: no Vulkan device ({why}); install Mesa's software Vulkan (mesa-vulkan-drivers, libvulkan1)");
            None
        }
    };
    DEVICE.get_or_init(open).as_ref()
}

fn has(names: impl Iterator<Item = [c_char; 256]>, wanted: &CStr) -> bool {
    names.map(|n| n.map(|c| c as u8)).any(|n| CStr::from_bytes_until_nul(&n).is_ok_and(|n| n == wanted))
}

impl Vulkan {
    fn open() -> Result<Self, String> {
        // SAFETY: the loader is the system's; every handle below is used only while what made it lives, and every structure
        // lives until the call that reads it returns.
        unsafe {
            let entry = ash::Entry::load().map_err(|e| e.to_string())?;
            let layer = c"VK_LAYER_KHRONOS_validation";
            let layers = entry.enumerate_instance_layer_properties().map_err(|e| e.to_string())?;
            let checked = has(layers.iter().map(|l| l.layer_name), layer);
            let (layers, extensions) = if checked { (vec![layer.as_ptr()], vec![ash::ext::debug_utils::NAME.as_ptr()]) } else { Default::default() };
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_1);
            let info =
                vk::InstanceCreateInfo::default().application_info(&application).enabled_layer_names(&layers).enabled_extension_names(&extensions);
            let instance = entry.create_instance(&info, None).map_err(|e| e.to_string())?;
            if checked {
                let info = vk::DebugUtilsMessengerCreateInfoEXT::default()
                    .message_severity(vk::DebugUtilsMessageSeverityFlagsEXT::ERROR)
                    .message_type(vk::DebugUtilsMessageTypeFlagsEXT::VALIDATION)
                    .pfn_user_callback(Some(said));
                let utils = ash::ext::debug_utils::Instance::new(&entry, &instance);
                utils.create_debug_utils_messenger(&info, None).map_err(|e| e.to_string())?;
            }
            let all = instance.enumerate_physical_devices().map_err(|e| e.to_string())?;
            let physical = *all.first().ok_or("none is listed")?;
            let families = instance.get_physical_device_queue_family_properties(physical);
            let family = families.iter().position(|f| f.queue_flags.contains(vk::QueueFlags::COMPUTE)).ok_or("no compute queue")? as u32;
            let mut groups = vk::PhysicalDeviceSubgroupProperties::default();
            instance.get_physical_device_properties2(physical, &mut vk::PhysicalDeviceProperties2::default().push_next(&mut groups));
            let (mut storage, mut halves, mut dots) = <(
                vk::PhysicalDevice16BitStorageFeatures<'_>,
                vk::PhysicalDeviceShaderFloat16Int8Features<'_>,
                vk::PhysicalDeviceShaderIntegerDotProductFeatures<'_>,
            )>::default();
            storage.storage_buffer16_bit_access = vk::TRUE;
            halves.shader_float16 = vk::TRUE;
            dots.shader_integer_dot_product = vk::TRUE;
            let priorities = [1.0];
            let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&priorities)];
            let extensions = [ash::khr::shader_float16_int8::NAME.as_ptr(), ash::khr::shader_integer_dot_product::NAME.as_ptr()];
            let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&extensions);
            let info = info.push_next(&mut storage).push_next(&mut halves).push_next(&mut dots);
            let device = instance.create_device(physical, &info, None).map_err(|e| e.to_string())?;
            Ok(Self {
                queue: device.get_device_queue(family, 0),
                device,
                family,
                memory: instance.get_physical_device_memory_properties(physical),
                subgroup: groups.subgroup_size,
                _instance: instance,
                _entry: entry,
            })
        }
    }

    /// The buffers after the dispatch.
    pub fn run(&self, job: &Job<'_>) -> Result<Vec<Vec<u8>>, vk::Result> {
        let d = &self.device;
        // SAFETY: see `open`; the fence is waited for before anything is read or destroyed, and mapped memory is host coherent.
        let out = unsafe {
            let bound: Vec<(vk::Buffer, vk::DeviceMemory)> = job.buffers.iter().map(|b| self.upload(b)).collect::<Result<_, _>>()?;
            let bindings: Vec<_> = (0..bound.len() as u32)
                .map(|i| {
                    let one = vk::DescriptorSetLayoutBinding::default().binding(i).descriptor_count(1);
                    one.descriptor_type(vk::DescriptorType::STORAGE_BUFFER).stage_flags(vk::ShaderStageFlags::COMPUTE)
                })
                .collect();
            let sets = [d.create_descriptor_set_layout(&vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings), None)?];
            let steps = [vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(16)];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(&steps);
            let layout = d.create_pipeline_layout(&info, None)?;
            let module = d.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(job.words), None)?;
            let name = CString::new(job.entry).expect("entry points are identifiers");
            let stage = vk::PipelineShaderStageCreateInfo::default().stage(vk::ShaderStageFlags::COMPUTE).module(module).name(&name);
            let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout)];
            let pipeline = d.create_compute_pipelines(vk::PipelineCache::null(), &info, None).map_err(|(_, e)| e)?[0];
            let sizes = [vk::DescriptorPoolSize { ty: vk::DescriptorType::STORAGE_BUFFER, descriptor_count: bound.len().max(1) as u32 }];
            let pool = d.create_descriptor_pool(&vk::DescriptorPoolCreateInfo::default().max_sets(1).pool_sizes(&sizes), None)?;
            let set = d.allocate_descriptor_sets(&vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&sets))?[0];
            for (i, (buffer, _)) in bound.iter().enumerate() {
                let whole = [vk::DescriptorBufferInfo { buffer: *buffer, offset: 0, range: vk::WHOLE_SIZE }];
                let write = vk::WriteDescriptorSet::default().dst_set(set).dst_binding(i as u32);
                d.update_descriptor_sets(&[write.descriptor_type(vk::DescriptorType::STORAGE_BUFFER).buffer_info(&whole)], &[]);
            }
            let commands = d.create_command_pool(&vk::CommandPoolCreateInfo::default().queue_family_index(self.family), None)?;
            let info = vk::CommandBufferAllocateInfo::default().command_pool(commands).command_buffer_count(1);
            let buffers = d.allocate_command_buffers(&info)?;
            let cb = buffers[0];
            d.begin_command_buffer(cb, &vk::CommandBufferBeginInfo::default())?;
            d.cmd_bind_pipeline(cb, vk::PipelineBindPoint::COMPUTE, pipeline);
            d.cmd_bind_descriptor_sets(cb, vk::PipelineBindPoint::COMPUTE, layout, 0, &[set], &[]);
            let step: Vec<u8> = job.step.iter().flat_map(|n| n.to_le_bytes()).collect();
            d.cmd_push_constants(cb, layout, vk::ShaderStageFlags::COMPUTE, 0, &step);
            d.cmd_dispatch(cb, job.grid[0], job.grid[1], job.grid[2]);
            let seen = [vk::MemoryBarrier::default().src_access_mask(vk::AccessFlags::SHADER_WRITE).dst_access_mask(vk::AccessFlags::HOST_READ)];
            let (from, to) = (vk::PipelineStageFlags::COMPUTE_SHADER, vk::PipelineStageFlags::HOST);
            d.cmd_pipeline_barrier(cb, from, to, vk::DependencyFlags::empty(), &seen, &[], &[]);
            d.end_command_buffer(cb)?;
            let fence = d.create_fence(&vk::FenceCreateInfo::default(), None)?;
            d.queue_submit(self.queue, &[vk::SubmitInfo::default().command_buffers(&buffers)], fence)?;
            d.wait_for_fences(&[fence], true, u64::MAX)?;
            let mut out = Vec::new();
            for ((buffer, memory), bytes) in bound.into_iter().zip(job.buffers) {
                let at = d.map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty())?;
                out.push(std::slice::from_raw_parts(at.cast::<u8>(), bytes.len()).to_vec());
                d.destroy_buffer(buffer, None);
                d.free_memory(memory, None);
            }
            d.destroy_fence(fence, None);
            d.destroy_command_pool(commands, None);
            d.destroy_descriptor_pool(pool, None);
            d.destroy_pipeline(pipeline, None);
            d.destroy_shader_module(module, None);
            d.destroy_pipeline_layout(layout, None);
            d.destroy_descriptor_set_layout(sets[0], None);
            out
        };
        let said = std::mem::take(&mut *SAID.lock().expect("no test panics while it holds the list"));
        assert!(said.is_empty(), "the validation layer on {}:\n{}", job.entry, said.join("\n"));
        Ok(out)
    }

    /// A buffer of host memory that holds `bytes`.
    ///
    /// # Safety
    /// The caller destroys both before the device.
    unsafe fn upload(&self, bytes: &[u8]) -> Result<(vk::Buffer, vk::DeviceMemory), vk::Result> {
        let d = &self.device;
        // SAFETY: the memory is of a type that the buffer takes and the host sees, and at least as long as the bytes.
        unsafe {
            let info = vk::BufferCreateInfo::default().size(bytes.len() as u64).usage(vk::BufferUsageFlags::STORAGE_BUFFER);
            let buffer = d.create_buffer(&info, None)?;
            let needs = d.get_buffer_memory_requirements(buffer);
            let wanted = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
            let types = self.memory.memory_types_as_slice().iter().enumerate();
            let kind = types.filter(|(i, t)| needs.memory_type_bits >> i & 1 == 1 && t.property_flags.contains(wanted)).map(|(i, _)| i).next();
            let kind = kind.ok_or(vk::Result::ERROR_OUT_OF_DEVICE_MEMORY)?;
            let info = vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(kind as u32);
            let memory = d.allocate_memory(&info, None)?;
            d.bind_buffer_memory(buffer, memory, 0)?;
            let at = d.map_memory(memory, 0, vk::WHOLE_SIZE, vk::MemoryMapFlags::empty())?;
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast::<u8>(), bytes.len());
            d.unmap_memory(memory);
            Ok((buffer, memory))
        }
    }
}
