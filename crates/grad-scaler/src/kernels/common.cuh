// What the kernels share: device memory, the types of numbers, tensors in lists, and the way through
// a tensor.
//
// Written in what CUDA C++ and C++17 have in common, without a toolkit's headers, shared memory or
// barriers: the fake driver of the tests compiles the kernels for the host and runs them thread by
// thread. It has its own version of what stands under __CUDACC__ here.
#pragma once

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

static_assert(sizeof(u16) == 2 && sizeof(u32) == 4 && sizeof(u64) == 8, "the types of Rust");

// What is loaded and stored at once.
struct alignas(16) Words {
    u32 word[4];
};

#ifdef __CUDACC__

template <class T>
__device__ T load(u64 address) {
    return *reinterpret_cast<const T *>(address);
}

template <class T>
__device__ void store(u64 address, T value) {
    *reinterpret_cast<T *>(address) = value;
}

// That an address is in global memory cannot be told in C++, and spares the GPU a question.
template <>
__device__ inline Words load<Words>(u64 address) {
    Words words;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
                 : "l"(address));
    return words;
}

template <>
__device__ inline void store<Words>(u64 address, Words words) {
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
                 :
                 : "l"(address), "r"(words.word[0]), "r"(words.word[1]), "r"(words.word[2]), "r"(words.word[3]));
}

// Another thread may be writing there.
__device__ inline u64 load_shared(u64 address) { return *reinterpret_cast<const volatile u64 *>(address); }

__device__ inline void atomic_max(u64 address, u64 value) {
    asm volatile("red.global.max.u64 [%0], %1;" : : "l"(address), "l"(value));
}

