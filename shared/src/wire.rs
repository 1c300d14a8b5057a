//! The generated messages and services of `proto/`, package `raftdeck.v1`.
//!
//! The contract is the `.proto` files: read those. Numbers of the wire get their types in [`crate::ids`].
#![allow(missing_docs, unreachable_pub, rust_2018_idioms, clippy::all, clippy::pedantic)]

tonic::include_proto!("raftdeck.v1");

/// Something comes over a stream of observations at least this often: `still_here`, where nothing else does.
pub const STILL_HERE_EVERY: std::time::Duration = std::time::Duration::from_millis(400);

/// The encoded descriptor set of all of `proto/`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
