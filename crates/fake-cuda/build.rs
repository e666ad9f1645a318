//! Compiles the project's kernels for the host, and gives the library the name under which a driver is
//! looked for.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to Cargo")]

/// The sources that GPUs run.
const KERNELS: &str = "../grad-scaler/src/kernels";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/kernels");
    println!("cargo:rerun-if-changed={KERNELS}");
    // Once a library of this name is loaded, the loader hands it out to whoever asks for the name:
    // so a test that loads it by its path also gives it to cudarc.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    // Tests load many copies; nobody debugs in them.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-all");

    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").cpp_link_stdlib(None).cpp_set_stdlib(None);
    for flag in ["-fno-exceptions", "-fno-rtti", "-ffp-contract=off", "-Wno-unknown-pragmas"] {
        build.flag(flag);
    }
    build.file("src/kernels/table.cpp").include("src/kernels").include(KERNELS);
    if let Err(error) = build.warnings_into_errors(true).try_compile("freeboard_fake_kernels") {
        panic!(
            "the kernels were not compiled for the tests; is there a C++17 compiler? \
             Install g++ or name one in CXX. {error}"
        );
    }
}
