//! What the command line shows, as small structs: the one place that reads the
//! wire's types and the one definition of the JSON that `--json` prints. Keys
//! are the API's; enums are lower-case words; times are RFC 3339 in UTC; what
//! is not known is null or empty. These forms are stable.

pub mod audit;
mod policies;
pub mod sandbox;

pub use policies::{Health, HealthCheck, Probe, RestartPolicy};

use super::error::EXIT_SIGNAL_BASE;
use super::time::rfc3339;
use nix::sys::signal::Signal;
use serde::Serialize;
use sextant_proto::v1;
use sextant_proto::v1::exit::How;
use std::collections::BTreeMap;

/// A container.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Container, described there")]
pub struct Container {
    pub id: String,
    pub status: String,
    pub degraded: Option<String>,
    pub pid: Option<i32>,
    pub shim_pid: Option<i32>,
    pub bundle: String,
    pub rootfs: String,
    pub command: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub created_at: Option<String>,
    pub started_at: Option<String>,
    pub exit: Option<Exit>,
    pub failure: Option<Failure>,
    pub ids: Option<IdRange>,
    pub terminal: bool,
    pub stdin: bool,
    pub restart: Option<RestartPolicy>,
    pub life: u32,
    pub restart_count: u32,
    pub next_restart_at: Option<String>,
    pub last_exit: Option<Exit>,
    pub health: Option<Health>,
    pub health_check: Option<HealthCheck>,
    pub sandbox: Option<String>,
    pub namespaces: Option<BTreeMap<&'static str, String>>,
    pub sandbox_init: bool,
}

/// How a process ended: one of `code`, `signal` and `unknown` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Exit, described there")]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub unknown: Option<String>,
    pub at: Option<String>,
    pub oom_killed: bool,
}

/// A failure with its place.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Failure, described there")]
pub struct Failure {
    pub stage: String,
    pub attempted: String,
    pub syscall: String,
    pub errno: i32,
    pub object: String,
    pub pointer: String,
    pub hint: String,
    pub message: String,
}

/// A range of ids of the host.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.IdRange, described there")]
pub struct IdRange {
    pub host_id: u32,
    pub size: u32,
}

/// Something that happened.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Event, described there")]
pub struct Event {
    pub seq: u64,
    pub container: String,
    pub kind: String,
    pub at: Option<String>,
    pub pid: Option<i32>,
    pub exit: Option<Exit>,
    pub failure: Option<Failure>,
    pub container_seq: u64,
    pub output_lost: Option<OutputLost>,
    pub oom_kills: Option<u64>,
    pub exec: Option<String>,
    pub life: Option<u32>,
    pub attempt: Option<u32>,
    pub delay: Option<f64>,
    pub next_at: Option<String>,
    pub probe: Option<Probe>,
}

/// Output that is missing in a log.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.OutputLost, described there")]
pub struct OutputLost {
    pub log_offset: u64,
    pub from: Option<String>,
    pub until: Option<String>,
    pub because: String,
}

/// The daemon.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.InfoResponse, described there")]
pub struct Info {
    pub version: String,
    pub kernel: String,
    pub cgroup: String,
    pub root: String,
    pub state: String,
    pub runtime: String,
    pub shim: String,
    pub pid: i32,
    pub containers: u64,
    pub running: u64,
    pub started_at: Option<String>,
    pub last_event_seq: u64,
}

impl Exit {
    /// What a shell would report: the code, or 128 + N after signal N. None
    /// when nobody knows.
    pub fn shell_code(&self) -> Option<i32> {
        self.code.or_else(|| self.signal?.checked_add(i32::from(EXIT_SIGNAL_BASE)))
    }

    /// For a person: `0`, `137 (SIGKILL, out of memory)`, `unknown`.
    pub fn summary(&self) -> String {
        let Some(code) = self.shell_code() else { return "unknown".to_owned() };
        let mut notes: Vec<String> = self.signal.map(signal_name).into_iter().collect();
        if self.oom_killed {
            notes.push("out of memory".to_owned());
        }
        if notes.is_empty() { code.to_string() } else { format!("{code} ({})", notes.join(", ")) }
    }
}

/// `SIGTERM`, or `signal 34` for one without a name.
fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// `STATUS_RUNNING` as `running`.
fn word(name: Option<&str>, prefix: &str) -> String {
    let name = name.and_then(|name| name.strip_prefix(prefix)).unwrap_or("UNSPECIFIED");
    name.to_ascii_lowercase()
}

fn positive(number: i32) -> Option<i32> {
    (number > 0).then_some(number)
}

