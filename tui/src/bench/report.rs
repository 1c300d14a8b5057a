//! What was measured: one JSON object for programs, a block of lines for people.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{
    life::PREFETCH,
    limits::Limits,
    plan::{Case, Load, Plan},
    tally::Counts,
};
use crate::cli::args::Workload;

/// What every answer waits for.
const FSYNC: &str = "majority before every answer";

/// Width of the longest bar.
const BAR: u64 = 40;

/// One repetition.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) counts: Counts,
    pub(super) cores: BTreeMap<String, f64>,
    pub(super) rss_bytes: BTreeMap<String, u64>,
    pub(super) lost: Option<u64>,
    pub(super) done_twice: Option<u64>,
    pub(super) unsent: Option<u64>,
    pub(super) gap_ms: Option<f64>,
}

impl Outcome {
    pub(super) fn new(counts: Counts, cores: BTreeMap<String, f64>, rss_bytes: BTreeMap<String, u64>) -> Outcome {
        Outcome { counts, cores, rss_bytes, lost: None, done_twice: None, unsent: None, gap_ms: None }
    }
}

/// All repetitions of a case.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    workload: Workload,
    clients: u16,
    payload: usize,
    /// Of the window.
    seconds: f64,
    /// Jobs a second.
    pub(super) rate: f64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    p999_us: u64,
    max_us: u64,
    pub(super) errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    fsync: &'static str,
    nodes: usize,
    batch: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<u32>,
    /// Open loop: requests that were due each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_loop_rate: Option<u32>,
    /// Open loop: requests that were due and could not be sent within the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsent: Option<u64>,
    repeat: u16,
    rates: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) done_twice: Option<u64>,
    #[serde(flatten)]
    gaps: Option<Gaps>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cores: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) rss_bytes: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fsync_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_us: Option<f64>,
    #[serde(skip)]
    latency: Histogram<u64>,
}

/// Of w4: the longest time without an answer, for each kill.
#[derive(Debug, Serialize)]
struct Gaps {
    gap_ms: f64,
    gap_min_ms: f64,
    gap_max_ms: f64,
    gaps_ms: Vec<f64>,
}

impl Gaps {
    fn of(outcomes: &[Outcome]) -> Option<Gaps> {
        let gaps_ms: Vec<f64> = outcomes.iter().filter_map(|o| o.gap_ms).map(tenths).collect();
        let order = ascending(&gaps_ms);
        let (first, last) = (*order.first()?, *order.last()?);
        let median = order[(order.len() - 1) / 2];
        Some(Gaps { gap_ms: gaps_ms[median], gap_min_ms: gaps_ms[first], gap_max_ms: gaps_ms[last], gaps_ms })
    }
}

impl Report {
    /// `outcomes` are those of the repetitions, at least one.
    pub(super) fn new(
        plan: &Plan,
        case: &Case,
        nodes: usize,
        limits: Option<Limits>,
        mut outcomes: Vec<Outcome>,
    ) -> Report {
        let seconds = match case.load {
            Load::Submit { .. } | Load::Life { .. } => plan.window,
            Load::Kill => super::kill::WINDOW,
        };
        let seconds = seconds.as_secs_f64();
        let rates: Vec<f64> = outcomes.iter().map(|o| tenths(o.counts.in_window as f64 / seconds)).collect();
        let total = |of: fn(&Outcome) -> Option<u64>| outcomes.iter().map(of).sum::<Option<u64>>();
        let (lost, done_twice, unsent) = (total(|o| o.lost), total(|o| o.done_twice), total(|o| o.unsent));
        let errors = outcomes.iter().map(|o| o.counts.errors).sum();
        let last_error = outcomes.iter().rev().find_map(|o| o.counts.last_error.clone());
        let gaps = Gaps::of(&outcomes);
        let order = ascending(&rates);
        let median = order[(order.len() - 1) / 2];
        let Outcome { counts: Counts { latency, .. }, cores, rss_bytes, .. } = outcomes.swap_remove(median);
        Report {
            workload: case.workload,
            clients: case.clients,
            payload: plan.payload_bytes,
            seconds,
            rate: rates[median],
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            p999_us: latency.value_at_quantile(0.999),
            max_us: latency.max(),
            errors,
            last_error,
            fsync: FSYNC,
            nodes,
            batch: match case.load {
                Load::Submit { batch } => batch,
                Load::Life { .. } | Load::Kill => 1,
            },
            depth: match case.load {
                Load::Life { depth } => Some(depth),
                Load::Submit { .. } | Load::Kill => None,
            },
            open_loop_rate: plan.rate,
            unsent,
            repeat: case.repeat,
            rates,
            lost,
            done_twice,
            gaps,
            cores,
            rss_bytes,
            fsync_us: limits.map(|limits| limits.fsync_us),
            round_trip_us: limits.map(|limits| limits.round_trip_us),
            latency,
        }
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        let Report { workload, clients, payload, nodes, batch, seconds, .. } = self;
        let what = match workload {
            Workload::W1 => format!("{clients} clients, a durable submit each"),
            Workload::W2 => format!("{clients} clients, a bulk of {batch} each"),
            Workload::W3 => {
                format!(
                    "{clients} producers, {clients} workers that have up to {PREFETCH} jobs each, {} jobs on their way",
                    self.depth.unwrap_or_default()
                )
            }
            Workload::W4 => format!("{clients} clients, a durable submit each, {} kills of the leader", self.repeat),
        };
        let pace = match self.open_loop_rate {
            None => "closed loop".to_owned(),
            Some(rate) => format!("open loop, {rate} requests/s, unsent {}", self.unsent.unwrap_or_default()),
        };
        let mut lines = vec![
            format!("{}: {what}", workload.name()),
            format!("  {nodes} nodes, {payload} B, fsync: {}, {pace}, {seconds} s", self.fsync),
            format!(
                "  {:.0} jobs/s, p50 {}, p99 {}, p99.9 {}, max {}, errors {}",
                self.rate,
                time(self.p50_us),
                time(self.p99_us),
                time(self.p999_us),
                time(self.max_us),
                self.errors
            ),
        ];
        if let Some(error) = &self.last_error {
            lines.push(format!("  last error: {}", crate::plain::plain(error)));
        }
        if let (Some(lost), Some(twice)) = (self.lost, self.done_twice) {
            lines.push(format!("  lost {lost}, done twice {twice}"));
        }
        if let Some(Gaps { gap_ms, gap_min_ms, gap_max_ms, .. }) = &self.gaps {
            lines.push(format!("  no answer for {gap_ms} ms (median; {gap_min_ms} to {gap_max_ms})"));
        }
        if self.rates.len() > 1 {
            let rates: Vec<String> = self.rates.iter().map(|rate| format!("{rate:.0}")).collect();
            lines.push(format!("  rates: {}", rates.join(", ")));
        }
        if !self.cores.is_empty() {
            let each = |(name, cores): (&String, &f64)| {
                let memory = self.rss_bytes.get(name).map_or_else(String::new, |rss| format!(" and {} MiB", rss >> 20));
                format!("{name} {cores}{memory}")
            };
            lines.push(format!("  cores: {}", self.cores.iter().map(each).collect::<Vec<_>>().join(", ")));
        }
        if let (Some(fsync), Some(round_trip)) = (self.fsync_us, self.round_trip_us) {
            lines.push(format!("  beside it: an fdatasync {fsync} us, a round trip {round_trip} us (medians)"));
        }
        lines.extend(bars(&self.latency));
        lines.join("\n")
    }
}

