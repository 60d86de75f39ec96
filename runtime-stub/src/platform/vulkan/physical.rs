//! What devices there are and what each can do, in the order in which they are preferred.
//!
//! Discrete GPUs come first, then integrated ones, then virtual ones, then processors that pose as GPUs; among equals
//! the driver's order stands. A device's number is its place in this order.

use core::ffi::{CStr, c_void};

use super::ffi::*;
use super::functions::InstanceFunctions;
use super::library::{Connection, INSTALL, has_extension, list_extensions};
use crate::abi::device_feature;
use crate::device::NAME_BYTES;
use crate::fault::{Code, Fault, Outcome, Value};

/// Devices that are looked at, at most.
pub const MAX_DEVICES: usize = 16;

pub(super) const FLOAT16_EXTENSION: &CStr = c"VK_KHR_shader_float16_int8";
pub(super) const INT_DOT_EXTENSION: &CStr = c"VK_KHR_shader_integer_dot_product";
pub(super) const PORTABILITY_EXTENSION: &CStr = c"VK_KHR_portability_subset";

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the processor's memory.
    Integrated,
    /// A GPU of a virtual machine.
    Virtual,
    /// A processor, in software.
    Cpu,
    /// Something else.
    Other,
}

/// What a device is and can do, for people and for reports.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The driver's name for it, UTF-8, ends with a zero byte.
    pub name: [u8; NAME_BYTES],
    /// What it is.
    pub kind: Kind,
    /// Vulkan version: major, minor, patch.
    pub api_version: [u32; 3],
    /// As the driver packs it.
    pub driver_version: u32,
    /// PCI vendor.
    pub vendor_id: u32,
    /// The vendor's number of the device.
    pub device_id: u32,
    /// Identity of device and driver for compiled shaders.
    pub cache_uuid: [u8; 16],
    /// Bytes of its largest heap of own memory.
    pub memory_bytes: u64,
    /// Bits of [`device_feature`].
    pub features: u64,
    /// Lanes of a subgroup as the driver states them; it may use others.
    pub subgroup_size: u32,
    /// Limits.
    pub limits: Limits,
    /// Why no bundle runs on it, if that is so.
    pub unusable: Option<Fault>,
}

/// Limits of a device that bundles are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `maxComputeWorkGroupInvocations`, or `maxComputeWorkGroupSize[0]` if that is less.
    pub lanes: u32,
    /// `maxComputeSharedMemorySize`, bytes.
    pub shared_bytes: u32,
    /// `maxPerStageDescriptorStorageBuffers`, or `maxDescriptorSetStorageBuffers` if that is less.
    pub storage_buffers: u32,
    /// `maxStorageBufferRange`, bytes.
    pub binding_bytes: u64,
    /// `maxMemoryAllocationSize`, bytes.
    pub allocation_bytes: u64,
    /// `maxPushConstantsSize`, bytes.
    pub push_constant_bytes: u32,
    /// `minStorageBufferOffsetAlignment`, bytes.
    pub offset_align: u64,
    /// `maxComputeWorkGroupCount`.
    pub workgroups: [u32; 3],
}

/// A device with all that is needed to open it.
#[derive(Clone, Copy)]
pub struct Physical {
    /// For the instance it came from.
    pub handle: PhysicalDevice,
    /// What it is.
    pub description: Description,
    /// Its heaps and types of memory.
    pub memory: PhysicalDeviceMemoryProperties,
    /// The queue family that computes.
    pub family: u32,
    /// Bits of a timestamp in that family; 0 = none.
    pub timestamp_bits: u32,
    /// Nanoseconds of one step of a timestamp.
    pub timestamp_period: f32,
    /// The driver wants `VK_KHR_portability_enumeration` to be asked for.
    pub portable: bool,
}

/// Devices in their order.
pub struct Devices {
    found: [Option<Physical>; MAX_DEVICES],
    count: usize,
}

impl Devices {
    /// Looks at every device of an instance.
    ///
    /// # Errors
    /// [`Code::Device`] if there is none, or the driver fails.
    pub fn list(connection: &Connection) -> Outcome<Self> {
        let mut handles = [0; MAX_DEVICES];
        let count = connection.physical_devices(&mut handles)?;
        if count == 0 {
            return Err(Fault::new(Code::Device, "Vulkan", "has no device").hint(INSTALL));
        }
        let mut devices = Self { found: [const { None }; MAX_DEVICES], count: 0 };
        for &handle in &handles[..count] {
            devices.insert(Physical::look(&connection.functions, handle)?);
        }
        Ok(devices)
    }

