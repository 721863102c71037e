// The threads of a block that work on one candidate together: a team of TEAM lanes.
//
// A kernel is a sequence of phases. EACH(lane) runs a phase once for every lane, and SYNC() ends it: a lane may read
// what another one wrote in an earlier phase only. A phase holds no `return` or `break` out of it, and a value that the
// next phase needs is stored in shared memory, not in a variable. So the same source runs
//
//   on a device      a lane is a thread, SYNC() a barrier
//   on the host      one thread runs the lanes of each phase in a shuffled order
//
// The macros that the files read are those of `program.py`. They are joined into one text in the order given there.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef short i16;
typedef int i32;
typedef long long i64;

struct alignas(16) Four {
    i32 x, y, z, w;
};

#ifdef __CUDACC__

#define FUNCTION static __device__ __forceinline__
#define EACH(lane) for (u32 lane = threadIdx.x, once_ = 1; once_; once_ = 0)
#define SYNC() __syncthreads()
FUNCTION void add_to(i32* at, i32 number) { atomicAdd(at, number); }
FUNCTION void raise_to(u32* at, u32 number) { atomicMax(at, number); }
FUNCTION u32 take_one(u32* at) { return atomicAdd(at, 1u); }
FUNCTION u32 high_half(u32 a, u32 b) { return __umulhi(a, b); }
FUNCTION u32 leading_zeros(u32 number) { return __clz(number); }
FUNCTION u32 trailing_zeros(u32 number) { return __ffs(number) - 1; }
// The low word of the pair (high, low) shifted right; shift is 0 to 31.
FUNCTION u32 shift_pair(u32 low, u32 high, u32 shift) { return __funnelshift_r(low, high, shift); }

// Arrays in shared memory, one after another, each at a multiple of 16 bytes.
struct Shared {
    u8* next;
    template <typename T>
    __device__ __forceinline__ T* array(u32 count) {
        T* found = reinterpret_cast<T*>(next);
        next += (count * sizeof(T) + 15) / 16 * 16;
        return found;
    }
};

#else

#include <cstdlib>
#include <memory>
#include <vector>

#define FUNCTION static inline
FUNCTION u32 high_half(u32 a, u32 b) { return (u64)a * b >> 32; }
FUNCTION u32 leading_zeros(u32 number) { return number ? __builtin_clz(number) : 32; }
FUNCTION u32 trailing_zeros(u32 number) { return __builtin_ctz(number); }
FUNCTION u32 shift_pair(u32 low, u32 high, u32 shift) { return ((u64)high << 32 | low) >> shift; }

// The arrays of a block, each on the heap, so that an address sanitizer sees its ends.
struct Memory {
    std::vector<std::unique_ptr<void, decltype(&std::free)> > arrays;
};

struct Shared {
    Memory* memory;
    u32 next;
    template <typename T>
    T* array(u32 count) {
        if (next == memory->arrays.size()) {
            size_t bytes = (count * sizeof(T) + 15) / 16 * 16;
            u8* found = static_cast<u8*>(std::aligned_alloc(16, bytes));
            for (size_t i = 0; i < bytes; i++) found[i] = 0xA5;  // shared memory begins with whatever was there
            memory->arrays.emplace_back(found, &std::free);
        }
        return static_cast<T*>(memory->arrays[next++].get());
    }
};

// The order of the lanes changes at every phase: lane (i * factor + start) mod TEAM is the i-th; TEAM is a power of
// two.
static thread_local u32 order_ = 1;
FUNCTION u32 lane_of(u32 i) { return (i * (order_ >> 8 | 1) + (order_ >> 20)) & (TEAM - 1); }
#define EACH(lane) for (u32 i_ = 0, lane = lane_of(0); i_ < TEAM; i_++, lane = lane_of(i_))
#define SYNC() (order_ = order_ * 1664525u + 1013904223u)  // Numerical Recipes, section 7.1
FUNCTION void add_to(i32* at, i32 number) { *at += number; }
FUNCTION u32 take_one(u32* at) { return (*at)++; }
FUNCTION void raise_to(u32* at, u32 number) { *at = *at < number ? number : *at; }

#endif

FUNCTION u32 smaller(u32 a, u32 b) { return a < b ? a : b; }
