//! Nodes in tabs and panes of a terminal, by the rows of [`openers`](super::openers).
//!
//! Where a command can be started in the place of another one (tmux), a tab is opened with a program that only waits, and
//! the node takes it over: so the first start and every restart are the same step in the same place. Elsewhere the tab is
//! opened with the node in it, by a shell that writes down its pid and then becomes the node; a restart closes the tab
//! and opens another. Where a terminal would close a tab with its command, a shell around it says how the node ended and
//! waits.
//!
//! Law: a node is never ended by closing its tab. Tabs are closed when their nodes have ended.

use std::{
    fmt, fs,
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use super::openers::{Address, Answer, Fill, InPlace, OPENERS, Opener, Words};

/// A terminal has noticed the end of a tab's command, and a shell has written its pid, within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// The pause between two looks whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// Becomes the node, and leaves its pid in the file that is named first.
const LAUNCH: &str = "echo $$ > \"$0.new\" && mv \"$0.new\" \"$0\" && exec \"$@\"";

/// Stays until it is told to go. An interrupt is for the node.
const HOLD: &str =
    "trap : INT; \"$@\"; printf '\\n%s ended with status %s; enter closes this\\n' \"$0\" \"$?\"; read -r _";

/// A terminal that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    opener: &'static Opener,
    /// Which one, in its own words; empty where there is only one.
    at: String,
}

/// A place in a terminal, recorded as `OPENER SHAPE AT ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    terminal: Terminal,
    shape: Shape,
    id: String,
}

/// How a node's place is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A tab of its own.
    Tab,
    /// A part of the current one.
    Pane,
}

/// What is to run in a tab.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The node.
    pub name: &'a str,
    /// Where.
    pub dir: &'a Path,
    /// Its command.
    pub command: &'a [String],
    /// Where its pid is left, by terminals that do not tell it.
    pub pid_file: &'a Path,
}

impl Terminal {
    /// The terminal to open tabs in: the one that was named; else the first of the table that `up` runs in and that
    /// answers; else, if tabs are wanted, a tmux of our own. `note` is told of what seemed to be there and is not.
    ///
    /// # Errors
    /// The one that was named does not answer, or is none.
    pub fn find(
        named: Option<&str>,
        wanted: bool,
        cluster_id: &str,
        env: &dyn Fn(&str) -> Option<String>,
        mut note: impl FnMut(String),
    ) -> Result<Option<Terminal>, String> {
        if named == Some("background") {
            return Ok(None);
        }
        if let Some(name) = named {
            let terminal = Terminal::of(Opener::named(name)?, cluster_id, env);
            return terminal.probe().map(|()| Some(terminal)).map_err(|why| format!("{name} cannot be used: {why}"));
        }
        for opener in OPENERS.iter().filter(|o| wanted || o.by_default) {
            if opener.variable.is_some_and(|variable| env(variable).is_none()) {
                continue;
            }
            let terminal = Terminal::of(opener, cluster_id, env);
            match (terminal.probe(), opener.variable) {
                (Ok(()), _) => return Ok(Some(terminal)),
                (Err(why), Some(variable)) => {
                    note(format!("{variable} is set, but {} cannot be used: {why}", opener.name));
                }
                (Err(why), None) => note(format!("no terminal takes tabs, and {why}: the nodes run in the background")),
            }
        }
        Ok(None)
    }

    fn of(opener: &'static Opener, cluster_id: &str, env: &dyn Fn(&str) -> Option<String>) -> Terminal {
        let at = match opener.address {
            Address::Own => format!("raftdeck-{cluster_id}"),
            Address::Variable(variable) => env(variable).unwrap_or_default(),
            Address::Word(variable) => {
                env(variable).as_deref().and_then(|value| value.split(',').next()).unwrap_or_default().to_owned()
            }
        };
        Terminal { opener, at }
    }

    fn probe(&self) -> Result<(), String> {
        self.run(&self.fill().words(self.opener, self.opener.probe)).map(|_| ())
    }

