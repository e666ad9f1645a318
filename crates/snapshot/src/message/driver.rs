//! The driver's and the libraries' own errors, which name no numbers.

use freeboard_units::DeviceId;

use super::cursor::Cursor;
use super::{Found, Hit, Kind, Origin};

/// What stands before a library's `…_ALLOC_FAILED`.
const LIBRARIES: [(&str, &str); 7] = [
    ("CUBLAS_STATUS", "cuBLAS"),
    ("CUBLASLT_STATUS", "cuBLASLt"),
    ("CUDNN_STATUS", "cuDNN"),
    ("CUDNN_STATUS_INTERNAL_ERROR_DEVICE", "cuDNN"),
    ("CUSOLVER_STATUS", "cuSOLVER"),
    ("CUSPARSE_STATUS", "cuSPARSE"),
    ("CUFFT", "cuFFT"),
];

pub(super) fn read(hit: &Hit<'_>) -> Option<Found> {
    library(hit).or_else(|| code(hit)).or_else(|| sentence(hit))
}

fn library(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    (text.eat("_ALLOC_FAILED") || text.eat("_ALLOCATION_FAILED")).then_some(())?;
    let of = |(before, _): &&(&str, &str)| hit.before().ends_with(before.as_bytes());
    let (_, wording) = LIBRARIES.iter().find(of)?;
    Some(Found::new(Kind::Driver, Origin::CudaLibrary, wording, text.at()))
}

/// The name of the error code.
fn code(hit: &Hit<'_>) -> Option<Found> {
    let before = hit.before();
    let mut text = hit.cursor();
    if text.eat("OUT_OF_MEMORY") {
        before.ends_with(b"CUDA_ERROR_").then_some(())?;
    } else if text.eat("cudaErrorMemoryAllocation") || text.eat("hipErrorOutOfMemory") {
        if before.ends_with(b"Searchfor`") {
            return None; // PyTorch's hint under an error that was told
        }
    } else if !text.eat("VK_ERROR_OUT_OF_DEVICE_MEMORY") {
        return None;
    }
    // What the code says in words, in the ways it is written behind it.
    for word in ["'", "\"", ",", ":", "(", "2", ")", "\"", "outofmemory", "\"", ")", ")", ")"] {
        text.eat(word);
    }
    let (origin, wording) = writer(hit);
    let mut found = Found::new(Kind::Driver, origin, wording, text.at());
    asked(before, &mut found);
    Some(found)
}

/// Who printed the driver's code, by the words around it.
fn writer(hit: &Hit<'_>) -> (Origin, &'static str) {
    let near = &hit.before()[hit.before().len().saturating_sub(200)..];
    let says = |word: &str| memchr::memmem::find(near, word.as_bytes()).is_some();
    if says("Cuda(Cuda(") || says("candle") {
        (Origin::Candle, "candle, DriverError")
    } else if says("cubecl") || says("burn") {
        (Origin::Burn, "CubeCL, DriverError")
    } else if says("DriverError(") {
        (Origin::Cudarc, "cudarc, DriverError")
    } else if says("RMM") || says("rmm") || says("std::bad_alloc") {
        (Origin::Rmm, "RMM")
    } else if says("tensorflow") || says("xla") || says("stream_executor") || says("fromdevice:") {
        (Origin::TensorFlow, "TensorFlow or XLA, the driver's error")
    } else {
        (Origin::Driver, "the driver's error code")
    }
}

/// Bytes that stand before the error: `failed to allocate 17.79G (19104890880 bytes) from device`,
/// `allocating 590.07 MiB on device 0`.
fn asked(before: &[u8], found: &mut Found) {
    let near = &before[before.len().saturating_sub(120)..];
    for words in ["failedtoallocate", "allocating"] {
        let Some(start) = memchr::memmem::rfind(near, words.as_bytes()) else { continue };
        let mut text = Cursor::new(near, start + words.len());
        let Some(rounded) = text.size() else { continue };
        let exact = text.eat("(").then(|| text.size()).flatten();
        found.facts.requested = exact.unwrap_or(rounded);
        found.kind = Kind::Device;
        if text.eat("ondevice") {
            found.facts.device = text.small().map(DeviceId::new);
        }
        return;
    }
}

/// The driver's own words, "out of memory", where they stand behind a device's name and "error".
fn sentence(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    if text.eat("out_of_memory:") {
        let is_rmm = hit.before().ends_with(b"bad_alloc:");
        return is_rmm.then(|| rmm(hit.line())).flatten();
    }
    (text.eat("outofmemory") || text.eat("OutofMemory")).then_some(())?;
    let before = hit.before();
    if before.ends_with(b"CUDAran") && text.eat("outsidePyTorch'sallocator") {
        let wording = "PyTorch 2.15, outside its allocator";
        return Some(Found::new(Kind::Driver, Origin::PyTorch, wording, text.at()));
    }
    for (end, origin, wording) in [
        ("CUDAerror:", Origin::PyTorch, "CUDA error: out of memory"),
        ("HIPerror:", Origin::PyTorch, "HIP error: out of memory"),
        ("CUDAdrivererror:", Origin::PyTorch, "CUDA driver error: out of memory"),
        ("cudaruntimeerror(2):", Origin::PyTorch, "PyTorch 0.1 to 1.4, cuda runtime error (2)"),
        ("Cudafailure'", Origin::Nccl, "NCCL"),
        ("Cudafailure2'", Origin::Nccl, "NCCL"),
        ("HIPfailure'", Origin::Nccl, "RCCL"),
        ("cudaMallocfailed:", Origin::Ggml, "ggml, cudaMalloc failed"),
        ("wgpuerror:", Origin::Burn, "wgpu"),
    ] {
        if before.ends_with(end.as_bytes()) {
            let mut found = Found::new(Kind::Driver, origin, wording, text.at());
            asked(before, &mut found);
            hint(&mut text, &mut found);
            return Some(found);
        }
    }
    let near = before[before.len().saturating_sub(48)..].to_ascii_lowercase();
    let says = |word: &str| memchr::memmem::find(&near, word.as_bytes()).is_some();
    let is_error = says("error") || says("fail");
    let is_device = ["cuda", "hip", "cumem", "nccl", "gpu"].into_iter().any(says);
    (is_error && is_device).then(|| {
        let mut found = Found::new(Kind::Driver, Origin::Driver, "the driver's words", text.at());
        asked(before, &mut found);
        found
    })
}

/// `PyTorch`'s hint below, which names the error again.
fn hint(text: &mut Cursor<'_>, found: &mut Found) {
    if text.eat("Searchfor`cudaErrorMemoryAllocation'") {
        found.end = text.at();
    }
}

/// `std::bad_alloc: out_of_memory: …`; where the pool is full it says how much was asked.
fn rmm(mut text: Cursor<'_>) -> Option<Found> {
    text.eat("out_of_memory:");
    let is_device = text.eat("CUDAerrorat:") || text.eat("RMMfailureat:");
    is_device.then_some(())?;
    let mut found = Found::new(Kind::Driver, Origin::Rmm, "RMM", text.at());
    let mut ahead = text.clone();
    if ahead.skip_to("(failedtoallocate", 400)
        && let Some(requested) = ahead.size()
    {
        (found.kind, found.facts.requested) = (Kind::Device, requested);
        text = ahead;
    } else {
        text.skip_to("cudaErrorMemoryAllocationoutofmemory", 400);
    }
    found.end = text.at();
    Some(found)
}
