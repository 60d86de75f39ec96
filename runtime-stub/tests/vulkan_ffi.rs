//! The runtime's own declarations of Vulkan equal those that `ash` generated from the registry: sizes, offsets, `sType`.

use std::mem::offset_of;

use ash::vk::{self, TaggedStructure as _};
use slmc_runtime_stub::platform::vulkan::ffi;

/// Compares size, alignment and the offset of each field named on both sides.
macro_rules! same {
    ($name:ident { $( $ours:ident = $theirs:ident, )* }) => {
        assert_eq!(size_of::<ffi::$name>(), size_of::<vk::$name>(), stringify!($name));
        assert_eq!(align_of::<ffi::$name>(), align_of::<vk::$name>(), stringify!($name));
        $( assert_eq!(offset_of!(ffi::$name, $ours), offset_of!(vk::$name, $theirs), concat!(stringify!($name), ".", stringify!($ours))); )*
    };
}

/// The same for an extensible struct, with its `sType`.
macro_rules! tagged {
    ($name:ident { $( $ours:ident = $theirs:ident, )* }) => {
        same!($name { s_type = s_type, next = p_next, $( $ours = $theirs, )* });
        assert_eq!(ffi::$name::S_TYPE, vk::$name::STRUCTURE_TYPE.as_raw() as u32, stringify!($name));
        assert_eq!(ffi::$name::EMPTY.s_type, ffi::$name::S_TYPE);
    };
}

#[test]
fn structs_of_instance_and_devices_have_the_registrys_layout() {
    tagged!(ApplicationInfo {
        application_name = p_application_name,
        application_version = application_version,
        engine_name = p_engine_name,
        engine_version = engine_version,
        api_version = api_version,
    });
    tagged!(InstanceCreateInfo {
        flags = flags,
        application_info = p_application_info,
        enabled_layer_count = enabled_layer_count,
        enabled_layer_names = pp_enabled_layer_names,
        enabled_extension_count = enabled_extension_count,
        enabled_extension_names = pp_enabled_extension_names,
    });
    same!(ExtensionProperties { extension_name = extension_name, spec_version = spec_version, });
    same!(PhysicalDeviceProperties {
        api_version = api_version,
        driver_version = driver_version,
        vendor_id = vendor_id,
        device_id = device_id,
        device_type = device_type,
        device_name = device_name,
        pipeline_cache_uuid = pipeline_cache_uuid,
        limits = limits,
        sparse_properties = sparse_properties,
    });
    tagged!(PhysicalDeviceProperties2 { properties = properties, });
    tagged!(PhysicalDeviceSubgroupProperties {
        subgroup_size = subgroup_size,
        supported_stages = supported_stages,
        supported_operations = supported_operations,
        quad_operations_in_all_stages = quad_operations_in_all_stages,
    });
    tagged!(PhysicalDeviceMaintenance3Properties {
        max_per_set_descriptors = max_per_set_descriptors,
        max_memory_allocation_size = max_memory_allocation_size,
    });
    tagged!(PhysicalDeviceFeatures2 { features = features, });
    tagged!(PhysicalDevice16BitStorageFeatures {
        storage_buffer_16bit_access = storage_buffer16_bit_access,
        uniform_and_storage_buffer_16bit_access = uniform_and_storage_buffer16_bit_access,
        storage_push_constant_16 = storage_push_constant16,
        storage_input_output_16 = storage_input_output16,
    });
    tagged!(PhysicalDeviceShaderFloat16Int8Features { shader_float16 = shader_float16, shader_int8 = shader_int8, });
    tagged!(PhysicalDeviceShaderIntegerDotProductFeatures { shader_integer_dot_product = shader_integer_dot_product, });
    same!(MemoryType { property_flags = property_flags, heap_index = heap_index, });
    same!(MemoryHeap { size = size, flags = flags, });
    same!(PhysicalDeviceMemoryProperties {
        memory_type_count = memory_type_count,
        memory_types = memory_types,
        memory_heap_count = memory_heap_count,
        memory_heaps = memory_heaps,
    });
    same!(QueueFamilyProperties {
        queue_flags = queue_flags,
        queue_count = queue_count,
        timestamp_valid_bits = timestamp_valid_bits,
        min_image_transfer_granularity = min_image_transfer_granularity,
    });
    tagged!(DeviceQueueCreateInfo {
        flags = flags,
        queue_family_index = queue_family_index,
        queue_count = queue_count,
        queue_priorities = p_queue_priorities,
    });
    tagged!(DeviceCreateInfo {
        flags = flags,
        queue_create_info_count = queue_create_info_count,
        queue_create_infos = p_queue_create_infos,
        enabled_extension_count = enabled_extension_count,
        enabled_extension_names = pp_enabled_extension_names,
        enabled_features = p_enabled_features,
    });
}

