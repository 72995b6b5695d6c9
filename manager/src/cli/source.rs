//! From the flags of `run` and `create` to a request: relative paths become
//! absolute, since the daemon has a working directory of its own; `--env-file`
//! and variables without a value are read here, since they are the caller's.

use super::args::{CreateArgs, LogArgs, OnUnhealthy, PolicyArgs, ProcessArgs};
use super::error::{EXIT_USAGE, Error, Report};
use super::parse::{Access, EnvVar, MemoryBytes, Mode, Volume};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::namespace_mode::Kind;
use sextant_proto::v1::{
    CreateRequest, HealthCheck, Limits, LogOptions, Mount, NamespaceMode, NamespaceModes, RestartPolicy,
    RootfsSource, health_check,
};
use std::path::Path;
use std::time::Duration;

/// The request that `args` stand for.
///
/// # Errors
/// When an environment file cannot be read, or a path or a variable is not
/// UTF-8, which the wire cannot carry.
pub fn request(args: CreateArgs) -> Result<CreateRequest, Error> {
    let stdio = args.stdio;
    let (restart, health_check) = policies(args.policies);
    let namespaces = modes(&args.process);
    let sandbox = args.process.sandbox.clone().unwrap_or_default();
    let source = match (args.bundle, args.rootfs) {
        (Some(bundle), _) => Source::Bundle(absolute(&bundle)?),
        (None, Some(rootfs)) => Source::Rootfs(from_rootfs(absolute(&rootfs)?, args.process)?),
        // Not reached: the command line is refused without one of them.
        (None, None) => {
            let missing = Report::other("create a container", "neither --bundle nor --rootfs is there", "");
            return Err(Error::from(missing).exits(EXIT_USAGE));
        }
    };
    Ok(CreateRequest {
        id: args.name.unwrap_or_default(),
        labels: args.labels.into_iter().map(|label| (label.key, label.value)).collect(),
        log: Some(log_options(&args.log)),
        source: Some(source),
        stdin: stdio.interactive,
        terminal: stdio.tty,
        restart,
        health_check,
        sandbox,
        namespaces,
        ..Default::default()
    })
}

fn policies(args: PolicyArgs) -> (Option<RestartPolicy>, Option<HealthCheck>) {
    let wire = |time: Option<Duration>| time.and_then(|time| time.try_into().ok());
    let restart = args.restart.map(|restart| RestartPolicy {
        when: restart.when.into(),
        max_retries: restart.max_retries,
        min_delay: wire(args.restart_min_delay),
        max_delay: wire(args.restart_max_delay),
        reset_after: wire(args.restart_reset_after),
    });
    let check = args.health_cmd.map(|command| HealthCheck {
        command: vec!["/bin/sh".into(), "-c".into(), command],
        interval: wire(args.health_interval),
        timeout: wire(args.health_timeout),
        start_period: wire(args.health_start_period),
        retries: args.health_retries.unwrap_or(0),
        start_interval: wire(args.health_start_interval),
        on_unhealthy: match args.on_unhealthy {
            Some(OnUnhealthy::Restart) => health_check::OnUnhealthy::Restart.into(),
            Some(OnUnhealthy::Nothing) | None => health_check::OnUnhealthy::Nothing.into(),
        },
    });
    (restart, check)
}

/// Whose namespaces it is in; `None` where no flag says it.
fn modes(args: &ProcessArgs) -> Option<NamespaceModes> {
    let mode = |mode: &Option<Mode>| {
        let (kind, container) = match mode.as_ref()? {
            Mode::Own => (Kind::Own, String::new()),
            Mode::Sandbox => (Kind::Sandbox, String::new()),
            Mode::Host => (Kind::Host, String::new()),
            Mode::Container(id) => (Kind::Container, id.clone()),
        };
        Some(NamespaceMode { kind: kind.into(), container })
    };
    let modes = NamespaceModes {
        network: mode(&args.network),
        ipc: mode(&args.ipc),
        uts: mode(&args.uts),
        user: mode(&args.user),
        pid: mode(&args.pid),
    };
    Some(modes).filter(|modes| *modes != NamespaceModes::default())
}

fn log_options(args: &LogArgs) -> LogOptions {
    let bytes = |size: Option<MemoryBytes>| size.and_then(|size| u64::try_from(size.0).ok()).unwrap_or(0);
    LogOptions {
        max_file_bytes: bytes(args.log_max_size),
        max_files: args.log_max_files.unwrap_or(0),
        max_bytes_per_second: bytes(args.log_rate),
    }
}

fn from_rootfs(rootfs: String, args: ProcessArgs) -> Result<RootfsSource, Error> {
    Ok(RootfsSource {
        rootfs,
        env: environment(&args)?,
        limits: Some(Limits {
            memory_bytes: args.memory.map_or(0, |memory| memory.0),
            cpu_millis: args.cpus.map_or(0, |cpus| cpus.0),
            pids: args.pids_limit.unwrap_or(0),
        }),
        mounts: args.volumes.into_iter().map(mount).collect::<Result<_, _>>()?,
        command: args.command,
        cwd: args.workdir.unwrap_or_default(),
        hostname: args.hostname.unwrap_or_default(),
        readonly: args.read_only,
    })
}