    /// Puts a device behind those that are preferred at least as much.
    fn insert(&mut self, device: Physical) {
        let rank = |kind| match kind {
            Kind::Discrete => 0,
            Kind::Integrated => 1,
            Kind::Virtual => 2,
            Kind::Cpu => 3,
            Kind::Other => 4,
        };
        let mut at = self.count;
        while at > 0 && self.found[at - 1].is_some_and(|other| rank(other.description.kind) > rank(device.description.kind)) {
            self.found[at] = self.found[at - 1];
            at -= 1;
        }
        self.found[at] = Some(device);
        self.count += 1;
    }

    /// The devices; the number of each is its place.
    pub fn iter(&self) -> impl Iterator<Item = &Physical> {
        self.found.iter().flatten()
    }

    /// The device of a number (1 more than it; 0 = any), that `suits`.
    ///
    /// With 0, the first that suits; but a processor is not taken in the place of GPUs that do not suit.
    ///
    /// # Errors
    /// The fault of the device asked for, or of the first one; [`Code::Device`] for a number without a device.
    pub fn choose(&self, number: u32, suits: impl Fn(&Physical) -> Outcome<()>) -> Outcome<Physical> {
        if number > 0 {
            let device = self.iter().nth(number as usize - 1).ok_or_else(|| {
                Fault::new(Code::Device, "device", "number is too high")
                    .numbers(self.count as u64 - 1, u64::from(number) - 1)
                    .hint("`slmc devices` lists those there are")
            })?;
            return suits(device).map(|()| *device);
        }
        let mut first_fault = None;
        for device in self.iter() {
            let software = matches!(device.description.kind, Kind::Cpu | Kind::Other);
            if let (true, Some(fault)) = (software, first_fault) {
                return Err(fault);
            }
            match suits(device) {
                Ok(()) => return Ok(*device),
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        Err(first_fault.unwrap_or(Fault::new(Code::Device, "Vulkan", "has no device").hint(INSTALL)))
    }
}

impl Physical {
    fn look(functions: &InstanceFunctions, handle: PhysicalDevice) -> Outcome<Self> {
        let mut properties = PhysicalDeviceProperties::EMPTY;
        let mut memory = PhysicalDeviceMemoryProperties::EMPTY;
        // SAFETY: a handle of this instance; the structs are written whole.
        unsafe {
            (functions.get_physical_device_properties)(handle, &mut properties);
            (functions.get_physical_device_memory_properties)(handle, &mut memory);
        }
        let mut device = Self {
            handle,
            description: describe(&properties, &memory),
            memory,
            family: 0,
            timestamp_bits: 0,
            timestamp_period: properties.limits.timestamp_period,
            portable: false,
        };
        if properties.api_version < API_1_1 {
            device.description.unusable = Some(
                Fault::new(Code::Device, "device", "knows an older version of Vulkan")
                    .values(Value::Text("1.1"), Value::Text("1.0"))
                    .hint("update the device's driver"),
            );
            return Ok(device);
        }
        device.look_closer(functions)?;
        Ok(device)
    }

    /// What only Vulkan 1.1 can tell.
    fn look_closer(&mut self, functions: &InstanceFunctions) -> Outcome<()> {
        let extensions = list_extensions(|count, out| {
            // SAFETY: a handle of this instance; `out` is null or has room for `count` entries.
            unsafe { (functions.enumerate_device_extension_properties)(self.handle, core::ptr::null(), count, out) }
        })?;
        self.portable = has_extension(&extensions, PORTABILITY_EXTENSION);

        let mut subgroup = PhysicalDeviceSubgroupProperties::EMPTY;
        let mut maintenance = PhysicalDeviceMaintenance3Properties::EMPTY;
        maintenance.next = (&raw mut subgroup).cast();
        let mut properties = PhysicalDeviceProperties2::EMPTY;
        properties.next = (&raw mut maintenance).cast();
        let mut features = Features::default();
        let mut query = PhysicalDeviceFeatures2::EMPTY;
        query.next = features.chain(has_extension(&extensions, FLOAT16_EXTENSION), has_extension(&extensions, INT_DOT_EXTENSION));
        // SAFETY: a handle of this instance whose version is 1.1; both chains hold structs that it knows.
        unsafe {
            (functions.get_physical_device_properties2)(self.handle, &mut properties);
            (functions.get_physical_device_features2)(self.handle, &mut query);
        }
        let description = &mut self.description;
        description.limits.allocation_bytes = maintenance.max_memory_allocation_size;
        description.subgroup_size = subgroup.subgroup_size;
        let operations = SUBGROUP_BASIC | SUBGROUP_ARITHMETIC;
        if subgroup.supported_stages & STAGE_COMPUTE != 0 && subgroup.supported_operations & operations == operations {
            description.features |= device_feature::SUBGROUP;
        }
        if features.float16.shader_float16 != 0 && features.storage16.storage_buffer_16bit_access != 0 {
            description.features |= device_feature::F16;
        }
        if features.int_dot.shader_integer_dot_product != 0 {
            description.features |= device_feature::INT_DOT;
        }
        self.look_at_queues(functions);
        Ok(())
    }

    fn look_at_queues(&mut self, functions: &InstanceFunctions) {
        let mut families = [QueueFamilyProperties::EMPTY; 32];
        let mut count = families.len() as u32;
        // SAFETY: a handle of this instance; there is room for `count` entries.
        unsafe { (functions.get_physical_device_queue_family_properties)(self.handle, &mut count, families.as_mut_ptr()) };
        let found = (0u32..).zip(&families[..count as usize]).find(|(_, family)| family.queue_flags & QUEUE_COMPUTE != 0 && family.queue_count > 0);
        match found {
            Some((index, family)) => (self.family, self.timestamp_bits) = (index, family.timestamp_valid_bits),
            None => self.description.unusable = Some(Fault::new(Code::Device, "device", "has no queue that computes")),
        }
    }
}

/// Feature structs of the extensions that matter, to be asked for or to be switched on.
pub(super) struct Features {
    pub(super) storage16: PhysicalDevice16BitStorageFeatures,
    pub(super) float16: PhysicalDeviceShaderFloat16Int8Features,
    pub(super) int_dot: PhysicalDeviceShaderIntegerDotProductFeatures,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            storage16: PhysicalDevice16BitStorageFeatures::EMPTY,
            float16: PhysicalDeviceShaderFloat16Int8Features::EMPTY,
            int_dot: PhysicalDeviceShaderIntegerDotProductFeatures::EMPTY,
        }
    }
}

