//! Values of flags, from text. Each function takes what was typed and answers
//! with the value or with a sentence about what is wrong; clap prints it.

mod policies;

pub use policies::{Restart, duration};

use nix::sys::signal::Signal;
use sextant_proto::v1::SharedNamespaces;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Bytes of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBytes(pub i64);

/// Thousandths of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuMillis(pub i64);

/// `KEY=VALUE` of `--label`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The key; not empty.
    pub key: String,
    /// The value.
    pub value: String,
}

/// `KEY[=VALUE]` of `--env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvVar {
    /// The name of the variable; not empty.
    pub key: String,
    /// Its value; none to take it from our own environment.
    pub value: Option<String>,
}

/// `SRC:DST[:ro|:rw]` of `--volume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// On the host; a relative path counts from the working directory.
    pub source: PathBuf,
    /// In the container; absolute.
    pub destination: String,
    /// What the container may do with it.
    pub access: Access,
}

/// Whose namespace a container is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its own.
    Own,
    /// The sandbox's.
    Sandbox,
    /// The host's.
    Host,
    /// That of the container of this id.
    Container(String),
}

/// What a sandbox shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares(pub SharedNamespaces);

/// What a container may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read only.
    ReadOnly,
}

/// `label=KEY[=VALUE]` of `--filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    /// The key; not empty.
    pub key: String,
    /// The value; empty for any.
    pub value: String,
}

impl FromStr for LabelSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let label = text.strip_prefix("label=").ok_or("a filter is label=KEY or label=KEY=VALUE")?;
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        match key.is_empty() {
            true => Err("a label has a key".into()),
            false => Ok(Self { key: key.into(), value: value.into() }),
        }
    }
}

/// A time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub prost_types::Timestamp);

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.into(), value: value.into() }),
            _ => Err("a label is KEY=VALUE".into()),
        }
    }
}

impl FromStr for EnvVar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        if key.is_empty() {
            return Err("a variable is KEY=VALUE or KEY".into());
        }
        Ok(Self { key: key.into(), value })
    }
}

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, access) = match parts.as_slice() {
            [source, destination] | [source, destination, "rw"] => (*source, *destination, Access::ReadWrite),
            [source, destination, "ro"] => (*source, *destination, Access::ReadOnly),
            [_, _, option] => return Err(format!("{option:?} is neither ro nor rw")),
            _ => return Err("a volume is SRC:DST, SRC:DST:ro or SRC:DST:rw".into()),
        };
        if source.is_empty() {
            return Err("the source of a volume cannot be empty".into());
        }
        if !destination.starts_with('/') {
            return Err(format!("{destination:?}, the place in the container, is not an absolute path"));
        }
        Ok(Self { source: source.into(), destination: destination.into(), access })
    }
}

/// A size in bytes: digits and an optional suffix of `b k m g t`, in either
/// case, also as `KB` or `KiB`; every one a power of 1024, as in Docker.
///
/// # Errors
/// A sentence, when it is no such number, zero, or larger than 2^63 - 1.
pub fn memory(text: &str) -> Result<MemoryBytes, String> {
    let wrong = || format!("{text:?} is not a size such as 67108864, 64M or 1.5G");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    let bytes = decimal(digits, 1 << shift).ok_or_else(wrong)?;
    match i64::try_from(bytes) {
        Ok(0) => Err("a limit of 0 bytes lets nothing run; leave the flag out for no limit".into()),
        Ok(bytes) => Ok(MemoryBytes(bytes)),
        Err(_) => Err(format!("{text} is more than 2^63 - 1 bytes")),
    }
}

/// A number of CPUs with up to three decimals, as thousandths.
///
/// # Errors
/// A sentence, when it is no such number or less than 0.001.
pub fn cpus(text: &str) -> Result<CpuMillis, String> {
    let millis = decimal(text, 1000).and_then(|millis| i64::try_from(millis).ok());
    match millis {
        Some(0) => Err("the smallest share is 0.001; leave the flag out for no limit".into()),
        Some(millis) => Ok(CpuMillis(millis)),
        None => Err(format!("{text:?} is not a number of CPUs such as 2 or 0.5")),
    }
}

/// As [`memory`], or `none`, which is 0.
///
/// # Errors
/// As there.
pub fn memory_or_none(text: &str) -> Result<i64, String> {
    or_none(text, |text| memory(text).map(|bytes| bytes.0))
}

