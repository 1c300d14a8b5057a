//! Values as bytes: one byte of format version, then postcard.
//!
//! Log entries and table rows outlive the release that wrote them, so a release that meets a version it does not know
//! says which one it met instead of reading nonsense.

use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64;

/// The version of everything but commands, which have versions of their own.
const FORMAT_VERSION: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is not even a version.
    #[error("nothing to decode: 0 bytes")]
    Empty,
    /// Written by another release.
    #[error("format version {found} is unknown, this release reads versions up to {known}")]
    UnknownVersion {
        /// The version found.
        found: u8,
        /// The newest this release knows.
        known: u8,
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
    encode_as(FORMAT_VERSION, value, size_hint_bytes)
}

/// If the hint is too small the value is encoded twice; if it is much too large, memory is written for nothing.
pub(crate) fn encode_as(version: u8, value: &impl Serialize, size_hint_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; 1 + size_hint_bytes];
    bytes[0] = version;
    match postcard::to_slice(value, &mut bytes[1..]).map(|body| body.len()) {
        Ok(length) => {
            bytes.truncate(1 + length);
            bytes
        }
        Err(_) => postcard::to_extend(value, vec![version]).expect("plain values always have an encoding"),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match version(bytes)? {
        (FORMAT_VERSION, body) => decode_body(body),
        (found, _) => Err(DecodeError::UnknownVersion { found, known: FORMAT_VERSION }),
    }
}

/// The version, and what is encoded in it.
pub(crate) fn version(bytes: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    bytes.split_first().map(|(&version, body)| (version, body)).ok_or(DecodeError::Empty)
}

pub(crate) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(rest.len())) }
}

/// What most values that are digested fit into.
const DIGEST_BYTES: usize = 1024;

/// The digest of a value: a hash of its encoding, the same on every platform.
pub(crate) fn digest(value: &impl Serialize) -> u64 {
    let mut bytes = [0; DIGEST_BYTES];
    bytes[0] = FORMAT_VERSION;
    match postcard::to_slice(value, &mut bytes[1..]).map(|body| body.len()) {
        Ok(length) => xxh3_64(&bytes[..=length]),
        Err(_) => xxh3_64(&encode(value, 4 * DIGEST_BYTES)),
    }
}
