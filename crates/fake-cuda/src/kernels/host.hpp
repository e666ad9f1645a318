// CUDA's words, and the half of common.cuh that a GPU has in hardware, for the host.
//
// A kernel runs thread by thread on one thread of the host. It reaches memory only through `load`,
// `store` and the atomics here, which refuse what the device may not touch.
#pragma once
#include <cstddef>
#include <cstring>
#include <iterator>
#include <type_traits>
#include <utility>

#define __device__
#define __global__
#define __launch_bounds__(...)
// A kernel's one parameter need not be copied for every thread.
#define __grid_constant__ &

struct Place {
    unsigned x;
};
// Plain globals: the driver runs a kernel under its lock.
static Place threadIdx, blockIdx, blockDim, gridDim;

constexpr unsigned ILLEGAL_ADDRESS = 700;
constexpr unsigned MISALIGNED_ADDRESS = 716;

struct Range {
    unsigned long long start, end;
};
// Finds the memory that holds an address and is open to read, or to write.
typedef bool (*Find)(const void *memory, unsigned long long address, bool write, Range *range);

static const void *memory;
static Find find_range;
// What was found last, to read and to write.
static Range found_ranges[2];
// The first thing that went wrong in a launch: a driver's code.
static unsigned failure;

static bool reach(unsigned long long address, size_t size, size_t alignment, bool write) {
    Range &range = found_ranges[write];
    if (address % alignment != 0)
        failure = failure ? failure : MISALIGNED_ADDRESS;
    else if ((address < range.start || address >= range.end) && !find_range(memory, address, write, &range))
        failure = failure ? failure : ILLEGAL_ADDRESS;
    else if (range.end - address < size)
        failure = failure ? failure : ILLEGAL_ADDRESS;
    return failure == 0;
}

template <class T>
T load(unsigned long long address) {
    T value = {};
    if (reach(address, sizeof(T), alignof(T), false))
        std::memcpy(&value, reinterpret_cast<const void *>(address), sizeof(T));
    return value;
}

template <class T>
void store(unsigned long long address, T value) {
    if (reach(address, sizeof(T), alignof(T), true))
        std::memcpy(reinterpret_cast<void *>(address), &value, sizeof(T));
}

static inline unsigned long long load_shared(unsigned long long address) { return load<unsigned long long>(address); }

static inline void atomic_max(unsigned long long address, unsigned long long value) {
    if (load<unsigned long long>(address) < value)
        store(address, value);
}

template <class To, class From>
static To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To to;
    std::memcpy(&to, &from, sizeof(To));
    return to;
}

static inline float __uint_as_float(unsigned bits) { return same_bits<float>(bits); }
static inline unsigned __float_as_uint(float value) { return same_bits<unsigned>(value); }
static inline double __longlong_as_double(long long bits) { return same_bits<double>(bits); }
static inline long long __double_as_longlong(double value) { return same_bits<long long>(value); }

<<<<<<< HEAD
// A GPU makes one NaN.
static inline float __fmul_rn(float one, float other) {
    const float product = one * other;
    return product == product ? product : __uint_as_float(0x7fffffff);
}

static inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const unsigned long long bytes = (unsigned long long)high << 32 | low;
    unsigned result = 0;
    for (unsigned at = 0; at < 4; ++at)
        result |= (unsigned)(bytes >> (selector >> 4 * at & 7) * 8 & 0xff) << 8 * at;
    return result;
}
=======
static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float __fsqrt_rn(float value) { return __builtin_sqrtf(value); }
static inline double __dsqrt_rn(double value) { return __builtin_sqrt(value); }
>>>>>>> wip-optim

// As `cvt.f32.f16`.
static inline float f16_to_float(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ffu;
    if (exponent == 31)
        return __uint_as_float(fraction ? 0x7fffffff : sign | 0x7f800000);
    if (exponent == 0) // exact: a multiple of the least f16
        return __uint_as_float(sign | __float_as_uint((float)fraction * 0x1p-24f));
    return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

// As `cvt.rn.f16.f32`.
static inline unsigned short float_to_f16(float value) {
    const unsigned bits = __float_as_uint(value), size = bits & 0x7fffffff;
    const unsigned short sign = (unsigned short)(bits >> 16 & 0x8000);
    if (size > 0x7f800000)
        return 0x7fff;
    if (size >= 0x47800000) // 65,536
        return sign | 0x7c00;
    if (size < 0x38800000) // no normal f16: the unit in the last place of 0.5 is the least f16
        return (unsigned short)(sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - 0x3f000000));
    return (unsigned short)(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
}
