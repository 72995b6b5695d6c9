//! Arguments as typed ([`Args`]), then as decided ([`Config`]); all mistakes
//! are reported at once.

use crate::engine::{Settings, ids::Pool};
use std::path::{Path, PathBuf};

/// The manager: starts one shim per container and serves sextant.v1 on a unix socket.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "sextantd", version)]
pub struct Args {
    /// Where records, journals and logs are kept; survives a reboot
    #[arg(long, env = "SEXTANT_ROOT", value_name = "DIR", default_value = "/var/lib/sextant")]
    pub root: PathBuf,
    /// Where sockets and the runtime's state are kept
    #[arg(long, env = "SEXTANT_STATE", value_name = "DIR", default_value = "/run/sextant")]
    pub state: PathBuf,
    /// Where to serve
    #[arg(
        long,
        env = "SEXTANT_LISTEN",
        value_name = "unix:PATH",
        default_value = "unix:/run/sextant/sextantd.sock"
    )]
    pub listen: String,
    /// The runtime's binary [default: sextant-runtime beside sextantd]
    #[arg(long, env = "SEXTANT_RUNTIME", value_name = "PATH")]
    pub runtime: Option<PathBuf>,
    /// The shim's binary [default: sextant-shim beside sextantd]
    #[arg(long, env = "SEXTANT_SHIM", value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// Host ids for user namespaces: COUNT ranges of SIZE ids from BASE on
    #[arg(long, env = "SEXTANT_ID_RANGE", value_name = "BASE:COUNTxSIZE", default_value_t = Pool::default().to_string())]
    pub id_range: String,
    /// Bytes of the journal of events; beyond, the older half of it is forgotten
    #[arg(
        long,
        env = "SEXTANT_EVENTS_LIMIT",
        value_name = "BYTES",
        default_value_t = 4 << 20,
        value_parser = clap::value_parser!(u64).range(4096..)
    )]
    pub events_limit: u64,
}

/// What the daemon is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the engine.
    pub settings: Settings,
    /// Path of the socket.
    pub listen: PathBuf,
    /// Bytes of the journal of events.
    pub events_limit: u64,
}

impl Args {
    /// Decides; `own` is the path of sextantd itself.
    ///
    /// # Errors
    /// One line for each mistake.
    pub fn decide(self, own: &Path) -> Result<Config, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut note = |result: Result<(), String>| mistakes.extend(result.err());
        note(absolute("--root", &self.root));
        note(absolute("--state", &self.state));
        let listen = self.listen.strip_prefix("unix:").map(PathBuf::from);
        note(match &listen {
            Some(path) => absolute("--listen", path),
            None => Err(format!("--listen {}: only unix:PATH is served", self.listen)),
        });
        let binary = |given: Option<PathBuf>, name: &str| given.unwrap_or_else(|| own.with_file_name(name));
        let runtime = binary(self.runtime, "sextant-runtime");
        let shim = binary(self.shim, "sextant-shim");
        note(executable("--runtime", &runtime));
        note(executable("--shim", &shim));
        let ids = self.id_range.parse::<Pool>();
        note(ids.as_ref().map(|_| ()).map_err(|e| format!("--id-range: {e}")));
        match (listen, ids) {
            (Some(listen), Ok(ids)) if mistakes.is_empty() => {
                let settings = Settings { root: self.root, state: self.state, runtime, shim, ids };
                Ok(Config { settings, listen, events_limit: self.events_limit })
            }
            _ => Err(mistakes),
        }
    }
}

fn absolute(flag: &str, path: &Path) -> Result<(), String> {
    // A shim gets these paths and has another working directory.
    match path.is_absolute() {
        true => Ok(()),
        false => Err(format!("{flag} {}: not an absolute path", path.display())),
    }
}

fn executable(flag: &str, path: &Path) -> Result<(), String> {
    absolute(flag, path)?;
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK)
        .map_err(|e| format!("{flag} {}: {}", path.display(), e.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn decide(args: &[&str]) -> Result<Config, Vec<String>> {
        Args::try_parse_from([&["sextantd"], args].concat()).unwrap().decide(Path::new("/bin/sextantd"))
    }

    #[test]
    fn every_mistake_is_named() {
        let mistakes = decide(&[
            "--root=r",
            "--state=s",
            "--listen=tcp:1",
            "--runtime=/nowhere/runtime",
            "--shim=shim",
            "--id-range=1",
        ])
        .unwrap_err();
        assert_eq!(mistakes.len(), 6, "{mistakes:#?}");
        for flag in ["--root", "--state", "--listen", "--runtime", "--shim", "--id-range"] {
            assert!(mistakes.iter().any(|m| m.starts_with(flag)), "{flag}");
        }
    }

    #[test]
    fn binaries_default_to_the_daemons_directory() {
        let mistakes = decide(&["--root=/r", "--state=/s", "--listen=unix:/s/sock"]).unwrap_err();
        assert!(mistakes[0].contains("/bin/sextant-runtime"), "{mistakes:?}");
        let config = decide(&[
            "--root=/r",
            "--state=/s",
            "--listen=unix:/s/sock",
            "--runtime=/bin/sh",
            "--shim=/bin/sh",
            "--id-range=65536:10x65536",
        ])
        .unwrap();
        assert_eq!(config.listen, Path::new("/s/sock"));
        assert_eq!(config.settings.ids.count, 10);
    }
}