#[test]
fn limits_stand_where_the_registry_puts_them() {
    same!(PhysicalDeviceLimits {
        max_image_and_texel = max_image_dimension1_d,
        max_uniform_buffer_range = max_uniform_buffer_range,
        max_storage_buffer_range = max_storage_buffer_range,
        max_push_constants_size = max_push_constants_size,
        max_memory_allocation_count = max_memory_allocation_count,
        max_sampler_allocation_count = max_sampler_allocation_count,
        buffer_image_granularity = buffer_image_granularity,
        sparse_address_space_size = sparse_address_space_size,
        max_bound_descriptor_sets = max_bound_descriptor_sets,
        max_per_stage_samplers_and_uniforms = max_per_stage_descriptor_samplers,
        max_per_stage_descriptor_storage_buffers = max_per_stage_descriptor_storage_buffers,
        max_per_stage_images_and_attachments = max_per_stage_descriptor_sampled_images,
        max_per_stage_resources = max_per_stage_resources,
        max_descriptor_set_samplers_and_uniforms = max_descriptor_set_samplers,
        max_descriptor_set_storage_buffers = max_descriptor_set_storage_buffers,
        max_descriptor_set_others = max_descriptor_set_storage_buffers_dynamic,
        max_vertex_to_fragment = max_vertex_input_attributes,
        max_compute_shared_memory_size = max_compute_shared_memory_size,
        max_compute_work_group_count = max_compute_work_group_count,
        max_compute_work_group_invocations = max_compute_work_group_invocations,
        max_compute_work_group_size = max_compute_work_group_size,
        precision_draw_sampler_viewport = sub_pixel_precision_bits,
        min_memory_map_alignment = min_memory_map_alignment,
        min_texel_buffer_offset_alignment = min_texel_buffer_offset_alignment,
        min_uniform_buffer_offset_alignment = min_uniform_buffer_offset_alignment,
        min_storage_buffer_offset_alignment = min_storage_buffer_offset_alignment,
        texel_framebuffer_sample = min_texel_offset,
        timestamp_compute_and_graphics = timestamp_compute_and_graphics,
        timestamp_period = timestamp_period,
        clip_queue_point_line = max_clip_distances,
        optimal_buffer_copy_offset_alignment = optimal_buffer_copy_offset_alignment,
        optimal_buffer_copy_row_pitch_alignment = optimal_buffer_copy_row_pitch_alignment,
        non_coherent_atom_size = non_coherent_atom_size,
    });
}

#[test]
fn structs_of_buffers_and_commands_have_the_registrys_layout() {
    tagged!(BufferCreateInfo {
        flags = flags,
        size = size,
        usage = usage,
        sharing_mode = sharing_mode,
        queue_family_index_count = queue_family_index_count,
        queue_family_indices = p_queue_family_indices,
    });
    same!(MemoryRequirements { size = size, alignment = alignment, memory_type_bits = memory_type_bits, });
    tagged!(MemoryAllocateInfo { allocation_size = allocation_size, memory_type_index = memory_type_index, });
    tagged!(CommandPoolCreateInfo { flags = flags, queue_family_index = queue_family_index, });
    tagged!(CommandBufferAllocateInfo { command_pool = command_pool, level = level, command_buffer_count = command_buffer_count, });
    tagged!(CommandBufferBeginInfo { flags = flags, inheritance_info = p_inheritance_info, });
    tagged!(MemoryBarrier { src_access_mask = src_access_mask, dst_access_mask = dst_access_mask, });
    same!(BufferCopy { src_offset = src_offset, dst_offset = dst_offset, size = size, });
    tagged!(SubmitInfo {
        wait_semaphore_count = wait_semaphore_count,
        wait_semaphores = p_wait_semaphores,
        wait_dst_stage_mask = p_wait_dst_stage_mask,
        command_buffer_count = command_buffer_count,
        command_buffers = p_command_buffers,
        signal_semaphore_count = signal_semaphore_count,
        signal_semaphores = p_signal_semaphores,
    });
    tagged!(FenceCreateInfo { flags = flags, });
    tagged!(QueryPoolCreateInfo { flags = flags, query_type = query_type, query_count = query_count, pipeline_statistics = pipeline_statistics, });
}

