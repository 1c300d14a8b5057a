//! The terminals that nodes can be opened in, one row each: how one is recognised, how it is asked whether it is truly
//! there, and the words that open, restart, show and close a tab.
//!
//! The order is that of the table. Multiplexers come first: what runs in them inherits the variables of the terminal
//! around them, and it is the innermost that is looked at. A variable alone proves nothing (a detached session, sudo, an
//! editor's shell), so every row has a probe. Only terminals that give the tab a name of their own, an id, are here:
//! others could open a tab and never find it again.
//!
//! In the words, `{name}` is the node, `{dir}` its cluster's folder, `{at}` which of several terminals is meant, `{id}` the
//! tab, and `{command}` the words of the node's command.

/// Waits in a tab until the node takes it over.
const PLACEHOLDER: &str = "cat";

/// One kind of terminal.
#[derive(Debug, PartialEq, Eq)]
pub struct Opener {
    /// As `--terminal` calls it.
    pub name: &'static str,
    /// Set for whoever runs inside it. None: it needs nothing around it.
    pub variable: Option<&'static str>,
    /// Which one of several is meant.
    pub address: Address,
    /// What every command begins with.
    pub program: &'static [&'static str],
    /// Answered if it is there.
    pub probe: &'static [&'static str],
    /// Taken without being asked for, if `up` runs inside it.
    pub by_default: bool,
    /// Has to be made before its first tab.
    pub session: Option<Session>,
    /// A tab of its own for each node.
    pub tab: Words,
    /// A part of the tab that is looked at.
    pub pane: Words,
    /// Starts a command where another one was, and tells its pid. None: a tab is closed and opened anew.
    pub in_place: Option<InPlace>,
    /// Keeps a tab whose command has ended, with its status, by itself.
    pub holds: bool,
}

/// Where a terminal says which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// In this variable, up to the first comma; the commands have it as `{at}`.
    Word(&'static str),
    /// In this variable, which the commands are given again.
    Variable(&'static str),
    /// It is one of our own, for the cluster.
    Own,
}

/// A session that may have to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    /// Done if there is one.
    pub there: &'static [&'static str],
    /// Makes one with the first tab, in place of the first step of opening it.
    pub make: &'static [&'static str],
}

/// What is said about one shape of place.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    /// Opens it without taking the operator's attention. The first of them prints the id.
    pub open: &'static [&'static [&'static str]],
    /// Tells whether it is still there.
    pub exists: &'static [&'static str],
    /// How that answer is read.
    pub answer: Answer,
    /// Brings it before the operator.
    pub focus: &'static [&'static [&'static str]],
    /// Closes it.
    pub close: &'static [&'static str],
}

/// How an answer says that a tab is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is the id.
    Id,
    /// A line has the id in this column, the first being 0.
    Column(usize),
    /// By not failing.
    Success,
}

/// Starting anew where something was.
#[derive(Debug, PartialEq, Eq)]
pub struct InPlace {
    /// The steps.
    pub start: &'static [&'static [&'static str]],
    /// Prints the pid.
    pub pid: &'static [&'static str],
    /// Prints `0` while the command runs.
    pub dead: &'static [&'static str],
    /// Prints what it has said.
    pub said: &'static [&'static str],
}

const TMUX_KEEP: &[&str] = &["set-option", "-p", "-t", "{id}", "remain-on-exit", "on"];

/// Words after `--` are run without a shell, so the pane's pid is the node's. `remain-on-exit` is set before the node is
/// started, and so before it can end.
const TMUX_IN_PLACE: InPlace = InPlace {
    // What the one before has said must not be taken for the words of this one.
    start: &[&["clear-history", "-t", "{id}"], &["respawn-pane", "-k", "-t", "{id}", "-c", "{dir}", "--", "{command}"]],
    pid: &["display-message", "-p", "-t", "{id}", "#{pane_pid}"],
    dead: &["display-message", "-p", "-t", "{id}", "#{pane_dead}"],
    said: &["capture-pane", "-p", "-J", "-S", "-", "-t", "{id}"],
};

/// The words of tmux that make a pane: out of sight, telling its id, in the folder, with what waits there for the node.
macro_rules! placed {
    ($($word:literal),+) => {
        &[$($word,)+ "-d", "-P", "-F", "#{pane_id}", "-c", "{dir}", "--", PLACEHOLDER]
    };
}

