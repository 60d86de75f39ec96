//! The functions of Vulkan that the runtime calls, in one table for each way they are found.
//!
//! A table is all there or not at all: a driver without one of its functions is refused by name before anything else
//! happens.

use core::ffi::{CStr, c_char, c_void};

use super::ffi::*;
use crate::fault::{Code, Fault, Outcome, Value};

/// `vkGetInstanceProcAddr`, by which all others are found.
pub type GetInstanceProcAddr = unsafe extern "system" fn(Instance, *const c_char) -> *const c_void;

type Allocator = *const c_void;

/// Declares a table of functions and how it is filled.
macro_rules! functions {
    ($(#[$meta:meta])* $table:ident { $( $field:ident = $name:literal: fn($($argument:ty),* $(,)?) $(-> $result:ty)?; )* }) => {
        $(#[$meta])*
        #[allow(missing_docs, reason = "named as in the Vulkan specification, which documents them")]
        #[repr(C)]
        pub struct $table {
            $( pub $field: unsafe extern "system" fn($($argument),*) $(-> $result)?, )*
        }

        impl $table {
            const NAMES: &[&str] = &[$( concat!($name, "\0") ),*];
            const COUNT: usize = Self::NAMES.len();

            /// Looks every function up by name.
            ///
            /// # Errors
            /// [`Code::Device`] names the first that is missing.
            ///
            /// # Safety
            /// `find` gives null or the Vulkan function of the name.
            pub unsafe fn load(find: impl Fn(&CStr) -> *const c_void) -> Outcome<Self> {
                let mut found = [core::ptr::null(); Self::COUNT];
                for (place, name) in found.iter_mut().zip(Self::NAMES) {
                    *place = find(CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default());
                    if place.is_null() {
                        return Err(Fault::new(Code::Device, "Vulkan", "driver lacks a function").values(Value::Text(&name[..name.len() - 1]), Value::None));
                    }
                }
                // SAFETY: as many pointers as the table has functions, none null, each of the function that its field
                // declares, says the caller.
                Ok(unsafe { core::mem::transmute::<[*const c_void; Self::COUNT], Self>(found) })
            }
        }
    };
}

functions! {
    /// Found without an instance.
    GlobalFunctions {
        enumerate_instance_version = "vkEnumerateInstanceVersion": fn(*mut u32) -> VkResult;
        enumerate_instance_extension_properties = "vkEnumerateInstanceExtensionProperties": fn(*const c_char, *mut u32, *mut ExtensionProperties) -> VkResult;
        create_instance = "vkCreateInstance": fn(*const InstanceCreateInfo, Allocator, *mut Instance) -> VkResult;
    }
}

functions! {
    /// Found by an instance.
    InstanceFunctions {
        destroy_instance = "vkDestroyInstance": fn(Instance, Allocator);
        enumerate_physical_devices = "vkEnumeratePhysicalDevices": fn(Instance, *mut u32, *mut PhysicalDevice) -> VkResult;
        get_physical_device_properties2 = "vkGetPhysicalDeviceProperties2": fn(PhysicalDevice, *mut PhysicalDeviceProperties2);
        get_physical_device_properties = "vkGetPhysicalDeviceProperties": fn(PhysicalDevice, *mut PhysicalDeviceProperties);
        get_physical_device_features2 = "vkGetPhysicalDeviceFeatures2": fn(PhysicalDevice, *mut PhysicalDeviceFeatures2);
        get_physical_device_memory_properties = "vkGetPhysicalDeviceMemoryProperties": fn(PhysicalDevice, *mut PhysicalDeviceMemoryProperties);
        get_physical_device_queue_family_properties = "vkGetPhysicalDeviceQueueFamilyProperties": fn(PhysicalDevice, *mut u32, *mut QueueFamilyProperties);
        enumerate_device_extension_properties = "vkEnumerateDeviceExtensionProperties": fn(PhysicalDevice, *const c_char, *mut u32, *mut ExtensionProperties) -> VkResult;
        create_device = "vkCreateDevice": fn(PhysicalDevice, *const DeviceCreateInfo, Allocator, *mut Device) -> VkResult;
        get_device_proc_addr = "vkGetDeviceProcAddr": fn(Device, *const c_char) -> *const c_void;
    }
}

functions! {
    /// Found by a device.
    DeviceFunctions {
        destroy_device = "vkDestroyDevice": fn(Device, Allocator);
        get_device_queue = "vkGetDeviceQueue": fn(Device, u32, u32, *mut Queue);
        queue_submit = "vkQueueSubmit": fn(Queue, u32, *const SubmitInfo, Handle) -> VkResult;
        allocate_memory = "vkAllocateMemory": fn(Device, *const MemoryAllocateInfo, Allocator, *mut Handle) -> VkResult;
        free_memory = "vkFreeMemory": fn(Device, Handle, Allocator);
        map_memory = "vkMapMemory": fn(Device, Handle, u64, u64, u32, *mut *mut c_void) -> VkResult;
        create_buffer = "vkCreateBuffer": fn(Device, *const BufferCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_buffer = "vkDestroyBuffer": fn(Device, Handle, Allocator);
        get_buffer_memory_requirements = "vkGetBufferMemoryRequirements": fn(Device, Handle, *mut MemoryRequirements);
        bind_buffer_memory = "vkBindBufferMemory": fn(Device, Handle, Handle, u64) -> VkResult;
        create_fence = "vkCreateFence": fn(Device, *const FenceCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_fence = "vkDestroyFence": fn(Device, Handle, Allocator);
        reset_fences = "vkResetFences": fn(Device, u32, *const Handle) -> VkResult;
        wait_for_fences = "vkWaitForFences": fn(Device, u32, *const Handle, u32, u64) -> VkResult;
        create_shader_module = "vkCreateShaderModule": fn(Device, *const ShaderModuleCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_shader_module = "vkDestroyShaderModule": fn(Device, Handle, Allocator);
        create_pipeline_cache = "vkCreatePipelineCache": fn(Device, *const PipelineCacheCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_pipeline_cache = "vkDestroyPipelineCache": fn(Device, Handle, Allocator);
        get_pipeline_cache_data = "vkGetPipelineCacheData": fn(Device, Handle, *mut usize, *mut c_void) -> VkResult;
        create_compute_pipelines = "vkCreateComputePipelines": fn(Device, Handle, u32, *const ComputePipelineCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_pipeline = "vkDestroyPipeline": fn(Device, Handle, Allocator);
        create_pipeline_layout = "vkCreatePipelineLayout": fn(Device, *const PipelineLayoutCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_pipeline_layout = "vkDestroyPipelineLayout": fn(Device, Handle, Allocator);
        create_descriptor_set_layout = "vkCreateDescriptorSetLayout": fn(Device, *const DescriptorSetLayoutCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_descriptor_set_layout = "vkDestroyDescriptorSetLayout": fn(Device, Handle, Allocator);
        create_descriptor_pool = "vkCreateDescriptorPool": fn(Device, *const DescriptorPoolCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_descriptor_pool = "vkDestroyDescriptorPool": fn(Device, Handle, Allocator);
        allocate_descriptor_sets = "vkAllocateDescriptorSets": fn(Device, *const DescriptorSetAllocateInfo, *mut Handle) -> VkResult;
        update_descriptor_sets = "vkUpdateDescriptorSets": fn(Device, u32, *const WriteDescriptorSet, u32, *const c_void);
        create_command_pool = "vkCreateCommandPool": fn(Device, *const CommandPoolCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_command_pool = "vkDestroyCommandPool": fn(Device, Handle, Allocator);
        allocate_command_buffers = "vkAllocateCommandBuffers": fn(Device, *const CommandBufferAllocateInfo, *mut CommandBuffer) -> VkResult;
        begin_command_buffer = "vkBeginCommandBuffer": fn(CommandBuffer, *const CommandBufferBeginInfo) -> VkResult;
        end_command_buffer = "vkEndCommandBuffer": fn(CommandBuffer) -> VkResult;
        cmd_bind_pipeline = "vkCmdBindPipeline": fn(CommandBuffer, u32, Handle);
        cmd_bind_descriptor_sets = "vkCmdBindDescriptorSets": fn(CommandBuffer, u32, Handle, u32, u32, *const Handle, u32, *const u32);
        cmd_push_constants = "vkCmdPushConstants": fn(CommandBuffer, Handle, u32, u32, u32, *const c_void);
        cmd_dispatch = "vkCmdDispatch": fn(CommandBuffer, u32, u32, u32);
        cmd_pipeline_barrier = "vkCmdPipelineBarrier": fn(CommandBuffer, u32, u32, u32, u32, *const MemoryBarrier, u32, *const c_void, u32, *const c_void);
        cmd_copy_buffer = "vkCmdCopyBuffer": fn(CommandBuffer, Handle, Handle, u32, *const BufferCopy);
        cmd_update_buffer = "vkCmdUpdateBuffer": fn(CommandBuffer, Handle, u64, u64, *const c_void);
        cmd_fill_buffer = "vkCmdFillBuffer": fn(CommandBuffer, Handle, u64, u64, u32);
        create_query_pool = "vkCreateQueryPool": fn(Device, *const QueryPoolCreateInfo, Allocator, *mut Handle) -> VkResult;
        destroy_query_pool = "vkDestroyQueryPool": fn(Device, Handle, Allocator);
        get_query_pool_results = "vkGetQueryPoolResults": fn(Device, Handle, u32, u32, usize, *mut c_void, u64, u32) -> VkResult;
        cmd_reset_query_pool = "vkCmdResetQueryPool": fn(CommandBuffer, Handle, u32, u32);
        cmd_write_timestamp = "vkCmdWriteTimestamp": fn(CommandBuffer, u32, Handle, u32);
    }
}
