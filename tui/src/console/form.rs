//! Forms: what an act needs to be told before it can be asked about.
//!
//! A form is a row of the table below: a name and its fields, each with the word of the command line that it stands for.
//! So a form makes a command line, the parser of the command line reads it ([`deed`]), and what the question shows as
//! "same as" is what was read. Only a submit goes its own way: a payload is no word.

use crossterm::event::{KeyCode, KeyEvent};
use raftdeck_shared::wire;

use super::{
    acts, deed,
    field::Field,
    model::{Dialog, Model},
    msg::{Cmd, Slot},
    theme::Tone,
};

/// The forms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sheet {
    Submit,
    OneWay,
    Link,
    Disk,
    Pause,
    Clock,
    Add,
}

/// One field.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) label: &'static str,
    /// Shown while nothing stands there.
    pub(crate) hint: &'static str,
    pub(crate) known: Known,
    first: First,
    part: Part,
}

/// What stands in a field at first.
#[derive(Clone, Copy, Debug)]
enum First {
    Nothing,
    Text(&'static str),
    /// The marked node of this place; without marks, the first is the one under the cursor.
    Mark(usize),
    /// All marked nodes; without marks, the one under the cursor.
    Side,
    /// All others.
    Rest,
}

/// What a field is in the command line. An empty one is none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Word,
    /// After a slash: the other side.
    Side,
    Option(&'static str),
    /// Yes or nothing.
    Flag(&'static str),
}

/// Where the names come from that `right` completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    Nodes,
    Handlers,
}

/// Which options of a form cannot all be empty, by their labels.
#[derive(Clone, Copy, Debug)]
enum Needs {
    Nothing,
    One(&'static [&'static str]),
    AtLeastOne(&'static [&'static str]),
}

/// A form.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) title: &'static str,
    /// The words that the command begins and ends with.
    verb: &'static str,
    end: Option<&'static str>,
    /// A fault: nodes without `--enable-faults` refuse it.
    fault: bool,
    /// Of these fields some must be filled in; all words must.
    needs: Needs,
    pub(crate) asks: &'static [Ask],
}

const fn ask(label: &'static str, part: Part, first: First, hint: &'static str) -> Ask {
    Ask { label, hint, known: Known::Nothing, first, part }
}

const fn node(label: &'static str, part: Part, first: First) -> Ask {
    Ask { known: Known::Nodes, ..ask(label, part, first, "a node: n1") }
}

const LASTS: Ask = ask("for", Part::Option("--for"), First::Text("60s"), "60s, at most 10m; the node itself ends it");

const SUBMIT: Spec = Spec {
    title: "Submit a job",
    verb: "submit",
    end: None,
    fault: false,
    needs: Needs::Nothing,
    asks: &[
        Ask { known: Known::Handlers, ..ask("handler", Part::Word, First::Nothing, "what runs it") },
        ask("payload", Part::Word, First::Nothing, "its input"),
        ask("queue", Part::Option("--queue"), First::Nothing, "default"),
    ],
};

const ONE_WAY: Spec = Spec {
    title: "Cut in one direction",
    verb: "cut",
    end: Some("--one-way"),
    fault: true,
    needs: Needs::Nothing,
    asks: &[
        node("nothing from", Part::Word, First::Side),
        Ask { hint: "nodes, by commas: n3,n4", ..node("reaches", Part::Side, First::Rest) },
        LASTS,
    ],
};

const LINK: Spec = Spec {
    title: "Delay, lose, double or reorder messages",
    verb: "link",
    end: None,
    fault: true,
    needs: Needs::AtLeastOne(&["delay", "jitter", "loss", "duplicate", "reorder"]),
    asks: &[
        node("from", Part::Word, First::Mark(0)),
        node("to", Part::Word, First::Mark(1)),
        ask("delay", Part::Option("--delay"), First::Nothing, "50ms, at most 10s"),
        ask("jitter", Part::Option("--jitter"), First::Nothing, "10ms: up to so much later again"),
        ask("loss", Part::Option("--loss"), First::Nothing, "10%"),
        ask("duplicate", Part::Option("--duplicate"), First::Nothing, "1%: comes twice"),
        ask("reorder", Part::Option("--reorder"), First::Nothing, "1%: is overtaken"),
        ask("one way", Part::Flag("--one-way"), First::Nothing, "space: yes"),
        LASTS,
    ],
};

const DISK: Spec = Spec {
    title: "Trouble with the disk of a node",
    verb: "disk",
    end: None,
    fault: true,
    needs: Needs::One(&["stall", "full", "fail fsync"]),
    asks: &[
        node("node", Part::Word, First::Mark(0)),
        ask("stall", Part::Option("--stall"), First::Nothing, "200ms: each write of the log waits so long; or one of:"),
        ask("full", Part::Flag("--full"), First::Nothing, "space: the next write fails, the node ends"),
        ask("fail fsync", Part::Flag("--fail-fsync"), First::Nothing, "space: the next fsync fails, the node ends"),
        LASTS,
    ],
};

