//! Modules, functions and launches.
#![allow(non_snake_case, reason = "the driver's names")]

use std::ffi::{CStr, c_char, c_void};

use crate::api::{In, Out, current, driver};
use crate::kernels::{self, KERNELS};
use crate::state::{Answer, INVALID_HANDLE, INVALID_VALUE, NOT_FOUND, State};

const MODULES: usize = 0x8000_0000;
const FUNCTIONS: usize = 0x9000_0000;

fn module(state: &mut State, handle: usize) -> Answer<&mut bool> {
    let index = handle.checked_sub(MODULES).ok_or(INVALID_HANDLE)?;
    state.modules.get_mut(index).filter(|loaded| **loaded).ok_or(INVALID_HANDLE)
}

driver! {
    fn cuModuleLoadData(handle: Out<usize>, image: In<u8>) |state| {
        current(state)?;
        image.get()?;
        state.modules.push(true);
        handle.put(MODULES + state.modules.len() - 1)
    };
    fn cuModuleUnload(handle: usize) |state| {
        *module(state, handle)? = false;
        Ok(())
    };
    fn cuModuleGetFunction(function: Out<usize>, handle: usize, name: *const c_char) |state| {
        module(state, handle)?;
        if name.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the C caller gives a C string.
        let name = unsafe { CStr::from_ptr(name) };
        let found = KERNELS.iter().position(|kernel| kernel.name.as_bytes() == name.to_bytes());
        function.put(FUNCTIONS + found.ok_or(NOT_FOUND)?)
    };
    fn cuFuncGetAttribute(value: Out<i32>, _attribute: i32, _function: usize) |_| value.put(1024);
    fn cuFuncSetAttribute(_function: usize, _attribute: i32, _value: i32) |_| Ok(());
    #[allow(clippy::too_many_arguments, reason = "the driver's own")]
    fn cuLaunchKernel(
        function: usize,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        _shared: u32,
        stream: usize,
        parameters: In<*const c_void>,
        _extra: usize,
    ) |state| {
        current(state)?;
        let captured = state.streams.get(stream)?.capturing;
        let kernel = function.checked_sub(FUNCTIONS).and_then(|index| KERNELS.get(index));
        let kernel = kernel.ok_or(INVALID_HANDLE)?;
        if [grid_x, grid_y, grid_z, block_x, block_y, block_z].contains(&0) {
            return Err(INVALID_VALUE);
        }
        if captured { Ok(()) } else { kernels::run(kernel, &state.memory, &parameters) }
    };
}
