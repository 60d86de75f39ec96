//! The part of Vulkan 1.1 that the runtime uses, declared after the Vulkan specification: handles, structs, constants.
//!
//! Names are those of the C headers in Rust's spelling, without the `Vk` in front. Handles are integers: dispatchable
//! ones have the size of a pointer, the others 64 bits, and 0 is the null handle. A test compares sizes, offsets,
//! `sType` values and constants with those of the `ash` crate, which is generated from the registry.
#![allow(missing_docs, reason = "named and laid out as in the Vulkan specification, which documents them")]

use core::ffi::{c_char, c_void};

pub type Instance = usize;
pub type PhysicalDevice = usize;
pub type Device = usize;
pub type Queue = usize;
pub type CommandBuffer = usize;
/// Every handle that is not dispatchable.
pub type Handle = u64;

/// `VkResult`: 0 or more is success of some kind.
pub type VkResult = i32;

pub const SUCCESS: VkResult = 0;
pub const NOT_READY: VkResult = 1;
pub const TIMEOUT: VkResult = 2;
pub const INCOMPLETE: VkResult = 5;
pub const ERROR_OUT_OF_HOST_MEMORY: VkResult = -1;
pub const ERROR_OUT_OF_DEVICE_MEMORY: VkResult = -2;
pub const ERROR_INITIALIZATION_FAILED: VkResult = -3;
pub const ERROR_DEVICE_LOST: VkResult = -4;
pub const ERROR_MEMORY_MAP_FAILED: VkResult = -5;
pub const ERROR_LAYER_NOT_PRESENT: VkResult = -6;
pub const ERROR_EXTENSION_NOT_PRESENT: VkResult = -7;
pub const ERROR_FEATURE_NOT_PRESENT: VkResult = -8;
pub const ERROR_INCOMPATIBLE_DRIVER: VkResult = -9;
pub const ERROR_TOO_MANY_OBJECTS: VkResult = -10;
pub const ERROR_FRAGMENTED_POOL: VkResult = -12;
pub const ERROR_UNKNOWN: VkResult = -13;
pub const ERROR_OUT_OF_POOL_MEMORY: VkResult = -1_000_069_000;

/// Version 1.1.0 as Vulkan packs it: major in bits 22 to 28, minor in 12 to 21, patch below.
pub const API_1_1: u32 = 1 << 22 | 1 << 12;
pub const WHOLE_SIZE: u64 = u64::MAX;

pub const INSTANCE_ENUMERATE_PORTABILITY: u32 = 1;
pub const QUEUE_COMPUTE: u32 = 2;

pub const DEVICE_TYPE_INTEGRATED: u32 = 1;
pub const DEVICE_TYPE_DISCRETE: u32 = 2;
pub const DEVICE_TYPE_VIRTUAL: u32 = 3;
pub const DEVICE_TYPE_CPU: u32 = 4;

pub const MEMORY_DEVICE_LOCAL: u32 = 1;
pub const MEMORY_HOST_VISIBLE: u32 = 2;
pub const MEMORY_HOST_COHERENT: u32 = 4;
pub const MEMORY_HOST_CACHED: u32 = 8;

pub const BUFFER_TRANSFER_SRC: u32 = 1;
pub const BUFFER_TRANSFER_DST: u32 = 2;
pub const BUFFER_STORAGE: u32 = 0x20;

pub const DESCRIPTOR_STORAGE_BUFFER: u32 = 7;
pub const STAGE_COMPUTE: u32 = 0x20;
pub const BIND_POINT_COMPUTE: u32 = 1;

pub const PIPELINE_STAGE_COMPUTE: u32 = 0x800;
pub const PIPELINE_STAGE_TRANSFER: u32 = 0x1000;
pub const PIPELINE_STAGE_BOTTOM: u32 = 0x2000;
pub const PIPELINE_STAGE_HOST: u32 = 0x4000;

pub const ACCESS_SHADER_READ: u32 = 0x20;
pub const ACCESS_SHADER_WRITE: u32 = 0x40;
pub const ACCESS_TRANSFER_READ: u32 = 0x800;
pub const ACCESS_TRANSFER_WRITE: u32 = 0x1000;
pub const ACCESS_HOST_READ: u32 = 0x2000;

pub const SUBGROUP_BASIC: u32 = 1;
pub const SUBGROUP_ARITHMETIC: u32 = 4;

pub const COMMAND_POOL_RESET: u32 = 2;
pub const COMMAND_ONE_TIME: u32 = 1;
pub const QUERY_TIMESTAMP: u32 = 2;
pub const QUERY_RESULT_64: u32 = 1;

