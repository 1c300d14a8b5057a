//! How long a job waits between two attempts.
//!
//! Jitter keeps jobs that failed together from coming back together. It is a hash of job and attempt, not a random number:
//! every replica must come to the same time.

use xxhash_rust::xxh3::xxh3_64;

use crate::{Backoff, JobId};

const POLYNOMIAL_BASE_S: u64 = 15;
const POLYNOMIAL_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// The wait after attempt number `attempt` (from 1) has failed.
pub(crate) fn delay_ms(backoff: Backoff, job: JobId, attempt: u32) -> u64 {
    match backoff {
        Backoff::Fixed { delay_ms } => delay_ms,
        Backoff::Polynomial => {
            let mean_s = u64::from(attempt).saturating_pow(4).saturating_add(POLYNOMIAL_BASE_S);
            let mean_ms = mean_s.saturating_mul(1000);
            let tenth_ms = mean_ms / 10;
            let jitter_ms = jitter(job, attempt) % (2 * tenth_ms + 1);
            (mean_ms - tenth_ms).saturating_add(jitter_ms).min(POLYNOMIAL_MS_MAX)
        }
    }
}

fn jitter(job: JobId, attempt: u32) -> u64 {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&job.0.to_le_bytes());
    bytes[8..].copy_from_slice(&attempt.to_le_bytes());
    xxh3_64(&bytes)
}
