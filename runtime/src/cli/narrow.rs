//! Parsing with the one command that is meant. The definition of all of them is
//! a tenth of the time of a whole `create`, and a call needs that of one. The
//! definitions are the same ones; whatever the narrow parser does not take (an
//! error, `--help`) is parsed again with all, which has the words for it.

use super::{Cli, Command, Create, Delete, Exec, Global, Id, Kill, Run};
use clap::{ArgMatches, Args, Error, FromArgMatches, Parser};
use std::ffi::OsString;

/// Parses a command line.
///
/// # Errors
/// Those of clap, `--help` among them.
pub fn parse(line: Vec<OsString>) -> Result<Cli, Error> {
    match narrowly(&line) {
        Some(cli) => Ok(cli),
        None => Cli::try_parse_from(line),
    }
}

/// A command as its own parser knows it.
struct Way {
    name: &'static str,
    define: fn(clap::Command) -> clap::Command,
    read: fn(&ArgMatches) -> Result<Command, Error>,
}

/// Those that every container meets.
const WAYS: [Way; 7] = [
    Way {
        name: "create",
        define: Create::augment_args,
        read: |m| Create::from_arg_matches(m).map(Command::Create),
    },
    Way { name: "start", define: Id::augment_args, read: |m| Id::from_arg_matches(m).map(Command::Start) },
    Way { name: "run", define: Run::augment_args, read: |m| Run::from_arg_matches(m).map(Command::Run) },
    Way {
        name: "exec",
        define: Exec::augment_args,
        read: |m| Exec::from_arg_matches(m).map(|exec| Command::Exec(Box::new(exec))),
    },
    Way { name: "state", define: Id::augment_args, read: |m| Id::from_arg_matches(m).map(Command::State) },
    Way { name: "kill", define: Kill::augment_args, read: |m| Kill::from_arg_matches(m).map(Command::Kill) },
    Way {
        name: "delete",
        define: Delete::augment_args,
        read: |m| Delete::from_arg_matches(m).map(Command::Delete),
    },
];

/// `None`: all have to be asked. The first word that reads like a command may be an option's value;
/// then the real one is unknown here, which is an error, and no other command is taken for it.
fn narrowly(line: &[OsString]) -> Option<Cli> {
    let way = line.iter().skip(1).find_map(|word| WAYS.iter().find(|way| *word == *way.name))?;
    let command = (way.define)(clap::Command::new(way.name)).disable_help_flag(true);
    let parser = Global::augment_args(clap::Command::new("sextant-runtime"))
        .subcommand(command)
        .disable_help_flag(true)
        .disable_help_subcommand(true);
    let matches = parser.try_get_matches_from(line).ok()?;
    let (_, below) = matches.subcommand()?;
    let global = Global::from_arg_matches(&matches).ok()?;
    Some(Cli { global, command: Some((way.read)(below).ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both parsers, as text; `None` where the narrow one does not answer.
    fn both(line: &str) -> (Option<String>, Option<String>) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let text = |cli: Cli| format!("{cli:?}");
        (narrowly(&words).map(text), Cli::try_parse_from(&words).ok().map(text))
    }

    #[test]
    fn what_the_narrow_parser_takes_means_the_same_to_all() {
        for line in [
            "r run x",
            "r --root /a --log /b --log-format json --systemd-cgroup create --bundle /c -- x",
            "r --root run run --detach x",
            "r start x",
            "r --debug exec --user 0:0 -e A=B x /bin/sh -c start",
            "r exec -t -p f x",
            "r exec x run --help",
            "r kill --all x KILL",
            "r kill x 9",
            "r delete --force x",
            "r state x",
        ] {
            let (narrow, all) = both(line);
            assert!(narrow.is_some(), "{line}");
            assert_eq!(narrow, all, "{line}");
        }
    }

    #[test]
    fn what_it_does_not_take_is_left_to_all() {
        for line in [
            "r",
            "r list",
            "r --root run start x",
            "r run",
            "r run --help",
            "r --help run",
            "r help run",
            "r run --nonsense x",
            "r --version",
            "r kill x KILL more",
        ] {
            assert_eq!(both(line).0, None, "{line}");
        }
    }
}
