// The kernels of optimizers and casts; optimizers.rs says what they are told, and what they do. The
// arithmetic is that of optimizers/*.rs, rounding by rounding.
#include "common.cuh"

constexpr u32 MAXIMIZE = 1;
constexpr u32 STOCHASTIC = 2;
constexpr u32 INTO_GRADIENT = 4;
constexpr u32 NESTEROV = 8;
constexpr u32 ADD = 16;

// `LONGEST` in list.rs.
constexpr u64 LONGEST = (u64)1 << 31;
constexpr u64 ADDRESS = ~0ull >> 2;
constexpr u32 LANES = 4;

struct Progress {
    u64 steps;
    float step_size;
    float decay;
    float root;
    u32 reserved;
};
static_assert(sizeof(Progress) == 24, "as in optimizers.rs");

struct Group {
    double lr;
    double beta1;
    double beta2;
    double decay;
};

struct Advance {
    u64 found;
    u64 progress;
    u64 count;
    Group groups[64];
};
static_assert(sizeof(Advance) == 2072, "as in optimizers.rs");

struct Place {
    u32 len;
    u32 first_block;
    u32 tensor;
    u32 piece;
};

struct Update {
    u64 values;
    u64 gradient;
    u64 first;
    u64 second;
    u64 copy;
    Place place;
};

struct UpdateList {
    u64 found;
    u64 inverse;
    u64 progress;
    u64 seed;
    u32 count;
    u32 flags;
    float constants[6];
    Update entries[72];
};
static_assert(sizeof(UpdateList) == 4096, "as in optimizers.rs");

struct Cast {
    u64 from;
    u64 to;
    Place place;
};

struct CastList {
    u64 seed;
    u64 step;
    u32 count;
    u32 flags;
    u64 reserved;
    Cast entries[127];
};
static_assert(sizeof(CastList) == 4096, "as in optimizers.rs");

__device__ inline bool is_found(u64 address) { return address != 0 && load<float>(address) != 0.0f; }

__device__ inline double power(double base, u64 exponent) {
    double result = 1.0;
    for (; exponent != 0; exponent >>= 1) {
        if ((exponent & 1) != 0)
            result *= base;
        base *= base;
    }
    return result;
}

extern "C" __global__ void freeboard_advance(const Advance __grid_constant__ advance) {
    if (blockIdx.x != 0 || threadIdx.x != 0 || is_found(advance.found))
        return;
    for (u32 at = 0; at < advance.count; ++at) {
        const Group &group = advance.groups[at];
        const u64 address = advance.progress + at * sizeof(Progress);
        Progress progress = load<Progress>(address);
        progress.steps += 1;
        progress.step_size = (float)(group.lr / (1.0 - power(group.beta1, progress.steps)));
        progress.decay = (float)(1.0 - group.lr * group.decay);
        progress.root = (float)__dsqrt_rn(1.0 - power(group.beta2, progress.steps));
        store<Progress>(address, progress);
    }
}

// What this block works on: `count` elements from `first` on, of one entry.
struct Part {
    u32 entry;
    u32 first;
    u32 count;
    u64 element; // the first, counted from the tensor's start
    u32 tensor;
};

