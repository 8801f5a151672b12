//! Packs the schema table for the binary, and the prose of the OpenAPI documents.

// A build that cannot pack its table must fail.
#![allow(clippy::panic)]

#[path = "generate/src/openapi.rs"]
mod openapi;
#[path = "build/prose.rs"]
mod prose;
#[path = "build/table.rs"]
mod table;

use std::{env, fs, path::PathBuf};

fn main() {
    for path in ["build.rs", "build", "generate/src/openapi.rs", "src/schema/table.txt"] {
        println!("cargo::rerun-if-changed={path}");
    }

    let text = fs::read_to_string("src/schema/table.txt").unwrap_or_else(|e| panic!("table.txt: {e}"));
    write("table.bin", &table::pack(&text).unwrap_or_else(|e| panic!("table.txt: {e}")));
    let prose = prose::gather(&table::names(&text)).unwrap_or_else(|e| panic!("prose: {e}"));
    write("prose.gz", &prose);
}

fn write(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join(name);
    fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
