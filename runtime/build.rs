//! Where the functions lie in the released binary: those that every container
//! executes side by side, in the order of `link-order`. They are a tenth of the
//! program; spread over all of it they would cost four times the page faults and
//! twice the memory. A name that the program does not have (any more) has no effect.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=link-order");
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| var(name).is_ok_and(|v| v == value);
    // Where rustc links with its own lld (since 1.90), which takes such a list.
    let target = is("TARGET", "x86_64-unknown-linux-gnu");
    // Not while developing: a changed list would link all over again.
    if !target || !is("PROFILE", "release") {
        return;
    }
    let Ok(directory) = var("CARGO_MANIFEST_DIR") else { return };
    let bin = "cargo:rustc-link-arg-bin=sextant-runtime";
    println!("{bin}=-Wl,--symbol-ordering-file={directory}/link-order");
    println!("{bin}=-Wl,--no-warn-symbol-ordering");
}
