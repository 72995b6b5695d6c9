//! What the daemon is to do: as given ([`Args`], and the file), then as decided
//! ([`Config`]). All mistakes are reported at once, each with where it was made.

mod file;
mod given;

pub use given::{Given, LogFormat, Shutdown};

use crate::api::limits::Limits;
use crate::engine::{Settings, ids::Pool};
use clap::ValueEnum;
use file::File;
use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};

/// The file that is read if it is there, and no other was named.
const FILE: &str = "/etc/sextant/sextantd.toml";
/// The socket, if no address is given.
const SOCKET: &str = "/run/sextant/sextantd.sock";

/// The manager: starts one shim per container and serves sextant.v1 on a unix socket.
///
/// A setting is taken from its flag, else from its environment variable, else from the file.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "sextantd", version)]
pub struct Args {
    /// The configuration: a TOML file with a key for each flag below, such as `root = "/srv/sextant"`
    /// [default: /etc/sextant/sextantd.toml, if it is there]
    #[arg(long, env = "SEXTANT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Say what is wrong with the settings, or how they were decided; then end
    #[arg(long)]
    pub check: bool,
    /// The settings.
    #[command(flatten)]
    pub given: Given,
}

/// Where to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// The path of a socket.
    Unix(PathBuf),
    /// HOST:PORT; TLS in both directions.
    Tcp(String),
}

/// The files of TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate with its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs the certificates of clients.
    pub client_ca: PathBuf,
}

/// What the daemon is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the engine.
    pub settings: Settings,
    /// Where to serve; none: where systemd says, else at the default path.
    pub listen: Vec<Listen>,
    /// Whose members may connect.
    pub group: Option<nix::unistd::Gid>,
    /// For tcp addresses.
    pub tls: Option<Tls>,
    /// What clients may ask for.
    pub limits: Limits,
    /// Bytes of the journal of events.
    pub events_limit: u64,
    /// Where metrics are served over HTTP.
    pub metrics_listen: Option<Listen>,
    /// Whether that address may be one that other hosts reach.
    pub metrics_allow_remote: bool,
    /// Whether some of them have the names of containers.
    pub metrics_per_container: bool,
    /// The collector that spans are sent to.
    pub telemetry_endpoint: Option<String>,
    /// What becomes of containers at the end.
    pub shutdown: Shutdown,
    /// What is logged.
    pub log: String,
    /// How.
    pub log_format: LogFormat,
}

impl Config {
    /// The addresses, with the default where none was given.
    pub fn addresses(&self) -> Vec<Listen> {
        match self.listen.is_empty() {
            true => vec![Listen::Unix(SOCKET.into())],
            false => self.listen.clone(),
        }
    }
}

impl fmt::Display for Config {
    /// As the file would say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { root, state, runtime, shim, ids } = &self.settings;
        writeln!(f, "root = {root:?}\nstate = {state:?}\nruntime = {runtime:?}\nshim = {shim:?}")?;
        let addresses: Vec<String> = self.addresses().iter().map(Listen::to_string).collect();
        writeln!(f, "listen = {addresses:?}")?;
        if let Some(group) = self.group {
            writeln!(f, "group = \"{group}\"")?;
        }
        if let Some(Tls { cert, key, client_ca }) = &self.tls {
            writeln!(f, "tls-cert = {cert:?}\ntls-key = {key:?}\ntls-client-ca = {client_ca:?}")?;
        }
        let Limits { connections, calls, calls_per_connection, message } = self.limits;
        writeln!(f, "id-range = \"{ids}\"\nevents-limit = {}", self.events_limit)?;
        writeln!(f, "max-connections = {connections}\nmax-calls = {calls}")?;
        writeln!(f, "max-calls-per-connection = {calls_per_connection}\nmax-message = {message}")?;
        if let Some(at) = &self.metrics_listen {
            writeln!(f, "metrics-listen = \"{at}\"")?;
            writeln!(f, "metrics-allow-remote = {}", self.metrics_allow_remote)?;
        }
        writeln!(f, "metrics-per-container = {}", self.metrics_per_container)?;
        if let Some(endpoint) = &self.telemetry_endpoint {
            writeln!(f, "telemetry-endpoint = {endpoint:?}")?;
        }
        writeln!(f, "shutdown = \"{}\"\nlog = {:?}", name(self.shutdown), self.log)?;
        writeln!(f, "log-format = \"{}\"", name(self.log_format))
    }
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp:{host}"),
        }
    }
}

impl Args {
    /// Reads the file and decides; `own` is the path of sextantd itself.
    ///
    /// # Errors
    /// One line for each mistake.
    pub fn decide(self, own: &Path) -> Result<Config, Vec<String>> {
        let file = match read(self.config.as_deref()) {
            Ok(Some((path, text))) => file::parse(&path, &text)?,
            Ok(None) => File::default(),
            Err(mistake) => return Err(vec![mistake]),
        };
        Decision { flags: self.given, file, mistakes: Vec::new() }.config(own)
    }
}