/// Latencies in steps of two, from the first that has any to the last.
fn bars(latency: &Histogram<u64>) -> Vec<String> {
    let steps = latency.iter_log(1, 2.0).map(|step| (step.value_iterated_to(), step.count_since_last_iteration()));
    let steps: Vec<(u64, u64)> = steps.skip_while(|(_, count)| *count == 0).collect();
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let line = |&(to, count): &(u64, u64)| {
        let bar = "#".repeat(usize::try_from((count * BAR).div_ceil(most)).unwrap_or(0));
        let share = count as f64 * 100.0 / latency.len().max(1) as f64;
        format!("  up to {:>8} {bar:<40} {share:>5.1} %", time(to + 1))
    };
    steps.iter().map(line).collect()
}

/// Places of the values, smallest value first.
fn ascending(values: &[f64]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    places.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    places
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

pub(super) fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.2} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::bench::{
        plan::{Beside, Place},
        tally::Tally,
    };

    /// A repetition with so many jobs answered and one latency.
    fn outcome(in_window: u64, latency_us: u64, gap_ms: Option<f64>) -> Outcome {
        let now = Instant::now();
        let mut counts = Tally::new(now..now).counts();
        (counts.in_window, counts.errors) = (in_window, 1);
        counts.latency.record(latency_us).unwrap();
        Outcome { gap_ms, lost: Some(1), ..Outcome::new(counts, BTreeMap::new(), BTreeMap::new()) }
    }

    fn plan() -> Plan {
        let place = Place::Own { nodes: 3, parent: None };
        Plan {
            place,
            cases: vec![],
            payload_bytes: 200,
            window: Duration::from_secs(2),
            rate: None,
            limits: false,
            beside: Beside::Waiting(0),
        }
    }

    #[test]
    fn the_repetition_of_the_median_rate_is_told_and_the_errors_of_all() {
        let case = Case { workload: Workload::W3, load: Load::Life { depth: 64 }, clients: 64, repeat: 4 };
        let outcomes = [(900, 90), (100, 10), (500, 50), (300, 30)].map(|(jobs, us)| outcome(jobs, us, None));
        let report = Report::new(&plan(), &case, 3, None, outcomes.into());
        assert_eq!(report.rates, [450.0, 50.0, 250.0, 150.0]);
        assert_eq!((report.rate, report.p50_us, report.errors, report.lost), (150.0, 30, 4, Some(4)));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["workload"], &json["depth"], &json["batch"]), (&"w3".into(), &64.into(), &1.into()));
        assert!(json.get("gap_ms").is_none() && json.get("cores").is_none(), "{json}");
    }

    #[test]
    fn of_several_kills_the_median_and_both_ends_are_told() {
        let case = Case { workload: Workload::W4, load: Load::Kill, clients: 16, repeat: 3 };
        let outcomes = [700.04, 150.0, 300.0].map(|gap| outcome(2, 5, Some(gap)));
        let json = serde_json::to_value(Report::new(&plan(), &case, 3, None, outcomes.into())).unwrap();
        assert_eq!(json["gaps_ms"], serde_json::json!([700.0, 150.0, 300.0]));
        assert_eq!(
            (&json["gap_ms"], &json["gap_min_ms"], &json["gap_max_ms"]),
            (&300.0.into(), &150.0.into(), &700.0.into())
        );
    }

    #[test]
    fn bars_go_from_the_first_latency_to_the_last() {
        let mut latency = Tally::new(Instant::now()..Instant::now()).counts().latency;
        for (us, times) in [(900, 30), (1500, 10)] {
            latency.record_n(us, times).unwrap();
        }
        let bars = bars(&latency);
        assert_eq!(bars.len(), 2, "{bars:?}");
        assert_eq!(bars[0], format!("  up to  1.02 ms {}  75.0 %", "#".repeat(40)));
        assert_eq!(bars[1], format!("  up to  2.05 ms {:<40}  25.0 %", "#".repeat(14)));
    }
}
