//! What a node needs of memory: when it is idle, for each connection, and for each job that waits.
//!
//! It is what the system counts as resident, before and after, over as many things as were added. A job is counted with
//! everything that it brings along: its record, its place in the indexes, and its entry in the part of the log that is kept.

use std::{collections::BTreeMap, time::Duration};

use raftdeck_shared::client;
use serde::Serialize;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    fill,
    machine::OWN,
    plan::{Beside, Plan},
    site::Site,
};
use crate::cli::failure::Failure;

/// Open at a time, spread over the nodes: a process may usually have 1024 files.
const CONNECTIONS: usize = 900;

/// After a change, until memory is counted: what is under way ends.
const CALM: Duration = Duration::from_secs(1);

/// Bytes of a node; of several nodes the median.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    nodes: usize,
    payload: usize,
    jobs: u64,
    connections: usize,
    idle_node_bytes: u64,
    connection_bytes: u64,
    job_bytes: u64,
}

/// Measures all three on a cluster of its own.
pub(super) async fn measure(plan: &Plan, jobs: u64) -> Result<Memory, Failure> {
    let site = Site::prepare(&plan.place).await?;
    let idle = nodes_bytes(&site).await?;
    let connections = connections(&site).await?;
    let connected = nodes_bytes(&site).await?;
    drop(connections);
    let before = nodes_bytes(&site).await?;
    fill::fill(&site, plan, Beside::Waiting(jobs)).await?;
    let after = nodes_bytes(&site).await?;
    let of_a_node = CONNECTIONS / idle.len();
    Ok(Memory {
        nodes: idle.len(),
        payload: plan.payload_bytes,
        jobs,
        connections: of_a_node,
        idle_node_bytes: median(idle.values().copied()),
        connection_bytes: growth(&idle, &connected) / of_a_node as u64,
        job_bytes: growth(&before, &after) / jobs.max(1),
    })
}

impl Memory {
    /// For people.
    pub(super) fn words(&self) -> String {
        let Memory { nodes, payload, jobs, connections, idle_node_bytes, connection_bytes, job_bytes } = self;
        format!(
            "memory: {nodes} nodes, medians of them\n  an idle node {:.1} MiB\n  a connection {connection_bytes} B, over \
             {connections} idle ones\n  a job that waits {job_bytes} B, over {jobs} of {payload} B",
            *idle_node_bytes as f64 / f64::from(1 << 20)
        )
    }
}

/// Connections that were used once and are idle.
async fn connections(site: &Site) -> Result<Vec<HealthClient<tonic::transport::Channel>>, Failure> {
    let addresses: Vec<String> = site.target().addresses().collect();
    let mut open = Vec::with_capacity(CONNECTIONS);
    for address in addresses.iter().cycle().take(CONNECTIONS) {
        let mut health = HealthClient::new(client::channel(address)?);
        let answer = health.check(HealthCheckRequest { service: String::new() }).await;
        answer.map_err(|status| format!("bench: connection {} to {address}: {status}", open.len() + 1))?;
        open.push(health);
    }
    Ok(open)
}

async fn nodes_bytes(site: &Site) -> Result<BTreeMap<String, u64>, Failure> {
    tokio::time::sleep(CALM).await;
    let mut all = site.usage().rss_bytes();
    all.remove(OWN);
    if all.is_empty() {
        return Err(Failure::Refused("bench: this system does not tell the memory of a process".to_owned()));
    }
    Ok(all)
}

/// Of the nodes that are in both; what shrank did not grow.
fn growth(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> u64 {
    median(before.iter().filter_map(|(name, before)| Some(after.get(name)?.saturating_sub(*before))))
}

pub(super) fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_median_of_the_nodes_that_are_in_both_looks() {
        let look = |each: &[(&str, u64)]| each.iter().map(|(name, b)| ((*name).to_owned(), *b)).collect();
        let before = look(&[("n1", 10), ("n2", 20), ("n3", 30), ("n4", 5)]);
        let after = look(&[("n1", 110), ("n2", 70), ("n3", 10)]);
        assert_eq!(growth(&before, &after), 50, "100, 50, and n3 shrank");
        assert_eq!(median([3, 1].into_iter()), 1);
        assert_eq!(median(std::iter::empty()), 0);
    }
}