/// The file's text, if there is one.
fn read(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, String> {
    let path = named.unwrap_or(Path::new(FILE));
    match std::fs::read_to_string(path) {
        Err(e) if named.is_none() && e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("--config {}: {e}", path.display())),
        Ok(text) => Ok(Some((path.into(), text))),
    }
}

/// Flags before the file; and what is wrong with either.
struct Decision {
    flags: Given,
    file: File,
    mistakes: Vec<String>,
}

impl Decision {
    fn config(mut self, own: &Path) -> Result<Config, Vec<String>> {
        let root = self.path("root", |g| &mut g.root, || "/var/lib/sextant".into());
        let state = self.path("state", |g| &mut g.state, || "/run/sextant".into());
        let runtime = self.path("runtime", |g| &mut g.runtime, || sibling(own, "sextant-runtime"));
        let shim = self.path("shim", |g| &mut g.shim, || sibling(own, "sextant-shim"));
        self.note("runtime", executable(&runtime));
        self.note("shim", executable(&shim));
        let ids = self.take("id-range", |g| &mut g.id_range).map_or(Ok(Pool::default()), |text| text.parse());
        let ids = self.note("id-range", ids).unwrap_or_default();
        let events_limit = self.number("events-limit", |g| &mut g.events_limit, 4 << 20, 4096);
        let listen = self.listen();
        let tls = self.tls(&listen);
        let group = self.take("group", |g| &mut g.group).map(|name| gid(&name)).transpose();
        let group = self.note("group", group).flatten();
        let limits = self.limits();
        let metrics_allow_remote =
            self.take("metrics-allow-remote", |g| &mut g.metrics_allow_remote).unwrap_or(false);
        let metrics_listen = self.metrics_listen(metrics_allow_remote);
        let metrics_per_container =
            self.take("metrics-per-container", |g| &mut g.metrics_per_container).unwrap_or(true);
        let endpoint = self.take("telemetry-endpoint", |g| &mut g.telemetry_endpoint);
        let telemetry_endpoint =
            self.note("telemetry-endpoint", endpoint.map(telemetry).transpose()).flatten();
        let shutdown = self.take("shutdown", |g| &mut g.shutdown).unwrap_or(Shutdown::Leave);
        let log = self.take("log", |g| &mut g.log).unwrap_or_else(|| "info".into());
        let filter =
            tracing_subscriber::EnvFilter::try_new(&log).map(drop).map_err(|e| format!("{log}: {e}"));
        self.note("log", filter);
        let log_format = self.take("log-format", |g| &mut g.log_format).unwrap_or(LogFormat::Text);
        let settings = Settings { root, state, runtime, shim, ids };
        match self.mistakes.is_empty() {
            true => Ok(Config {
                settings,
                listen,
                group,
                tls,
                limits,
                events_limit,
                metrics_listen,
                metrics_allow_remote,
                metrics_per_container,
                telemetry_endpoint,
                shutdown,
                log,
                log_format,
            }),
            false => Err(self.mistakes),
        }
    }

    /// A setting: the flag's, else the file's. A place in the file that does not count is forgotten.
    fn take<T>(&mut self, name: &str, field: impl Fn(&mut Given) -> &mut Option<T>) -> Option<T> {
        let flag = field(&mut self.flags).take();
        if flag.is_some() {
            self.file.places.remove(name);
        }
        flag.or_else(|| field(&mut self.file.given).take())
    }

    /// Puts a mistake down, with the flag or the place in the file.
    fn note<T>(&mut self, name: &'static str, result: Result<T, String>) -> Option<T> {
        result.map_err(|because| self.mistakes.push(format!("{}: {because}", self.whence(name)))).ok()
    }

    /// As who gave the setting would find it.
    fn whence(&self, name: &'static str) -> String {
        match self.file.places.get(name) {
            Some(place) => format!("{place}: {name}"),
            None => format!("--{name}"),
        }
    }

    fn path(
        &mut self,
        name: &'static str,
        field: impl Fn(&mut Given) -> &mut Option<PathBuf>,
        default: impl FnOnce() -> PathBuf,
    ) -> PathBuf {
        let path = self.take(name, field).unwrap_or_else(default);
        // A shim gets these paths and has another working directory.
        self.note(name, absolute(&path));
        path
    }

    fn number(
        &mut self,
        name: &'static str,
        field: impl Fn(&mut Given) -> &mut Option<u64>,
        default: u64,
        least: u64,
    ) -> u64 {
        let number = self.take(name, field).unwrap_or(default);
        self.note(name, if number >= least { Ok(()) } else { Err(format!("{number}: at least {least}")) });
        number
    }

    fn limits(&mut self) -> Limits {
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Limits {
            connections: size(self.number("max-connections", |g| &mut g.max_connections, 1024, 1)),
            calls: size(self.number("max-calls", |g| &mut g.max_calls, 4096, 1)),
            calls_per_connection: size(self.number(
                "max-calls-per-connection",
                |g| &mut g.max_calls_per_connection,
                1024,
                1,
            )),
            message: size(self.number("max-message", |g| &mut g.max_message, 4 << 20, 1024)),
        }
    }

