//! Stand-in for the build until the room is landed.
pub mod limits {
    #![allow(missing_docs)]
    pub const RESULT_BYTES_MAX: usize = 65536;
    pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
}
/// Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);
/// Token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken(pub u64);
