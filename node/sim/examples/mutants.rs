//! The proof of the simulator: deliberate bugs, and how each is found.
//!
//! ```text
//! cargo run --release -p raftdeck-sim --features mutants --example mutants -- [--seeds-max N] [--seconds S] [NAME ..]
//! ```
//!
//! Each bug (`mutants.rs` of the core, the job machine and the node) is switched on by itself, for a thread. Seeds are run
//! from 1 on until one of them ends with a violation, whichever it is; the number of seeds and the law are told. In a bug
//! that no seed finds, every scenario is played: one that ends otherwise than its file says finds it, too. The program
//! fails if a bug survives.

use std::{
    collections::BTreeMap,
    fs,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use raftdeck_sim::{SwarmOptions, Violation, rewrite, run_seed};

/// A bug of one of the three crates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    /// No bug at all: nothing may be found.
    Control,
    Raft(raftdeck_raft::mutants::Mutant),
    Jobs(raftdeck_jobs::mutants::Mutant),
    Node(raftdeck_node::mutants::Mutant),
}

impl Mutant {
    /// All, each with its place.
    fn all() -> Vec<(Mutant, String)> {
        let raft =
            raftdeck_raft::mutants::Mutant::ALL.iter().map(|(m, file)| (Mutant::Raft(*m), format!("raft/{file}")));
        let jobs =
            raftdeck_jobs::mutants::Mutant::ALL.iter().map(|(m, file)| (Mutant::Jobs(*m), format!("jobs/{file}")));
        let node =
            raftdeck_node::mutants::Mutant::ALL.iter().map(|(m, file)| (Mutant::Node(*m), format!("node/{file}")));
        [(Mutant::Control, String::new())].into_iter().chain(raft).chain(jobs).chain(node).collect()
    }

    fn name(self) -> String {
        match self {
            Mutant::Control => "(none)".into(),
            Mutant::Raft(mutant) => format!("{mutant:?}"),
            Mutant::Jobs(mutant) => format!("{mutant:?}"),
            Mutant::Node(mutant) => format!("{mutant:?}"),
        }
    }

    /// On this thread, from now on.
    fn switch_on(self) {
        match self {
            Mutant::Control => {}
            Mutant::Raft(mutant) => raftdeck_raft::mutants::set(Some(mutant)),
            Mutant::Jobs(mutant) => raftdeck_jobs::mutants::set(Some(mutant)),
            Mutant::Node(mutant) => raftdeck_node::mutants::set(Some(mutant)),
        }
    }
}

/// How a bug came out.
enum Found {
    BySeed { seeds: u64, law: String },
    ByScenario(String),
    No,
}

struct Arguments {
    seeds_max: u64,
    seconds: u64,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}; usage: mutants [--seeds-max N] [--seconds S] [NAME ..]");
            return ExitCode::from(2);
        }
    };
    // What a bug makes the program's own assertions say is an answer here, not an accident.
    panic::set_hook(Box::new(|_| {}));
    let all = Mutant::all();
    let chosen: Vec<_> = all.into_iter().filter(|(mutant, _)| arguments.wants(&mutant.name())).collect();
    let (mut killed, mut survived) = (0, Vec::new());
    println!("{:<20} {:<26} {:>6}  {:>5}  found by", "bug", "in", "seeds", "time");
    for (mutant, place) in &chosen {
        let begun = Instant::now();
        let found = find(*mutant, &arguments);
        let is_control = *mutant == Mutant::Control;
        let (seeds, by) = match &found {
            Found::No if is_control => (arguments.seeds_max.to_string(), "nothing, as it should be".into()),
            Found::BySeed { seeds, law } => (seeds.to_string(), law.clone()),
            Found::ByScenario(name) => (String::new(), format!("scenario {name}")),
            Found::No => (String::new(), "SURVIVES".into()),
        };
        println!("{:<20} {place:<26} {seeds:>6}  {:>4.0}s  {by}", mutant.name(), begun.elapsed().as_secs_f64());
        match found {
            Found::No if is_control => {}
            Found::BySeed { .. } | Found::ByScenario(_) if is_control => survived.push("a false alarm".into()),
            Found::BySeed { .. } | Found::ByScenario(_) => killed += 1,
            Found::No => survived.push(mutant.name()),
        }
    }
    println!("killed {killed} of {}; survived: {survived:?}", killed + survived.len());
    if survived.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments { seeds_max: 1000, seconds: 20, names: Vec::new() };
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
                value.parse().map_err(|_| format!("{word} {value}: not a number"))
            };
            match word.as_str() {
                "--seeds-max" => arguments.seeds_max = number()?,
                "--seconds" => arguments.seconds = number()?,
                flag if flag.starts_with('-') => return Err(format!("{flag} is not known")),
                _ => arguments.names.push(word.to_lowercase()),
            }
        }
        Ok(arguments)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.to_lowercase().contains(part))
    }
}

fn find(mutant: Mutant, arguments: &Arguments) -> Found {
    if let Some((seeds, violation)) = first_seed(mutant, arguments) {
        return Found::BySeed { seeds, law: law(&violation) };
    }
    first_scenario(mutant).map_or(Found::No, Found::ByScenario)
}

/// The first seed, counted from 1, that ends with a violation. Threads take the next seed as they come; when one is found,
/// those before it are finished first.
fn first_seed(mutant: Mutant, arguments: &Arguments) -> Option<(u64, Violation)> {
    let options = SwarmOptions { seconds: arguments.seconds, nodes: None, only: None, tells: false };
    let (next, first) = (AtomicU64::new(1), AtomicU64::new(arguments.seeds_max + 1));
    let work = || {
        mutant.switch_on();
        let mut found = BTreeMap::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.load(Ordering::Relaxed) {
                return found;
            }
            if let Some(violation) = run_seed(seed, &options).violation {
                first.fetch_min(seed, Ordering::Relaxed);
                found.insert(seed, violation);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let found: BTreeMap<u64, Violation> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a panic of a seed is its violation")).collect()
    });
    found.into_iter().next()
}

/// The first scenario that does not read as its file says.
fn first_scenario(mutant: Mutant) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let differs = |path: &&std::path::PathBuf| {
        let Ok(text) = fs::read_to_string(path) else { return false };
        let played = thread::scope(|scope| {
            let play = || {
                mutant.switch_on();
                catch_unwind(AssertUnwindSafe(|| rewrite(&text, 1)))
            };
            scope.spawn(play).join().expect("it catches what panics")
        });
        !matches!(played, Ok(Ok(played)) if played == text)
    };
    let found = paths.iter().find(differs)?;
    Some(found.file_stem()?.to_string_lossy().into_owned())
}

/// The law's name, and the beginning of the evidence.
fn law(violation: &Violation) -> String {
    let name: String = format!("{violation:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
    let evidence: String = violation.to_string().chars().take(70).collect();
    format!("{name}: {}", evidence.replace('\n', " "))
}
