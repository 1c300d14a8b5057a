//! Deliberate bugs, each behind a switch that only the simulator's proof turns on: a simulator that does not find these
//! says nothing when it finds none. Without the feature `mutants`, `on` is a constant and nothing of them is left.
//!
//! Each names where it is known from, if it is; the core's and the machine's are in their crates.

macro_rules! mutants {
    ($($(#[$doc:meta])+ $mutant:ident in $file:literal,)+) => {
        /// A bug of replica and storage.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])+ $mutant,)+ }

        impl Mutant {
            /// Each, and the file it is in.
            pub const ALL: &[(Mutant, &str)] = &[$((Mutant::$mutant, $file)),+];
        }
    };
}

mutants! {
    /// Votes and acknowledgements leave before the disk has what they claim (paper, figure 2).
    SendsBeforeDisk in "replica",

    /// A caller is told what another leader's entry at its place did.
    AnswersOtherTerm in "replica",

    /// The node's own clock enters where an entry is applied (etcd 13527).
    TimeIsLocal in "replica",

    /// The applied index is written in a transaction of its own (etcd 3.5, post-mortem).
    TablesInTwoSteps in "storage/state_store",

    /// The log's database runs with synchronous=NORMAL.
    SyncsRarely in "storage/log_read",

    /// The mark is written before the log has what it says.
    MarksBeforeLog in "storage/log_store",

    /// The log is truncated before the mark is lowered.
    TruncatesBeforeMark in "storage/log_store",

    /// What the cache still has after a failed fsync is taken to be on the disk (ATC 2020).
    TrustsCache in "storage/opening",

    /// A log that is shorter than its mark is taken for whole (FAST 2018).
    IgnoresMark in "storage/log_read",

    /// An entry need not follow from the one before it.
    SkipsChain in "storage/log_read",

    /// The log is cut above what the tables have.
    CompactsTooMuch in "compaction",
}

/// Whether a bug is to be there.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub(crate) use switch::on;
#[cfg(feature = "mutants")]
pub use switch::set;

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// From now on this bug is there, on this thread; none of them, if none is given.
    pub fn set(mutant: Option<Mutant>) {
        ON.set(mutant);
    }

    pub(crate) fn on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }
}