template <class Entry>
__device__ Part part_of(const Entry *entries, u32 count) {
    u32 low = 0;
    u32 high = count;
    while (high - low > 1) {
        const u32 middle = (low + high) / 2;
        if (entries[middle].place.first_block <= blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    const Place &place = entries[low].place;
    const u64 first = (u64)(blockIdx.x - place.first_block) * CHUNK;
    Part part;
    part.entry = low;
    part.first = (u32)first;
    part.count = first >= place.len ? 0 : place.len - part.first < CHUNK ? place.len - part.first : CHUNK;
    part.element = place.piece * LONGEST + first;
    part.tensor = place.tensor;
    return part;
}

// Numbers of one thread, side by side in memory.
struct Four {
    float lane[LANES];
};

struct Random {
    u32 lane[LANES];
};

// Where four numbers lie, how many of them there are, and whether they may be had at once.
struct Where {
    u64 at; // counted from the entry's start
    u32 lanes;
    bool whole;
};

__device__ inline u64 size_of(u32 type) { return type == TYPE_F64 ? 8 : type == TYPE_F32 ? 4 : 2; }

__device__ inline float half_to_float(u32 type, u16 bits) {
    return type == TYPE_F16 ? f16_to_float(bits) : bf16_to_float(bits);
}

__device__ inline Four load_four(u64 tagged, const Where &where) {
    const u32 type = (u32)(tagged >> 62);
    const u64 start = (tagged & ADDRESS) + where.at * size_of(type);
    Four four = {};
    if (type == TYPE_F32 && where.whole) {
        const Words words = load<Words>(start);
#pragma unroll
        for (u32 lane = 0; lane < LANES; ++lane)
            four.lane[lane] = __uint_as_float(words.word[lane]);
        return four;
    }
    if (where.whole) {
        const u64 bits = load<u64>(start);
#pragma unroll
        for (u32 lane = 0; lane < LANES; ++lane)
            four.lane[lane] = half_to_float(type, (u16)(bits >> 16 * lane));
        return four;
    }
#pragma unroll
    for (u32 lane = 0; lane < LANES; ++lane)
        if (lane < where.lanes)
            four.lane[lane] =
                type == TYPE_F32 ? load<float>(start + 4 * lane) : half_to_float(type, load<u16>(start + 2 * lane));
    return four;
}

__device__ inline void store_floats(u64 address, const Four &four, const Where &where) {
    const u64 start = address + where.at * 4;
    if (where.whole) {
        Words words;
#pragma unroll
        for (u32 lane = 0; lane < LANES; ++lane)
            words.word[lane] = __float_as_uint(four.lane[lane]);
        store<Words>(start, words);
        return;
    }
#pragma unroll
    for (u32 lane = 0; lane < LANES; ++lane)
        if (lane < where.lanes)
            store<float>(start + 4 * lane, four.lane[lane]);
}

// To one of the two neighbours, by 32 random bits; infinity only where the nearest is.
__device__ inline u16 random_bf16(float value, u32 random) {
    const u32 bits = __float_as_uint(value), size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return 0x7fff;
    const u32 large = size >= 0x7f7f8000 ? 0x7f80 : 0x7f7f;
    return (u16)((size >= 0x7f7f0000 ? large : (size + (random >> 16)) >> 16) | (bits >> 16 & 0x8000));
}

__device__ inline u16 random_f16(float value, u32 random) {
    const u32 bits = __float_as_uint(value), size = bits & 0x7fffffff;
    const u16 sign = (u16)(bits >> 16 & 0x8000);
    if (size > 0x7f800000)
        return 0x7fff;
    if (size >= 0x477fe000)
        return sign | (size >= 0x477ff000 ? 0x7c00 : 0x7bff);
    if (size >= 0x38800000)
        return (u16)(sign | (size - 0x38000000 + (random >> 19)) >> 13);
    const float units = __uint_as_float(size) * 16777216.0f;
    const u32 whole = (u32)units;
    const u32 rest = (u32)((units - (float)whole) * 4294967296.0f);
    return (u16)(sign | (whole + (random < rest ? 1 : 0)));
}

// Four words of random bits by Philox4x32-10.
__device__ inline Random philox(u64 seed, u64 four, u32 tensor, u64 step) {
    u32 a = (u32)four, b = (u32)(four >> 32), c = tensor, d = (u32)step;
    u32 low = (u32)seed, high = (u32)(seed >> 32);
#pragma unroll
    for (u32 round = 0; round < 10; ++round) {
        const u64 first = 0xd2511f53ull * a, second = 0xcd9e8d57ull * c;
        a = (u32)(second >> 32) ^ b ^ low;
        b = (u32)second;
        c = (u32)(first >> 32) ^ d ^ high;
        d = (u32)first;
        low += 0x9e3779b9;
        high += 0xbb67ae85;
    }
    return {{a, b, c, d}};
}

// Rounds to nearest, or by random bits.
__device__ inline void store_halves(u64 tagged, const Four &four, const Where &where, const Random *random) {
    const u32 type = (u32)(tagged >> 62);
    const u64 start = (tagged & ADDRESS) + where.at * 2;
    u64 together = 0;
#pragma unroll
    for (u32 lane = 0; lane < LANES; ++lane) {
        const float value = four.lane[lane];
        u16 bits;
        if (type == TYPE_F16)
            bits = random ? random_f16(value, random->lane[lane]) : float_to_f16(value);
        else
            bits = random ? random_bf16(value, random->lane[lane]) : float_to_bf16(value);
        together |= (u64)bits << 16 * lane;
        if (!where.whole && lane < where.lanes)
            store<u16>(start + 2 * lane, bits);
    }
    if (where.whole)
        store<u64>(start, together);
}

__device__ inline void store_rounded(
    u64 tagged, const Four &four, const Where &where, bool stochastic, const Part &part, u64 seed, u64 step
) {
    if (stochastic) {
        const Random random = philox(seed, (part.element + (where.at - part.first)) / LANES, part.tensor, step);
        store_halves(tagged, four, where, &random);
    } else {
        store_halves(tagged, four, where, nullptr);
    }
}

// Where this thread's numbers lie that begin `at` elements after the part.
__device__ inline Where where_of(const Part &part, u32 at, bool aligned) {
    const u32 rest = part.count - at;
    const u32 lanes = rest < LANES ? rest : LANES;
    return {(u64)part.first + at, lanes, aligned && lanes == LANES};
}

// Gradients, multiplied, and written back in their own type.
__device__ inline Four unscale(u64 tagged, const Where &where, float factor) {
    const u32 type = (u32)(tagged >> 62);
    if (type == TYPE_F64) {
        Four four = {};
#pragma unroll
        for (u32 lane = 0; lane < LANES; ++lane)
            if (lane < where.lanes) {
                const u64 address = (tagged & ADDRESS) + (where.at + lane) * 8;
                const double product = load<double>(address) * (double)factor;
                four.lane[lane] = (float)product;
                if (factor != 1.0f)
                    store<double>(address, product);
            }
        return four;
    }
    Four four = load_four(tagged, where);
    if (factor == 1.0f)
        return four;
#pragma unroll
    for (u32 lane = 0; lane < LANES; ++lane)
        four.lane[lane] *= factor;
    if (type == TYPE_F32)
        store_floats(tagged, four, where);
    else
        store_halves(tagged, four, where, nullptr);
    return four;
}

// A gradient as the update wants it.
__device__ inline float prepared(u32 flags, float value, float gradient, float decay) {
    if ((flags & MAXIMIZE) != 0)
        gradient = -gradient;
    return (flags & INTO_GRADIENT) != 0 ? __fmaf_rn(value, decay, gradient) : gradient;
}

struct Adam {
    static __device__ void
    apply(const UpdateList &list, const Progress &progress, float &value, float gradient, float &first, float &second) {
        const float *constants = list.constants;
        gradient = prepared(list.flags, value, gradient, constants[4]);
        const bool is_near = constants[0] < 0.5f;
        const float weight = is_near ? constants[0] : constants[0] - 1.0f;
        first = __fmaf_rn(weight, gradient - first, is_near ? first : gradient);
        second = __fmaf_rn(constants[2] * gradient, gradient, second * constants[1]);
        const float divisor = __fsqrt_rn(second) / progress.root + constants[3];
        value = value * progress.decay - progress.step_size * first / divisor;
    }
};

struct Sgd {
    static __device__ void
    apply(const UpdateList &list, const Progress &progress, float &value, float gradient, float &first, float &) {
        const float *constants = list.constants;
        gradient = prepared(list.flags, value, gradient, constants[2]);
        // Without momentum, `first` goes nowhere.
        const bool is_first = progress.steps == 1 || constants[0] == 0.0f;
        first = is_first ? gradient : __fmaf_rn(gradient, constants[1], first * constants[0]);
        gradient = (list.flags & NESTEROV) != 0 ? __fmaf_rn(first, constants[0], gradient) : first;
        value = __fmaf_rn(gradient, -progress.step_size, value);
    }
};

template <class Rule>
__device__ void update(const UpdateList &list) {
    if (is_found(list.found))
        return;
    const Part part = part_of(list.entries, list.count);
    const Update &entry = list.entries[part.entry];
    const Progress progress = load<Progress>(list.progress);
    const float factor = list.inverse != 0 ? load<float>(list.inverse) : 1.0f;
    const bool stochastic = (list.flags & STOCHASTIC) != 0;
    const bool aligned = (entry.values | entry.gradient | entry.first | entry.second | entry.copy) % 16 == 0;
    for (u32 at = threadIdx.x * LANES; at < part.count; at += THREADS * LANES) {
        const Where where = where_of(part, at, aligned);
        Four values = load_four(entry.values, where);
        Four first = entry.first != 0 ? load_four(entry.first, where) : Four{};
        Four second = entry.second != 0 ? load_four(entry.second, where) : Four{};
        const Four gradients = unscale(entry.gradient, where, factor);
#pragma unroll
        for (u32 lane = 0; lane < LANES; ++lane)
            Rule::apply(
                list, progress, values.lane[lane], gradients.lane[lane], first.lane[lane], second.lane[lane]
            );
        store_floats(entry.values, values, where);
        if (entry.first != 0)
            store_floats(entry.first, first, where);
        if (entry.second != 0)
            store_floats(entry.second, second, where);
        if (entry.copy != 0)
            store_rounded(entry.copy, values, where, stochastic, part, list.seed, progress.steps);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) freeboard_adam(const UpdateList __grid_constant__ list) {
    update<Adam>(list);
}

extern "C" __global__ void __launch_bounds__(THREADS) freeboard_sgd(const UpdateList __grid_constant__ list) {
    update<Sgd>(list);
}

extern "C" __global__ void __launch_bounds__(THREADS) freeboard_cast(const CastList __grid_constant__ list) {
    const Part part = part_of(list.entries, list.count);
    const Cast &entry = list.entries[part.entry];
    const bool stochastic = (list.flags & STOCHASTIC) != 0;
    const bool aligned = (entry.from | entry.to) % 16 == 0;
    for (u32 at = threadIdx.x * LANES; at < part.count; at += THREADS * LANES) {
        const Where where = where_of(part, at, aligned);
        Four values = load_four(entry.from, where);
        if ((u32)(entry.to >> 62) == TYPE_F32) {
            store_floats(entry.to, values, where);
            continue;
        }
        if ((list.flags & ADD) != 0) {
            const Four old = load_four(entry.to, where);
#pragma unroll
            for (u32 lane = 0; lane < LANES; ++lane)
                values.lane[lane] = old.lane[lane] + values.lane[lane];
        }
        store_rounded(entry.to, values, where, stochastic, part, list.seed, list.step);
    }
}
