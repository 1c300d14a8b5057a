//! Telling the cluster how a job ended.
//!
//! Settling is repeated until it is answered or the lease is over. That is safe: the token admits one settlement, and the
//! cluster gives the same call the same answer again. A report that the cluster cannot take (out of bounds) would be
//! refused as long as it is repeated, and so would that of the next attempt: the job fails for good, with the refusal as its
//! error.

use bytes::Bytes;
use raftdeck_jobs::limits::ERROR_BYTES_MAX;
use raftdeck_shared::{
    client::{Client, ClientError},
    ids::{JobId, LeaseToken},
    wire,
};
use tokio::time::Instant;
use tonic::Code;
use tracing::{debug, info, warn};

use super::{Outcome, SETTLE_AT_STOP_MAX, lease::Stop, trouble::Trouble};

/// What the cluster is told.
enum Report {
    Ack(Bytes),
    Fail(wire::Failure),
}

/// Acks or fails a job under its token; keeps silent about one whose lease was lost.
pub(super) async fn settle(client: &Client, job: &wire::ClaimedJob, outcome: Outcome, mut until: Instant) {
    let failure = |error: String| wire::Failure {
        lease: Some(wire::LeaseRef { job: job.id, token: job.token }),
        error: cut(error),
        retry_after_ms: None,
        non_retryable: false,
    };
    let mut report = match outcome {
        Outcome::Done(result) => Report::Ack(result),
        Outcome::Failed { error, retry } => Report::Fail(wire::Failure { non_retryable: !retry, ..failure(error) }),
        // Not retryable, so that no attempt comes after; the cluster knows of the cancellation and says so.
        Outcome::Stopped(Stop::Cancelled) => {
            Report::Fail(wire::Failure { non_retryable: true, ..failure("cancelled".into()) })
        }
        Outcome::Stopped(Stop::NodeStopping) => {
            until = until.min(Instant::now() + SETTLE_AT_STOP_MAX);
            Report::Fail(wire::Failure { retry_after_ms: Some(0), ..failure("node is stopping".into()) })
        }
        Outcome::Stopped(stop @ (Stop::Lost | Stop::Unrenewed)) => {
            return warn!(job = job.id, attempt = job.attempt, ?stop, "stopped without its lease; nothing is reported");
        }
    };
    let mut trouble = Trouble::while_("settling a job");
    let mut reworded = false;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return warn!(job = job.id, attempt = job.attempt, "not settled before its lease was over");
        }
        let answer = match &report {
            Report::Ack(result) => client.ack(JobId(job.id), LeaseToken(job.token), result.clone(), left).await,
            Report::Fail(failure) => client.fail(failure.clone(), left).await,
        };
        match answer {
            Ok(settled) if settled.refused.is_empty() => {
                return debug!(job = job.id, attempt = job.attempt, state = ?settled.state(), "settled");
            }
            Ok(settled) => {
                return info!(job = job.id, attempt = job.attempt, "settlement refused: {}", settled.refused);
            }
            Err(ClientError::Refused { code: Code::InvalidArgument, message }) => {
                warn!(job = job.id, attempt = job.attempt, "settlement out of bounds: {message}");
                if reworded {
                    return;
                }
                reworded = true;
                report = Report::Fail(wire::Failure { non_retryable: true, ..failure(message) });
            }
            Err(error) => trouble.pause(&error).await,
        }
    }
}

/// The beginning of a text that is too long, in whole characters.
fn cut(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        let end = (0..=ERROR_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_characters() {
        assert_eq!(cut("ü".repeat(2048)).len(), 4096);
        assert_eq!(cut(format!("x{}", "ü".repeat(2048))).len(), 4095);
    }
}
