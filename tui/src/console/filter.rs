//! Which lines are wanted: `text`, `!text`, `node:n2`, `kind:vote`, `term>6`, `state:running`; all words must hold.
//!
//! What a field means is the list's business: a list hands over its text and answers for its fields. A word that names no
//! field of the list is searched in the text, colon and all, so that a filter never hides everything for a reason that
//! cannot be seen.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Has,
    Below,
    Above,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    not: bool,
    /// Field, comparison, value; the value in lower case.
    field: Option<(String, How, String)>,
    /// The whole word in lower case.
    text: String,
}

/// A filter; the empty one wants everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    words: Vec<Word>,
    /// As it was typed.
    pub(crate) text: String,
}

impl Filter {
    pub(crate) fn new(text: &str) -> Filter {
        let words = text.split_whitespace().map(|word| {
            let (not, word) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
            let split = |by: char, how| {
                let (field, value) = word.split_once(by)?;
                (!field.is_empty() && !value.is_empty()).then(|| (field.to_lowercase(), how, value.to_lowercase()))
            };
            let field = split(':', How::Has).or_else(|| split('>', How::Above)).or_else(|| split('<', How::Below));
            Word { not, field, text: word.to_lowercase() }
        });
        Filter { words: words.filter(|w| !w.text.is_empty()).collect(), text: text.to_owned() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// True if a line with this text and these fields is wanted.
    pub(crate) fn wants(&self, text: &str, field: impl Fn(&str) -> Option<String>) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let text = text.to_lowercase();
        self.words.iter().all(|word| {
            let known =
                word.field.as_ref().and_then(|(name, how, value)| Some((field(name)?.to_lowercase(), how, value)));
            let holds = match known {
                None => text.contains(&word.text),
                Some((has, How::Has, value)) => has.contains(value.as_str()),
                Some((has, how, value)) => match (has.parse::<f64>(), value.parse::<f64>()) {
                    (Ok(has), Ok(value)) if *how == How::Above => has > value,
                    (Ok(has), Ok(value)) => has < value,
                    _ => false,
                },
            };
            holds != word.not
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_must_hold() {
        let field = |name: &str| match name {
            "node" => Some("n2".to_owned()),
            "term" => Some("7".to_owned()),
            _ => None,
        };
        for (filter, wanted) in [
            ("", true),
            ("  ", true),
            ("VOTES", true),
            ("votes n1", true),
            ("!votes", false),
            ("node:n2 term>6", true),
            ("node:n2 term>7", false),
            ("term<8 !node:n3", true),
            ("term>x", false),
            ("10:5", true),
            ("why:not", false),
            ("!", true),
        ] {
            assert_eq!(Filter::new(filter).wants("n2 votes for n1 at 10:5", field), wanted, "{filter:?}");
        }
    }
}
