// What the generated callers and the harness share: arguments, the table of entry points, and the run over a grid.
#pragma once

#include "lanes.h"

namespace metal {

// Binds to a reference of any type in any address space, so that a caller need not repeat a kernel's types.
struct SlmcMemory {
    void* at;
    template <class T> operator T&() const { return *(T*)at; }
};

// One entry point: `buffer_bytes` and `array_bytes` are what its declarations need.
struct SlmcEntry {
    void (*call)(void* const* buffers, void* const* arrays);
    const unsigned long* buffer_bytes;
    const unsigned long* array_bytes;
};

// A launch, as the harness lays it out.
struct SlmcLaunch {
    uint groups[3], lanes[3];
    uint simdgroup_lanes, descending, arrays;
    const unsigned long* array_bytes;
};

static uint3 slmc_shape_position() {
    const SlmcGroup& g = slmc_group;
    return uint3(g.current % g.shape.x, g.current / g.shape.x % g.shape.y, g.current / (g.shape.x * g.shape.y));
}

// Null, or the message of what went wrong. Threadgroup memory holds 0xff at first, so that a read before a write shows.
static const char* slmc_launch(const SlmcEntry& entry, void* const* buffers, void* const* arrays, const SlmcLaunch& launch) {
    SlmcGroup& g = slmc_group;
    g.shape = uint3(launch.lanes[0], launch.lanes[1], launch.lanes[2]);
    g.lanes = g.shape.x * g.shape.y * g.shape.z;
    if (g.lanes == 0 || g.lanes > slmc_most_lanes || launch.simdgroup_lanes == 0) return "a threadgroup has 1 to 1024 lanes";
    g.count = uint3(launch.groups[0], launch.groups[1], launch.groups[2]);
    g.simdgroup_lanes = launch.simdgroup_lanes;
    g.descending = launch.descending != 0;
    g.call = entry.call, g.buffers = buffers, g.arrays = arrays, g.failed = false;
    for (uint z = 0; z < g.count.z; z++) {
        for (uint y = 0; y < g.count.y; y++) {
            for (uint x = 0; x < g.count.x; x++) {
                g.position = uint3(x, y, z);
                for (uint i = 0; i < launch.arrays; i++) memset(arrays[i], 0xff, launch.array_bytes[i]);
                if (!slmc_run_group()) return g.message;
            }
        }
    }
    return nullptr;
}

}  // namespace metal
