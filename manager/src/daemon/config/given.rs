//! What can be set, by flag, environment or file: one list for all three. A
//! field is `None` where it was not given.

use std::path::PathBuf;

/// What becomes of running containers when the daemon is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shutdown {
    /// They go on, and the next daemon takes them over.
    Leave,
    /// They are stopped, each with its own grace.
    Stop,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings as given in one place. In the file a setting has the flag's name without `--`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Given {
    /// Where records, journals and logs are kept; survives a reboot [default: /var/lib/sextant]
    #[arg(long, env = "SEXTANT_ROOT", value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Where sockets and the runtime's state are kept [default: /run/sextant]
    #[arg(long, env = "SEXTANT_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Where to serve: unix:PATH, or tcp:HOST:PORT with TLS; may be given more than once
    /// [default: unix:/run/sextant/sextantd.sock, or the socket that systemd passes]
    #[arg(long, env = "SEXTANT_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    pub listen: Option<Vec<String>>,
    /// A group, by name or number, whose members may connect; who may is root on this host
    #[arg(long, env = "SEXTANT_GROUP", value_name = "GROUP")]
    pub group: Option<String>,
    /// The certificate of tcp: addresses, with its chain, as PEM
    #[arg(long, env = "SEXTANT_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, env = "SEXTANT_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Who signs the certificates of clients, as PEM; who has such a one is root on this host
    #[arg(long, env = "SEXTANT_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// The runtime's binary [default: sextant-runtime beside sextantd]
    #[arg(long, env = "SEXTANT_RUNTIME", value_name = "PATH")]
    pub runtime: Option<PathBuf>,
    /// The shim's binary [default: sextant-shim beside sextantd]
    #[arg(long, env = "SEXTANT_SHIM", value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// Host ids for user namespaces: COUNT ranges of SIZE ids from BASE on
    /// [default: 1879048192:4095x65536]
    #[arg(long, env = "SEXTANT_ID_RANGE", value_name = "BASE:COUNTxSIZE")]
    pub id_range: Option<String>,
    /// Bytes of the journal of events; beyond, the older half of it is forgotten [default: 4194304]
    #[arg(long, env = "SEXTANT_EVENTS_LIMIT", value_name = "BYTES")]
    pub events_limit: Option<u64>,
    /// Connections at once [default: 1024]
    #[arg(long, env = "SEXTANT_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<u64>,
    /// Calls under way at once, streams included [default: 4096]
    #[arg(long, env = "SEXTANT_MAX_CALLS", value_name = "COUNT")]
    pub max_calls: Option<u64>,
    /// The same of one connection [default: 1024]
    #[arg(long, env = "SEXTANT_MAX_CALLS_PER_CONNECTION", value_name = "COUNT")]
    pub max_calls_per_connection: Option<u64>,
    /// Bytes of the largest request [default: 4194304]
    #[arg(long, env = "SEXTANT_MAX_MESSAGE", value_name = "BYTES")]
    pub max_message: Option<u64>,
    /// Where to serve metrics to Prometheus over HTTP: unix:PATH, or HOST:PORT of this host [default: nowhere]
    #[arg(long, env = "SEXTANT_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
    /// Whether other hosts may reach that address, unencrypted [default: false]
    #[arg(long, env = "SEXTANT_METRICS_ALLOW_REMOTE", value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true")]
    pub metrics_allow_remote: Option<bool>,
    /// Whether there are metrics with the names of containers [default: true]
    #[arg(long, env = "SEXTANT_METRICS_PER_CONTAINER", value_name = "BOOL", num_args = 0..=1,
        default_missing_value = "true")]
    pub metrics_per_container: Option<bool>,
    /// A collector of OpenTelemetry, over gRPC: http://HOST:PORT; in builds with the feature otel [default: none]
    #[arg(long, env = "SEXTANT_TELEMETRY_ENDPOINT", value_name = "URL")]
    pub telemetry_endpoint: Option<String>,
    /// What becomes of running containers when the daemon is told to stop [default: leave]
    #[arg(long, env = "SEXTANT_SHUTDOWN")]
    pub shutdown: Option<Shutdown>,
    /// What is logged, as directives of tracing: info, debug, sextant_manager::shims=trace [default: info]
    #[arg(long, env = "SEXTANT_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How it is written [default: text]
    #[arg(long, env = "SEXTANT_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}
