//! Handlers that every node has: for trying out a cluster, and for tests that need a job with a known end.

use std::time::Duration;

use bytes::Bytes;
use raftdeck_shared::wire;
use tokio::time::sleep;

use super::{Outcome, expiry, lease::Lease, output::Tail};

/// Longest sleep: a day.
const SLEEP_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Sleep of an empty payload.
const SLEEP_MS_DEFAULT: u64 = 1000;

/// A handler that needs no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BuiltIn {
    /// Results in its payload; of one that is too long, in its end, as the output of a program would be.
    Echo,
    /// Fails, with its payload as the error.
    Fail,
    /// Takes as many milliseconds as its payload says.
    Sleep,
}

impl BuiltIn {
    pub(super) fn named(name: &str) -> Option<BuiltIn> {
        match name {
            "echo" => Some(BuiltIn::Echo),
            "fail" => Some(BuiltIn::Fail),
            "sleep" => Some(BuiltIn::Sleep),
            _ => None,
        }
    }

    /// Runs to the end, the limit, or the order to stop.
    pub(super) async fn run(
        self,
        job: &wire::ClaimedJob,
        limit: Option<Duration>,
        output_bytes_max: usize,
        lease: &mut Lease,
    ) -> Outcome {
        tokio::select! {
            biased;
            outcome = self.outcome(&job.payload, output_bytes_max) => outcome,
            stop = lease.stopped() => Outcome::Stopped(stop),
            limit = expiry(limit) => Outcome::timed_out(limit),
        }
    }

    async fn outcome(self, payload: &Bytes, output_bytes_max: usize) -> Outcome {
        match self {
            BuiltIn::Echo => Outcome::Done(Tail::of(payload, output_bytes_max)),
            BuiltIn::Fail => match String::from_utf8_lossy(payload).trim() {
                "" => Outcome::retryable("failed, as it was asked to"),
                text => Outcome::retryable(text),
            },
            BuiltIn::Sleep => match sleep_ms(payload) {
                Ok(ms) => {
                    sleep(Duration::from_millis(ms)).await;
                    Outcome::Done(format!("slept {ms} ms").into())
                }
                Err(error) => Outcome::Failed { error, retry: false },
            },
        }
    }
}

fn sleep_ms(payload: &Bytes) -> Result<u64, String> {
    let text = String::from_utf8_lossy(payload);
    let ms = match text.trim() {
        "" => SLEEP_MS_DEFAULT,
        // At most this much of a wrong payload is said back.
        text => text.parse().map_err(|_| format!("sleep takes a number of milliseconds, not {text:.40?}"))?,
    };
    if ms > SLEEP_MS_MAX {
        return Err(format!("sleep of {ms} ms, the limit is {SLEEP_MS_MAX}"));
    }
    Ok(ms)
}

#[cfg(test)]
mod tests {
    use raftdeck_shared::cluster::BUILT_IN_HANDLERS;

    use super::*;

    #[test]
    fn every_name_of_the_contract_has_its_handler() {
        assert!(BUILT_IN_HANDLERS.iter().all(|name| BuiltIn::named(name).is_some()));
        assert_eq!(BuiltIn::named("count"), None);
    }

    #[test]
    fn a_sleep_is_a_number_of_milliseconds_up_to_a_day() {
        let ms = |text: &'static str| sleep_ms(&Bytes::from(text));
        assert_eq!(ms(""), Ok(1000));
        assert_eq!(ms(" 20\n"), Ok(20));
        assert_eq!(ms("86400000"), Ok(86_400_000));
        assert_eq!(ms("86400001").unwrap_err(), "sleep of 86400001 ms, the limit is 86400000");
        assert_eq!(ms("2s").unwrap_err(), "sleep takes a number of milliseconds, not \"2s\"");
    }
}
