//! `bench --grow`: how the cost grows with one thing, all else being as usual.
//!
//! | table | points | load |
//! |---|---|---|
//! | payload | 16 B, 200 B, 4 KiB, 64 KiB | w1 |
//! | nodes | 1, 3, 5, 7 | w1 |
//! | clients | 1, 16, 64, 256, 1000 | w1 |
//! | depth | 0, 10,000, 100,000, 1,000,000 jobs that wait | w3 beside them |
//! | history | 0, 100,000, 1,000,000 jobs that are done | w3 after them |
//! | memory | 100,000 jobs that wait | none |
//!
//! As usual is: 3 nodes, 64 clients, 200 B. Each point has a cluster of its own, so that no point pays for an earlier one.
//! The jobs that wait have a handler that no worker has: what w3 measures is then the same at every depth, a job's life,
//! and what grows is what the cluster has to keep beside it.

use std::time::Duration;

use serde::Serialize;

use super::{
    measure,
    memory::{self, median},
    plan::{Beside, CLIENTS_DEFAULT, Case, DEPTH_DEFAULT, Load, NODES_DEFAULT, PRODUCERS, Place, Plan},
    report::{Report, time},
};
use crate::cli::{
    args::{self, Growth, Workload},
    failure::Failure,
    out::Out,
};

const PAYLOAD_BYTES: usize = 200;

/// Width of the longest bar.
const BAR: usize = 40;

/// One table.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    growth: Growth,
    points: Vec<u64>,
    parent: Option<std::path::PathBuf>,
    window: Duration,
    repeat: u16,
}

/// One point of it.
#[derive(Debug, Serialize)]
struct Point<T> {
    grow: Growth,
    at: u64,
    #[serde(flatten)]
    measured: T,
}

/// The usual points, and the smallest and the largest that there may be.
fn points(growth: Growth) -> (&'static [u64], u64, u64) {
    match growth {
        Growth::Payload => (&[16, 200, 4 << 10, 64 << 10], 0, 1 << 20),
        Growth::Nodes => (&[1, 3, 5, 7], 1, 63),
        Growth::Clients => (&[1, 16, 64, 256, 1000], 1, 1000),
        Growth::Depth => (&[0, 10_000, 100_000, 1_000_000], 0, 1_900_000),
        Growth::History => (&[0, 100_000, 1_000_000], 0, 100_000_000),
        Growth::Memory => (&[100_000], 1_000, 1_900_000),
    }
}

fn name(growth: Growth) -> &'static str {
    match growth {
        Growth::Payload => "payload",
        Growth::Nodes => "nodes",
        Growth::Clients => "clients",
        Growth::Depth => "depth",
        Growth::History => "history",
        Growth::Memory => "memory",
    }
}

impl Table {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Names the option, its limit and its value.
    pub fn all(place: &args::Place, args: &args::Bench) -> Result<Vec<Table>, Failure> {
        if !args.points.is_empty() && args.grow.len() > 1 {
            return Err(Failure::Usage("--points are of one table: name one by --grow".to_owned()));
        }
        let table = |&growth: &Growth| {
            let (usual, least, most) = points(growth);
            if let Some(out) = args.points.iter().find(|at| !(least..=most).contains(*at)) {
                let name = name(growth);
                return Err(Failure::Usage(format!("--points {out}: {name} is not in {least}..={most}")));
            }
            Ok(Table {
                growth,
                points: if args.points.is_empty() { usual.to_vec() } else { args.points.clone() },
                parent: place.dir.clone(),
                window: Duration::from_secs(args.seconds.into()),
                repeat: args.repeat.unwrap_or(1),
            })
        };
        args.grow.iter().map(table).collect()
    }

