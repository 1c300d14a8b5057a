//! What bounds every figure here: how long this disk takes to be sure of a small append, and this machine to carry a
//! request to a node and an answer back. An answer of w1 takes at least one round trip of the client, one between nodes, and
//! an fsync of a follower; with a mark after the log, two.

use std::{
    fs::OpenOptions,
    io::Write as _,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use raftdeck_shared::client;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::site::{Site, in_memory};
use crate::cli::failure::Failure;

/// Of each.
const LENGTH: Duration = Duration::from_secs(1);

/// A small log entry.
const APPEND_BYTES: usize = 200;

/// Medians, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) fsync_us: f64,
    pub(super) round_trip_us: f64,
}

impl Limits {
    /// Measures both, while nothing else is asked of the cluster.
    pub(super) async fn measure(site: &Site) -> Result<Limits, Failure> {
        let limits = Limits { fsync_us: fsync_us(site)?, round_trip_us: round_trip_us(site).await? };
        if in_memory(&site.data()) {
            eprintln!("{} is in memory: an fsync costs nothing there", site.data().display());
        }
        Ok(limits)
    }
}

/// On the disk of the own cluster's data; for a running one, of the temporary files.
fn fsync_us(site: &Site) -> Result<f64, Failure> {
    let dir = site.data();
    let failed = |e: std::io::Error| Failure::Refused(format!("bench: {}: {e}", dir.display()));
    let path = dir.join(format!("raftdeck-fsync-{}", std::process::id()));
    let mut file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(failed)?;
    let removed = std::fs::remove_file(&path);
    let mut times = nanoseconds();
    let end = Instant::now() + LENGTH;
    while Instant::now() < end {
        let start = Instant::now();
        file.write_all(&[b'x'; APPEND_BYTES]).and_then(|()| file.sync_data()).map_err(failed)?;
        record(&mut times, start);
    }
    removed.map_err(failed)?;
    Ok(median_us(&times))
}

async fn round_trip_us(site: &Site) -> Result<f64, Failure> {
    let address = site.target().addresses().next().unwrap_or_default();
    let mut health = HealthClient::new(client::channel(&address)?);
    let mut times = nanoseconds();
    let end = Instant::now() + LENGTH;
    while Instant::now() < end {
        let start = Instant::now();
        let answer = health.check(HealthCheckRequest { service: String::new() }).await;
        answer.map_err(|status| format!("bench: health of {address}: {}", client::words(&status)))?;
        record(&mut times, start);
    }
    Ok(median_us(&times))
}

fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 10_000_000_000, 3).expect("bounds that it takes")
}

fn record(times: &mut Histogram<u64>, start: Instant) {
    times.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
}

fn median_us(times: &Histogram<u64>) -> f64 {
    (times.value_at_quantile(0.5) as f64 / 100.0).round() / 10.0
}
