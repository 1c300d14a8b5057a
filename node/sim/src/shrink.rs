//! Makes a failing seed smaller: leaves out faults for as long as the same law is still broken (delta debugging, Zeller
//! and Hildebrandt 2002).

use std::{collections::BTreeSet, mem::discriminant};

use crate::swarm::{Outcome, SwarmOptions, run_seed};

/// The faults of a failing seed that are needed to break the same law, within so many tries.
#[must_use]
pub fn shrink(failed: &Outcome, options: &SwarmOptions, tries_max: usize) -> BTreeSet<u32> {
    let Some(law) = failed.violation.as_ref().map(discriminant) else { return BTreeSet::new() };
    let mut needed: Vec<u32> = failed.counts.struck.clone();
    let mut tries = 0;
    let mut fails_with = |only: &[u32]| {
        tries += 1;
        let only = Some(only.iter().copied().collect());
        let outcome = run_seed(failed.seed, &SwarmOptions { only, ..options.clone() });
        (tries <= tries_max).then(|| outcome.violation.as_ref().map(discriminant) == Some(law))
    };
    let mut part = needed.len().div_ceil(2).max(1);
    while !needed.is_empty() {
        let mut smaller = None;
        for start in (0..needed.len()).step_by(part) {
            let rest: Vec<u32> = needed
                .iter()
                .enumerate()
                .filter(|(at, _)| *at < start || *at >= start + part)
                .map(|(_, n)| *n)
                .collect();
            match fails_with(&rest) {
                None => return needed.into_iter().collect(),
                Some(true) => {
                    smaller = Some(rest);
                    break;
                }
                Some(false) => {}
            }
        }
        match smaller {
            Some(rest) => {
                needed = rest;
                part = part.min(needed.len().div_ceil(2)).max(1);
            }
            None if part == 1 => break,
            None => part = part.div_ceil(2),
        }
    }
    needed.into_iter().collect()
}
