//! Lets what is built here find the DuckDB library at run time.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=DUCKDB_LIB_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_BUNDLED").is_some() {
        return;
    }
    let Ok(folder) = env::var("DUCKDB_LIB_DIR") else {
        panic!("DUCKDB_LIB_DIR is not set: build inside the repository, or with `--features bundled`");
    };
    if !Path::new(&folder).join("libduckdb.so").exists() {
        panic!("{folder}/libduckdb.so is missing: run `make setup`, or build with `--features bundled`");
    }
    println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
}