const fn tmux(open: &'static [&'static [&'static str]]) -> Words {
    Words {
        open,
        exists: &["display-message", "-p", "-t", "{id}", "#{pane_id}"],
        answer: Answer::Id,
        focus: &[&["select-window", "-t", "{id}"], &["select-pane", "-t", "{id}"]],
        close: &["kill-pane", "-t", "{id}"],
    }
}

/// All of them, in the order in which they are looked for.
pub const OPENERS: [Opener; 5] = [
    Opener {
        name: "tmux",
        variable: Some("TMUX"),
        address: Address::Word("TMUX"),
        program: &["tmux", "-S", "{at}"],
        probe: &["display-message", "-p", "x"],
        by_default: true,
        session: None,
        tab: tmux(&[placed!["new-window", "-n", "{name}"], TMUX_KEEP]),
        pane: tmux(&[
            placed!["split-window", "-h"],
            TMUX_KEEP,
            &["select-pane", "-t", "{id}", "-T", "{name}"],
            &["select-layout", "-t", "{id}", "tiled"],
        ]),
        in_place: Some(TMUX_IN_PLACE),
        holds: true,
    },
    Opener {
        name: "zellij",
        variable: Some("ZELLIJ"),
        address: Address::Variable("ZELLIJ_SESSION_NAME"),
        program: &["zellij", "action"],
        probe: &["list-tabs"],
        by_default: false,
        session: None,
        tab: Words {
            open: &[&["new-tab", "--name", "{name}", "--cwd", "{dir}", "--no-focus", "--", "{command}"]],
            exists: &["list-tabs"],
            answer: Answer::Column(0),
            focus: &[&["go-to-tab-by-id", "{id}"]],
            close: &["close-tab-by-id", "{id}"],
        },
        pane: Words {
            open: &[&["new-pane", "--name", "{name}", "--cwd", "{dir}", "--", "{command}"]],
            exists: &["list-panes"],
            answer: Answer::Column(0),
            focus: &[&["focus-pane-id", "{id}"]],
            close: &["close-pane", "--pane-id", "{id}"],
        },
        in_place: None,
        holds: true,
    },
    Opener {
        name: "wezterm",
        variable: Some("WEZTERM_PANE"),
        address: Address::Variable("WEZTERM_UNIX_SOCKET"),
        program: &["wezterm", "cli"],
        probe: &["list"],
        by_default: false,
        session: None,
        tab: Words {
            open: &[&["spawn", "--cwd", "{dir}", "--", "{command}"], &["set-tab-title", "--pane-id", "{id}", "{name}"]],
            exists: &["list"],
            answer: Answer::Column(2),
            focus: &[&["activate-pane", "--pane-id", "{id}"]],
            close: &["kill-pane", "--pane-id", "{id}"],
        },
        pane: Words {
            open: &[&["split-pane", "--right", "--cwd", "{dir}", "--", "{command}"]],
            exists: &["list"],
            answer: Answer::Column(2),
            focus: &[&["activate-pane", "--pane-id", "{id}"]],
            close: &["kill-pane", "--pane-id", "{id}"],
        },
        in_place: None,
        holds: false,
    },
    Opener {
        name: "kitty",
        variable: Some("KITTY_WINDOW_ID"),
        address: Address::Variable("KITTY_LISTEN_ON"),
        program: &["kitten", "@"],
        probe: &["ls"],
        by_default: false,
        session: None,
        tab: Words {
            open: &[&[
                "launch",
                "--type=tab",
                "--tab-title",
                "{name}",
                "--cwd",
                "{dir}",
                "--keep-focus",
                "--hold",
                "{command}",
            ]],
            exists: &["ls", "--match", "id:{id}"],
            answer: Answer::Success,
            focus: &[&["focus-window", "--match", "id:{id}"]],
            close: &["close-window", "--match", "id:{id}"],
        },
        pane: Words {
            open: &[&[
                "launch",
                "--type=window",
                "--title",
                "{name}",
                "--cwd",
                "{dir}",
                "--keep-focus",
                "--hold",
                "{command}",
            ]],
            exists: &["ls", "--match", "id:{id}"],
            answer: Answer::Success,
            focus: &[&["focus-window", "--match", "id:{id}"]],
            close: &["close-window", "--match", "id:{id}"],
        },
        in_place: None,
        holds: true,
    },
    Opener {
        name: "own-tmux",
        variable: None,
        address: Address::Own,
        program: &["tmux", "-L", "{at}"],
        probe: &["-V"],
        by_default: false,
        session: Some(Session {
            there: &["has-session", "-t", "raftdeck"],
            make: placed!["new-session", "-s", "raftdeck", "-n", "{name}", "-x", "200", "-y", "50"],
        }),
        tab: tmux(&[placed!["new-window", "-n", "{name}", "-t", "raftdeck:"], TMUX_KEEP]),
        pane: tmux(&[
            placed!["split-window", "-h", "-t", "raftdeck:"],
            TMUX_KEEP,
            &["select-pane", "-t", "{id}", "-T", "{name}"],
            &["select-layout", "-t", "{id}", "tiled"],
        ]),
        in_place: Some(TMUX_IN_PLACE),
        holds: true,
    },
];

impl Opener {
    /// The row of this name.
    ///
    /// # Errors
    /// There is none: those that there are.
    pub fn named(name: &str) -> Result<&'static Opener, String> {
        let names = || OPENERS.iter().map(|o| o.name).collect::<Vec<_>>().join(", ");
        OPENERS
            .iter()
            .find(|o| o.name == name)
            .ok_or_else(|| format!("{name:?} is no terminal: {}, background", names()))
    }
}

