//! Plain command lines, as the callers of runtimes write them: options by name,
//! values as words of their own, commands that every container meets. They are
//! read at one go, in a twentieth of the time that clap needs to build its
//! definition of them; whatever is not plain (an error and `--help` among it) is
//! clap's, which has the words for it. That both read the same is a test.

use super::{Cli, Command, Create, Delete, Exec, Global, Id, Kill, ProcessFlags, Rootless, Run};
use crate::log::Format;
use clap::{Error, Parser};
use std::ffi::OsString;

/// Parses a command line.
///
/// # Errors
/// Those of clap, `--help` among them.
pub fn parse(line: Vec<OsString>) -> Result<Cli, Error> {
    match plainly(&line) {
        Some(cli) => Ok(cli),
        None => Cli::try_parse_from(line),
    }
}

/// `None`: it is not plain.
fn plainly(line: &[OsString]) -> Option<Cli> {
    let mut words = Words(line.get(1..)?);
    let mut global = Global {
        root: None,
        log: None,
        log_format: Format::Text,
        report_fd: None,
        debug: false,
        systemd_cgroup: false,
        criu: "criu".into(),
        rootless: Rootless::Auto,
        version: false,
    };
    let mut format: Option<String> = None;
    let name = loop {
        match words.next()? {
            "--root" => words.value(&mut global.root)?,
            "--log" => words.value(&mut global.log)?,
            "--log-format" => words.value(&mut format)?,
            "--report-fd" => words.number(&mut global.report_fd)?,
            "--debug" => flag(&mut global.debug)?,
            "--systemd-cgroup" => flag(&mut global.systemd_cgroup)?,
            word => break operand(word)?,
        }
    };
    match format.as_deref() {
        None | Some("text") => {}
        Some("json") => global.log_format = Format::Json,
        Some(_) => return None,
    }
    let command = match name {
        "create" => Command::Create(run(words, Detaches::No)?.create),
        "run" => Command::Run(run(words, Detaches::Yes)?),
        "start" => Command::Start(id(words)?),
        "state" => Command::State(id(words)?),
        "exec" => Command::Exec(Box::new(exec(words)?)),
        "kill" => Command::Kill(kill(words)?),
        "delete" => Command::Delete(delete(words)?),
        _ => return None,
    };
    Some(Cli { global, command: Some(command) })
}

/// What is left of the line.
struct Words<'a>(&'a [OsString]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        first.to_str()
    }

    /// The value of an option that was not given before.
    fn value<T: From<String>>(&mut self, option: &mut Option<T>) -> Option<()> {
        let value = operand(self.next()?)?;
        option.replace(T::from(value.to_owned())).is_none().then_some(())
    }

    fn number<T: std::str::FromStr>(&mut self, option: &mut Option<T>) -> Option<()> {
        let value = operand(self.next()?)?.parse().ok()?;
        option.replace(value).is_none().then_some(())
    }
}

/// A word that is no option.
fn operand(word: &str) -> Option<&str> {
    (!word.is_empty() && !word.starts_with('-')).then_some(word)
}

/// An option without a value, that was not given before.
fn flag(given: &mut bool) -> Option<()> {
    (!std::mem::replace(given, true)).then_some(())
}

fn id(mut words: Words<'_>) -> Option<Id> {
    let id = operand(words.next()?)?.to_owned();
    words.0.is_empty().then_some(Id { id })
}

/// Whether the command has the options of `run` alone.
#[derive(PartialEq)]
enum Detaches {
    No,
    Yes,
}

fn run(mut words: Words<'_>, detaches: Detaches) -> Option<Run> {
    let (mut id, mut bundle, mut preserve_fds) = (None, None, None);
    let mut create = Create {
        id: String::new(),
        bundle: ".".into(),
        pid_file: None,
        console_socket: None,
        pidfd_socket: None,
        no_mount_fallback: false,
        preserve_fds: 0,
        no_pivot: false,
        no_new_keyring: false,
    };
    let mut detach = false;
    while !words.0.is_empty() {
        match words.next()? {
            "-b" | "--bundle" => words.value(&mut bundle)?,
            "--pid-file" => words.value(&mut create.pid_file)?,
            "--console-socket" => words.value(&mut create.console_socket)?,
            "--preserve-fds" => words.number(&mut preserve_fds)?,
            "--no-pivot" => flag(&mut create.no_pivot)?,
            "--no-new-keyring" => flag(&mut create.no_new_keyring)?,
            "-d" | "--detach" if detaches == Detaches::Yes => flag(&mut detach)?,
            word => once(&mut id, word)?,
        }
    }
    create.id = id?;
    create.bundle = bundle.unwrap_or(create.bundle);
    create.preserve_fds = preserve_fds.unwrap_or(create.preserve_fds);
    Some(Run { create, detach, keep: false, no_subreaper: false })
}

/// The one word that is no option.
fn once(given: &mut Option<String>, word: &str) -> Option<()> {
    given.replace(operand(word)?.to_owned()).is_none().then_some(())
}