    /// Its name in the table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.opener.name
    }

    /// What the operator types to see the tabs; nothing if they are there already.
    #[must_use]
    pub fn attach(&self) -> Option<String> {
        (self.opener.address == Address::Own).then(|| format!("tmux -L {} attach", self.at))
    }

    /// Opens a place for a node, without taking the operator's attention from where it is. What it runs there is started
    /// by this where nothing can be started later.
    ///
    /// # Errors
    /// The terminal refuses, or gives no id.
    pub fn open(&self, run: Run<'_>, shape: Shape) -> Result<Tab, String> {
        let _ = fs::remove_file(run.pid_file); // What stands there is of another start.
        let mut id = String::new();
        for words in self.opening(run, shape, |words| self.run(words).is_ok()) {
            let words: Vec<String> = words.into_iter().map(|word| word.replace(ID_TO_COME, &id)).collect();
            let said = self.run(&words)?;
            if id.is_empty() {
                id = said.split_whitespace().last().unwrap_or_default().to_owned();
                if id.is_empty() {
                    return Err(format!("{} gave the tab of {} no id", self.opener.name, run.name));
                }
            }
        }
        Ok(Tab { terminal: self.clone(), shape, id })
    }

    /// The command lines that open a place and start the node there, as they would be run. The first of several may have to
    /// make the session that all are in.
    #[must_use]
    pub fn plan(&self, run: Run<'_>, shape: Shape, is_first: bool) -> Vec<Vec<String>> {
        let mut plan = self.opening(run, shape, |words| !is_first || self.run(words).is_ok());
        if let Some(in_place) = &self.opener.in_place {
            let dir = run.dir.to_string_lossy();
            let fill = Fill { name: run.name, dir: &dir, id: ID_TO_COME, command: run.command, ..self.fill() };
            plan.extend(in_place.start.iter().map(|step| fill.words(self.opener, step)));
        }
        plan
    }

    /// The steps of opening. `done` says whether a command line succeeds: whether there is a session already.
    fn opening(&self, run: Run<'_>, shape: Shape, done: impl Fn(&[String]) -> bool) -> Vec<Vec<String>> {
        let dir = run.dir.to_string_lossy();
        let command = self.wrapped(run);
        let fill = Fill { name: run.name, dir: &dir, id: ID_TO_COME, command: &command, ..self.fill() };
        let mut steps = shape.words(self.opener).open.to_vec();
        if let Some(session) = &self.opener.session
            && !done(&fill.words(self.opener, session.there))
        {
            steps[0] = session.make;
        }
        steps.into_iter().map(|step| fill.words(self.opener, step)).collect()
    }

    /// The node's command as it is opened with.
    fn wrapped(&self, run: Run<'_>) -> Vec<String> {
        let sh = |script: &str, name: &str| ["sh", "-c", script, name].map(str::to_owned);
        let held = if self.opener.holds { Vec::new() } else { sh(HOLD, run.name).to_vec() };
        let launched = sh(LAUNCH, &run.pid_file.to_string_lossy());
        held.into_iter().chain(launched).chain(run.command.iter().cloned()).collect()
    }

    fn fill(&self) -> Fill<'_> {
        Fill { at: &self.at, ..Fill::default() }
    }

    fn run(&self, words: &[String]) -> Result<String, String> {
        let (program, arguments) = words.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        // A tmux of our own must not be taken for a nested one.
        command.args(arguments).stdin(Stdio::null()).env_remove("TMUX");
        if let Address::Variable(variable) = self.opener.address
            && !self.at.is_empty()
        {
            command.env(variable, &self.at);
        }
        let output = command.output().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => format!("{program} is not installed"),
            _ => format!("cannot run {program}: {e}"),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it does not say why");
        Err(format!("{program}: {said}"))
    }
}

/// Stands for the id of a tab that is not there yet.
const ID_TO_COME: &str = "<ID>";

impl Shape {
    fn words(self, opener: &'static Opener) -> &'static Words {
        match self {
            Shape::Tab => &opener.tab,
            Shape::Pane => &opener.pane,
        }
    }
}

impl Tab {
    /// Whether it is still open, with or without a running command.
    #[must_use]
    pub fn exists(&self) -> bool {
        let words = self.shape.words(self.terminal.opener);
        let Ok(said) = self.ask(words.exists) else { return false };
        match words.answer {
            Answer::Success => true,
            Answer::Id => said == self.id,
            Answer::Column(at) => said.lines().any(|line| line.split_whitespace().nth(at) == Some(&self.id)),
        }
    }

    /// Whether the next start can be in this very place.
    #[must_use]
    pub fn restarts_in_place(&self) -> bool {
        self.terminal.opener.in_place.is_some()
    }

    /// Starts what is to run, unless the tab was opened with it, and gives its pid.
    ///
    /// # Errors
    /// The terminal refuses, or the pid does not come.
    pub fn start(&self, run: Run<'_>) -> Result<u32, String> {
        let Some(in_place) = &self.terminal.opener.in_place else { return self.written(run) };
        let dir = run.dir.to_string_lossy();
        let fill = Fill { name: run.name, dir: &dir, command: run.command, ..self.fill() };
        for step in in_place.start {
            self.terminal.run(&fill.words(self.terminal.opener, step))?;
        }
        let pid = self.ask(in_place.pid)?;
        pid.parse().map_err(|_| format!("{} gave the pid {pid:?}", self.terminal.opener.name))
    }

