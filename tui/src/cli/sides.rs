//! The sides of a cut: who may still talk to whom, and what that does to the quorum.
//!
//! `n1,n2 / n3,n4,n5` cuts each link between the two sides and none within them; one side alone is cut from all others;
//! a node in no side keeps its links to everybody. Whatever is said about the quorum follows from that picture alone,
//! so it is computed before the cut is made and tested without a network.

/// Sides by node number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides {
    /// Two or more, none empty, no node twice.
    pub sides: Vec<Vec<u64>>,
}

impl Sides {
    /// Reads the words after `cut`. `resolve` gives the number of a node by its name, or why it has none.
    ///
    /// # Errors
    /// In words that name the node or the side.
    pub fn parse(
        words: &[String],
        all: &[u64],
        resolve: &mut dyn FnMut(&str) -> Result<u64, String>,
    ) -> Result<Sides, String> {
        let text = words.join(" ");
        let mut sides: Vec<Vec<u64>> = Vec::new();
        for side in text.split('/') {
            let names = side.split([',', ' ']).filter(|name| !name.is_empty());
            let nodes = names.map(&mut *resolve).collect::<Result<Vec<_>, _>>()?;
            if nodes.is_empty() {
                return Err(format!("a side of {text:?} is empty: write NODE,.. / NODE,.. or one NODE"));
            }
            sides.push(nodes);
        }
        if let [only] = sides.as_slice() {
            let rest: Vec<u64> = all.iter().copied().filter(|node| !only.contains(node)).collect();
            if rest.is_empty() {
                return Err(format!("{text:?} names every node: nobody is left to cut it from"));
            }
            sides.push(rest);
        }
        let mut seen = Vec::new();
        for node in sides.iter().flatten() {
            if seen.contains(node) {
                return Err(format!("a node is named twice in {text:?}"));
            }
            seen.push(*node);
        }
        Ok(Sides { sides })
    }

    /// Each link that crosses, once.
    #[must_use]
    pub fn links(&self) -> Vec<(u64, u64)> {
        let mut links = Vec::new();
        for (place, side) in self.sides.iter().enumerate() {
            for other in &self.sides[place + 1..] {
                links.extend(side.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))));
            }
        }
        links
    }

    /// What each side can do afterwards, a line each. `up` are the voters that run.
    #[must_use]
    pub fn effect(&self, voters: &[u64], up: &[u64], name: &dyn Fn(u64) -> String) -> Vec<String> {
        let needed = voters.len() / 2 + 1;
        let cut: Vec<u64> = self.sides.concat();
        let free: Vec<u64> = voters.iter().copied().filter(|node| !cut.contains(node)).collect();
        let names = |nodes: &[u64]| nodes.iter().map(|node| name(*node)).collect::<Vec<_>>().join(", ");
        let mut lines: Vec<String> = self
            .sides
            .iter()
            .map(|side| {
                let reach = side.iter().chain(&free).filter(|n| voters.contains(n) && up.contains(n)).count();
                let verdict = if reach >= needed { "keeps the majority" } else { "cannot elect a leader or commit" };
                format!("{} reaches {reach} of {} voters, {needed} needed: {verdict}", names(side), voters.len())
            })
            .collect();
        if !free.is_empty() {
            lines.push(format!("{} still reaches every side", names(&free)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::narrate::bare_name;

    const ALL: [u64; 5] = [1, 2, 3, 4, 5];

    fn parse(words: &[&str]) -> Result<Vec<Vec<u64>>, String> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let mut resolve = |name: &str| {
            let id = name.strip_prefix('n').and_then(|n| n.parse().ok()).filter(|id| ALL.contains(id));
            id.ok_or_else(|| format!("no node {name:?}"))
        };
        Sides::parse(&words, &ALL, &mut resolve).map(|sides| sides.sides)
    }

    #[test]
    fn sides_are_read_with_and_without_spaces() {
        let two = Ok(vec![vec![1, 2], vec![3, 4, 5]]);
        for words in [&["n1,n2", "/", "n3,n4,n5"][..], &["n1,n2/n3,n4,n5"], &["n1,", "n2", "/n3", "n4,n5"]] {
            assert_eq!(parse(words), two, "{words:?}");
        }
        assert_eq!(parse(&["n4"]), Ok(vec![vec![4], vec![1, 2, 3, 5]]));
        assert_eq!(parse(&["n1/n2/n3"]), Ok(vec![vec![1], vec![2], vec![3]]));
    }

    #[test]
    fn what_is_no_cut_is_refused_in_words() {
        for (words, error) in [
            (&["n1", "/"][..], "a side of \"n1 /\" is empty: write NODE,.. / NODE,.. or one NODE"),
            (&["/"], "a side of \"/\" is empty: write NODE,.. / NODE,.. or one NODE"),
            (&["n9"], "no node \"n9\""),
            (&["n1", "/", "n1"], "a node is named twice in \"n1 / n1\""),
            (&["n1,n2,n3,n4,n5"], "\"n1,n2,n3,n4,n5\" names every node: nobody is left to cut it from"),
        ] {
            assert_eq!(parse(words).unwrap_err(), error);
        }
    }

    #[test]
    fn each_crossing_link_is_cut_once() {
        let sides = Sides { sides: vec![vec![1, 2], vec![3], vec![4]] };
        assert_eq!(sides.links(), [(1, 3), (2, 3), (1, 4), (2, 4), (3, 4)]);
    }

    #[test]
    fn the_effect_counts_voters_that_run_and_can_be_reached() {
        let sides = Sides { sides: vec![vec![1, 2], vec![3, 4, 5]] };
        assert_eq!(
            sides.effect(&ALL, &ALL, &bare_name),
            [
                "n1, n2 reaches 2 of 5 voters, 3 needed: cannot elect a leader or commit",
                "n3, n4, n5 reaches 3 of 5 voters, 3 needed: keeps the majority"
            ]
        );
        let with_one_down = sides.effect(&ALL, &[1, 2, 3, 4], &bare_name);
        assert_eq!(with_one_down[1], "n3, n4, n5 reaches 2 of 5 voters, 3 needed: cannot elect a leader or commit");
        let bridge = Sides { sides: vec![vec![1, 2], vec![3, 4]] };
        assert_eq!(
            bridge.effect(&ALL, &ALL, &bare_name),
            [
                "n1, n2 reaches 3 of 5 voters, 3 needed: keeps the majority",
                "n3, n4 reaches 3 of 5 voters, 3 needed: keeps the majority",
                "n5 still reaches every side"
            ]
        );
    }
}