/// Declares `repr(C)` structs with a value of zeros; one with `= n` is extensible: it begins with `sType` n and `pNext`.
macro_rules! structs {
    ($( $name:ident $(= $stype:literal)? { $( $field:ident: $ty:ty, )* } )*) => { $( structs!(@ $name [$($stype)?] { $($field: $ty,)* }); )* };
    (@ $name:ident [$stype:literal] { $( $field:ident: $ty:ty, )* }) => {
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $name {
            pub s_type: u32,
            pub next: *const c_void,
            $( pub $field: $ty, )*
        }

        impl $name {
            pub const S_TYPE: u32 = $stype;
            pub const EMPTY: Self = {
                // SAFETY: the fields are numbers, pointers and arrays of these, for which zeros are values.
                let mut zeros: Self = unsafe { core::mem::zeroed() };
                zeros.s_type = $stype;
                zeros
            };
        }
    };
    (@ $name:ident [] { $( $field:ident: $ty:ty, )* }) => {
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $name {
            $( pub $field: $ty, )*
        }

        impl $name {
            // SAFETY: as above.
            pub const EMPTY: Self = unsafe { core::mem::zeroed() };
        }
    };
}

structs! {
    ApplicationInfo = 0 {
        application_name: *const c_char,
        application_version: u32,
        engine_name: *const c_char,
        engine_version: u32,
        api_version: u32,
    }
    InstanceCreateInfo = 1 {
        flags: u32,
        application_info: *const ApplicationInfo,
        enabled_layer_count: u32,
        enabled_layer_names: *const *const c_char,
        enabled_extension_count: u32,
        enabled_extension_names: *const *const c_char,
    }
    ExtensionProperties {
        extension_name: [u8; 256],
        spec_version: u32,
    }
    PhysicalDeviceLimits {
        max_image_and_texel: [u32; 6],
        max_uniform_buffer_range: u32,
        max_storage_buffer_range: u32,
        max_push_constants_size: u32,
        max_memory_allocation_count: u32,
        max_sampler_allocation_count: u32,
        buffer_image_granularity: u64,
        sparse_address_space_size: u64,
        max_bound_descriptor_sets: u32,
        max_per_stage_samplers_and_uniforms: [u32; 2],
        max_per_stage_descriptor_storage_buffers: u32,
        max_per_stage_images_and_attachments: [u32; 3],
        max_per_stage_resources: u32,
        max_descriptor_set_samplers_and_uniforms: [u32; 3],
        max_descriptor_set_storage_buffers: u32,
        max_descriptor_set_others: [u32; 4],
        max_vertex_to_fragment: [u32; 22],
        max_compute_shared_memory_size: u32,
        max_compute_work_group_count: [u32; 3],
        max_compute_work_group_invocations: u32,
        max_compute_work_group_size: [u32; 3],
        precision_draw_sampler_viewport: [u32; 13],
        min_memory_map_alignment: usize,
        min_texel_buffer_offset_alignment: u64,
        min_uniform_buffer_offset_alignment: u64,
        min_storage_buffer_offset_alignment: u64,
        texel_framebuffer_sample: [u32; 21],
        timestamp_compute_and_graphics: u32,
        timestamp_period: f32,
        clip_queue_point_line: [u32; 12],
        optimal_buffer_copy_offset_alignment: u64,
        optimal_buffer_copy_row_pitch_alignment: u64,
        non_coherent_atom_size: u64,
    }
    PhysicalDeviceProperties {
        api_version: u32,
        driver_version: u32,
        vendor_id: u32,
        device_id: u32,
        device_type: u32,
        device_name: [u8; 256],
        pipeline_cache_uuid: [u8; 16],
        limits: PhysicalDeviceLimits,
        sparse_properties: [u32; 5],
    }
    PhysicalDeviceProperties2 = 1_000_059_001 {
        properties: PhysicalDeviceProperties,
    }
    PhysicalDeviceSubgroupProperties = 1_000_094_000 {
        subgroup_size: u32,
        supported_stages: u32,
        supported_operations: u32,
        quad_operations_in_all_stages: u32,
    }
    PhysicalDeviceMaintenance3Properties = 1_000_168_000 {
        max_per_set_descriptors: u32,
        max_memory_allocation_size: u64,
    }
    PhysicalDeviceFeatures2 = 1_000_059_000 {
        features: [u32; 55],
    }
    PhysicalDevice16BitStorageFeatures = 1_000_083_000 {
        storage_buffer_16bit_access: u32,
        uniform_and_storage_buffer_16bit_access: u32,
        storage_push_constant_16: u32,
        storage_input_output_16: u32,
    }
    PhysicalDeviceShaderFloat16Int8Features = 1_000_082_000 {
        shader_float16: u32,
        shader_int8: u32,
    }
    PhysicalDeviceShaderIntegerDotProductFeatures = 1_000_280_000 {
        shader_integer_dot_product: u32,
    }
    MemoryType {
        property_flags: u32,
        heap_index: u32,
    }
    MemoryHeap {
        size: u64,
        flags: u32,
    }
    PhysicalDeviceMemoryProperties {
        memory_type_count: u32,
        memory_types: [MemoryType; 32],
        memory_heap_count: u32,
        memory_heaps: [MemoryHeap; 16],
    }
    QueueFamilyProperties {
        queue_flags: u32,
        queue_count: u32,
        timestamp_valid_bits: u32,
        min_image_transfer_granularity: [u32; 3],
    }
    DeviceQueueCreateInfo = 2 {
        flags: u32,
        queue_family_index: u32,
        queue_count: u32,
        queue_priorities: *const f32,
    }
    DeviceCreateInfo = 3 {
        flags: u32,
        queue_create_info_count: u32,
        queue_create_infos: *const DeviceQueueCreateInfo,
        enabled_layer_count: u32,
        enabled_layer_names: *const *const c_char,
        enabled_extension_count: u32,
        enabled_extension_names: *const *const c_char,
        enabled_features: *const c_void,
    }
    BufferCreateInfo = 12 {
        flags: u32,
        size: u64,
        usage: u32,
        sharing_mode: u32,
        queue_family_index_count: u32,
        queue_family_indices: *const u32,
    }
    MemoryRequirements {
        size: u64,
        alignment: u64,
        memory_type_bits: u32,
    }
    MemoryAllocateInfo = 5 {
        allocation_size: u64,
        memory_type_index: u32,
    }
    ShaderModuleCreateInfo = 16 {
        flags: u32,
        code_size: usize,
        code: *const u32,
    }
    DescriptorSetLayoutBinding {
        binding: u32,
        descriptor_type: u32,
        descriptor_count: u32,
        stage_flags: u32,
        immutable_samplers: *const c_void,
    }
    DescriptorSetLayoutCreateInfo = 32 {
        flags: u32,
        binding_count: u32,
        bindings: *const DescriptorSetLayoutBinding,
    }
    PushConstantRange {
        stage_flags: u32,
        offset: u32,
        size: u32,
    }
    PipelineLayoutCreateInfo = 30 {
        flags: u32,
        set_layout_count: u32,
        set_layouts: *const Handle,
        push_constant_range_count: u32,
        push_constant_ranges: *const PushConstantRange,
    }
    PipelineShaderStageCreateInfo = 18 {
        flags: u32,
        stage: u32,
        module: Handle,
        name: *const c_char,
        specialization_info: *const c_void,
    }
    ComputePipelineCreateInfo = 29 {
        flags: u32,
        stage: PipelineShaderStageCreateInfo,
        layout: Handle,
        base_pipeline_handle: Handle,
        base_pipeline_index: i32,
    }
    PipelineCacheCreateInfo = 17 {
        flags: u32,
        initial_data_size: usize,
        initial_data: *const c_void,
    }
    DescriptorPoolSize {
        descriptor_type: u32,
        descriptor_count: u32,
    }
    DescriptorPoolCreateInfo = 33 {
        flags: u32,
        max_sets: u32,
        pool_size_count: u32,
        pool_sizes: *const DescriptorPoolSize,
    }
    DescriptorSetAllocateInfo = 34 {
        descriptor_pool: Handle,
        descriptor_set_count: u32,
        set_layouts: *const Handle,
    }
    DescriptorBufferInfo {
        buffer: Handle,
        offset: u64,
        range: u64,
    }
    WriteDescriptorSet = 35 {
        dst_set: Handle,
        dst_binding: u32,
        dst_array_element: u32,
        descriptor_count: u32,
        descriptor_type: u32,
        image_info: *const c_void,
        buffer_info: *const DescriptorBufferInfo,
        texel_buffer_view: *const c_void,
    }
    CommandPoolCreateInfo = 39 {
        flags: u32,
        queue_family_index: u32,
    }
    CommandBufferAllocateInfo = 40 {
        command_pool: Handle,
        level: u32,
        command_buffer_count: u32,
    }
    CommandBufferBeginInfo = 42 {
        flags: u32,
        inheritance_info: *const c_void,
    }
    MemoryBarrier = 46 {
        src_access_mask: u32,
        dst_access_mask: u32,
    }
    BufferCopy {
        src_offset: u64,
        dst_offset: u64,
        size: u64,
    }
    SubmitInfo = 4 {
        wait_semaphore_count: u32,
        wait_semaphores: *const Handle,
        wait_dst_stage_mask: *const u32,
        command_buffer_count: u32,
        command_buffers: *const CommandBuffer,
        signal_semaphore_count: u32,
        signal_semaphores: *const Handle,
    }
    FenceCreateInfo = 8 {
        flags: u32,
    }
    QueryPoolCreateInfo = 11 {
        flags: u32,
        query_type: u32,
        query_count: u32,
        pipeline_statistics: u32,
    }
}
