//! A client of another language: Go, with stubs generated from proto/, runs a
//! container. Everything it is built of comes from Debian (`scripts/deps test`),
//! so that it is built without a network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use sextant_integration::process::run;
use sextant_integration::{Daemon, skip, skip_unless_root, unique};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian has the libraries.
const LIBRARIES: &str = "/usr/share/gocode";
/// What is missing without them.
const GRPC: &str = "/usr/share/gocode/src/google.golang.org/grpc";

/// Runs a tool to its end; compiling gRPC takes longer than a test's usual command.
#[track_caller]
fn tool(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What keeps it from being built here.
fn missing() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let tools = ["go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc"];
    let lacks = tools.iter().find(|name| !there(name)).map(|name| format!("there is no {name}"));
    lacks.or_else(|| (!Path::new(GRPC).exists()).then(|| format!("there is no {GRPC}")))
}

/// Generates the stubs below `dir` and compiles the client; its path.
fn build(dir: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = here.join("../proto/proto");
    let read = std::fs::read_dir(protos.join("sextant/v1")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = read.map(|name| format!("sextant/v1/{}", name.to_str().unwrap())).collect();
    let packages: Vec<String> = names.iter().map(|name| format!("M{name}=sextant/v1")).collect();
    let (src, packages) = (dir.join("src"), packages.join(","));
    std::fs::create_dir_all(&src).unwrap();
    let mut protoc = Command::new("protoc");
    protoc.arg("-I").arg(&protos);
    for plugin in ["go", "go-grpc"] {
        protoc.arg(format!("--{plugin}_out={}", src.display())).arg(format!("--{plugin}_opt={packages}"));
    }
    tool(protoc.args(&names));
    let client = dir.join("client");
    let cache = here.join("../target/go-build");
    std::fs::create_dir_all(&cache).unwrap();
    let mut go = Command::new("go");
    go.env("GO111MODULE", "off").env("GOPATH", format!("{}:{LIBRARIES}", dir.display()));
    go.env("GOCACHE", cache.canonicalize().unwrap()).env("GOFLAGS", "").env("CGO_ENABLED", "0");
    tool(go.arg("build").arg("-o").arg(&client).arg(here.join("go/client.go")));
    client
}

#[test]
fn a_go_client_runs_a_container() {
    if skip_unless_root() {
        return;
    }
    if let Some(missing) = missing() {
        return skip(&missing);
    }
    let (daemon, id) = (Daemon::start(), unique("go"));
    let dir = tempfile::tempdir().unwrap();
    let mut client = Command::new(build(dir.path()));
    client.arg(daemon.address()).arg(daemon.rootfs()).arg(&id);
    let ran = run(&mut client, daemon.dir()).ok();
    let lines = [
        "stdout: ready",
        "exec: to the exec",
        "exec exit: 0",
        "exit: 23 23",
        "error: NotFound",
        "reason: CONTAINER_NOT_FOUND",
        "reason: INVALID_REQUEST",
        "mistake: rootfs.rootfs: \"relative\" is not an absolute path",
    ];
    for line in lines {
        assert!(ran.stdout.contains(line), "{line:?} is not in {ran:?}");
    }
    daemon.finish(&[&id]);
}
