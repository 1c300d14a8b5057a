//! The words of `link` and `disk`, and the life of every fault.

use std::time::Duration;

use clap::Args;
use raftdeck_shared::{
    faults::TTL_MAX,
    wire::{self, fault_spec::Fault},
};

use super::values;

/// The life of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct Ttl {
    /// How long, at most 10m; the nodes themselves end it
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = fault_ttl)]
    pub ttl: Duration,
}

/// `link`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("weather").required(true).multiple(true))]
pub struct Link {
    /// Name of one node
    pub a: String,
    /// Name of the other
    pub b: String,
    /// Each message comes so much later, at most 10s
    #[arg(long, value_name = "DURATION", group = "weather", value_parser = values::short_ms)]
    pub delay: Option<u32>,
    /// And up to so much later again, as chance says; none overtakes another
    #[arg(long, value_name = "DURATION", group = "weather", value_parser = values::short_ms)]
    pub jitter: Option<u32>,
    /// Part that is lost
    #[arg(long, value_name = "PERCENT", group = "weather", value_parser = values::percent_ppm)]
    pub loss: Option<u32>,
    /// Part that comes twice
    #[arg(long, value_name = "PERCENT", group = "weather", value_parser = values::percent_ppm)]
    pub duplicate: Option<u32>,
    /// Part that is overtaken: held back for up to 20ms
    #[arg(long, value_name = "PERCENT", group = "weather", value_parser = values::percent_ppm)]
    pub reorder: Option<u32>,
    /// Only from the first node to the second
    #[arg(long)]
    pub one_way: bool,
    /// How long
    #[command(flatten)]
    pub ttl: Ttl,
}

/// `disk`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("trouble").required(true))]
pub struct Disk {
    /// Name of the node
    pub node: String,
    /// Each write of the log waits so long before it begins, at most 10m
    #[arg(long, value_name = "DURATION", group = "trouble", value_parser = fault_ttl)]
    pub stall: Option<Duration>,
    /// The next write fails as on a full disk; the node ends
    #[arg(long, group = "trouble")]
    pub full: bool,
    /// The next write fails in its fsync; the node ends
    #[arg(long, group = "trouble")]
    pub fail_fsync: bool,
    /// How long
    #[command(flatten)]
    pub ttl: Ttl,
}

impl Link {
    /// The fault at one end, of the way to `peer`.
    #[must_use]
    pub fn towards(&self, peer: u64) -> Fault {
        Fault::Link(wire::LinkFault {
            peer,
            delay_ms: self.delay.unwrap_or_default(),
            jitter_ms: self.jitter.unwrap_or_default(),
            loss_ppm: self.loss.unwrap_or_default(),
            duplicate_ppm: self.duplicate.unwrap_or_default(),
            reorder_ppm: self.reorder.unwrap_or_default(),
        })
    }
}

impl Disk {
    /// The one trouble that was named.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.stall {
            Some(stall) => {
                let write_ms = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
                Fault::DiskStall(wire::DiskStallFault { write_ms })
            }
            None if self.full => Fault::DiskFull(wire::DiskFullFault {}),
            None => Fault::FailedFsync(wire::FailedFsyncFault {}),
        }
    }
}

fn fault_ttl(text: &str) -> Result<Duration, String> {
    let ttl = values::duration(text)?;
    if ttl.is_zero() || ttl > TTL_MAX {
        return Err(format!("a fault lasts 1ms to 10m, not {text}"));
    }
    Ok(ttl)
}
