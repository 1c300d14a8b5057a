//! Which lines are wanted: `text`, `!text`, `node:n2`, `kind:vote`, `term>6`, `state:running`; all words must hold.
//!
//! What a field means is the list's business: a list names its fields and what each takes, hands over its text, and answers
//! for its fields. A word that names no field of the list is searched in the text, colon and all, so that a filter never
//! hides everything for a reason that cannot be seen. For the same reason a word that names a field and no value that the
//! field could ever have (`term>abc`, `state:flying`) is no filter: [`Filter::new`] says what would be one.

use raftdeck_jobs::JobState;
use raftdeck_shared::wire::ObservationKind;

/// What a field of a list takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Any text, of which it has a part.
    Text,
    /// A number, which may be compared.
    Number,
    /// A part of the word for a state of a job.
    State,
    /// A part of the name of an observation, or of `lost`.
    Kind,
}

/// The fields of a list.
pub(crate) type Fields = &'static [(&'static str, Takes)];

impl Takes {
    /// # Errors
    /// What would be understood instead.
    fn check(self, name: &str, how: How, value: &str) -> Result<(), String> {
        let within = |words: &[&str]| how == How::Has && words.iter().any(|word| word.contains(value));
        let is_one = match self {
            Takes::Text => how == How::Has,
            Takes::Number => value.parse::<u64>().is_ok(),
            Takes::State => within(&JobState::ALL.map(JobState::as_str)),
            Takes::Kind => how == How::Has && kinds().any(|kind| kind.contains(value)),
        };
        if is_one && !value.is_empty() {
            return Ok(());
        }
        Err(match self {
            Takes::Text => format!("{name}:TEXT"),
            Takes::Number => format!("{name}:6, {name}>6 or {name}<6"),
            Takes::State => format!("{name}: and one of {}", JobState::ALL.map(JobState::as_str).join(", ")),
            Takes::Kind => format!("{name}:vote, {name}:append, {name}:lost and such"),
        })
    }
}

/// What the messages view calls its rows, in lower case.
fn kinds() -> impl Iterator<Item = String> {
    let observed = (0..).map_while(|kind| ObservationKind::try_from(kind).ok());
    observed.map(|kind| kind.as_str_name().to_lowercase()).chain(["lost".to_owned()])
}

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
    field: Option<(&'static str, How, String)>,
    /// The whole word in lower case.
    text: String,
}

/// Field, comparison, value, if a word is made so; the value may be missing.
fn split(word: &str) -> Option<(&str, How, &str)> {
    let by = |by: char, how| word.split_once(by).map(|(name, value)| (name, how, value));
    by(':', How::Has).or_else(|| by('>', How::Above)).or_else(|| by('<', How::Below))
}

/// A filter; the empty one wants everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    words: Vec<Word>,
    /// As it was typed.
    pub(crate) text: String,
}

impl Filter {
    /// Reads what was typed for a list of these fields.
    ///
    /// # Errors
    /// One line: the word that is no filter, and what would be understood.
    pub(crate) fn new(text: &str, fields: Fields) -> Result<Filter, String> {
        let mut words = Vec::new();
        for typed in text.split_whitespace() {
            let (not, word) = typed.strip_prefix('!').map_or((false, typed), |rest| (true, rest));
            let text = word.to_lowercase();
            let field = split(&text).and_then(|(name, how, value)| {
                let (name, takes) = fields.iter().find(|(known, _)| *known == name)?;
                Some((*name, *takes, how, value.to_owned()))
            });
            if let Some((name, takes, how, value)) = &field {
                takes.check(name, *how, value).map_err(|instead| format!("{typed} is no filter: write {instead}"))?;
            }
            let field = field.map(|(name, _, how, value)| (name, how, value));
            if !text.is_empty() {
                words.push(Word { not, field, text });
            }
        }
        Ok(Filter { words, text: text.to_owned() })
    }

    /// True if the last word may yet become the name of a field: what it would find as a text is not what is meant.
    pub(crate) fn is_unfinished(text: &str, fields: Fields) -> bool {
        let last = text.rsplit(char::is_whitespace).next().unwrap_or_default().to_lowercase();
        let last = last.strip_prefix('!').unwrap_or(&last);
        !last.is_empty() && fields.iter().any(|(name, _)| name.starts_with(last))
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

    const FIELDS: Fields =
        &[("node", Takes::Text), ("term", Takes::Number), ("state", Takes::State), ("kind", Takes::Kind)];

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
            ("10:5", true),
            ("why:not", false),
            ("!", true),
        ] {
            let read = Filter::new(filter, FIELDS).unwrap();
            assert_eq!(read.wants("n2 votes for n1 at 10:5", field), wanted, "{filter:?}");
        }
    }

    #[test]
    fn a_word_that_its_field_could_never_have_is_no_filter() {
        let number = "write term:6, term>6 or term<6";
        let states =
            "write state: and one of scheduled, available, running, retryable, completed, cancelled, discarded";
        for (text, why) in [
            ("votes term>abc", format!("term>abc is no filter: {number}")),
            ("!term:", format!("!term: is no filter: {number}")),
            ("TERM<", format!("TERM< is no filter: {number}")),
            ("node:", "node: is no filter: write node:TEXT".to_owned()),
            ("node>3", "node>3 is no filter: write node:TEXT".to_owned()),
            ("state:flying", format!("state:flying is no filter: {states}")),
            ("kind:pig", "kind:pig is no filter: write kind:vote, kind:append, kind:lost and such".to_owned()),
        ] {
            assert_eq!(Filter::new(text, FIELDS).unwrap_err(), why);
        }
        for text in ["term:7", "state:run", "STATE:Running", "kind:vote", "kind:lost", "kind:append", "flying:", "x>"] {
            assert!(Filter::new(text, FIELDS).is_ok(), "{text}");
        }
        let unfinished = ["t", "votes !TERM", "kin"].map(|text| Filter::is_unfinished(text, FIELDS));
        let finished = ["", "term ", "term>", "votes"].map(|text| Filter::is_unfinished(text, FIELDS));
        assert_eq!((unfinished, finished), ([true; 3], [false; 4]));
    }
}
