use super::*;
use clap::Parser;
use std::os::unix::fs::PermissionsExt;

fn decide(args: &[&str]) -> Result<Config, Vec<String>> {
    Args::try_parse_from([&["sextantd", "--config=/dev/null"], args].concat())
        .unwrap()
        .decide(Path::new("/bin/sextantd"))
}

const BINARIES: [&str; 2] = ["--runtime=/bin/sh", "--shim=/bin/sh"];

#[test]
fn every_mistake_is_named() {
    let mistakes = decide(&[
        "--root=r",
        "--state=s",
        "--listen=http:1",
        "--runtime=/nowhere/runtime",
        "--shim=shim",
        "--id-range=1",
        "--events-limit=1",
        "--max-calls=0",
        "--group=no-such-group",
        "--log=a=b=c",
    ])
    .unwrap_err();
    for flag in [
        "--root",
        "--state",
        "--listen",
        "--runtime",
        "--shim",
        "--id-range",
        "--events-limit",
        "--max-calls",
        "--group",
        "--log",
    ] {
        assert!(mistakes.iter().any(|m| m.starts_with(flag)), "{flag}\n{mistakes:#?}");
    }
    // The shim has two: its path counts from nowhere, and nothing is there.
    assert_eq!(mistakes.len(), 11, "{mistakes:#?}");
}

#[test]
fn metrics_are_for_this_host_unless_others_are_let_in() {
    let with = |args: &[&str]| decide(&[&BINARIES[..], args].concat());
    let at = |args: &[&str]| with(args).unwrap().metrics_listen;
    assert_eq!(at(&[]), None);
    assert_eq!(at(&["--metrics-listen=127.0.0.1:9187"]), Some(Listen::Tcp("127.0.0.1:9187".into())));
    assert_eq!(at(&["--metrics-listen=tcp:[::1]:9187"]), Some(Listen::Tcp("[::1]:9187".into())));
    assert_eq!(at(&["--metrics-listen=unix:/run/m"]), Some(Listen::Unix("/run/m".into())));
    let remote = ["--metrics-listen=0.0.0.0:9187", "--metrics-allow-remote"];
    assert_eq!(at(&remote), Some(Listen::Tcp("0.0.0.0:9187".into())));
    // What --check prints is a file that says the same.
    assert!(with(&remote).unwrap().to_string().contains("metrics-allow-remote = true\n"));
    let mistakes = with(&remote[..1]).unwrap_err();
    assert!(mistakes[0].contains("metrics-allow-remote"), "{mistakes:?}");
    assert!(with(&["--metrics-listen=9187"]).is_err() && with(&["--metrics-listen=unix:m"]).is_err());
    assert!(with(&[]).unwrap().metrics_per_container);
    assert!(!with(&["--metrics-per-container=false"]).unwrap().metrics_per_container);
}

#[test]
fn a_collector_is_taken_by_those_who_can_use_it() {
    let with = |endpoint: &str| decide(&[&BINARIES[..], &[endpoint]].concat());
    let taken = with("--telemetry-endpoint=http://127.0.0.1:4317");
    match cfg!(feature = "otel") {
        true => {
            assert_eq!(taken.unwrap().telemetry_endpoint.as_deref(), Some("http://127.0.0.1:4317"));
            assert!(with("--telemetry-endpoint=127.0.0.1:4317").unwrap_err()[0].contains("http://HOST:PORT"));
        }
        false => assert!(taken.unwrap_err()[0].contains("--features otel")),
    }
}

#[test]
fn binaries_default_to_the_daemons_directory() {
    let mistakes = decide(&[]).unwrap_err();
    assert!(mistakes[0].contains("/bin/sextant-runtime"), "{mistakes:?}");
    let config = decide(&[&BINARIES[..], &["--listen=unix:/s/sock", "--id-range=65536:10x65536"]].concat());
    let config = config.unwrap();
    assert_eq!(config.listen, [Listen::Unix("/s/sock".into())]);
    assert_eq!(config.settings.ids.count, 10);
    let config = decide(&BINARIES).unwrap();
    assert_eq!(config.addresses(), [Listen::Unix(SOCKET.into())]);
    assert_eq!(config.settings.ids, Pool::default());
}

#[test]
fn the_default_pool_is_the_one_in_the_help() {
    let help = <Args as clap::CommandFactory>::command().render_help().to_string();
    assert!(help.contains(&Pool::default().to_string()), "{help}");
}

#[test]
fn tcp_needs_tls_in_both_directions() {
    let mistakes = decide(&[&BINARIES[..], &["--listen=tcp:127.0.0.1:1", "--tls-cert=/c"]].concat());
    let mistakes = mistakes.unwrap_err();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].starts_with("--tls-key: TLS takes all of"), "{mistakes:?}");
    let tls = ["--tls-cert=/c", "--tls-key=/k", "--tls-client-ca=/a"];
    let config = decide(&[&BINARIES[..], &["--listen=tcp:127.0.0.1:1"], &tls].concat()).unwrap();
    assert_eq!(config.tls.unwrap().client_ca, Path::new("/a"));
}

#[test]
fn a_flag_counts_more_than_the_file_and_the_file_more_than_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sextantd.toml");
    std::fs::write(&path, "root = \"/file\"\nstate = \"/file\"\nmax-calls = 7\nmax-message = 1\n").unwrap();
    let decide = |args: &[&str]| {
        let config = format!("--config={}", path.display());
        let args = [&["sextantd", &config], &BINARIES[..], args].concat();
        Args::try_parse_from(args).unwrap().decide(Path::new("/bin/sextantd"))
    };
    let mistakes = decide(&[]).unwrap_err();
    assert_eq!(mistakes, [format!("{}:4:1: max-message: 1: at least 1024", path.display())]);
    let config = decide(&["--root=/flag", "--max-message=2048"]).unwrap();
    assert_eq!(config.settings.root, Path::new("/flag"));
    assert_eq!(config.settings.state, Path::new("/file"));
    assert_eq!((config.limits.calls, config.limits.message), (7, 2048));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "shutdown = 'stop'\n").unwrap();
    assert_eq!(decide(&[]).unwrap().shutdown, Shutdown::Stop);
}

#[test]
fn a_named_file_has_to_be_there() {
    let args = Args::try_parse_from(["sextantd", "--config=/no/such/file"]).unwrap();
    let mistakes = args.decide(Path::new("/bin/sextantd")).unwrap_err();
    assert!(mistakes[0].starts_with("--config /no/such/file: "), "{mistakes:?}");
}

#[test]
fn what_was_decided_is_a_file_that_decides_the_same() {
    let tls = ["--tls-cert=/c", "--tls-key=/k", "--tls-client-ca=/a", "--listen=unix:/s,tcp:127.0.0.1:1"];
    let config = decide(&[&BINARIES[..], &tls, &["--group=7", "--shutdown=stop"]].concat()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.toml");
    std::fs::write(&path, config.to_string()).unwrap();
    let args = Args::try_parse_from(["sextantd", "--config", path.to_str().unwrap()]).unwrap();
    assert_eq!(args.decide(Path::new("/bin/sextantd")).unwrap().to_string(), config.to_string());
}