const PAUSE: Spec = Spec {
    title: "Let a node stand still",
    verb: "pause-node",
    end: None,
    fault: true,
    needs: Needs::Nothing,
    asks: &[node("node", Part::Word, First::Mark(0)), LASTS],
};

const CLOCK: Spec = Spec {
    title: "Set the clock of a node wrong",
    verb: "clock",
    end: None,
    fault: true,
    needs: Needs::One(&["offset"]),
    asks: &[
        node("node", Part::Word, First::Mark(0)),
        ask("offset", Part::Option("--offset"), First::Nothing, "5s: ahead; -5s: behind; at most 10m"),
        LASTS,
    ],
};

const ADD: Spec = Spec {
    title: "Take a node in",
    verb: "add",
    end: None,
    fault: false,
    needs: Needs::Nothing,
    asks: &[
        ask("name", Part::Word, First::Nothing, "a new one: n6"),
        ask("learner", Part::Flag("--learner"), First::Nothing, "space: it gets the log and no vote"),
        ask("peer", Part::Option("--peer"), First::Nothing, "HOST:PORT, if it runs elsewhere"),
        ask("api", Part::Option("--api"), First::Nothing, "HOST:PORT, likewise"),
    ],
};

impl Sheet {
    pub(crate) fn spec(self) -> &'static Spec {
        match self {
            Sheet::Submit => &SUBMIT,
            Sheet::OneWay => &ONE_WAY,
            Sheet::Link => &LINK,
            Sheet::Disk => &DISK,
            Sheet::Pause => &PAUSE,
            Sheet::Clock => &CLOCK,
            Sheet::Add => &ADD,
        }
    }
}

/// A form that is being filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) sheet: Sheet,
    /// One for each that is asked.
    pub(crate) fields: Vec<Field>,
    pub(crate) at: usize,
    /// What is wrong with it, since Enter was pressed last.
    pub(crate) wrong: String,
}

impl Form {
    /// The command line that it stands for.
    pub(crate) fn words(&self) -> Vec<String> {
        let spec = self.sheet.spec();
        let mut words = vec![spec.verb.to_owned()];
        for (ask, field) in spec.asks.iter().zip(&self.fields) {
            let text = field.text().trim().to_owned();
            match ask.part {
                _ if text.is_empty() => {}
                Part::Word => words.push(text),
                Part::Side => words.extend(["/".to_owned(), text]),
                Part::Option(name) => words.extend([name.to_owned(), text]),
                Part::Flag(name) => words.push(name.to_owned()),
            }
        }
        words.extend(spec.end.map(str::to_owned));
        words
    }

    /// Why the words are no command, where their parser would say it in its own language; nothing if it may read them.
    fn amiss(&self) -> Option<String> {
        let spec = self.sheet.spec();
        let fields = || spec.asks.iter().zip(&self.fields).map(|(ask, field)| (ask, field.text().trim().to_owned()));
        // A word with a minus in front would be read as an option. Only a clock can be behind.
        let dashed = |ask: &Ask, text: &str| text.starts_with('-') && ask.part != Part::Option("--offset");
        if let Some((ask, text)) = fields().find(|(ask, text)| dashed(ask, text)) {
            return Some(format!("{}: {text:?} begins with -", ask.label));
        }
        let empty = |of: &[&str]| fields().all(|(ask, text)| text.is_empty() || !of.contains(&ask.label));
        match spec.needs {
            Needs::AtLeastOne(of) if empty(of) => return Some(format!("say at least one of {}", of.join(", "))),
            Needs::One(of @ [_, _, ..]) if empty(of) => return Some(format!("say one of {}", of.join(", "))),
            Needs::One(of) if empty(of) => return Some(format!("fill in: {}", of.join(", "))),
            Needs::Nothing | Needs::One(_) | Needs::AtLeastOne(_) => {}
        }
        let missing = |ask: &Ask, text: &str| text.is_empty() && matches!(ask.part, Part::Word | Part::Side);
        fields().find(|(ask, text)| missing(ask, text)).map(|(ask, _)| format!("fill in: {}", ask.label))
    }

    /// What `right` would complete the field under the cursor to: the first known name that begins with the last one there.
    pub(crate) fn completion(&self, model: &Model) -> Option<String> {
        let (field, ask) = (&self.fields[self.at], &self.sheet.spec().asks[self.at]);
        let text = field.text();
        let (before, typed) = text.rfind(',').map_or(("", &*text), |comma| text.split_at(comma + 1));
        let names: Vec<&str> = known(model, ask.known);
        let whole = names.into_iter().find(|name| name.starts_with(typed) && *name != typed)?;
        (field.at_end() && (!typed.is_empty() || ask.known == Known::Handlers)).then(|| format!("{before}{whole}"))
    }
}

