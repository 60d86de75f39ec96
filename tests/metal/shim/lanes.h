// The invocations of a threadgroup as fibers of one thread, and the barrier between them.
//
// A lane runs until it waits or ends; then the scheduler resumes the next one, in ascending or descending order. Nothing
// depends on time, so a fault is found on every run or on none. A lane that waits notes the line it waits at. It is a
// fault when lanes of one barrier wait at different lines, and when in a whole round no lane gets anywhere: some wait
// for others that ended or wait for something else.
#pragma once

extern "C" int snprintf(char* out, metal::size_t size, const char* format, ...);
extern "C" void* memset(void* at, int byte, metal::size_t size);

// Saves what a call must preserve, and returns on the other stack.
extern "C" __attribute__((visibility("hidden"))) void slmc_switch(void** save, void* load);
asm(".pushsection .text\n.hidden slmc_switch\n.globl slmc_switch\n.type slmc_switch, @function\nslmc_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nretq\n"
    ".size slmc_switch, .-slmc_switch\n.popsection");

namespace metal {

inline constexpr uint slmc_most_lanes = 1024;
inline constexpr size_t slmc_stack_bytes = 64 * 1024;

// A meeting of lanes: those of a threadgroup or of one simdgroup.
struct SlmcMeeting {
    uint arrived, generation, line;
};

struct SlmcLane {
    void* stack_pointer;
    bool done;
    uint collectives;
};

// The threadgroup that runs. There is one: whoever launches holds the library's lock.
struct SlmcGroup {
    uint lanes, simdgroup_lanes;
    uint3 shape, position, count;
    bool descending, progress;
    uint current;
    void* scheduler;
    SlmcMeeting threadgroup_meeting;
    SlmcMeeting simdgroup_meetings[slmc_most_lanes];
    SlmcLane lane[slmc_most_lanes];
    void (*call)(void* const* buffers, void* const* arrays);
    void* const* buffers;
    void* const* arrays;
    bool failed;
    char message[256];
};

static SlmcGroup slmc_group;
alignas(64) static char slmc_stacks[slmc_most_lanes][slmc_stack_bytes];

inline void slmc_pause() {
    SlmcGroup& g = slmc_group;
    slmc_switch(&g.lane[g.current].stack_pointer, g.scheduler);
}

// Ends the launch. The lanes are abandoned where they are.
template <class... Values> inline void slmc_fail(const char* format, Values... values) {
    SlmcGroup& g = slmc_group;
    g.failed = true;
    snprintf(g.message, sizeof g.message, format, values...);
    slmc_pause();
}

inline void slmc_meet(SlmcMeeting& meeting, uint lanes, uint line) {
    SlmcGroup& g = slmc_group;
    if (meeting.arrived != 0 && meeting.line != line) slmc_fail("lanes of one group meet at line %u and at line %u", meeting.line, line);
    meeting.line = line;
    g.progress = true;
    if (++meeting.arrived == lanes) {
        meeting.arrived = 0;
        meeting.generation++;
        return;
    }
    for (const uint generation = meeting.generation; meeting.generation == generation;) slmc_pause();
}

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };

inline void slmc_threadgroup_barrier(uint line, mem_flags) {
    slmc_meet(slmc_group.threadgroup_meeting, slmc_group.lanes, line);
}

static void slmc_lane_main() {
    SlmcGroup& g = slmc_group;
    g.call(g.buffers, g.arrays);
    g.lane[g.current].done = true;
    g.progress = true;
    slmc_pause();
}

static void slmc_prepare(uint index) {
    char* top = slmc_stacks[index] + slmc_stack_bytes;
    // Six registers, the address to return to, and one word so that the stack is aligned as after a call.
    void** at = reinterpret_cast<void**>(top) - 8;
    memset(at, 0, 8 * sizeof *at);
    at[6] = reinterpret_cast<void*>(&slmc_lane_main);
    slmc_group.lane[index] = SlmcLane{at, false, 0};
}

// Runs all lanes of the threadgroup to their end; false leaves a message.
static bool slmc_run_group() {
    SlmcGroup& g = slmc_group;
    g.threadgroup_meeting = {};
    for (uint i = 0; i < g.lanes; i++) {
        g.simdgroup_meetings[i] = {};
        slmc_prepare(i);
    }
    for (uint left = g.lanes; left != 0;) {
        g.progress = false;
        for (uint i = 0; i < g.lanes; i++) {
            g.current = g.descending ? g.lanes - 1 - i : i;
            if (g.lane[g.current].done) continue;
            slmc_switch(&g.scheduler, g.lane[g.current].stack_pointer);
            if (g.failed) return false;
            left -= g.lane[g.current].done;
        }
        if (left != 0 && !g.progress) {
            snprintf(g.message, sizeof g.message, "deadlock: %u of %u lanes wait for lanes that never come; the last barrier was at line %u", left,
                     g.lanes, g.threadgroup_meeting.line);
            return false;
        }
    }
    return true;
}

}  // namespace metal

#define threadgroup_barrier(flags) slmc_threadgroup_barrier(__LINE__, flags)
