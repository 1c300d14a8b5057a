//! What the machine's processes use: cores and memory, as Linux tells it. Elsewhere nothing is told.

use std::{collections::BTreeMap, fs, time::Instant};

/// The name of this process among those of the nodes.
pub(super) const OWN: &str = "bench";

/// One look at the processes.
#[derive(Debug)]
pub(super) struct Usage {
    at: Instant,
    /// Seconds of user and system time since its start.
    busy_s: BTreeMap<String, f64>,
    rss_bytes: BTreeMap<String, u64>,
}

impl Usage {
    /// Of this process and those.
    pub(super) fn now(nodes: &BTreeMap<String, u32>) -> Usage {
        let own = (OWN.to_owned(), std::process::id());
        let all = || nodes.iter().map(|(name, pid)| (name.clone(), *pid)).chain([own.clone()]);
        let read = |pid: u32, what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).ok();
        Usage {
            at: Instant::now(),
            busy_s: all().filter_map(|(name, pid)| Some((name, busy_s(&read(pid, "stat")?)?))).collect(),
            rss_bytes: all().filter_map(|(name, pid)| Some((name, rss_bytes(&read(pid, "status")?)?))).collect(),
        }
    }

    /// Cores that each used on average since an earlier look.
    pub(super) fn cores_since(&self, before: &Usage) -> BTreeMap<String, f64> {
        let seconds = (self.at - before.at).as_secs_f64();
        let each = self.busy_s.iter().filter_map(|(name, busy)| {
            let used = busy - before.busy_s.get(name)?;
            Some((name.clone(), (used / seconds * 100.0).round() / 100.0))
        });
        each.collect()
    }

    /// Memory that each holds.
    pub(super) fn rss_bytes(self) -> BTreeMap<String, u64> {
        self.rss_bytes
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, counted from the end of the program's name, which may hold anything.
fn busy_s(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn rss_bytes(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_are_read_whatever_the_name() {
        let stat = "42 (a) b) 1 S) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 7 7 20 0 4 0 99 1 1 1";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(busy_s(stat), Some(400.0 / ticks));
        assert_eq!(busy_s("42 (x) S 1"), None);
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t    1536 kB\nThreads: 1\n"), Some(1_572_864));
        assert_eq!(rss_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn cores_are_what_was_used_between_two_looks() {
        let at = Instant::now();
        let look = |seconds: u64, busy: &[(&str, f64)]| Usage {
            at: at + std::time::Duration::from_secs(seconds),
            busy_s: busy.iter().map(|(name, busy)| ((*name).to_owned(), *busy)).collect(),
            rss_bytes: BTreeMap::new(),
        };
        let after = look(4, &[("n1", 7.0), ("n2", 3.0)]);
        // n2 was started in between: of it nothing can be said.
        assert_eq!(after.cores_since(&look(0, &[("n1", 1.0)])), BTreeMap::from([("n1".to_owned(), 1.5)]));
    }
}