    /// What is measured at a point.
    fn plan(&self, at: u64) -> (Plan, Case) {
        let small = |at: u64| u16::try_from(at).expect("points were checked");
        let submits = Case {
            workload: Workload::W1,
            load: Load::Submit { batch: 1 },
            clients: CLIENTS_DEFAULT,
            repeat: self.repeat,
        };
        let lives = Case {
            workload: Workload::W3,
            load: Load::Life { depth: DEPTH_DEFAULT },
            clients: PRODUCERS,
            repeat: self.repeat,
        };
        let mut plan = Plan {
            place: Place::Own { nodes: NODES_DEFAULT, parent: self.parent.clone() },
            cases: Vec::new(),
            payload_bytes: PAYLOAD_BYTES,
            window: self.window,
            rate: None,
            limits: false,
            beside: Beside::Waiting(0),
        };
        let case = match self.growth {
            Growth::Payload => {
                plan.payload_bytes = usize::try_from(at).expect("points were checked");
                submits
            }
            Growth::Nodes => {
                let nodes = u8::try_from(at).expect("points were checked");
                plan.place = Place::Own { nodes, parent: self.parent.clone() };
                submits
            }
            Growth::Clients => Case { clients: small(at), ..submits },
            Growth::Depth => {
                plan.beside = Beside::Waiting(at);
                lives
            }
            Growth::History => {
                plan.beside = Beside::Finished(at);
                lives
            }
            // Nothing is asked of it.
            Growth::Memory => submits,
        };
        (plan, case)
    }
}

/// One table after the other: each point as it is measured with `--json`, else each table when it is full.
pub(super) async fn measure_all(tables: &[Table], out: Out) -> Result<(), Failure> {
    let mut lost = 0;
    for table in tables {
        let mut rows = Vec::new();
        for &at in &table.points {
            eprintln!("{} {at}", name(table.growth));
            let (plan, case) = table.plan(at);
            if table.growth == Growth::Memory {
                let measured = memory::measure(&plan, at).await?;
                let point = Point { grow: table.growth, at, measured };
                out.say(&point, || point.measured.words())?;
                continue;
            }
            let measured = measure(&plan, &case).await?;
            lost += measured.lost.unwrap_or(0) + measured.done_twice.unwrap_or(0);
            rows.push(Row::of(at, &measured));
            if out.json {
                out.say(&Point { grow: table.growth, at, measured }, String::new)?;
            }
        }
        if !rows.is_empty() {
            out.note(&words(table.growth, &rows))?;
        }
    }
    if lost > 0 {
        return Err(Failure::Refused(format!("bench: {lost} acknowledged jobs were lost or done twice")));
    }
    Ok(())
}

/// What people are told of a point.
#[derive(Debug)]
struct Row {
    at: u64,
    rate: f64,
    p50_us: u64,
    p99_us: u64,
    errors: u64,
    /// The median of the nodes.
    node_mib: u64,
}

impl Row {
    fn of(at: u64, report: &Report) -> Row {
        let nodes = report.rss_bytes.iter().filter(|(name, _)| *name != super::machine::OWN).map(|(_, bytes)| *bytes);
        let Report { rate, p50_us, p99_us, errors, .. } = *report;
        Row { at, rate, p50_us, p99_us, errors, node_mib: median(nodes) >> 20 }
    }
}