/// As [`cpus`], or `none`, which is 0.
///
/// # Errors
/// As there.
pub fn cpus_or_none(text: &str) -> Result<i64, String> {
    or_none(text, |text| cpus(text).map(|millis| millis.0))
}

/// A number from 1 on, or `none`, which is 0.
///
/// # Errors
/// A sentence, when it is neither.
pub fn count_or_none(text: &str) -> Result<i64, String> {
    or_none(text, |text| {
        let number = text.parse().ok().filter(|n| *n > 0);
        number.ok_or_else(|| format!("{text:?} is not a number from 1 on, and not none"))
    })
}

fn or_none(text: &str, parse: impl Fn(&str) -> Result<i64, String>) -> Result<i64, String> {
    if text == "none" { Ok(0) } else { parse(text) }
}

/// `own`, `sandbox`, `host` or `container:ID`.
///
/// # Errors
/// A sentence, when it is none of them.
pub fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "own" => Ok(Mode::Own),
        "sandbox" => Ok(Mode::Sandbox),
        "host" => Ok(Mode::Host),
        _ => match text.strip_prefix("container:") {
            Some(id) if !id.is_empty() => Ok(Mode::Container(id.into())),
            _ => Err(format!("{text:?} is not own, sandbox, host or container:ID")),
        },
    }
}

/// Names of namespaces with commas between them.
///
/// # Errors
/// A sentence, when one of them cannot be shared.
pub fn shares(text: &str) -> Result<Shares, String> {
    let mut shared = SharedNamespaces::default();
    for name in text.split(',') {
        let slot = match name {
            "network" => &mut shared.network,
            "ipc" => &mut shared.ipc,
            "uts" => &mut shared.uts,
            "user" => &mut shared.user,
            "pid" => &mut shared.pid,
            _ => return Err(format!("{name:?} is not one of network, ipc, uts, user, pid")),
        };
        *slot = true;
    }
    Ok(Shares(shared))
}

/// A time as RFC 3339, or as how long before now it was: `90s`, `15m`, `2h`, `7d`.
///
/// # Errors
/// A sentence, when it is neither.
pub fn at(text: &str) -> Result<At, String> {
    let wrong = || format!("{text:?} is not a time such as 2026-01-02T03:04:05Z, 90s, 15m, 2h or 7d");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        _ => return text.parse().map(At).map_err(|_| wrong()),
    };
    let digits = text.get(..text.len() - 1).unwrap_or_default();
    let nanos = decimal(digits, unit * 1_000_000_000).and_then(|nanos| u64::try_from(nanos).ok());
    let ago = Duration::from_nanos(nanos.ok_or_else(wrong)?);
    let at = std::time::SystemTime::now().checked_sub(ago).ok_or_else(wrong)?;
    Ok(At(at.into()))
}

/// Seconds with up to nine decimals.
///
/// # Errors
/// A sentence, when it is no such number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let nanos = decimal(text, 1_000_000_000).and_then(|nanos| u64::try_from(nanos).ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{text:?} is not a number of seconds such as 10 or 0.5"))
}

