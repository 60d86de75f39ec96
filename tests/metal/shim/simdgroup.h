// Operations over the lanes of one simdgroup, whose size the launch chooses: lane l is in simdgroup l / size, and the
// last one may be short. Each lane publishes its value, all meet, each reads those of the others.
#pragma once

namespace metal {

struct alignas(16) SlmcSlot {
    char bytes[16];
};

// Two sets, used in turn: a lane can be one operation ahead of a lane that still reads, never two.
static SlmcSlot slmc_slots[2][slmc_most_lanes];

inline uint slmc_first_of_simdgroup() { return slmc_group.current / slmc_group.simdgroup_lanes * slmc_group.simdgroup_lanes; }
inline uint slmc_lanes_of_simdgroup() {
    const uint left = slmc_group.lanes - slmc_first_of_simdgroup();
    return left < slmc_group.simdgroup_lanes ? left : slmc_group.simdgroup_lanes;
}

inline void slmc_meet_simdgroup(uint line) {
    SlmcGroup& g = slmc_group;
    slmc_meet(g.simdgroup_meetings[g.current / g.simdgroup_lanes], slmc_lanes_of_simdgroup(), line);
}

// `read(get, lane, lanes)`, where `get(l)` is the value of lane l of this simdgroup.
template <class T, class F> inline auto slmc_collect(uint line, T value, F read) {
    static_assert(sizeof(T) <= sizeof(SlmcSlot), "at most 16 bytes a lane");
    SlmcGroup& g = slmc_group;
    const uint self = g.current, first = slmc_first_of_simdgroup();
    SlmcSlot* slots = slmc_slots[g.lane[self].collectives++ & 1];
    __builtin_memcpy(slots[self].bytes, &value, sizeof value);
    slmc_meet_simdgroup(line);
    auto get = [=](uint lane) {
        T found;
        __builtin_memcpy(&found, slots[first + lane].bytes, sizeof found);
        return found;
    };
    return read(get, self - first, slmc_lanes_of_simdgroup());
}

template <class T, class F> inline T slmc_reduce(uint line, T value, F join) {
    return slmc_collect(line, value, [=](auto get, uint, uint lanes) {
        T all = get(0);
        for (uint i = 1; i < lanes; i++) all = join(all, get(i));
        return all;
    });
}

template <class T> inline T slmc_simd_sum(uint line, T v) { return slmc_reduce(line, v, [](T a, T b) { return T(a + b); }); }
template <class T> inline T slmc_simd_product(uint line, T v) { return slmc_reduce(line, v, [](T a, T b) { return T(a * b); }); }
template <class T> inline T slmc_simd_max(uint line, T v) { return slmc_reduce(line, v, [](T a, T b) { return max(a, b); }); }
template <class T> inline T slmc_simd_min(uint line, T v) { return slmc_reduce(line, v, [](T a, T b) { return min(a, b); }); }
template <class T> inline T slmc_simd_and(uint line, T v) { return slmc_reduce(line, v, [](T a, T b) { return T(a & b); }); }
template <class T> inline T slmc_simd_or(uint line, T v) { return slmc_reduce(line, v, [](T a, T b) { return T(a | b); }); }
template <class T> inline T slmc_simd_xor(uint line, T v) { return slmc_reduce(line, v, [](T a, T b) { return T(a ^ b); }); }
inline bool slmc_simd_all(uint line, bool v) { return slmc_simd_and(line, uint(v)) != 0; }
inline bool slmc_simd_any(uint line, bool v) { return slmc_simd_or(line, uint(v)) != 0; }

// The value of the lane that `of(lane)` names; a lane outside the simdgroup is a fault, as it is undefined on a device.
template <class T, class F> inline T slmc_from_lane(uint line, T value, F of) {
    return slmc_collect(line, value, [=](auto get, uint lane, uint lanes) {
        const uint from = of(lane);
        if (from >= lanes) slmc_fail("line %u reads lane %u of a simdgroup of %u", line, from, lanes);
        return get(from);
    });
}

template <class T> inline T slmc_simd_broadcast(uint line, T v, uint from) { return slmc_from_lane(line, v, [=](uint) { return from; }); }
template <class T> inline T slmc_simd_shuffle(uint line, T v, uint from) { return slmc_from_lane(line, v, [=](uint) { return from; }); }
template <class T> inline T slmc_simd_shuffle_xor(uint line, T v, uint mask) { return slmc_from_lane(line, v, [=](uint l) { return l ^ mask; }); }
template <class T> inline T slmc_simd_shuffle_up(uint line, T v, uint by) { return slmc_from_lane(line, v, [=](uint l) { return l < by ? l : l - by; }); }
template <class T> inline T slmc_simd_shuffle_down(uint line, T v, uint by) {
    return slmc_collect(line, v, [=](auto get, uint lane, uint lanes) { return get(lane + by < lanes ? lane + by : lane); });
}

inline void slmc_simdgroup_barrier(uint line, mem_flags) { slmc_meet_simdgroup(line); }

}  // namespace metal

#define simd_sum(v) slmc_simd_sum(__LINE__, v)
#define simd_product(v) slmc_simd_product(__LINE__, v)
#define simd_max(v) slmc_simd_max(__LINE__, v)
#define simd_min(v) slmc_simd_min(__LINE__, v)
#define simd_and(v) slmc_simd_and(__LINE__, v)
#define simd_or(v) slmc_simd_or(__LINE__, v)
#define simd_xor(v) slmc_simd_xor(__LINE__, v)
#define simd_all(v) slmc_simd_all(__LINE__, v)
#define simd_any(v) slmc_simd_any(__LINE__, v)
#define simd_broadcast_first(v) slmc_simd_broadcast(__LINE__, v, 0)
#define simd_broadcast(v, lane) slmc_simd_broadcast(__LINE__, v, lane)
#define simd_shuffle(v, lane) slmc_simd_shuffle(__LINE__, v, lane)
#define simd_shuffle_xor(v, mask) slmc_simd_shuffle_xor(__LINE__, v, mask)
#define simd_shuffle_up(v, by) slmc_simd_shuffle_up(__LINE__, v, by)
#define simd_shuffle_down(v, by) slmc_simd_shuffle_down(__LINE__, v, by)
#define simdgroup_barrier(flags) slmc_simdgroup_barrier(__LINE__, flags)