fn words(growth: Growth, rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.rate).fold(1.0, f64::max);
    let head = [name(growth), "jobs/s", "p50", "p99", "errors", "MiB/node"];
    let mut lines = vec![head.map(|word| format!("{word:>10}")).join(" ")];
    lines.extend(rows.iter().map(|Row { at, rate, p50_us, p99_us, errors, node_mib }| {
        let bar = "#".repeat((rate / most * BAR as f64).round() as usize);
        let (p50, p99) = (time(*p50_us), time(*p99_us));
        let line = format!("{at:>10} {rate:>10.0} {p50:>10} {p99:>10} {errors:>10} {node_mib:>10}  {bar}");
        line.trim_end().to_owned()
    }));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{
        args::{Call, Verb},
        failure::usage_line,
    };

    fn tables(words: &str) -> Result<Vec<Table>, String> {
        let call = Call::try_parse_from("raftdeck bench".split(' ').chain(words.split_whitespace()));
        let call = call.map_err(|e| usage_line(&e))?;
        let Some(Verb::Bench(args)) = call.verb else { panic!("{words}") };
        Table::all(&call.place, &args).map_err(|failure| match failure {
            Failure::Usage(message) => message,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn each_table_has_its_usual_points_or_those_of_the_call() {
        let all = tables("--grow payload,nodes,clients,depth,history,memory --seconds 2 --repeat 3 --dir /d").unwrap();
        let points: Vec<usize> = all.iter().map(|table| table.points.len()).collect();
        assert_eq!(points, [4, 4, 5, 4, 3, 1]);
        assert!(all.iter().all(|table| table.window == Duration::from_secs(2) && table.repeat == 3));
        let own = tables("--grow depth --points 5,7").unwrap();
        assert_eq!(own[0].points, [5, 7]);
    }

    #[test]
    fn one_thing_grows_and_all_else_is_as_usual() {
        let at = |words: &str, at| tables(words).unwrap()[0].plan(at);
        let (usual, submits) = at("--grow payload", 200);
        assert_eq!((usual.payload_bytes, usual.beside), (200, Beside::Waiting(0)));
        assert_eq!(usual.place, Place::Own { nodes: 3, parent: None });
        assert_eq!((submits.workload, submits.clients, submits.repeat), (Workload::W1, 64, 1));
        assert_eq!(at("--grow payload", 16).0.payload_bytes, 16);
        assert_eq!(at("--grow nodes", 7).0.place, Place::Own { nodes: 7, parent: None });
        assert_eq!(at("--grow clients", 1000).1.clients, 1000);
        let (deep, lives) = at("--grow depth", 1_000_000);
        assert_eq!((deep.beside, lives.workload), (Beside::Waiting(1_000_000), Workload::W3));
        assert_eq!(at("--grow history", 9).0.beside, Beside::Finished(9));
    }

    #[test]
    fn what_does_not_go_together_is_one_line() {
        for (words, line) in [
            ("--points 3", "the following required arguments were not provided: --grow <WHAT,..>"),
            ("--grow depth,nodes --points 3", "--points are of one table: name one by --grow"),
            ("--grow nodes --points 3,64", "--points 64: nodes is not in 1..=63"),
            ("--grow clients --points 0", "--points 0: clients is not in 1..=1000"),
            ("--grow depth --points 1900001", "--points 1900001: depth is not in 0..=1900000"),
            ("--grow memory --points 10", "--points 10: memory is not in 1000..=1900000"),
            ("--grow nodes --nodes 3", "the argument '--grow <WHAT,..>' cannot be used with '--nodes <N>'"),
            ("--grow nodes --workload w1", "the argument '--grow <WHAT,..>' cannot be used with '--workload <W,..>'"),
            (
                "--grow nodes --connect h:1",
                "the argument '--grow <WHAT,..>' cannot be used with '--connect <HOST:PORT,..>'",
            ),
        ] {
            assert_eq!(tables(words).unwrap_err(), line, "{words}");
        }
    }

    #[test]
    fn a_table_has_a_row_and_a_bar_for_each_point() {
        let row = |at, rate| Row { at, rate, p50_us: 900, p99_us: 12_340, errors: 0, node_mib: 31 };
        let words = words(Growth::Nodes, &[row(1, 8000.4), row(3, 2000.0), row(5, 0.0)]);
        let lines: Vec<&str> = words.lines().collect();
        assert_eq!(lines[0], "     nodes     jobs/s        p50        p99     errors   MiB/node");
        assert_eq!(
            lines[1],
            format!("         1       8000     900 us   12.34 ms          0         31  {}", "#".repeat(40))
        );
        assert_eq!(lines[2].trim_start_matches(|c| c != '#').len(), 10, "{words}");
        assert!(lines[3].ends_with("31"), "nothing was answered: {words}");
    }
}
