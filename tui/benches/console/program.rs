//! The program in a terminal of its own. Its processor time and its memory are what the system says of its threads; its
//! frames are counted in what it writes.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpListener,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{Figure, hour::EVENTS_PER_S, nodes::Nodes};

/// Marks the beginning of each frame.
const FRAME: &str = "\x1b[?2026h";

/// Whatever is waited for.
const WITHIN: Duration = Duration::from_secs(20);

/// Until everybody is connected and every list has its length.
const WARM: Duration = Duration::from_secs(4);

/// How long is measured.
const WINDOW: Duration = Duration::from_secs(10);

/// Of each kind.
const STARTS: usize = 9;
const PRESSES: usize = 50;

const SIZE: (u16, u16) = (120, 40);

/// The program, and all that it writes.
struct Program {
    child: Child,
    keys: File,
    written: mpsc::Receiver<(Instant, Vec<u8>)>,
    started: Instant,
}

impl Program {
    /// Opens the console in a new terminal.
    fn open(arguments: &[String]) -> Program {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a terminal that can be opened");
        let size = Winsize { ws_col: SIZE.0, ws_row: SIZE.1, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).expect("a terminal has a size");
        let its = ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("its other side");
        let end = || Stdio::from(its.try_clone().expect("one more handle"));
        // In a session of its own: else it would ask the terminal that this is called from for its size.
        let mut command = Command::new("setsid");
        command.arg(env!("CARGO_BIN_EXE_raftdeck")).args(arguments).args(["--config", "/dev/null"]);
        command.env_remove("NO_COLOR").env_remove("TMUX").env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        let started = Instant::now();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid is there");
        drop(command);
        drop(its);
        let (tell, written) = mpsc::channel();
        let keys = File::from(ours.try_clone().expect("one more handle"));
        thread::spawn(move || read(ours, &tell));
        Program { child, keys, written, started }
    }

    fn on(nodes: &Nodes) -> Program {
        Program::open(&["--connect".into(), nodes.apis.join(",")])
    }

    /// Waits until it has written a text since it was last looked at; when that was.
    fn until(&mut self, text: &str) -> Instant {
        let start = Instant::now();
        let mut seen = Vec::new();
        loop {
            let (at, bytes) = self.written.recv_timeout(WITHIN).unwrap_or_else(|_| panic!("waited for {text:?}"));
            seen.extend(bytes);
            if seen.windows(text.len()).any(|part| part == text.as_bytes()) {
                return at;
            }
            assert!(start.elapsed() < WITHIN, "waited for {text:?}: {}", String::from_utf8_lossy(&seen));
        }
    }