/// The names that a field takes.
pub(crate) fn known(model: &Model, known: Known) -> Vec<&str> {
    match known {
        Known::Nothing => Vec::new(),
        Known::Nodes => model.live.nodes.iter().map(|n| n.name.as_str()).collect(),
        Known::Handlers => model.handlers.iter().map(String::as_str).collect(),
    }
}

/// Opens a form, filled in as far as marks and cursor say.
pub(crate) fn open(model: &mut Model, sheet: Sheet) {
    let spec = sheet.spec();
    if let Some(why) = acts::no_faults(model).filter(|_| spec.fault) {
        model.say(Tone::Warn, why);
        return;
    }
    let marked: Vec<Slot> = match model.marked.is_empty() {
        true => vec![Slot(model.cursor)],
        false => model.marked.iter().copied().collect(),
    };
    let name = |slot: &Slot| model.live.node(*slot).map(|n| n.name.clone()).unwrap_or_default();
    let first = |ask: &Ask| match ask.first {
        First::Nothing => String::new(),
        First::Text(text) => text.to_owned(),
        First::Mark(at) => marked.get(at).map(name).unwrap_or_default(),
        First::Side => marked.iter().map(name).collect::<Vec<_>>().join(","),
        First::Rest => {
            let rest = model.live.slots().map(|(slot, _)| slot).filter(|slot| !marked.contains(slot));
            rest.map(|slot| name(&slot)).collect::<Vec<_>>().join(",")
        }
    };
    let fields: Vec<Field> = spec.asks.iter().map(|ask| Field::new(&first(ask))).collect();
    // What is filled in is mostly right: the first empty field is where one goes on.
    let at = fields.iter().position(|field| field.text().is_empty()).unwrap_or_default();
    model.dialog = Some(Dialog::Form(Form { sheet, fields, at, wrong: String::new() }));
}

/// Gives a key to the form.
pub(crate) fn key(model: &mut Model, mut form: Form, key: &KeyEvent) -> Vec<Cmd> {
    let (count, ask) = (form.fields.len(), &form.sheet.spec().asks[form.at]);
    match (key.code, ask.part) {
        (KeyCode::Enter, _) => return enter(model, form),
        (KeyCode::Tab | KeyCode::Down, _) => form.at = (form.at + 1) % count,
        (KeyCode::BackTab | KeyCode::Up, _) => form.at = (form.at + count - 1) % count,
        (KeyCode::Char(_) | KeyCode::Backspace | KeyCode::Delete, Part::Flag(_)) => {
            let on = key.code == KeyCode::Char(' ') && form.fields[form.at].text().is_empty();
            form.fields[form.at] = Field::new(if on || key.code == KeyCode::Char('y') { "yes" } else { "" });
        }
        (KeyCode::Right, _) if form.completion(model).is_some() => {
            form.fields[form.at] = Field::new(&form.completion(model).unwrap_or_default());
        }
        _ => {
            form.fields[form.at].key(key);
        }
    }
    model.dialog = Some(Dialog::Form(form));
    Vec::new()
}

/// Pasted text goes where one types; a flag is no place for it.
pub(crate) fn paste(form: &mut Form, text: &str) {
    match form.sheet.spec().asks[form.at].part {
        Part::Flag(_) => {}
        Part::Word | Part::Side | Part::Option(_) => form.fields[form.at].insert(text),
    }
}

/// The form as it stands is asked about; while something is wrong with it, it stays.
fn enter(model: &mut Model, mut form: Form) -> Vec<Cmd> {
    let done = match form.sheet {
        Sheet::Submit => submit(model, &form),
        Sheet::OneWay | Sheet::Link | Sheet::Disk | Sheet::Pause | Sheet::Clock | Sheet::Add => {
            form.amiss().map_or_else(|| deed::say(model, form.words()), Err)
        }
    };
    done.unwrap_or_else(|why| {
        form.wrong = why;
        model.dialog = Some(Dialog::Form(form));
        Vec::new()
    })
}

fn submit(model: &mut Model, form: &Form) -> Result<Vec<Cmd>, String> {
    let text = |at: usize| form.fields[at].text();
    let handler = text(0).trim().to_owned();
    if handler.is_empty() {
        return Err("name a handler".into());
    }
    let (payload, queue) = (text(1).into_bytes().into(), text(2).trim().to_owned());
    let job = wire::NewJob { handler, payload, queue, ..Default::default() };
    let act = model.begin(format!("submit {}", job.handler));
    Ok(vec![Cmd::Submit { act, job }])
}
