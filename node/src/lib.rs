//! A node of Raftdeck.

pub mod replica;
pub mod storage;
