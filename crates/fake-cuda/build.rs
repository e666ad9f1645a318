//! Gives the library the name under which a driver is looked for.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to Cargo")]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Once a library of this name is loaded, the loader hands it out to whoever asks for the name:
    // so a test that loads it by its path also gives it to cudarc.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    // Tests load many copies; nobody debugs in them.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-all");
}
