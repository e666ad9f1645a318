// The kernels of range tools and FP8; kernels/range.rs says what they are told, and what they do.
#include "common.cuh"

typedef unsigned char u8;

#ifdef __CUDACC__

__device__ inline void atomic_add(u64 address, u64 value) { atomicAdd(reinterpret_cast<u64 *>(address), value); }

__device__ inline void atomic_max_32(u64 address, u32 value) { atomicMax(reinterpret_cast<u32 *>(address), value); }

// Of all threads of a warp, which get here together.
__device__ inline u32 warp_sum(u32 value) {
#pragma unroll
    for (u32 distance = 16; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xffffffff, value, distance);
    return value;
}

__device__ inline u32 warp_max(u32 value) {
#pragma unroll
    for (u32 distance = 16; distance > 0; distance /= 2) {
        const u32 other = __shfl_xor_sync(0xffffffff, value, distance);
        value = value > other ? value : other;
    }
    return value;
}

__device__ inline bool speaks_for_its_warp() { return threadIdx.x % 32 == 0; }

#else // every thread is a warp

static inline void atomic_add(u64 address, u64 value) { store<u64>(address, load<u64>(address) + value); }

static inline void atomic_max_32(u64 address, u32 value) {
    if (load<u32>(address) < value)
        store<u32>(address, value);
}

static inline u32 warp_sum(u32 value) { return value; }
static inline u32 warp_max(u32 value) { return value; }
static inline bool speaks_for_its_warp() { return true; }

#endif

constexpr u32 MAGNITUDE = 0x7fffffff;
constexpr u32 INFINITY_BITS = 0x7f800000;

// `Narrow` in convert.rs.
struct Narrow {
    u32 fraction, bias, largest, beyond, nan;
};
constexpr Narrow E4M3 = {3, 7, 0x7e, 0x7f, 0x7f};
constexpr Narrow E5M2 = {2, 15, 0x7b, 0x7c, 0x7f};
constexpr Narrow HALF = {10, 15, 0x7bff, 0x7c00, 0x7e00};

// `narrow` in convert.rs, line by line.
__device__ inline u32 narrow(u32 bits, const Narrow &to, bool saturate) {
    const u32 magnitude = bits & MAGNITUDE;
    const u32 shift = 23 - to.fraction;
    const u32 half = (1u << (shift - 1)) - 1;
    const u32 rounded = (magnitude + half + (magnitude >> shift & 1)) >> shift;
    const u32 normal = rounded - ((127 - to.bias) << to.fraction);
    const u32 ruler = (151 - to.bias - to.fraction) << 23;
    const u32 subnormal = __float_as_uint(__uint_as_float(magnitude) + __uint_as_float(ruler)) - ruler;
    u32 code = magnitude < (128 - to.bias) << 23 ? subnormal : normal;
    code = code <= to.largest ? code : saturate ? to.largest : to.beyond;
    return magnitude > INFINITY_BITS ? to.nan : code;
}

// `widen` in convert.rs, line by line.
__device__ inline u32 widen(u32 code, const Narrow &from, u32 sign, u32 special) {
    const u32 least = (128 - from.bias) << 23;
    const u32 magnitude = code << (23 - from.fraction);
    u32 bits = magnitude + ((127 - from.bias) << 23);
    if (magnitude < 1 << 23)
        bits = __float_as_uint(__uint_as_float(magnitude + least) - __uint_as_float(least));
    else if (code >= special)
        bits = magnitude | INFINITY_BITS;
    return bits | sign;
}

// The bits of an f32.
template <class Type>
__device__ u32 to_f32(typename Type::Bits bits) {
    constexpr u32 type = Type::INFINITE == 0x7c00 ? TYPE_F16 : Type::INFINITE == 0x7f80 ? TYPE_BF16 : TYPE_F32;
    if constexpr (type == TYPE_F16)
        return widen(bits & 0x7fff, HALF, (bits & 0x8000u) << 16, 0x7c00);
    else if constexpr (type == TYPE_BF16)
        return (u32)bits << 16;
    else
        return bits;
}

// Takes a thread through its share of a chunk, as `visit` does, but with one load under way: these
// visitors do much with each number, and other threads load meanwhile. Nothing is changed.
template <class Type, class Visitor>
__device__ void walk(const Chunk &chunk, Visitor &visitor) {
    typedef typename Type::Bits Bits;
    constexpr u32 size = sizeof(Bits);
    constexpr u32 per = PER_WORDS<Type>;
    const u32 before = (u32)(0 - chunk.start) % 16 / size;
    const u32 head = before < chunk.count ? before : chunk.count;
    const u32 vectors = (chunk.count - head) / per;
    const u32 tail = head + vectors * per;
    // Heads and tails are shorter than `per`: the first threads take one number of each.
    if (threadIdx.x < per) {
#pragma unroll 1
        for (u32 part = 0; part < 2; ++part) {
            const u32 at = part == 0 ? threadIdx.x : tail + threadIdx.x;
            if (at < (part == 0 ? head : chunk.count))
                visitor.one(load<Bits>(chunk.start + (u64)at * size), at);
        }
    }
#pragma unroll 1
    for (u32 next = threadIdx.x; next < vectors; next += THREADS) {
        const u32 at = head + next * per;
        visitor.many(load<Words>(chunk.start + (u64)at * size), at);
    }
}

