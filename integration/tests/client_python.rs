//! A client of another language: Python's grpcio, with stubs generated from
//! proto/, runs a container. `scripts/test` makes its environment and names the
//! interpreter in `SEXTANT_PYTHON`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use sextant_integration::process::run;
use sextant_integration::{Daemon, skip, skip_unless_root, unique};
use std::path::Path;
use std::process::Command;

#[test]
fn a_python_client_runs_a_container() {
    if skip_unless_root() {
        return;
    }
    let Some(python) = std::env::var_os("SEXTANT_PYTHON") else {
        return skip("SEXTANT_PYTHON names no interpreter with grpcio");
    };
    let (daemon, id) = (Daemon::start(), unique("python"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = Command::new(python);
    client.arg(here.join("python/client.py")).arg(here.join("../proto/proto"));
    client.arg(daemon.address()).arg(daemon.rootfs()).arg(&id);
    let ran = run(&mut client, daemon.dir()).ok();
    let lines = [
        "stdout: ready",
        "exec: to the exec",
        "exec exit: 0",
        "\nexit: 23",
        "error: NOT_FOUND CONTAINER_NOT_FOUND",
    ];
    for line in lines {
        assert!(ran.stdout.contains(line), "{line:?} is not in {ran:?}");
    }
    daemon.finish(&[&id]);
}