/// A signal: `TERM`, `SIGTERM`, `sigterm` or `15`; real-time ones as `RTMIN+N`,
/// `RTMAX-N` or a number up to 64 (signal(7)).
///
/// # Errors
/// A sentence, when there is no such signal.
pub fn signal(text: &str) -> Result<i32, String> {
    let wrong = || format!("there is no signal {text:?}; try a name such as TERM or a number from 1 to 64");
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(wrong()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let realtime = |base: i32, text: &str| match text {
        "" => Some(base),
        offset => offset.parse::<i32>().ok().and_then(|offset| base.checked_add(offset)),
    };
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        realtime(libc::SIGRTMIN(), offset)
    } else if let Some(offset) = name.strip_prefix("RTMAX") {
        realtime(libc::SIGRTMAX(), offset)
    } else {
        return Signal::from_str(&format!("SIG{name}")).map(|signal| signal as i32).map_err(|_| wrong());
    };
    number.filter(|n| (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(n)).ok_or_else(wrong)
}

/// `text`, a decimal fraction, times `unit`, rounded down; exact, so that
/// 0.001 of 1000 is 1. None for anything else than digits and one point.
fn decimal(text: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || fraction.len() > 18 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let number = |s: &str| if s.is_empty() { Some(0) } else { s.parse::<u128>().ok() };
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    number(whole)?.checked_mul(unit)?.checked_add(number(fraction)?.checked_mul(unit)? / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_namespaces() {
        assert_eq!(mode("container:a"), Ok(Mode::Container("a".into())));
        assert_eq!(mode("host"), Ok(Mode::Host));
        assert!(mode("container:").is_err() && mode("bridge").is_err());
        let expected = SharedNamespaces { network: true, pid: true, ..Default::default() };
        assert_eq!(shares("network,pid"), Ok(Shares(expected)));
        assert!(shares("").is_err() && shares("mount").is_err());
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1),
            ("64M", 64 << 20),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("1024b", 1024),
            ("2T", 2 << 40),
        ] {
            assert_eq!(memory(text), Ok(MemoryBytes(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "1 M", "64X", "1e3", "0", "1.2.3", "9000000T", "0x10", "."] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpu_shares() {
        for (text, millis) in [("1", 1000), ("0.5", 500), (".25", 250), ("2.", 2000), ("0.001", 1)] {
            assert_eq!(cpus(text), Ok(CpuMillis(millis)), "{text}");
        }
        for text in ["", "0", "0.0001", "-1", "half", "NaN", "inf"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_that_can_be_taken_away() {
        assert_eq!(memory_or_none("none"), Ok(0));
        assert_eq!(memory_or_none("1M"), Ok(1 << 20));
        assert_eq!((cpus_or_none("none"), cpus_or_none("0.5")), (Ok(0), Ok(500)));
        assert_eq!((count_or_none("none"), count_or_none("7")), (Ok(0), Ok(7)));
        assert!(memory_or_none("0").is_err() && count_or_none("0").is_err() && count_or_none("-1").is_err());
    }

    #[test]
    fn times() {
        let exact = prost_types::Timestamp { seconds: 951_827_696, nanos: 120_000_000 };
        assert_eq!(at("2000-02-29T12:34:56.120Z"), Ok(At(exact)));
        assert_eq!(at("2000-02-29T13:34:56.12+01:00"), Ok(At(exact)));
        let ago = |text| {
            let at: std::time::SystemTime = at(text).unwrap().0.try_into().unwrap();
            std::time::SystemTime::now().duration_since(at)
        };
        for (text, seconds) in [("0s", 0), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("7d", 604_800)] {
            let found = ago(text).unwrap().as_secs();
            assert!((seconds..seconds + 5).contains(&found), "{text}: {found}");
        }
        for text in ["", "s", "10", "-5m", "yesterday", "99999999d"] {
            assert!(at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn filters() {
        let selector = |key: &str, value: &str| LabelSelector { key: key.into(), value: value.into() };
        assert_eq!("label=a".parse(), Ok(selector("a", "")));
        assert_eq!("label=a=b=c".parse(), Ok(selector("a", "b=c")));
        assert!("a=b".parse::<LabelSelector>().is_err() && "label==b".parse::<LabelSelector>().is_err());
    }

    #[test]
    fn grace_periods() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(seconds("-1").is_err() && seconds("10s").is_err());
    }

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("sighup", 1),
            ("10", 10),
            ("RTMIN", libc::SIGRTMIN()),
            ("SIGRTMIN+1", libc::SIGRTMIN() + 1),
            ("RTMAX-1", libc::SIGRTMAX() - 1),
            ("64", 64),
        ] {
            assert_eq!(signal(text), Ok(number), "{text}");
        }
        for text in ["", "0", "65", "-9", "SIG", "SIGSIGTERM", "NOPE", "RTMAX+1", "RTMINx"] {
            assert!(signal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes() {
        let volume: Volume = "data:/data:ro".parse().unwrap();
        assert_eq!((volume.destination.as_str(), volume.access), ("/data", Access::ReadOnly));
        assert_eq!("/a:/b".parse::<Volume>().unwrap().access, Access::ReadWrite);
        for text in ["", "/a", ":/b", "/a:b", "/a:/b:rx", "/a:/b:ro:z"] {
            assert!(text.parse::<Volume>().is_err(), "{text}");
        }
    }

    #[test]
    fn labels_and_variables() {
        assert_eq!("a=b=c".parse(), Ok(Label { key: "a".into(), value: "b=c".into() }));
        assert!("a".parse::<Label>().is_err() && "=b".parse::<Label>().is_err());
        assert_eq!("A=".parse(), Ok(EnvVar { key: "A".into(), value: Some(String::new()) }));
        assert_eq!("A".parse(), Ok(EnvVar { key: "A".into(), value: None }));
        assert!("=x".parse::<EnvVar>().is_err());
    }
}
