//! `sextant-probe`: runs inside containers. Without a command it prints what it
//! sees as one JSON document ([`sextant_integration::seen::Seen`]); its commands
//! ([`act`]) behave as a test wants a container to behave. Linked under the name
//! of a command, such as `/bin/sleep`, it is that command.

mod act;
mod summary;

use sextant_integration::{look, seen::Seen};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: probe [look] [--sysctl KEY | --stat PATH | --read PATH | --list DIR | --write PATH | --mkdir PATH]...
       probe summary
       probe exit N | signal N | true | false
       probe sleep SECONDS [--term-exit N | --then-exit N]
       probe echo TEXT... | spam BYTES | cat | record FILE
       probe fork N [SECONDS] | eat BYTES | feed BYTES | answer | count FILE | ipc [ARGUMENTS OF look]
       probe listen PORT | connect PORT | orphan";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(lossy).collect();
    let called = args.first().and_then(|a| Path::new(a).file_name()).and_then(|n| n.to_str()).unwrap_or("");
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let done = match act::command(called) {
        Some(act) => act(&rest),
        None => match rest.split_first() {
            Some((&("--help" | "-h"), _)) => say(USAGE).map(|()| ExitCode::SUCCESS),
            Some((name, rest)) if !name.starts_with("--") && *name != "look" => match act::command(name) {
                Some(act) => act(rest),
                None => Err(format!("no command {name:?}\n{USAGE}")),
            },
            Some((&"look", rest)) => print_seen(rest),
            _ => print_seen(&rest),
        },
    };
    done.unwrap_or_else(|message| {
        // Where nobody reads that either, `eprintln!` would panic, and a pid 1 that aborts dies of SIGSEGV.
        writeln!(std::io::stderr(), "probe: {message}").unwrap_or_default();
        ExitCode::from(2)
    })
}

fn lossy(text: OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// Looks around and prints it, with what the arguments ask for.
fn print_seen(args: &[&str]) -> Result<ExitCode, String> {
    let mut seen = look::look();
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let value = args.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"))?;
        ask(&mut seen, option, value)?;
    }
    let json = serde_json::to_string(&seen).map_err(|e| format!("print what was seen: {e}"))?;
    say(&json).map(|()| ExitCode::SUCCESS)
}

fn ask(seen: &mut Seen, option: &str, value: &str) -> Result<(), String> {
    let key = value.to_owned();
    match option {
        "--sysctl" => drop(seen.sysctls.insert(key, look::sysctl(value).into())),
        "--stat" => drop(seen.files.insert(key, look::stat(value).into())),
        "--read" => drop(seen.contents.insert(key, look::content(value).into())),
        "--list" => drop(seen.listings.insert(key, look::listing(value).into())),
        "--write" => drop(seen.writes.insert(key, look::write(value))),
        "--mkdir" => drop(seen.mkdirs.insert(key, std::fs::create_dir(value).into())),
        other => return Err(format!("no option {other:?}\n{USAGE}")),
    }
    Ok(())
}

/// Prints a line; unlike `println!` it does not panic when nobody reads it.
fn say(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|e| format!("write to stdout: {e}"))
}