// Dynamic range.

struct RangeList {
    u64 rows;
    float factor;
    u32 count;
    u32 zero;
    u32 normal;
    u32 overflow;
    u32 reserved;
    Entry entries[248];
};
static_assert(sizeof(RangeList) == 4000, "as in range.rs");

enum : u32 { ZEROS, INFINITIES, NANS, UNDERFLOW, SUBNORMAL, OVERFLOW, COUNTS };

// A row: the amax, and from here on the counts.
constexpr u64 ROW_COUNTS = 8;
constexpr u64 ROW = ROW_COUNTS + 8 * COUNTS;

template <class Type>
struct Counter {
    typedef typename Type::Bits Bits;

    const RangeList &list;
    u32 amax = 0;
    u32 counts[COUNTS] = {};

    __device__ explicit Counter(const RangeList &of) : list(of) {}

    __device__ void count(Bits value) {
        const u32 bits = to_f32<Type>(value);
        const u32 magnitude = bits & MAGNITUDE;
        const u32 scaled = __float_as_uint(__uint_as_float(bits) * list.factor) & MAGNITUDE;
        const bool finite = magnitude < INFINITY_BITS;
        amax = finite && magnitude > amax ? magnitude : amax;
        counts[ZEROS] += magnitude == 0;
        counts[INFINITIES] += magnitude == INFINITY_BITS;
        counts[NANS] += magnitude > INFINITY_BITS;
        counts[UNDERFLOW] += magnitude != 0 && scaled <= list.zero;
        counts[SUBNORMAL] += scaled > list.zero && scaled < list.normal;
        counts[OVERFLOW] += finite && scaled >= list.overflow;
    }

    __device__ void one(Bits bits, u32) { count(bits); }

    __device__ void many(const Words &words, u32) {
#pragma unroll
        for (u32 at = 0; at < PER_WORDS<Type>; ++at)
            count(element<Type>(words, at));
    }
};

