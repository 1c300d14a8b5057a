//! Deliberate bugs, each behind a switch that only the simulator's proof turns on: a simulator that does not find these
//! says nothing when it finds none. Without the feature `mutants`, `on` is a constant and nothing of them is left.
//!
//! Each names where it is known from: the rule it breaks, or a project that had it.

macro_rules! mutants {
    ($($(#[$doc:meta])+ $mutant:ident in $file:literal,)+) => {
        /// A bug of the job machine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[$doc])+ $mutant,)+ }

        impl Mutant {
            /// Each, and the file it is in.
            pub const ALL: &[(Mutant, &str)] = &[$((Mutant::$mutant, $file)),+];
        }
    };
}

mutants! {
    /// A call that comes again is done again (paper 8; Jepsen on jetcd 0.8.2).
    DoesCallsAgain in "sessions",

    /// A call of a session that is forgotten is done (thesis 6.3).
    DoesExpiredCalls in "sessions",

    /// The table of sessions does not come back from the tables (thesis 6.3).
    RestoresNoSessions in "sessions",

    /// A job is acknowledged under any token (Jepsen on etcd 3.4.3; camunda 57335).
    IgnoresTokens in "settle",

    /// A submit under a known key makes another job.
    IgnoresKeys in "submit",

    /// Jobs of a paused queue are given out.
    ClaimsPaused in "ready",

    /// The machine's time is that of the last stamp, though it be smaller.
    TimeFalls in "machine",

    /// The tables say one entry less than they hold: it is applied again after a restart (etcd 13766).
    RemembersOneLess in "tables",
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
