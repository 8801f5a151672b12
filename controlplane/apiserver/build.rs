//! Packs the schema table for the binary.

#[path = "build/table.rs"]
mod table;

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/schema/table.txt");

    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let text = fs::read_to_string("src/schema/table.txt").unwrap_or_else(|e| panic!("table.txt: {e}"));
    let packed = table::pack(&text).unwrap_or_else(|e| panic!("table.txt: {e}"));
    fs::write(out.join("table.bin"), packed).unwrap_or_else(|e| panic!("table.bin: {e}"));
}