    fn listen(&mut self) -> Vec<Listen> {
        let addresses = self.take("listen", |g| &mut g.listen).unwrap_or_default();
        addresses.iter().filter_map(|address| self.note("listen", listen(address))).collect()
    }

    /// An address that others cannot reach, unless that is wanted.
    fn metrics_listen(&mut self, remote: bool) -> Option<Listen> {
        let address = self.take("metrics-listen", |g| &mut g.metrics_listen)?;
        let checked = metrics_listen(&address).and_then(|(at, reach)| match reach {
            Reach::OtherHosts if !remote => Err(format!(
                "{address}: other hosts can reach it, and what it serves is not encrypted; listen on 127.0.0.1, \
                 behind a proxy if need be, or set metrics-allow-remote"
            )),
            _ => Ok(at),
        });
        self.note("metrics-listen", checked)
    }

    /// All three files or none; and with a tcp address all three.
    fn tls(&mut self, listen: &[Listen]) -> Option<Tls> {
        let files = [
            ("tls-cert", self.take("tls-cert", |g| &mut g.tls_cert)),
            ("tls-key", self.take("tls-key", |g| &mut g.tls_key)),
            ("tls-client-ca", self.take("tls-client-ca", |g| &mut g.tls_client_ca)),
        ];
        let tcp = listen.iter().any(|each| matches!(each, Listen::Tcp(_)));
        if !tcp && files.iter().all(|(_, file)| file.is_none()) {
            return None;
        }
        let files = files.map(|(name, file)| {
            let file = file.ok_or_else(|| {
                "TLS takes all of tls-cert, tls-key and tls-client-ca; tcp: is \
                                           served with TLS in both directions only"
                    .to_owned()
            });
            self.note(name, file.and_then(|file| absolute(&file).map(|()| file)))
        });
        let [Some(cert), Some(key), Some(client_ca)] = files else { return None };
        Some(Tls { cert, key, client_ca })
    }
}

fn listen(address: &str) -> Result<Listen, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
        return absolute(&path).map(|()| Listen::Unix(path));
    }
    let Some(host) = address.strip_prefix("tcp:") else {
        return Err(format!("{address}: an address is unix:PATH or tcp:HOST:PORT"));
    };
    let host = host.strip_prefix("//").unwrap_or(host);
    host.to_socket_addrs().map_err(|e| format!("{address}: {e}"))?;
    Ok(Listen::Tcp(host.into()))
}

/// Who can reach an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    ThisHost,
    OtherHosts,
}

fn metrics_listen(address: &str) -> Result<(Listen, Reach), String> {
    if address.starts_with("unix:") {
        return listen(address).map(|at| (at, Reach::ThisHost));
    }
    let host = address.strip_prefix("tcp:").unwrap_or(address);
    let resolved = host.to_socket_addrs().map_err(|e| format!("{address}: {e}"))?;
    let reach = match resolved.into_iter().all(|address| address.ip().is_loopback()) {
        true => Reach::ThisHost,
        false => Reach::OtherHosts,
    };
    Ok((Listen::Tcp(host.into()), reach))
}

/// The endpoint, if there is one and this build knows what to do with it.
fn telemetry(endpoint: String) -> Result<String, String> {
    if !cfg!(feature = "otel") {
        return Err(format!(
            "{endpoint}: this sextantd was built without OpenTelemetry; build one with \
             cargo build --release -p sextant-manager --features otel"
        ));
    }
    match endpoint.strip_prefix("http://") {
        Some(host) if !host.is_empty() => Ok(endpoint),
        _ => {
            Err(format!("{endpoint}: a collector is http://HOST:PORT, on this host or behind a proxy of it"))
        }
    }
}

fn gid(group: &str) -> Result<nix::unistd::Gid, String> {
    if let Ok(number) = group.parse() {
        return Ok(nix::unistd::Gid::from_raw(number));
    }
    match nix::unistd::Group::from_name(group) {
        Ok(Some(found)) => Ok(found.gid),
        Ok(None) => Err(format!("{group}: there is no such group; make it with `groupadd --system {group}`")),
        Err(errno) => Err(format!("{group}: {}", errno.desc())),
    }
}

fn absolute(path: &Path) -> Result<(), String> {
    match path.is_absolute() {
        true => Ok(()),
        false => Err(format!("{}: not an absolute path", path.display())),
    }
}

fn executable(path: &Path) -> Result<(), String> {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK)
        .map_err(|e| format!("{}: {}", path.display(), e.desc()))
}

/// The program beside this one. A build that fails on purpose takes one of its kind, where there is one.
fn sibling(own: &Path, name: &str) -> PathBuf {
    let faulty = own.with_file_name(format!("{name}-faults"));
    if cfg!(feature = "faults") && faulty.exists() { faulty } else { own.with_file_name(name) }
}

#[cfg(test)]
mod tests;
