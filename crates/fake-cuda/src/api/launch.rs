//! Modules, functions and launches.
#![allow(non_snake_case, reason = "the driver's names")]

use std::ffi::{CStr, c_char, c_void};

use crate::api::{In, Out, current, driver};
use crate::kernels;
use crate::state::{Answer, INVALID_HANDLE, INVALID_VALUE, NOT_FOUND, State};

const MODULES: usize = 0x8000_0000;
const FUNCTIONS: usize = 0x9000_0000;

/// The text of a module that is loaded.
fn module(state: &mut State, handle: usize) -> Answer<&mut Option<String>> {
    let index = handle.checked_sub(MODULES).ok_or(INVALID_HANDLE)?;
    state.modules.get_mut(index).filter(|text| text.is_some()).ok_or(INVALID_HANDLE)
}

/// A kernel that the module has, too.
fn find(text: Option<&str>, name: &CStr) -> Option<usize> {
    let entry = format!(".entry {}(", name.to_str().ok()?);
    kernels::find(name).filter(|_| text.is_some_and(|text| text.contains(&entry)))
}

fn string<'a>(start: *const c_char) -> Answer<&'a CStr> {
    if start.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the C caller gives a C string, which is read before the call returns.
    Ok(unsafe { CStr::from_ptr(start) })
}

driver! {
    fn cuModuleLoadData(handle: Out<usize>, image: *const c_char) |state| {
        current(state)?;
        let text = string(image)?.to_str().map_err(|_| INVALID_VALUE)?;
        state.modules.push(Some(text.to_owned()));
        handle.put(MODULES + state.modules.len() - 1)
    };
    fn cuModuleUnload(handle: usize) |state| {
        *module(state, handle)? = None;
        Ok(())
    };
    fn cuModuleGetFunction(function: Out<usize>, handle: usize, name: *const c_char) |state| {
        let text = module(state, handle)?;
        function.put(FUNCTIONS + find(text.as_deref(), string(name)?).ok_or(NOT_FOUND)?)
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
        let kernel = function.checked_sub(FUNCTIONS).and_then(kernels::known);
        let kernel = kernel.ok_or(INVALID_HANDLE)?;
        // No kernel has a second dimension.
        if grid_x == 0 || !(1..=1024).contains(&block_x) || [grid_y, grid_z, block_y, block_z] != [1; 4] {
            return Err(INVALID_VALUE);
        }
        let grid = [grid_x, block_x];
        if captured { Ok(()) } else { kernels::run(kernel, grid, &state.memory, &parameters) }
    };
}
