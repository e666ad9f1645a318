// The kernels of the tests and examples. kernels.ptx is made from this file by make-ptx.

extern "C" {

// Fills `count` words with a value.
__global__ void freeboard_touch(unsigned *words, unsigned long long count, unsigned value) {
    unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += step)
        words[at] = value;
}

// Adds to `wrong` how many of `count` words do not have the value.
__global__ void freeboard_verify(const unsigned *words, unsigned long long count, unsigned value, unsigned *wrong) {
    unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    unsigned seen = 0;
    for (unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += step)
        seen += words[at] != value;
    if (seen)
        atomicAdd(wrong, seen);
}

// Multiplies `count` numbers by a factor.
__global__ void freeboard_scale(float *numbers, unsigned long long count, float factor) {
    unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; at < count; at += step)
        numbers[at] *= factor;
}

}