    /// Lets it run for a while: what it wrote.
    fn watch(&mut self, span: Duration) -> String {
        let end = Instant::now() + span;
        let mut seen = Vec::new();
        while let Ok((_, bytes)) = self.written.recv_timeout(end.saturating_duration_since(Instant::now())) {
            seen.extend(bytes);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Presses a key, and says how many milliseconds later a text was written.
    fn press_ms(&mut self, key: &str, text: &str) -> f64 {
        while self.written.try_recv().is_ok() {}
        let start = Instant::now();
        self.keys.write_all(key.as_bytes()).expect("it reads");
        (self.until(text) - start).as_secs_f64() * 1e3
    }

    /// Processor time of all its threads.
    fn spent(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.child.id());
        let of_task = |task: &Path| {
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
        };
        let tasks = fs::read_dir(&tasks).expect("it runs").flatten();
        Duration::from_nanos(tasks.map(|task| of_task(&task.path())).sum())
    }

    /// Hundredths of a core, and frames a second, over a window.
    fn load(&mut self) -> (f64, f64) {
        let (before, start) = (self.spent(), Instant::now());
        let written = self.watch(WINDOW);
        let span = start.elapsed().as_secs_f64();
        let spent = (self.spent() - before).as_secs_f64();
        (spent / span * 100.0, written.matches(FRAME).count() as f64 / span)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.keys.write_all(b"\x03");
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            thread::yield_now();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(terminal: OwnedFd, tell: &mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut terminal = File::from(terminal);
    let mut bytes = vec![0; 64 << 10];
    // The other side is closed when the program has ended.
    while let Ok(count) = terminal.read(&mut bytes) {
        if count == 0 || tell.send((Instant::now(), bytes[..count].to_vec())).is_err() {
            return;
        }
    }
}

/// What a process has in memory.
pub(crate) fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    line.trim().trim_end_matches("kB").trim().parse::<f64>().expect("a number") / 1_000.0
}

fn of_sorted(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// From the call to the first frame, with nobody there, and with nodes that take connections and never say a word.
pub(crate) fn start() -> Vec<Figure> {
    let silent: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").expect("a loopback port")).collect();
    let ports = |listeners: &[TcpListener]| -> String {
        let of = |listener: &TcpListener| listener.local_addr().expect("it is bound").to_string();
        listeners.iter().map(of).collect::<Vec<_>>().join(",")
    };
    let silent_ports = ports(&silent);
    let gone: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let gone_ports = ports(&gone);
    drop(gone);
    let first_frame = |ports: &str| {
        let starts = (0..STARTS).map(|_| {
            let mut program = Program::open(&["--connect".into(), ports.into()]);
            let started = program.started;
            (program.until(FRAME) - started).as_secs_f64() * 1e3
        });
        of_sorted(starts.collect(), 0.5)
    };
    [("all five nodes down", gone_ports), ("five nodes that hang", silent_ports)]
        .map(|(what, ports)| Figure {
            what: format!("first frame, {what}"),
            value: first_frame(&ports),
            unit: "ms",
            goal: 50.0,
        })
        .into()
}

/// Five real nodes that nobody asks for anything.
pub(crate) fn idle() -> Vec<Figure> {
    let program = Path::new(env!("CARGO_BIN_EXE_raftdeck"));
    assert!(program.with_file_name("raftdeck-node").exists(), "cargo build --release --workspace comes before this");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().display().to_string();
    let call = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).args(["--dir", &dir]).env_remove("TMUX").stdin(Stdio::null());
        let output = command.output().expect("the program can be called");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    call(&["up", "--nodes", "5", "--bg"]);
    let mut console = Program::open(&["--dir".into(), dir.clone()]);
    console.until("LIVE");
    console.watch(WARM);
    let (percent, frames) = console.load();
    drop(console);
    call(&["down"]);
    vec![
        Figure { what: "idle, 5 real nodes: of a core".into(), value: percent, unit: "%", goal: 0.5 },
        Figure { what: "idle, 5 real nodes: frames a second".into(), value: frames, unit: "", goal: 0.2 },
    ]
}

/// Five nodes with a thousand events a second each; and fifty, with as many together.
pub(crate) fn flood() -> Vec<Figure> {
    [(5, 5.0), (50, 25.0)].into_iter().flat_map(|(nodes, goal)| flooded(nodes, goal)).collect()
}

fn flooded(count: u64, goal: f64) -> Vec<Figure> {
    let nodes = Nodes::start(count, EVENTS_PER_S / count);
    let mut console = Program::on(&nodes);
    console.until("LIVE");
    console.watch(WARM);
    let (percent, frames) = console.load();
    let presses = (0..PRESSES).map(|_| {
        let shown = console.press_ms("?", "runs, esc");
        console.press_ms("\x1b", FRAME);
        shown
    });
    let presses: Vec<f64> = presses.collect();
    let name = format!("{count} nodes, {EVENTS_PER_S} events/s");
    let figure = |what: &str, value, unit, goal| Figure { what: format!("{name}: {what}"), value, unit, goal };
    vec![
        figure("of a core", percent, "%", goal),
        figure("frames a second", frames, "", 31.0),
        figure("key to screen, median", of_sorted(presses.clone(), 0.5), "ms", 16.0),
        figure("key to screen, 95th of 100", of_sorted(presses, 0.95), "ms", 16.0),
        figure("memory by then", resident_mb(console.child.id()), "MB", 80.0),
    ]
}