fn exec(mut words: Words<'_>) -> Option<Exec> {
    let flags = ProcessFlags {
        tty: false,
        console_size: None,
        cwd: None,
        env: Vec::new(),
        env_file: None,
        user: None,
        additional_gids: Vec::new(),
        process_label: None,
        apparmor: None,
        no_new_privs: false,
        cap: Vec::new(),
    };
    let mut exec = Exec {
        id: String::new(),
        args: Vec::new(),
        process: None,
        detach: false,
        pid_file: None,
        console_socket: None,
        pidfd_socket: None,
        preserve_fds: 0,
        cgroup: Vec::new(),
        ignore_paused: false,
        start_fd: None,
        flags,
    };
    exec.id = loop {
        match words.next()? {
            "-p" | "--process" => words.value(&mut exec.process)?,
            "-d" | "--detach" => flag(&mut exec.detach)?,
            "--pid-file" => words.value(&mut exec.pid_file)?,
            "--console-socket" => words.value(&mut exec.console_socket)?,
            "-t" | "--tty" => flag(&mut exec.flags.tty)?,
            "--cwd" => words.value(&mut exec.flags.cwd)?,
            "--env-file" => words.value(&mut exec.flags.env_file)?,
            "-u" | "--user" => words.value(&mut exec.flags.user)?,
            word => break operand(word)?.to_owned(),
        }
    };
    let args = words.0.iter().map(|word| word.to_str().map(ToOwned::to_owned));
    exec.args = args.collect::<Option<_>>()?;
    // An option between the id and the command is clap's to judge, and so is what ends options.
    let is_plain = exec.args.first().is_none_or(|word| operand(word).is_some())
        && exec.args.iter().all(|word| word != "--");
    is_plain.then_some(exec)
}

fn kill(mut words: Words<'_>) -> Option<Kill> {
    let (mut id, mut signal, mut all) = (None, None, false);
    while !words.0.is_empty() {
        match words.next()? {
            "-a" | "--all" => flag(&mut all)?,
            word if id.is_none() => once(&mut id, word)?,
            word => once(&mut signal, word)?,
        }
    }
    Some(Kill { id: id?, signal: signal.unwrap_or_else(|| "SIGTERM".into()), all })
}

fn delete(mut words: Words<'_>) -> Option<Delete> {
    let (mut id, mut force) = (None, false);
    while !words.0.is_empty() {
        match words.next()? {
            "-f" | "--force" => flag(&mut force)?,
            word => once(&mut id, word)?,
        }
    }
    Some(Delete { id: id?, force })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both readings, as text; `None` where the line is not plain, or an error to clap.
    fn both(words: &[&str]) -> (Option<String>, Option<String>) {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let text = |cli: Cli| format!("{cli:?}");
        (plainly(&words).map(text), Cli::try_parse_from(&words).ok().map(text))
    }

    fn of(line: &str) -> (Option<String>, Option<String>) {
        both(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn what_callers_write_is_plain_and_means_the_same_to_clap() {
        for line in [
            "r run x",
            "r run --bundle /c --detach x",
            "r --root /a --log /b --log-format json --systemd-cgroup create --bundle /c --pid-file /d x",
            "r --root /a create --bundle /c --console-socket /s --no-pivot --no-new-keyring --preserve-fds 2 x",
            "r --root run run --detach x",
            "r --report-fd 7 run x -b /c",
            "r start x",
            "r --debug exec --user 0:0 x /bin/sh -c start",
            "r exec -t --cwd / x ls --color",
            "r exec --process /p --detach --pid-file /f x",
            "r exec x run --help",
            "r kill --all x KILL",
            "r kill x 9",
            "r kill x",
            "r delete --force x",
            "r delete x",
            "r state x",
        ] {
            let (plain, all) = of(line);
            assert!(plain.is_some(), "{line}");
            assert_eq!(plain, all, "{line}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_clap() {
        for line in [
            "r",
            "r list",
            "r --root run start",
            "r run",
            "r run --help",
            "r --help run",
            "r help run",
            "r run --nonsense x",
            "r --version",
            "r --log-format xml run x",
            "r --report-fd seven run x",
            "r kill x KILL more",
            "r create --detach x",
            "r create --root=/a x",
            "r start -- x",
            "r exec x -- ls",
            "r exec x --tty ls",
        ] {
            assert_eq!(of(line).0, None, "{line}");
        }
    }

    #[test]
    fn whatever_is_plain_means_the_same_to_clap() {
        const WORDS: [&str; 40] = [
            "run",
            "create",
            "start",
            "exec",
            "kill",
            "delete",
            "state",
            "x",
            "y",
            "9",
            "KILL",
            "/a",
            "",
            "-",
            "--",
            "-x",
            "--root",
            "--log",
            "--log-format",
            "json",
            "--report-fd",
            "3",
            "--debug",
            "-b",
            "--bundle",
            "--pid-file",
            "--detach",
            "-d",
            "--all",
            "--force",
            "-p",
            "--tty",
            "-t",
            "--cwd",
            "-u",
            "--preserve-fds",
            "--no-pivot",
            "+3",
            "--root=/a",
            "-f",
        ];
        let (mut seed, mut plain) = (1_u64, 0);
        let mut below = |limit: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(seed >> 33).unwrap() % limit
        };
        for _ in 0..20_000 {
            let mut line = vec!["r"];
            // A command early, so that many lines mean something.
            line.extend((0..below(3)).map(|_| WORDS[below(WORDS.len())]));
            line.push(WORDS[below(7)]);
            line.extend((0..below(5)).map(|_| WORDS[below(WORDS.len())]));
            if let (Some(read), all) = both(&line) {
                plain += 1;
                assert_eq!(Some(read), all, "{line:?}");
            }
        }
        assert!(plain > 500, "{plain} were plain");
    }
}
