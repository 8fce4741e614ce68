//! Tells the compiler that `--cfg loom` is meant: with it the atomics come from the model checker.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rerun-if-changed=build.rs");
}