/// What the words of a row are filled in with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fill<'a> {
    /// The node.
    pub name: &'a str,
    /// The cluster's folder.
    pub dir: &'a str,
    /// Which terminal.
    pub at: &'a str,
    /// The tab.
    pub id: &'a str,
    /// The node's command.
    pub command: &'a [String],
}

impl Fill<'_> {
    /// The whole command line of one step.
    #[must_use]
    pub fn words(&self, opener: &Opener, step: &[&str]) -> Vec<String> {
        let mut words = Vec::new();
        for word in opener.program.iter().chain(step) {
            match *word {
                "{command}" => words.extend(self.command.iter().cloned()),
                word => words.push(self.word(word)),
            }
        }
        words
    }

    /// Each place is filled in once: what is filled in is never read again.
    fn word(&self, word: &str) -> String {
        let places = [("{name}", self.name), ("{dir}", self.dir), ("{at}", self.at), ("{id}", self.id)];
        let found = places.into_iter().find_map(|(place, with)| Some((word.split_once(place)?, with)));
        found.map_or_else(|| word.to_owned(), |((before, after), with)| format!("{before}{with}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, step: impl Fn(&Opener) -> Vec<&'static str>) -> String {
        let opener = Opener::named(name).unwrap();
        let command = ["node", "--node", "n1"].map(str::to_owned);
        let fill = Fill { name: "n1", dir: "/d {id}", at: "AT", id: "7", command: &command };
        fill.words(opener, &step(opener)).join(" ")
    }

    #[test]
    fn every_terminal_is_told_in_its_own_words() {
        for (name, open, focus, close) in [
            (
                "tmux",
                "tmux -S AT new-window -n n1 -d -P -F #{pane_id} -c /d {id} -- cat",
                "tmux -S AT select-window -t 7",
                "tmux -S AT kill-pane -t 7",
            ),
            (
                "own-tmux",
                "tmux -L AT new-window -n n1 -t raftdeck: -d -P -F #{pane_id} -c /d {id} -- cat",
                "tmux -L AT select-window -t 7",
                "tmux -L AT kill-pane -t 7",
            ),
            (
                "zellij",
                "zellij action new-tab --name n1 --cwd /d {id} --no-focus -- node --node n1",
                "zellij action go-to-tab-by-id 7",
                "zellij action close-tab-by-id 7",
            ),
            (
                "wezterm",
                "wezterm cli spawn --cwd /d {id} -- node --node n1",
                "wezterm cli activate-pane --pane-id 7",
                "wezterm cli kill-pane --pane-id 7",
            ),
            (
                "kitty",
                "kitten @ launch --type=tab --tab-title n1 --cwd /d {id} --keep-focus --hold node --node n1",
                "kitten @ focus-window --match id:7",
                "kitten @ close-window --match id:7",
            ),
        ] {
            assert_eq!(said(name, |o| o.tab.open[0].to_vec()), open);
            assert_eq!(said(name, |o| o.tab.focus[0].to_vec()), focus);
            assert_eq!(said(name, |o| o.tab.close.to_vec()), close);
        }
    }

    #[test]
    fn every_row_can_be_recognised_or_made() {
        for opener in &OPENERS {
            assert_eq!(opener.variable.is_none(), opener.address == Address::Own, "{}", opener.name);
            assert_eq!(Opener::named(opener.name), Ok(opener));
            for words in [&opener.tab, &opener.pane] {
                let runs = |steps: &[&[&str]]| steps.iter().any(|step| step.contains(&"{command}"));
                let starts = opener.in_place.as_ref().is_some_and(|in_place| runs(in_place.start));
                assert_ne!(runs(words.open), starts, "{} starts the node in one place", opener.name);
            }
        }
        let none = "\"screen\" is no terminal: tmux, zellij, wezterm, kitty, own-tmux, background";
        assert_eq!(Opener::named("screen"), Err(none.to_owned()));
    }
}
