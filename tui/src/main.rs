//! `raftdeck`: see [`raftdeck::cli`].

fn main() -> std::process::ExitCode {
    raftdeck::cli::main()
}
