//! Values as bytes: one byte of format version, then postcard.
//!
//! Log entries and table rows outlive the release that wrote them, so a release that meets a version it does not know
//! says which one it met instead of reading nonsense.

use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64;

/// The version written by this release.
const FORMAT_VERSION: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is not even a version.
    #[error("nothing to decode: 0 bytes")]
    Empty,
    /// Written by another release.
    #[error("format version {found} is unknown, this release reads version {FORMAT_VERSION}")]
    UnknownVersion {
        /// The version found.
        found: u8,
    },
    /// Not an encoding of the value.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The value ended before the bytes did.
    #[error("{0} bytes too many after the value")]
    Trailing(usize),
    /// The payload is not the one that was submitted.
    #[error("the payload of job {job} does not match its digest")]
    PayloadDigest {
        /// The job whose payload was altered.
        job: crate::JobId,
    },
}

pub(crate) fn encode(value: &impl Serialize, size_hint_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_hint_bytes);
    bytes.push(FORMAT_VERSION);
    postcard::to_extend(value, bytes).expect("plain values always have an encoding")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (&version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if version != FORMAT_VERSION {
        return Err(DecodeError::UnknownVersion { found: version });
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(rest.len())) }
}

/// The digest of a value: a hash of its encoding, the same on every platform.
pub(crate) fn digest(value: &impl Serialize) -> u64 {
    xxh3_64(&encode(value, 512))
}