#[test]
fn structs_of_shaders_and_sets_have_the_registrys_layout() {
    tagged!(ShaderModuleCreateInfo { flags = flags, code_size = code_size, code = p_code, });
    same!(DescriptorSetLayoutBinding {
        binding = binding,
        descriptor_type = descriptor_type,
        descriptor_count = descriptor_count,
        stage_flags = stage_flags,
        immutable_samplers = p_immutable_samplers,
    });
    tagged!(DescriptorSetLayoutCreateInfo { flags = flags, binding_count = binding_count, bindings = p_bindings, });
    same!(PushConstantRange { stage_flags = stage_flags, offset = offset, size = size, });
    tagged!(PipelineLayoutCreateInfo {
        flags = flags,
        set_layout_count = set_layout_count,
        set_layouts = p_set_layouts,
        push_constant_range_count = push_constant_range_count,
        push_constant_ranges = p_push_constant_ranges,
    });
    tagged!(PipelineShaderStageCreateInfo {
        flags = flags,
        stage = stage,
        module = module,
        name = p_name,
        specialization_info = p_specialization_info,
    });
    tagged!(ComputePipelineCreateInfo {
        flags = flags,
        stage = stage,
        layout = layout,
        base_pipeline_handle = base_pipeline_handle,
        base_pipeline_index = base_pipeline_index,
    });
    tagged!(PipelineCacheCreateInfo { flags = flags, initial_data_size = initial_data_size, initial_data = p_initial_data, });
    same!(DescriptorPoolSize { descriptor_type = ty, descriptor_count = descriptor_count, });
    tagged!(DescriptorPoolCreateInfo { flags = flags, max_sets = max_sets, pool_size_count = pool_size_count, pool_sizes = p_pool_sizes, });
    tagged!(DescriptorSetAllocateInfo {
        descriptor_pool = descriptor_pool,
        descriptor_set_count = descriptor_set_count,
        set_layouts = p_set_layouts,
    });
    same!(DescriptorBufferInfo { buffer = buffer, offset = offset, range = range, });
    tagged!(WriteDescriptorSet {
        dst_set = dst_set,
        dst_binding = dst_binding,
        dst_array_element = dst_array_element,
        descriptor_count = descriptor_count,
        descriptor_type = descriptor_type,
        image_info = p_image_info,
        buffer_info = p_buffer_info,
        texel_buffer_view = p_texel_buffer_view,
    });
}

