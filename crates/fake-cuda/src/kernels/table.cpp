// The kernels of the project, from the sources that GPUs run, by name.
#include "host.hpp"

#include "common.cuh"

namespace scaler {
#include "scaler.cu"
}
namespace optimizers {
#include "optimizers.cu"
}

namespace range {
#include "range.cu"
}

template <class... Parameters, size_t... At>
static void call(void (*kernel)(Parameters...), void *const *arguments, std::index_sequence<At...>) {
    kernel(*static_cast<std::remove_reference_t<Parameters> *>(arguments[At])...);
}

template <class... Parameters>
static void call(void (*kernel)(Parameters...), void *const *arguments) {
    call(kernel, arguments, std::index_sequence_for<Parameters...>());
}

struct Kernel {
    const char *name;
    void (*run)(void *const *arguments);
};

#define KERNEL(space, name) {#name, [](void *const *arguments) { call(space::name, arguments); }}

static const Kernel KERNELS[] = {
    KERNEL(scaler, freeboard_multiply),
    KERNEL(scaler, freeboard_update_scale),
    KERNEL(range, freeboard_range),
    KERNEL(range, freeboard_quantize),
    KERNEL(range, freeboard_dequantize),
    KERNEL(range, freeboard_fp8_update),
    KERNEL(optimizers, freeboard_advance),
    KERNEL(optimizers, freeboard_adam),
    KERNEL(optimizers, freeboard_sgd),
    KERNEL(optimizers, freeboard_cast),
};

extern "C" const size_t freeboard_fake_kernels = std::size(KERNELS);

// The number of a kernel with this name; one too large where there is none.
extern "C" size_t freeboard_fake_find_kernel(const char *name) {
    size_t at = 0;
    while (at < std::size(KERNELS) && std::strcmp(KERNELS[at].name, name) != 0)
        ++at;
    return at;
}

// Runs a kernel that there is, and answers with a driver's code. The last thread comes first:
// nothing may lean on their order.
extern "C" unsigned freeboard_fake_run_kernel(
    size_t kernel, void *const *arguments, unsigned blocks, unsigned threads, const void *of, Find find
) {
    memory = of;
    find_range = find;
    found_ranges[0] = found_ranges[1] = {};
    failure = 0;
    gridDim.x = blocks;
    blockDim.x = threads;
    for (blockIdx.x = blocks; blockIdx.x-- > 0 && failure == 0;)
        for (threadIdx.x = threads; threadIdx.x-- > 0 && failure == 0;)
            KERNELS[kernel].run(arguments);
    return failure;
}

extern "C" float freeboard_fake_f16_to_float(unsigned short bits) { return f16_to_float(bits); }
extern "C" unsigned short freeboard_fake_float_to_f16(float value) { return float_to_f16(value); }
extern "C" unsigned short freeboard_fake_float_to_bf16(float value) { return float_to_bf16(value); }
