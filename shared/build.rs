//! Compiles `proto/` without a system protoc, and keeps the descriptor set for gRPC reflection.
use std::{env, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 3] = ["raft.proto", "jobs.proto", "admin.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // `bytes` fields as Bytes: a payload that came in is handed on, not copied.
    tonic_prost_build::configure().bytes(".raftdeck.v1").compile_fds(descriptors)?;
    Ok(())
}