impl Features {
    /// Links the structs, those of extensions only where they are there; the chain lives as long as `self` stays put.
    pub(super) fn chain(&mut self, float16: bool, int_dot: bool) -> *const c_void {
        let mut next: *const c_void = core::ptr::null();
        if int_dot {
            next = (&raw mut self.int_dot).cast();
        }
        if float16 {
            self.float16.next = next;
            next = (&raw mut self.float16).cast();
        }
        self.storage16.next = next;
        (&raw mut self.storage16).cast()
    }
}

fn describe(properties: &PhysicalDeviceProperties, memory: &PhysicalDeviceMemoryProperties) -> Description {
    let limits = &properties.limits;
    let heaps = &memory.memory_heaps[..memory.memory_heap_count as usize];
    let version = properties.api_version;
    let mut name = [0; NAME_BYTES];
    let end = properties.device_name.iter().position(|&b| b == 0).unwrap_or(0).min(NAME_BYTES - 1);
    name[..end].copy_from_slice(&properties.device_name[..end]);
    Description {
        name,
        kind: match properties.device_type {
            DEVICE_TYPE_DISCRETE => Kind::Discrete,
            DEVICE_TYPE_INTEGRATED => Kind::Integrated,
            DEVICE_TYPE_VIRTUAL => Kind::Virtual,
            DEVICE_TYPE_CPU => Kind::Cpu,
            _ => Kind::Other,
        },
        api_version: [version >> 22 & 0x7f, version >> 12 & 0x3ff, version & 0xfff],
        driver_version: properties.driver_version,
        vendor_id: properties.vendor_id,
        device_id: properties.device_id,
        cache_uuid: properties.pipeline_cache_uuid,
        memory_bytes: heaps.iter().filter(|heap| heap.flags & MEMORY_DEVICE_LOCAL != 0).map(|heap| heap.size).max().unwrap_or(0),
        features: 0,
        subgroup_size: 0,
        limits: Limits {
            lanes: limits.max_compute_work_group_invocations.min(limits.max_compute_work_group_size[0]),
            shared_bytes: limits.max_compute_shared_memory_size,
            storage_buffers: limits.max_per_stage_descriptor_storage_buffers.min(limits.max_descriptor_set_storage_buffers),
            binding_bytes: limits.max_storage_buffer_range.into(),
            allocation_bytes: 1 << 30,
            push_constant_bytes: limits.max_push_constants_size,
            offset_align: limits.min_storage_buffer_offset_alignment,
            workgroups: limits.max_compute_work_group_count,
        },
        unusable: None,
    }
}
