// The kernels of the gradient scaler; list.rs says what they are told, and what they do.
#include "common.cuh"

constexpr u32 CHECK = 1;
constexpr u32 CHECK_AFTER = 2;
constexpr u32 MULTIPLY = 4;

struct MultiplyList {
    u64 factor;
    u64 found;
    u32 count;
    u32 first;
    u32 flags;
    u32 reserved;
    Entry entries[248];
};
static_assert(sizeof(MultiplyList) == 4000, "as in list.rs");

// `Found` in list.rs.
struct Found {
    u32 found;
    u32 reserved;
    u64 first;
};
static_assert(sizeof(Found) == 16, "as in list.rs");

// Where `Found` keeps the complement of the least key.
constexpr u64 FOUND_FIRST = 8;
constexpr u64 NO_KEY = ~0ull;

enum : u32 { INFINITE, NOT_A_NUMBER, OVERFLOW };

// What a thread does with its numbers, and the first of them that was not finite.
template <class Type>
struct Multiplier {
    typedef typename Type::Bits Bits;

    float factor;
    bool multiply;
    bool check;
    bool check_after; // of what is multiplied
    u64 key = NO_KEY; // of single numbers
    u32 words_at = NONE;
    Words words = {}; // the first 16 bytes with a bad number, as they were

    __device__ bool one(Bits &bits, u32 at) {
        const Bits old = bits;
        if (multiply)
            bits = Type::product(old, factor);
        note(old, bits, at);
        return multiply;
    }

    __device__ bool many(Words &now, u32 at) {
        const Words old = now;
        bool bad = check && !all_finite<Type>(old);
        if (multiply) {
            now = product<Type>(old, factor);
            bad = bad || (check_after && !all_finite<Type>(now));
        }
        if (bad && words_at == NONE) {
            words_at = at;
            words = old;
        }
        return multiply;
    }

    // Keeps the key of a number if it is bad, and less than what is kept.
    __device__ void note(Bits old, Bits now, u32 at) {
        const bool was_finite = is_finite<Type>(old);
        if (!check || (was_finite && !(check_after && !is_finite<Type>(now))))
            return;
        const u32 what = was_finite ? OVERFLOW : (old & Type::FRACTION) != 0 ? NOT_A_NUMBER : INFINITE;
        const u64 found = (u64)at << 2 | what;
        key = found < key ? found : key;
    }

    // The least key.
    __device__ u64 least() {
        if (words_at != NONE) {
#pragma unroll 1 // rare, so short
            for (u32 at = 0; at < PER_WORDS<Type>; ++at) {
                const Bits old = element<Type>(words, 0);
                note(old, check_after ? Type::product(old, factor) : old, words_at + at);
                words = without_first<Type>(words);
            }
        }
        return key;
    }
};

template <class Type>
__device__ void multiply_chunk(const MultiplyList &list, const Chunk &chunk, float factor, bool multiply) {
    Multiplier<Type> work;
    work.factor = factor;
    work.multiply = multiply;
    work.check = (list.flags & CHECK) != 0;
    work.check_after = work.check && multiply && (list.flags & CHECK_AFTER) != 0;
    visit<Type>(chunk, work);
    const u64 least = work.least();
    if (least == NO_KEY)
        return;
    // The elements before the chunk are counted here: 2 bits below say what it was.
    const u64 key = (u64)(list.first + chunk.entry) << 34 | (least + ((u64)chunk.first << 2));
    store<u32>(list.found, 0x3f800000);
    if (load_shared(list.found + FOUND_FIRST) < ~key)
        atomic_max(list.found + FOUND_FIRST, ~key);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) freeboard_multiply(const MultiplyList __grid_constant__ list) {
    const Chunk chunk = chunk_of(list.entries, list.count);
    const float factor = (list.flags & MULTIPLY) != 0 ? load<float>(list.factor) : 1.0f;
    const bool multiply = factor != 1.0f;
    if (!multiply && (list.flags & CHECK) == 0)
        return;
    if (chunk.type == TYPE_F32)
        multiply_chunk<F32>(list, chunk, factor, multiply);
    else if (chunk.type == TYPE_F16)
        multiply_chunk<F16>(list, chunk, factor, multiply);
    else if (chunk.type == TYPE_BF16)
        multiply_chunk<BF16>(list, chunk, factor, multiply);
    else
        multiply_chunk<F64>(list, chunk, factor, multiply);
}

// `State` in list.rs.
struct State {
    float scale;
    float inverse;
    int growth_tracker;
    int hysteresis;
    u64 updates;
    u64 skipped;
    u64 grew;
    u64 backed_off;
    u64 at_floor;
    u64 reserved;
};
static_assert(sizeof(State) == 64, "as in list.rs");

// `Rule` in rule.rs.
struct Rule {
    double growth_factor;
    double backoff_factor;
    float floor;
    float cap;
    int growth_interval;
    int hysteresis;
    u32 refill;
    float initial_scale;
};
static_assert(sizeof(Rule) == 40, "as in rule.rs");

constexpr u32 REFILL_ON_CLEAN_STEP = 1;
constexpr u32 SET_SCALE = 1;

struct UpdateScale {
    u64 state;
    u64 founds;
    u32 count;
    u32 mode;
    float new_scale;
    u32 elsewhere;
    Rule rule;
};
static_assert(sizeof(UpdateScale) == 72, "as in list.rs");

__device__ inline float times(float scale, double factor) { return (float)((double)scale * factor); }

// `Rule::next` in rule.rs, line by line, and what `State` counts.
__device__ inline void apply(const Rule &rule, State &state, bool found) {
    state.updates += 1;
    if (found) {
        state.skipped += 1;
        state.growth_tracker = 0;
        state.hysteresis = state.hysteresis > 1 ? state.hysteresis - 1 : 0;
        if (state.hysteresis > 0)
            return;
        const bool was_there = state.scale <= rule.floor;
        state.scale = times(state.scale, rule.backoff_factor);
        if (rule.floor > 0.0f)
            state.scale = state.scale > rule.floor ? state.scale : rule.floor;
        if (was_there)
            state.at_floor += 1;
        else
            state.backed_off += 1;
        return;
    }
    if (rule.refill == REFILL_ON_CLEAN_STEP)
        state.hysteresis = rule.hysteresis;
    state.growth_tracker = (int)((u32)state.growth_tracker + 1);
    if (state.growth_tracker != rule.growth_interval)
        return;
    state.growth_tracker = 0;
    state.hysteresis = rule.hysteresis;
    const float grown = times(state.scale, rule.growth_factor);
    if (grown > rule.cap) {
        state.scale = rule.cap;
    } else if (is_finite<F32>(__float_as_uint(grown))) {
        state.scale = grown;
        state.grew += 1;
    }
}

extern "C" __global__ void freeboard_update_scale(const UpdateScale __grid_constant__ update) {
    if (blockIdx.x != 0 || threadIdx.x != 0)
        return;
    bool found = update.elsewhere != 0;
    for (u32 at = 0; at < update.count; ++at) {
        const u64 address = update.founds + at * sizeof(Found);
        found = load<Found>(address).found != 0 || found;
        store<Found>(address, Found{});
    }
    State state = load<State>(update.state);
    if (update.mode == SET_SCALE)
        state.scale = update.new_scale;
    else
        apply(update.rule, state, found);
    state.inverse = (float)(1.0 / (double)state.scale);
    store<State>(update.state, state);
}
