//! The end of a node's log as stretches of one term.
//!
//! A status shows some dozens of entries and comes ten times a second from each node; a log changes its term a few times a
//! day. So a stretch is what is kept: the history of minutes fits into memory, and a recording can be read by people.
//!
//! Law: stretches are ascending, do not overlap, and hold as many entries as they were made of.

use raftdeck_shared::ids::{Index, Term};
use serde::{Deserialize, Serialize};

/// Most entries believed of a recording; a live status is cut before.
const CELLS_MAX: u64 = 4096;

/// First index, last index, term.
type Stretch = (Index, Index, Term);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Stretch>", into = "Vec<Stretch>")]
pub(crate) struct Tail(Vec<Stretch>);

impl Tail {
    /// From entries in any order; of two at one index the lower term is taken.
    pub(crate) fn of(mut cells: Vec<(Index, Term)>) -> Tail {
        cells.sort_unstable();
        cells.dedup_by_key(|cell| cell.0);
        let mut stretches: Vec<Stretch> = Vec::new();
        for (index, term) in cells {
            match stretches.last_mut() {
                Some((_, last, of)) if *of == term && last.0.checked_add(1) == Some(index.0) => *last = index,
                Some(_) | None => stretches.push((index, index, term)),
            }
        }
        Tail(stretches)
    }

    /// The oldest index shown.
    pub(crate) fn first(&self) -> Option<Index> {
        self.0.first().map(|stretch| stretch.0)
    }

    /// The term of the entry at `index`, if it is shown.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        let at = self.0.partition_point(|(_, last, _)| *last < index);
        self.0.get(at).filter(|(first, _, _)| *first <= index).map(|(_, _, term)| *term)
    }

    /// This entry comes after all others, or in the place of those from its index on.
    pub(crate) fn append(&mut self, index: Index, term: Term) {
        self.cut(index);
        match self.0.last_mut() {
            Some((_, last, of)) if *of == term && last.0.checked_add(1) == Some(index.0) => *last = index,
            Some(_) | None => self.0.push((index, index, term)),
        }
        let oldest = Index(index.0.saturating_sub(CELLS_MAX - 1));
        self.0.retain_mut(|(first, last, _)| {
            *first = (*first).max(oldest);
            first <= last
        });
    }

    /// The entry at this index is gone, and all after it.
    pub(crate) fn cut(&mut self, from: Index) {
        self.0.retain_mut(|(first, last, _)| {
            *last = (*last).min(Index(from.0.saturating_sub(1)));
            first <= last
        });
    }

    /// Every entry shown, oldest first.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (Index, Term)> + '_ {
        self.0.iter().flat_map(|(first, last, term)| (first.0..=last.0).map(|index| (Index(index), *term)))
    }
}

impl From<Tail> for Vec<Stretch> {
    fn from(tail: Tail) -> Vec<Stretch> {
        tail.0
    }
}

impl TryFrom<Vec<Stretch>> for Tail {
    type Error = String;

    fn try_from(stretches: Vec<Stretch>) -> Result<Tail, String> {
        let ordered = stretches.iter().all(|(first, last, _)| first <= last)
            && stretches.windows(2).all(|pair| pair[0].1 < pair[1].0);
        let cells =
            stretches.iter().fold(0_u64, |sum, (first, last, _)| sum.saturating_add(last.0.saturating_sub(first.0)));
        if !ordered || cells > CELLS_MAX {
            return Err(format!("a log tail must be ascending and of at most {CELLS_MAX} entries"));
        }
        Ok(Tail(stretches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(cells: &[(u64, u64)]) -> Tail {
        Tail::of(cells.iter().map(|(index, term)| (Index(*index), Term(*term))).collect())
    }

    #[test]
    fn stretches_say_what_the_cells_said() {
        let cells = [(9, 3), (7, 2), (8, 2), (12, 3), (8, 2), (u64::MAX, 3), (10, 3)];
        let tail = tail(&cells);
        assert_eq!(tail.0.len(), 4, "7-8, 9-10, 12, the last: {tail:?}");
        for (index, term) in cells {
            assert_eq!(tail.term_at(Index(index)), Some(Term(term)), "{index}");
        }
        assert_eq!((tail.term_at(Index(11)), tail.term_at(Index(6))), (None, None));
        assert_eq!(tail.cells().count(), 6);
    }

    #[test]
    fn a_log_grows_and_is_cut_as_its_node_says() {
        let mut grown = tail(&[(7, 2), (8, 2)]);
        grown.append(Index(9), Term(2));
        grown.append(Index(10), Term(3));
        assert_eq!(grown, tail(&[(7, 2), (8, 2), (9, 2), (10, 3)]));
        grown.append(Index(9), Term(4));
        assert_eq!(grown, tail(&[(7, 2), (8, 2), (9, 4)]), "a newer leader has others there");
        grown.cut(Index(8));
        assert_eq!(grown, tail(&[(7, 2)]));
        (8..=9_000).for_each(|index| grown.append(Index(index), Term(2)));
        assert_eq!((grown.cells().count() as u64, grown.term_at(Index(9_000))), (CELLS_MAX, Some(Term(2))));
        grown.cut(Index(0));
        assert_eq!(grown, Tail::default());
    }

    #[test]
    fn a_recording_cannot_make_an_endless_log() {
        for text in ["[[5,4,1]]", "[[1,5,1],[5,6,2]]", "[[0,18446744073709551615,1]]"] {
            assert!(serde_json::from_str::<Tail>(text).is_err(), "{text}");
        }
        let text = "[[1,4,1],[5,6,2]]";
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Tail>(text).unwrap()).unwrap(), text);
    }
}