/// `KEY=VALUE` of the files, then of the flags; a later one wins, as the last
/// one for a key is kept.
fn environment(args: &ProcessArgs) -> Result<Vec<String>, Error> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| {
        variables.retain(|(other, _)| other != key);
        variables.push((key.to_owned(), value.to_owned()));
    };
    for file in &args.env_file {
        let attempted = format!("read the environment from {}", file.display());
        let text = std::fs::read_to_string(file).map_err(Error::io(attempted.clone()))?;
        for (number, line) in text.lines().enumerate() {
            match line.split_once('=') {
                _ if line.trim().is_empty() || line.starts_with('#') => {}
                Some((key, value)) if !key.is_empty() => set(key, value),
                _ => {
                    let because = format!("line {} is not KEY=VALUE", number + 1);
                    return Err(Report::other(attempted, because, "").into());
                }
            }
        }
    }
    for (key, value) in given(&args.env) {
        set(key, &value);
    }
    Ok(variables.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
}

/// `KEY=VALUE` of the flags, in their order.
pub fn variables(flags: &[EnvVar]) -> Vec<String> {
    given(flags).map(|(key, value)| format!("{key}={value}")).collect()
}

/// A variable that is not set here is not set there either, as in Docker.
fn given(flags: &[EnvVar]) -> impl Iterator<Item = (&str, String)> {
    flags.iter().filter_map(|variable| {
        let value = variable.value.clone().or_else(|| std::env::var(&variable.key).ok())?;
        Some((variable.key.as_str(), value))
    })
}

fn mount(volume: Volume) -> Result<Mount, Error> {
    Ok(Mount {
        source: absolute(&volume.source)?,
        destination: volume.destination,
        readonly: volume.access == Access::ReadOnly,
    })
}

/// `path` from the root on, without looking at the file system.
fn absolute(path: &Path) -> Result<String, Error> {
    let attempted = format!("use the path {}", path.display());
    let path = std::path::absolute(path).map_err(Error::io(attempted.clone()))?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| Report::other(attempted, "it is not UTF-8", "").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;
    use sextant_proto::v1::restart_policy::When;

    fn of(line: &[&str]) -> Result<CreateRequest, Error> {
        let line = ["sextant", "create"].iter().chain(line);
        match Cli::try_parse_from(line).unwrap().command {
            Command::Create(args) => request(args),
            other => panic!("{other:?}"),
        }
    }

    fn rootfs(line: &[&str]) -> RootfsSource {
        match of(&[line, &["--rootfs", "/r", "--", "true"]].concat()).unwrap().source {
            Some(Source::Rootfs(rootfs)) => rootfs,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bundle_is_named_from_the_root_on() {
        let request = of(&["--name", "a", "-l", "k=v", "--bundle", "b"]).unwrap();
        let here = std::env::current_dir().unwrap().join("b").to_str().unwrap().to_owned();
        assert_eq!(request.source, Some(Source::Bundle(here)));
        assert_eq!((request.id.as_str(), request.labels["k"].as_str()), ("a", "v"));
    }

    #[test]
    fn flags_arrive_in_the_request() {
        let line = "-m 1M --cpus 0.5 --pids-limit 7 --read-only -v /a:/b:ro -w /w --hostname h";
        let rootfs = rootfs(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(rootfs.limits, Some(Limits { memory_bytes: 1 << 20, cpu_millis: 500, pids: 7 }));
        assert_eq!(rootfs.mounts, [Mount { source: "/a".into(), destination: "/b".into(), readonly: true }]);
        assert_eq!((rootfs.cwd.as_str(), rootfs.hostname.as_str(), rootfs.readonly), ("/w", "h", true));
    }

    #[test]
    fn policies_arrive_in_the_request() {
        let line = "--restart on-failure:3 --restart-max-delay 5s --health-cmd true --health-interval 500ms \
                    --on-unhealthy restart --bundle b";
        let request = of(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let (restart, check) = (request.restart.unwrap(), request.health_check.unwrap());
        assert_eq!((restart.when(), restart.max_retries), (When::OnFailure, 3));
        assert_eq!((restart.min_delay, restart.max_delay.unwrap().seconds), (None, 5));
        assert_eq!(check.command, ["/bin/sh", "-c", "true"]);
        assert_eq!((check.interval.unwrap().nanos, check.retries), (500_000_000, 0));
        assert_eq!(check.on_unhealthy(), health_check::OnUnhealthy::Restart);
        let plain = of(&["--bundle", "b"]).unwrap();
        assert_eq!((plain.restart, plain.health_check), (None, None));
    }

    #[test]
    fn namespaces_of_others_arrive_too() {
        let line = "--sandbox pod --network host --pid container:web --rootfs /r -- true";
        let request = of(&line.split(' ').collect::<Vec<_>>()).unwrap();
        let modes = request.namespaces.unwrap();
        assert_eq!((request.sandbox.as_str(), modes.network.unwrap().kind()), ("pod", Kind::Host));
        let web = NamespaceMode { kind: Kind::Container.into(), container: "web".into() };
        assert_eq!((modes.pid, modes.user), (Some(web), None));
        assert_eq!(of(&["--rootfs", "/r", "--", "true"]).unwrap().namespaces, None);
    }

    #[test]
    fn the_last_value_of_a_variable_wins() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# comment\nA=file\n\nB=b=b\n").unwrap();
        let path = file.path().to_str().unwrap();
        let rootfs = rootfs(&["--env-file", path, "-e", "A=flag", "-e", "SEXTANT_TEST_NEVER_SET"]);
        assert_eq!(rootfs.env, ["B=b=b", "A=flag"]);
    }

    #[test]
    fn a_bad_line_of_an_environment_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "A=1\nnonsense\n").unwrap();
        let path = file.path().to_str().unwrap();
        let error = of(&["--env-file", path, "--rootfs", "/r", "--", "true"]).unwrap_err();
        assert!(error.render(crate::cli::output::Paint::Plain).ends_with(": line 2 is not KEY=VALUE\n"));
    }
}
