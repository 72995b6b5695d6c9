//! Values of flags, from text. Each function takes what was typed and answers
//! with the value or with a sentence about what is wrong; clap prints it.

use nix::sys::signal::Signal;
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

/// What a container may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    ReadWrite,
    /// Read only.
    ReadOnly,
}

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
