//! How well a few typed letters fit a name: the letters in order, better when they begin words and stand together.
//!
//! (The crate that editors use for this has a licence that this project does not take, and it is made for a million
//! paths; here are some fifty names.)

/// Higher is better; none if the letters are not all there in this order.
pub(crate) fn score(typed: &str, name: &str) -> Option<i32> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let (mut total, mut from, mut before) = (0, 0, None);
    for c in typed.to_lowercase().chars().filter(|c| !c.is_whitespace()) {
        let starts = |at: usize| at == 0 || !name[at - 1].is_alphanumeric();
        // Next to the last letter, or at the start of a word, if it can be had; else where it comes first.
        let places = || (from..name.len()).filter(|at| name[*at] == c);
        let at = places().find(|at| before == at.checked_sub(1) && *at > 0).or_else(|| places().find(|at| starts(*at)));
        let at = at.or_else(|| places().next())?;
        total += 1;
        if starts(at) {
            total += 4;
        }
        if before.is_some() && before == at.checked_sub(1) {
            total += 5;
        }
        (from, before) = (at + 1, Some(at));
    }
    Some(total * 16 - i32::try_from(name.len().min(256)).unwrap_or(256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_of_words_and_neighbours_are_better() {
        assert_eq!(score("xyz", "kill"), None);
        assert_eq!(score("lk", "kill"), None, "in this order");
        assert!(score("ki", "kill") > score("ki", "k in it"));
        assert!(score("eb", "event-back") > score("eb", "rebuild"));
        assert!(score("el", "election") > score("el", "cancel"));
        assert!(score("HEAL", "heal") > score("heal", "heal all faults"), "the shorter name");
        assert!(score("", "anything").is_some());
    }
}