__device__ inline float f16_to_float(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

// To nearest, ties to even.
__device__ inline u16 float_to_f16(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

#endif

__device__ inline float bf16_to_float(u16 bits) { return __uint_as_float((u32)bits << 16); }

// The upper half is the nearest bf16, ties to even, of what arithmetic gave: its NaN is 0x7fffffff on
// GPUs, the largest of signed integers, and stays one where it is cut to 0x7fff.
__device__ inline u32 rounded_to_bf16(float result) {
    const int bits = (int)__float_as_uint(result);
    const u32 cut = (u32)(bits < 0x7fff0000 ? bits : 0x7fff0000);
    return cut + 0x7fff + (cut >> 16 & 1);
}

// The same of any float.
__device__ inline u16 float_to_bf16(float value) {
    return value == value ? (u16)(rounded_to_bf16(value) >> 16) : 0x7fff;
}

// Each type of number: what holds its bits, which of them are an infinity (those of the exponent),
// which lie below, and its product with a factor, made in f32 (f64 for f64).
struct F32 {
    typedef u32 Bits;
    static constexpr u32 INFINITE = 0x7f800000;
    static constexpr u32 FRACTION = 0x7fffff;
    static __device__ Bits product(Bits bits, float factor) {
        return __float_as_uint(__fmul_rn(__uint_as_float(bits), factor));
    }
};

struct F16 {
    typedef u16 Bits;
    static constexpr u16 INFINITE = 0x7c00;
    static constexpr u16 FRACTION = 0x3ff;
    static __device__ Bits product(Bits bits, float factor) {
        return float_to_f16(__fmul_rn(f16_to_float(bits), factor));
    }
    // Of two in a word.
    static __device__ u32 products(u32 word, float factor) {
        return product((u16)word, factor) | (u32)product((u16)(word >> 16), factor) << 16;
    }
};

struct BF16 {
    typedef u16 Bits;
    static constexpr u16 INFINITE = 0x7f80;
    static constexpr u16 FRACTION = 0x7f;
    static __device__ Bits product(Bits bits, float factor) { return (u16)products(bits, factor); }
    // Of two in a word.
    static __device__ u32 products(u32 word, float factor) {
        const u32 low = rounded_to_bf16(__fmul_rn(__uint_as_float(word << 16), factor));
        const u32 high = rounded_to_bf16(__fmul_rn(__uint_as_float(word & 0xffff0000), factor));
        return __byte_perm(low, high, 0x7632);
    }
};

struct F64 {
    typedef u64 Bits;
    static constexpr u64 INFINITE = 0x7ff0000000000000;
    static constexpr u64 FRACTION = 0xfffffffffffff;
    static __device__ Bits product(Bits bits, float factor) {
        return (u64)__double_as_longlong(__longlong_as_double((long long)bits) * (double)factor);
    }
};

// How many numbers are in it.
template <class Type>
constexpr u32 PER_WORDS = 16 / sizeof(typename Type::Bits);

template <class Type>
__device__ typename Type::Bits element(const Words &words, u32 at) {
    constexpr u32 size = sizeof(typename Type::Bits);
    if constexpr (size == 8)
        return words.word[2 * at] | (u64)words.word[2 * at + 1] << 32;
    else if constexpr (size == 4)
        return words.word[at];
    else
        return (u16)(words.word[at / 2] >> (at % 2 * 16));
}

// What is left when the first number goes; zero at the end.
template <class Type>
__device__ Words without_first(const Words &words) {
    constexpr u32 size = sizeof(typename Type::Bits);
    Words result = {};
#pragma unroll
    for (u32 at = 0; at < 4; ++at) {
        const u32 next = at + 1 < 4 ? words.word[at + 1] : 0;
        if constexpr (size == 8)
            result.word[at] = at + 2 < 4 ? words.word[at + 2] : 0;
        else if constexpr (size == 4)
            result.word[at] = next;
        else
            result.word[at] = words.word[at] >> 16 | next << 16;
    }
    return result;
}

template <class Type>
__device__ Words product(const Words &words, float factor) {
    constexpr u32 size = sizeof(typename Type::Bits);
    Words result = {};
#pragma unroll
    for (u32 at = 0; at < 4; ++at) {
        if constexpr (size == 4)
            result.word[at] = Type::product(words.word[at], factor);
        else if constexpr (size == 2)
            result.word[at] = Type::products(words.word[at], factor);
        else if (at % 2 == 0) {
            const u64 bits = Type::product(element<Type>(words, at / 2), factor);
            result.word[at] = (u32)bits;
            result.word[at + 1] = (u32)(bits >> 32);
        }
    }
    return result;
}

template <class Type>
__device__ bool is_finite(typename Type::Bits bits) {
    return (bits & Type::INFINITE) != Type::INFINITE;
}

// Whether all of them are finite: one more in the lowest bit of an exponent carries into the sign
// just where the exponent is all ones.
template <class Type>
__device__ bool all_finite(const Words &words) {
    constexpr u32 size = sizeof(typename Type::Bits);
    constexpr u64 each = size == 8 ? 1 : size == 4 ? 0x100000001 : 0x1000100010001;
    constexpr u64 exponents = each * Type::INFINITE;
    constexpr u64 lowest = each * (Type::FRACTION + 1ull);
    constexpr u64 signs = each << (8 * size - 1);
    u32 carries = 0;
#pragma unroll
    for (u32 at = 0; at < 4; ++at) {
        const u32 shift = at % 2 * 32;
        carries |= ((words.word[at] & (u32)(exponents >> shift)) + (u32)(lowest >> shift)) & (u32)(signs >> shift);
    }
    return carries == 0;
}

constexpr u32 CHUNK = 1 << 15;
constexpr u32 THREADS = 512;
constexpr u32 NONE = 0xffffffff;

// A tensor, as `Entry` in list.rs.
struct Entry {
    u64 start;
    u32 len;
    u32 first_block;
};
static_assert(sizeof(Entry) == 16, "as in list.rs");

enum : u32 { TYPE_F32, TYPE_F16, TYPE_BF16, TYPE_F64 };

// The part of a tensor that a block of threads works on.
struct Chunk {
    u64 start;
    u32 count;
    u32 type;
    u32 entry; // the number of the tensor in its list
    u32 first; // the number of the first element in the tensor
};

// What this block works on: nothing where the grid is too large for the list.
__device__ inline Chunk chunk_of(const Entry *entries, u32 count) {
    u32 low = 0;
    u32 high = count;
    while (high - low > 1) {
        const u32 middle = (low + high) / 2;
        if (entries[middle].first_block <= blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    const u64 first = (u64)(blockIdx.x - entries[low].first_block) * CHUNK;
    const u32 len = entries[low].len;
    const u32 type = (u32)(entries[low].start >> 62);
    const u64 size = type == TYPE_F64 ? 8 : type == TYPE_F32 ? 4 : 2;
    Chunk chunk;
    chunk.start = (entries[low].start & ~(3ull << 62)) + first * size;
    chunk.count = first >= len ? 0 : len - (u32)first < CHUNK ? len - (u32)first : CHUNK;
    chunk.type = type;
    chunk.entry = low;
    chunk.first = (u32)first;
    return chunk;
}

// Takes a thread through its share of a chunk. The visitor sees single numbers before the first and
// after the last multiple of 16 bytes, and then 16 bytes at a time of what lies between, in the order
// of addresses. What it is shown it may change: `one(bits, at)` and `many(words, at)` tell whether
// to store. `at` counts elements from the start of the chunk.
template <class Type, class Visitor>
__device__ void visit(const Chunk &chunk, Visitor &visitor) {
    typedef typename Type::Bits Bits;
    constexpr u32 size = sizeof(Bits);
    constexpr u32 per = PER_WORDS<Type>;
    constexpr u32 step = 4; // loads that are under way at once
    const u32 before = (u32)(0 - chunk.start) % 16 / size;
    const u32 head = before < chunk.count ? before : chunk.count;
    const u32 vectors = (chunk.count - head) / per;
    const u32 tail = head + vectors * per;

    // Heads and tails are shorter than `per`: the first threads take one number of each.
    if (threadIdx.x < per) {
#pragma unroll 1
        for (u32 part = 0; part < 2; ++part) {
            const u32 at = part == 0 ? threadIdx.x : tail + threadIdx.x;
            if (at < (part == 0 ? head : chunk.count)) {
                Bits bits = load<Bits>(chunk.start + (u64)at * size);
                if (visitor.one(bits, at))
                    store<Bits>(chunk.start + (u64)at * size, bits);
            }
        }
    }
    for (u32 next = threadIdx.x; next < vectors; next += step * THREADS) {
        const u64 start = chunk.start + (u64)head * size + (u64)next * 16;
        Words words[step];
#pragma unroll
        for (u32 turn = 0; turn < step; ++turn)
            if (next + turn * THREADS < vectors)
                words[turn] = load<Words>(start + turn * THREADS * 16);
#pragma unroll
        for (u32 turn = 0; turn < step; ++turn)
            if (next + turn * THREADS < vectors && visitor.many(words[turn], head + (next + turn * THREADS) * per))
                store<Words>(start + turn * THREADS * 16, words[turn]);
    }
}
