//! Codes in words.
#![allow(non_snake_case, reason = "the driver's names")]

use std::ffi::{CStr, c_char};
use std::ptr;

use crate::api::{Out, driver};
use crate::state::{Answer, INVALID_VALUE};

/// Some of the driver's codes; it knows no others.
const WORDS: [(u32, &CStr, &CStr); 12] = [
    (0, c"CUDA_SUCCESS", c"no error"),
    (1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument"),
    (2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory"),
    (3, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error"),
    (100, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected"),
    (101, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal"),
    (201, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context"),
    (400, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle"),
    (500, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found"),
    (600, c"CUDA_ERROR_NOT_READY", c"device not ready"),
    (700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered"),
    (999, c"CUDA_ERROR_UNKNOWN", c"unknown error"),
];

fn put(code: u32, words: Out<*const c_char>, pick: impl Fn(usize) -> &'static CStr) -> Answer {
    let Some(index) = WORDS.iter().position(|&(known, ..)| known == code) else {
        words.put(ptr::null())?;
        return Err(INVALID_VALUE);
    };
    words.put(pick(index).as_ptr())
}

driver! {
    fn cuGetErrorName(code: u32, words: Out<*const c_char>) |_| put(code, words, |n| WORDS[n].1);
    fn cuGetErrorString(code: u32, words: Out<*const c_char>) |_| put(code, words, |n| WORDS[n].2);
}
