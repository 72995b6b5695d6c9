//! The file: TOML 1.0, one key a setting. Everything that is wrong with it is
//! said at once, each with its line and column.

use super::given::{Given, LogFormat, Shutdown};
use clap::ValueEnum;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys, for who has mistyped one.
const KEYS: [&str; 22] = [
    "root",
    "state",
    "listen",
    "group",
    "tls-cert",
    "tls-key",
    "tls-client-ca",
    "runtime",
    "shim",
    "id-range",
    "events-limit",
    "max-connections",
    "max-calls",
    "max-calls-per-connection",
    "max-message",
    "metrics-listen",
    "metrics-allow-remote",
    "metrics-per-container",
    "telemetry-endpoint",
    "shutdown",
    "log",
    "log-format",
];

/// A file that was read: its settings, and where each of them stands.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) given: Given,
    /// `FILE:LINE:COLUMN` of each key.
    pub(super) places: HashMap<&'static str, String>,
}

/// Reads the file's text; `path` is named in mistakes.
///
/// # Errors
/// One line for each mistake.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, Vec<String>> {
    let place = |span: Range<usize>| place(path, text, span.start);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {}", place(error.span().unwrap_or_default()), error.message()))
        .collect();
    let mut file = File::default();
    for (key, value) in table.get_ref() {
        let at = place(key.span());
        let Some(name) = KEYS.iter().find(|name| **name == key.get_ref().as_ref()) else {
            mistakes.push(format!(
                "{at}: {}: there is no such setting{}",
                key.get_ref(),
                meant(key.get_ref())
            ));
            continue;
        };
        match put(&mut file.given, name, value) {
            Ok(()) => {
                file.places.insert(name, at);
            }
            Err(because) => mistakes.push(format!("{}: {name}: {because}", place(value.span()))),
        }
    }
    if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
}

fn put(given: &mut Given, name: &str, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
    let value = value.get_ref();
    let text = || Some(text(value)).transpose();
    let path = || text().map(|text| text.map(Into::into));
    match name {
        "root" => given.root = path()?,
        "state" => given.state = path()?,
        "listen" => given.listen = Some(texts(value)?),
        "group" => given.group = text()?,
        "tls-cert" => given.tls_cert = path()?,
        "tls-key" => given.tls_key = path()?,
        "tls-client-ca" => given.tls_client_ca = path()?,
        "runtime" => given.runtime = path()?,
        "shim" => given.shim = path()?,
        "id-range" => given.id_range = text()?,
        "events-limit" => given.events_limit = Some(number(value)?),
        "max-connections" => given.max_connections = Some(number(value)?),
        "max-calls" => given.max_calls = Some(number(value)?),
        "max-calls-per-connection" => given.max_calls_per_connection = Some(number(value)?),
        "max-message" => given.max_message = Some(number(value)?),
        "metrics-listen" => given.metrics_listen = text()?,
        "metrics-allow-remote" => given.metrics_allow_remote = Some(boolean(value)?),
        "metrics-per-container" => given.metrics_per_container = Some(boolean(value)?),
        "telemetry-endpoint" => given.telemetry_endpoint = text()?,
        "shutdown" => given.shutdown = Some(one_of::<Shutdown>(value)?),
        "log" => given.log = text()?,
        "log-format" => given.log_format = Some(one_of::<LogFormat>(value)?),
        _ => {}
    }
    Ok(())
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("is to be a string, not {}", value.type_str()))
}

/// One string, or an array of them.
fn texts(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value.as_array() {
        Some(array) => array.iter().map(|each| text(each.get_ref())).collect(),
        None => text(value).map(|one| vec![one]),
    }
}

fn number(value: &DeValue<'_>) -> Result<u64, String> {
    let wrong = || "is to be an integer that is not negative".to_owned();
    let integer = value.as_integer().ok_or_else(wrong)?;
    u64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| wrong())
}

fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("is to be true or false, not {}", value.type_str()))
}

fn one_of<T: ValueEnum>(value: &DeValue<'_>) -> Result<T, String> {
    let names = || {
        let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        names.map(|each| each.get_name().to_owned()).collect::<Vec<_>>().join(" or ")
    };
    T::from_str(&text(value)?, false).map_err(|_| format!("is to be {}", names()))
}

/// A key whose letters are nearly the same.
fn meant(key: &str) -> String {
    let plain = |name: &str| name.replace(['-', '_'], "").to_lowercase();
    let same = |name: &&&str| plain(name) == plain(key);
    let begins = |name: &&&str| plain(name).starts_with(&plain(key)) || plain(key).starts_with(&plain(name));
    match KEYS.iter().find(same).or_else(|| KEYS.iter().find(begins)) {
        Some(name) => format!("; {name} is meant?"),
        None => String::new(),
    }
}

fn place(path: &Path, text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("{}:{line}:{column}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};

    fn parsed(text: &str) -> Result<File, Vec<String>> {
        parse(Path::new("/etc/x.toml"), text)
    }

    #[test]
    fn every_flag_is_a_key() {
        let command = Given::augment_args(Command::new("x"));
        let mut flags: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        flags.sort_unstable();
        let mut keys = KEYS;
        keys.sort_unstable();
        assert_eq!(flags, keys);
    }

    #[test]
    fn settings_are_read_with_their_places() {
        let file = parsed(
            "# comment\nroot = \"/r\"\nlisten = [\"unix:/a\", \"tcp:h:1\"]\n  max-calls = 1_000\n\
             shutdown = \"stop\"\nlog-format = 'json'\n",
        )
        .unwrap();
        assert_eq!(file.given.root.as_deref(), Some(Path::new("/r")));
        assert_eq!(file.given.listen, Some(vec!["unix:/a".into(), "tcp:h:1".into()]));
        assert_eq!(file.given.max_calls, Some(1000));
        assert_eq!(file.given.shutdown, Some(Shutdown::Stop));
        assert_eq!(file.given.log_format, Some(LogFormat::Json));
        assert_eq!(file.places["max-calls"], "/etc/x.toml:4:3");
    }

    #[test]
    fn all_mistakes_are_said_at_once() {
        let mistakes = parsed(
            "root = 1\nevents_limit = 5\nmax-calls = -1\nshutdown = \"explode\"\nlisten = [1]\n\
             colour = \"red\"\ngroup = \n",
        )
        .unwrap_err();
        let all = mistakes.join("\n");
        for part in [
            "/etc/x.toml:1:8: root: is to be a string, not integer",
            "/etc/x.toml:2:1: events_limit: there is no such setting; events-limit is meant?",
            "/etc/x.toml:3:13: max-calls: is to be an integer that is not negative",
            "/etc/x.toml:4:12: shutdown: is to be leave or stop",
            "/etc/x.toml:5:10: listen: is to be a string, not integer",
            "/etc/x.toml:6:1: colour: there is no such setting",
            "/etc/x.toml:7:",
        ] {
            assert!(all.contains(part), "{part}\n{all}");
        }
        assert_eq!(mistakes.len(), 7, "{all}");
    }
}