template <class Type>
__device__ void measure(const RangeList &list, const Chunk &chunk) {
    Counter<Type> work(list);
    walk<Type>(chunk, work);
    const u64 row = list.rows + chunk.entry * ROW;
    const u32 amax = warp_max(work.amax);
    if (speaks_for_its_warp() && amax > 0)
        atomic_max_32(row, amax);
#pragma unroll
    for (u32 what = 0; what < COUNTS; ++what) {
        const u32 sum = warp_sum(work.counts[what]);
        if (speaks_for_its_warp() && sum > 0)
            atomic_add(row + ROW_COUNTS + what * 8, sum);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) freeboard_range(const RangeList __grid_constant__ list) {
    const Chunk chunk = chunk_of(list.entries, list.count);
    if (chunk.type == TYPE_F32)
        measure<F32>(list, chunk);
    else if (chunk.type == TYPE_F16)
        measure<F16>(list, chunk);
    else
        measure<BF16>(list, chunk);
}

// FP8.

enum : u32 { IS_E4M3, IS_E5M2 };

struct Cast {
    u64 input;
    u64 output;
    u64 scale;
    u64 amax;
    u64 len;
    u32 wide;
    u32 fp8;
};
static_assert(sizeof(Cast) == 48, "as in range.rs");

// How many elements of a tensor this block works on; `first` is the first of them.
__device__ inline u32 share_of(u64 len, u64 &first) {
    first = (u64)blockIdx.x * CHUNK;
    return first >= len ? 0 : len - first < CHUNK ? (u32)(len - first) : CHUNK;
}

template <class Type>
struct Quantizer {
    typedef typename Type::Bits Bits;

    u64 output;
    float scale;
    Narrow to;
    u32 amax = 0;

    __device__ Quantizer(u64 place, float by, u32 fp8) : output(place), scale(by), to(fp8 == IS_E4M3 ? E4M3 : E5M2) {}

    __device__ u8 code(Bits value) {
        const u32 bits = to_f32<Type>(value);
        const u32 magnitude = bits & MAGNITUDE;
        amax = magnitude > amax && magnitude <= INFINITY_BITS ? magnitude : amax;
        const u32 product = __float_as_uint(__uint_as_float(bits) * scale);
        return (u8)(narrow(product, to, true) | ((bits ^ __float_as_uint(scale)) >> 24 & 0x80));
    }

    __device__ void one(Bits bits, u32 at) { store<u8>(output + at, code(bits)); }

    __device__ void many(const Words &words, u32 at) {
        constexpr u32 per = PER_WORDS<Type>;
        u32 codes[per / 4] = {};
#pragma unroll
        for (u32 next = 0; next < per; ++next)
            codes[next / 4] |= (u32)code(element<Type>(words, next)) << (next % 4 * 8);
        const u64 place = output + at;
        if (place % 4 == 0) {
#pragma unroll
            for (u32 next = 0; next < per / 4; ++next)
                store<u32>(place + next * 4, codes[next]);
        } else {
#pragma unroll
            for (u32 next = 0; next < per; ++next)
                store<u8>(place + next, (u8)(codes[next / 4] >> (next % 4 * 8)));
        }
    }
};

template <class Type>
__device__ void quantize(const Cast &cast) {
    u64 first;
    Chunk chunk = {};
    chunk.count = share_of(cast.len, first);
    chunk.start = cast.input + first * sizeof(typename Type::Bits);
    Quantizer<Type> work(cast.output + first, load<float>(cast.scale), cast.fp8);
    walk<Type>(chunk, work);
    const u32 amax = warp_max(work.amax);
    if (speaks_for_its_warp() && amax > 0)
        atomic_max_32(cast.amax, amax);
}

extern "C" __global__ void __launch_bounds__(THREADS) freeboard_quantize(const Cast __grid_constant__ cast) {
    if (cast.wide == TYPE_F32)
        quantize<F32>(cast);
    else if (cast.wide == TYPE_F16)
        quantize<F16>(cast);
    else
        quantize<BF16>(cast);
}

// The bits of an f32.
__device__ inline u32 fp8_to_f32(u32 fp8, u32 code) {
    const u32 sign = (code & 0x80) << 24;
    return fp8 == IS_E4M3 ? widen(code & 0x7f, E4M3, sign, 0x7f) : widen(code & 0x7f, E5M2, sign, 0x7c);
}

extern "C" __global__ void __launch_bounds__(THREADS) freeboard_dequantize(const Cast __grid_constant__ cast) {
    u64 first;
    const u32 count = share_of(cast.len, first);
    const float scale_inv = load<float>(cast.scale);
    for (u32 at = threadIdx.x; at < count; at += THREADS) {
        const u32 bits = fp8_to_f32(cast.fp8, load<u8>(cast.input + first + at));
        u32 result = __float_as_uint(__uint_as_float(bits) * scale_inv);
        if ((bits & MAGNITUDE) > INFINITY_BITS) // one NaN, whatever the processor makes
            result = 0x7fc00000 | (bits & ~MAGNITUDE);
        const u64 place = first + at;
        if (cast.wide == TYPE_F32)
            store<u32>(cast.output + place * 4, result);
        else if (cast.wide == TYPE_F16)
            store<u16>(cast.output + place * 2, (u16)(narrow(result, HALF, false) | (result >> 16 & 0x8000)));
        else if ((result & MAGNITUDE) > INFINITY_BITS)
            store<u16>(cast.output + place * 2, (u16)(result >> 16));
        else
            store<u16>(cast.output + place * 2, (u16)((result + 0x7fff + (result >> 16 & 1)) >> 16));
    }
}

// `Rule` in recipe.rs.
struct ScaleRule {
    float numerator;
    float divisor;
    u32 most_recent;
    u32 unfused;
};

struct UpdateFp8 {
    u64 scale;
    u64 scale_inv;
    u64 history;
    u32 tensors;
    u32 rows;
    ScaleRule rule;
};
static_assert(sizeof(UpdateFp8) == 48, "as in range.rs");

// The rows that are loaded before the first of them is stored.
constexpr u32 AHEAD = 16;

// A thread for each tensor.
extern "C" __global__ void freeboard_fp8_update(const UpdateFp8 __grid_constant__ update) {
    const u32 tensor = blockIdx.x * blockDim.x + threadIdx.x;
    if (tensor >= update.tensors)
        return;
    const u64 history = update.history + tensor * 4ull;
    const u64 row_size = update.tensors * 4ull;
    const float newest = load<float>(history);
    float largest = 0.0f;
    const u32 rows = !update.rule.unfused && newest == 0.0f ? 0 : update.rows;
    for (u32 first = 0; first < rows; first += AHEAD) {
        float next[AHEAD];
#pragma unroll
        for (u32 turn = 0; turn < AHEAD; ++turn) {
            const u32 row = first + turn + 1;
            next[turn] = row < rows ? load<float>(history + row * row_size) : newest;
        }
#pragma unroll
        for (u32 turn = 0; turn < AHEAD; ++turn) {
            const u32 row = first + turn;
            if (row < rows) {
                // A NaN stays, because nothing is larger.
                if (next[turn] > largest || (update.rule.unfused && next[turn] != next[turn]))
                    largest = next[turn];
                store<float>(history + row * row_size, row > 0 ? next[turn] : 0.0f);
            }
        }
    }
    const float amax = update.rule.most_recent ? newest : largest;
    float scale = load<float>(update.scale + tensor * 4ull);
    if (amax > 0.0f && __float_as_uint(amax) < INFINITY_BITS) {
        if (update.rule.unfused)
            scale = 1.0f / amax * update.rule.numerator / update.rule.divisor;
        else
            scale = update.rule.numerator / amax;
    }
    if ((__float_as_uint(scale) & MAGNITUDE) == INFINITY_BITS)
        scale = __uint_as_float(INFINITY_BITS - 1);
    store<float>(update.scale + tensor * 4ull, scale);
    store<float>(update.scale_inv + tensor * 4ull, 1.0f / scale);
}