fn present(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<v1::Container> for Container {
    fn from(c: v1::Container) -> Self {
        Self {
            status: word(v1::Status::try_from(c.status).ok().map(|s| s.as_str_name()), "STATUS_"),
            id: c.id,
            degraded: present(c.degraded),
            pid: positive(c.pid),
            shim_pid: positive(c.shim_pid),
            bundle: c.bundle,
            rootfs: c.rootfs,
            command: c.command,
            labels: c.labels.into_iter().collect(),
            created_at: c.created_at.as_ref().map(rfc3339),
            started_at: c.started_at.as_ref().map(rfc3339),
            exit: c.exit.map(Exit::from),
            failure: c.failure.map(Failure::from),
            ids: c.ids.map(|ids| IdRange { host_id: ids.host_id, size: ids.size }),
            terminal: c.terminal,
            stdin: c.stdin,
            restart: c.restart.map(RestartPolicy::from),
            life: c.life,
            restart_count: c.restart_count,
            next_restart_at: c.next_restart_at.as_ref().map(rfc3339),
            last_exit: c.last_exit.map(Exit::from),
            health: c.health.map(Health::from),
            health_check: c.health_check.map(HealthCheck::from),
            sandbox: present(c.sandbox),
            namespaces: c.namespaces.map(sandbox::modes),
            sandbox_init: c.sandbox_init,
        }
    }
}

impl From<v1::Exit> for Exit {
    fn from(exit: v1::Exit) -> Self {
        let (mut code, mut signal, mut unknown) = (None, None, None);
        match exit.how {
            Some(How::Code(n)) => code = Some(n),
            Some(How::Signal(n)) => signal = Some(n),
            Some(How::Unknown(why)) => unknown = Some(why),
            None => unknown = Some("the daemon did not say how it ended".to_owned()),
        }
        Self { code, signal, unknown, at: exit.at.as_ref().map(rfc3339), oom_killed: exit.oom_killed }
    }
}

impl From<v1::Failure> for Failure {
    fn from(f: v1::Failure) -> Self {
        Self {
            stage: f.stage,
            attempted: f.attempted,
            syscall: f.syscall,
            errno: f.errno,
            object: f.object,
            pointer: f.pointer,
            hint: f.hint,
            message: f.message,
        }
    }
}

impl From<v1::Event> for Event {
    fn from(e: v1::Event) -> Self {
        Self {
            kind: word(v1::event::Kind::try_from(e.kind).ok().map(|k| k.as_str_name()), "KIND_"),
            seq: e.seq,
            container: e.container,
            at: e.at.as_ref().map(rfc3339),
            pid: positive(e.pid),
            exit: e.exit.map(Exit::from),
            failure: e.failure.map(Failure::from),
            container_seq: e.container_seq,
            output_lost: e.output_lost.map(|lost| OutputLost {
                log_offset: lost.log_offset,
                from: lost.from.as_ref().map(rfc3339),
                until: lost.until.as_ref().map(rfc3339),
                because: lost.because,
            }),
            oom_kills: Some(e.oom_kills).filter(|kills| *kills > 0),
            exec: Some(e.exec).filter(|exec| !exec.is_empty()),
            life: Some(e.life).filter(|life| *life > 0),
            attempt: Some(e.attempt).filter(|attempt| *attempt > 0),
            delay: e.delay.map(policies::seconds),
            next_at: e.next_at.as_ref().map(rfc3339),
            probe: e.probe.map(Probe::from),
        }
    }
}

impl From<v1::InfoResponse> for Info {
    fn from(i: v1::InfoResponse) -> Self {
        Self {
            version: i.version,
            kernel: i.kernel,
            cgroup: i.cgroup,
            root: i.root,
            state: i.state,
            runtime: i.runtime,
            shim: i.shim,
            pid: i.pid,
            containers: i.containers,
            running: i.running,
            started_at: i.started_at.as_ref().map(rfc3339),
            last_event_seq: i.last_event_seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(how: Option<How>, oom_killed: bool) -> Exit {
        v1::Exit { how, at: None, oom_killed }.into()
    }

    #[test]
    fn exits_as_a_shell_reports_them() {
        for (how, oom, code, text) in [
            (Some(How::Code(3)), false, Some(3), "3"),
            (Some(How::Signal(15)), false, Some(143), "143 (SIGTERM)"),
            (Some(How::Signal(9)), true, Some(137), "137 (SIGKILL, out of memory)"),
            (Some(How::Signal(40)), false, Some(168), "168 (signal 40)"),
            (Some(How::Unknown("the shim was killed".into())), false, None, "unknown"),
            (None, false, None, "unknown"),
        ] {
            let exit = exit(how, oom);
            assert_eq!((exit.shell_code(), exit.summary().as_str()), (code, text));
        }
    }

    #[test]
    fn json_has_the_keys_of_the_api_and_words_for_enums() {
        let container = v1::Container {
            id: "a".into(),
            status: v1::Status::Running.into(),
            pid: 7,
            created_at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            exit: Some(v1::Exit { how: Some(How::Code(0)), at: None, oom_killed: false }),
            ..v1::Container::default()
        };
        let json = serde_json::to_value(Container::from(container)).unwrap();
        assert_eq!(json["status"], "running");
        assert_eq!(json["created_at"], "1970-01-01T00:00:00Z");
        assert_eq!(json["exit"]["code"], 0);
        assert!(json["shim_pid"].is_null() && json["degraded"].is_null());
        let event = v1::Event { kind: v1::event::Kind::CreateFailed.into(), ..v1::Event::default() };
        assert_eq!(serde_json::to_value(Event::from(event)).unwrap()["kind"], "create_failed");
        let odd = v1::Container { status: 99, ..v1::Container::default() };
        assert_eq!(Container::from(odd).status, "unspecified");
    }
}