#[test]
fn constants_have_the_registrys_values() {
    let results = [
        (ffi::SUCCESS, vk::Result::SUCCESS),
        (ffi::NOT_READY, vk::Result::NOT_READY),
        (ffi::TIMEOUT, vk::Result::TIMEOUT),
        (ffi::INCOMPLETE, vk::Result::INCOMPLETE),
        (ffi::ERROR_OUT_OF_HOST_MEMORY, vk::Result::ERROR_OUT_OF_HOST_MEMORY),
        (ffi::ERROR_OUT_OF_DEVICE_MEMORY, vk::Result::ERROR_OUT_OF_DEVICE_MEMORY),
        (ffi::ERROR_INITIALIZATION_FAILED, vk::Result::ERROR_INITIALIZATION_FAILED),
        (ffi::ERROR_DEVICE_LOST, vk::Result::ERROR_DEVICE_LOST),
        (ffi::ERROR_MEMORY_MAP_FAILED, vk::Result::ERROR_MEMORY_MAP_FAILED),
        (ffi::ERROR_LAYER_NOT_PRESENT, vk::Result::ERROR_LAYER_NOT_PRESENT),
        (ffi::ERROR_EXTENSION_NOT_PRESENT, vk::Result::ERROR_EXTENSION_NOT_PRESENT),
        (ffi::ERROR_FEATURE_NOT_PRESENT, vk::Result::ERROR_FEATURE_NOT_PRESENT),
        (ffi::ERROR_INCOMPATIBLE_DRIVER, vk::Result::ERROR_INCOMPATIBLE_DRIVER),
        (ffi::ERROR_TOO_MANY_OBJECTS, vk::Result::ERROR_TOO_MANY_OBJECTS),
        (ffi::ERROR_FRAGMENTED_POOL, vk::Result::ERROR_FRAGMENTED_POOL),
        (ffi::ERROR_UNKNOWN, vk::Result::ERROR_UNKNOWN),
        (ffi::ERROR_OUT_OF_POOL_MEMORY, vk::Result::ERROR_OUT_OF_POOL_MEMORY),
    ];
    for (ours, theirs) in results {
        assert_eq!(ours, theirs.as_raw());
        assert_eq!(slmc_runtime_stub::platform::vulkan::result::name(ours), format!("VK_{theirs:?}"));
    }
    let numbers = [
        (ffi::API_1_1, vk::API_VERSION_1_1),
        (ffi::INSTANCE_ENUMERATE_PORTABILITY, vk::InstanceCreateFlags::ENUMERATE_PORTABILITY_KHR.as_raw()),
        (ffi::QUEUE_COMPUTE, vk::QueueFlags::COMPUTE.as_raw()),
        (ffi::DEVICE_TYPE_INTEGRATED, vk::PhysicalDeviceType::INTEGRATED_GPU.as_raw() as u32),
        (ffi::DEVICE_TYPE_DISCRETE, vk::PhysicalDeviceType::DISCRETE_GPU.as_raw() as u32),
        (ffi::DEVICE_TYPE_VIRTUAL, vk::PhysicalDeviceType::VIRTUAL_GPU.as_raw() as u32),
        (ffi::DEVICE_TYPE_CPU, vk::PhysicalDeviceType::CPU.as_raw() as u32),
        (ffi::MEMORY_DEVICE_LOCAL, vk::MemoryPropertyFlags::DEVICE_LOCAL.as_raw()),
        (ffi::MEMORY_DEVICE_LOCAL, vk::MemoryHeapFlags::DEVICE_LOCAL.as_raw()),
        (ffi::MEMORY_HOST_VISIBLE, vk::MemoryPropertyFlags::HOST_VISIBLE.as_raw()),
        (ffi::MEMORY_HOST_COHERENT, vk::MemoryPropertyFlags::HOST_COHERENT.as_raw()),
        (ffi::MEMORY_HOST_CACHED, vk::MemoryPropertyFlags::HOST_CACHED.as_raw()),
        (ffi::BUFFER_TRANSFER_SRC, vk::BufferUsageFlags::TRANSFER_SRC.as_raw()),
        (ffi::BUFFER_TRANSFER_DST, vk::BufferUsageFlags::TRANSFER_DST.as_raw()),
        (ffi::BUFFER_STORAGE, vk::BufferUsageFlags::STORAGE_BUFFER.as_raw()),
        (ffi::DESCRIPTOR_STORAGE_BUFFER, vk::DescriptorType::STORAGE_BUFFER.as_raw() as u32),
        (ffi::STAGE_COMPUTE, vk::ShaderStageFlags::COMPUTE.as_raw()),
        (ffi::BIND_POINT_COMPUTE, vk::PipelineBindPoint::COMPUTE.as_raw() as u32),
        (ffi::PIPELINE_STAGE_COMPUTE, vk::PipelineStageFlags::COMPUTE_SHADER.as_raw()),
        (ffi::PIPELINE_STAGE_TRANSFER, vk::PipelineStageFlags::TRANSFER.as_raw()),
        (ffi::PIPELINE_STAGE_BOTTOM, vk::PipelineStageFlags::BOTTOM_OF_PIPE.as_raw()),
        (ffi::PIPELINE_STAGE_HOST, vk::PipelineStageFlags::HOST.as_raw()),
        (ffi::ACCESS_SHADER_READ, vk::AccessFlags::SHADER_READ.as_raw()),
        (ffi::ACCESS_SHADER_WRITE, vk::AccessFlags::SHADER_WRITE.as_raw()),
        (ffi::ACCESS_TRANSFER_READ, vk::AccessFlags::TRANSFER_READ.as_raw()),
        (ffi::ACCESS_TRANSFER_WRITE, vk::AccessFlags::TRANSFER_WRITE.as_raw()),
        (ffi::ACCESS_HOST_READ, vk::AccessFlags::HOST_READ.as_raw()),
        (ffi::SUBGROUP_BASIC, vk::SubgroupFeatureFlags::BASIC.as_raw()),
        (ffi::SUBGROUP_ARITHMETIC, vk::SubgroupFeatureFlags::ARITHMETIC.as_raw()),
        (ffi::COMMAND_POOL_RESET, vk::CommandPoolCreateFlags::RESET_COMMAND_BUFFER.as_raw()),
        (ffi::COMMAND_ONE_TIME, vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT.as_raw()),
        (ffi::QUERY_TIMESTAMP, vk::QueryType::TIMESTAMP.as_raw() as u32),
        (ffi::QUERY_RESULT_64, vk::QueryResultFlags::TYPE_64.as_raw()),
    ];
    for (index, (ours, theirs)) in numbers.into_iter().enumerate() {
        assert_eq!(ours, theirs, "number {index}");
    }
    assert_eq!(ffi::WHOLE_SIZE, vk::WHOLE_SIZE);
}