    /// The pid that the shell has written.
    fn written(&self, run: Run<'_>) -> Result<u32, String> {
        let deadline = Instant::now() + NOTICED_WITHIN;
        loop {
            let text = fs::read_to_string(run.pid_file).unwrap_or_default();
            if let Ok(pid) = text.trim().parse() {
                return Ok(pid);
            }
            if Instant::now() > deadline {
                let name = self.terminal.opener.name;
                return Err(format!("{}: {name} has opened tab {}, and nothing started there", run.name, self.id));
            }
            thread::sleep(LOOK);
        }
    }

    /// What a command that has ended said in it since its start, as far as the terminal has read it and tells: what still
    /// stood in its buffer is lost, so a node says its reason in its log as well.
    #[must_use]
    pub fn last_words(&self) -> String {
        let Some(InPlace { dead, said, .. }) = &self.terminal.opener.in_place else { return String::new() };
        // The end of the process shows before the terminal has noticed it; until then it may still be reading.
        let deadline = Instant::now() + NOTICED_WITHIN;
        while self.ask(dead).is_ok_and(|dead| dead == "0") && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        let text = self.ask(said).unwrap_or_default();
        // The server's own remark, which it puts below.
        text.lines().filter(|line| !line.starts_with("Pane is dead")).collect::<Vec<_>>().join("\n")
    }

    /// Brings it before the operator.
    ///
    /// # Errors
    /// The terminal refuses.
    pub fn focus(&self) -> Result<(), String> {
        self.shape.words(self.terminal.opener).focus.iter().try_for_each(|step| self.ask(step).map(|_| ()))
    }

    /// Closes it. One that is closed already is as well.
    pub fn close(&self) {
        let _ = self.ask(self.shape.words(self.terminal.opener).close);
    }

    /// The terminal it is in.
    #[must_use]
    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// How it was made.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    fn fill(&self) -> Fill<'_> {
        Fill { id: &self.id, ..self.terminal.fill() }
    }

    fn ask(&self, step: &[&str]) -> Result<String, String> {
        self.terminal.run(&self.fill().words(self.terminal.opener, step))
    }
}

impl fmt::Display for Tab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match self.shape {
            Shape::Tab => "tab",
            Shape::Pane => "pane",
        };
        write!(f, "{} {shape} {} {}", self.terminal.opener.name, self.terminal.at, self.id)
    }
}

impl FromStr for Tab {
    type Err = ();

    /// An address may hold spaces, or be empty: it is what stands between the second and the last word.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, rest) = text.trim_end().split_once(' ').ok_or(())?;
        let (shape, rest) = rest.split_once(' ').ok_or(())?;
        let (at, id) = rest.rsplit_once(' ').ok_or(())?;
        let shape = match shape {
            "tab" => Shape::Tab,
            "pane" => Shape::Pane,
            _ => return Err(()),
        };
        let opener = Opener::named(name).map_err(|_| ())?;
        Ok(Tab { terminal: Terminal { opener, at: at.to_owned() }, shape, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tab_is_recorded_and_found_again() {
        for text in ["tmux tab /tmp/a b/default %3", "own-tmux pane raftdeck-x %12", "kitty tab  7"] {
            assert_eq!(text.parse::<Tab>().unwrap().to_string(), text);
        }
        for text in ["", "%3", "tmux tab %3", "tmux roof a %3", "screen tab a 1"] {
            assert_eq!(text.parse::<Tab>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn a_variable_that_is_left_over_falls_through_with_a_line() {
        let env = |name: &str| (name == "TMUX").then(|| "/nonexistent/socket,1,0".to_owned());
        let mut notes = Vec::new();
        let found = Terminal::find(None, false, "x", &env, |note| notes.push(note)).unwrap();
        assert_eq!(found, None, "nothing was asked for");
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("TMUX is set, but tmux cannot be used: tmux"), "{notes:?}");
        let wrong = Terminal::find(Some("tmux"), false, "x", &env, |_| {}).unwrap_err();
        assert!(wrong.starts_with("tmux cannot be used: tmux"), "{wrong}");
        assert_eq!(Terminal::find(Some("background"), true, "x", &env, |_| {}), Ok(None));
        let silent = Terminal::find(None, false, "x", &|_| None, |note| panic!("{note}"));
        assert_eq!(silent, Ok(None));
    }

    #[test]
    fn a_terminal_that_closes_what_has_ended_is_given_a_shell_that_waits() {
        let command = ["node".to_owned()];
        let run = Run { name: "n1", dir: Path::new("/d"), command: &command, pid_file: Path::new("/d/n1/launched") };
        let terminal = |name| Terminal { opener: Opener::named(name).unwrap(), at: String::new() };
        assert_eq!(terminal("kitty").wrapped(run), ["sh", "-c", LAUNCH, "/d/n1/launched", "node"]);
        assert_eq!(
            terminal("wezterm").wrapped(run),
            ["sh", "-c", HOLD, "n1", "sh", "-c", LAUNCH, "/d/n1/launched", "node"]
        );
    }
}
