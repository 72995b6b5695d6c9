//! The daemon as a service of systemd, from the units of this project, in a
//! machine where systemd is pid 1 (`scripts/vm --systemd`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sextant_integration::bundle::{make_rootfs, temp_dir};
use sextant_integration::process::{DEADLINE, Ran, run, until};
use sextant_integration::{binary, skip, skip_unless_root, unique};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const SERVICE: &str = include_str!("../../manager/systemd/sextantd.service");
const SOCKET: &str = include_str!("../../manager/systemd/sextantd.socket");

/// The installed units under names and directories of this test.
struct Service {
    dir: TempDir,
    name: String,
}

impl Service {
    fn install() -> Self {
        let (dir, name) = (temp_dir(), unique("service"));
        make_rootfs(&dir.path().join("rootfs"));
        let this = Self { dir, name };
        let at = |name: &str| this.dir.path().join(name).display().to_string();
        let daemon = format!(
            "ExecStart={} --root {} --state {}",
            binary("sextantd").display(),
            at("root"),
            at("state")
        );
        let service = SERVICE
            .replace("ExecStart=@PREFIX@/bin/sextantd", &daemon)
            .replace("sextantd.socket", &this.unit("socket"));
        let socket = SOCKET.replace("/run/sextant/sextantd.sock", &at("run/sextantd.sock"));
        std::fs::write(unit_path(&this.unit("service")), service).unwrap();
        std::fs::write(unit_path(&this.unit("socket")), socket).unwrap();
        systemctl(&["daemon-reload"]).ok();
        this
    }

    fn unit(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    fn show(&self, property: &str) -> String {
        let shown = systemctl(&["show", "--property", property, "--value", &self.unit("service")]);
        shown.stdout.trim().to_owned()
    }

    fn pid(&self) -> Option<i32> {
        self.show("MainPID").parse().ok().filter(|pid| *pid > 0)
    }

    fn sextant(&self, args: &[&str]) -> Ran {
        let address = format!("unix:{}", self.dir.path().join("run/sextantd.sock").display());
        run(Command::new(binary("sextant")).arg("--address").arg(address).args(args), self.dir.path())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for kind in ["socket", "service"] {
            systemctl(&["stop", &self.unit(kind)]);
            std::fs::remove_file(unit_path(&self.unit(kind))).unwrap();
        }
        systemctl(&["daemon-reload"]);
    }
}

fn unit_path(unit: &str) -> PathBuf {
    Path::new("/run/systemd/system").join(unit)
}

fn systemctl(args: &[&str]) -> Ran {
    run(Command::new("systemctl").args(args), temp_dir().path())
}

#[test]
fn containers_live_through_crash_restart_and_stop_of_the_service() {
    if skip_unless_root() {
        return;
    }
    if std::fs::read_to_string("/proc/1/comm").unwrap().trim() != "systemd" {
        skip("systemd is not pid 1");
        return;
    }
    let service = Service::install();
    systemctl(&["start", &service.unit("socket")]).ok();
    assert_eq!(service.show("ActiveState"), "inactive");
    // The first client starts the daemon, through the socket.
    let id = unique("unit");
    let rootfs = service.dir.path().join("rootfs").display().to_string();
    let command = ["/bin/probe", "sleep", "1000"];
    service.sextant(&[&["run", "-d", "--name", &id, "--rootfs", &rootfs, "--"], &command[..]].concat()).ok();
    assert_eq!(service.show("ActiveState"), "active");
    assert!(
        until(DEADLINE, || service.show("StatusText") == "1 containers, 1 running"),
        "{}",
        service.show("StatusText")
    );
    let container = || service.sextant(&["inspect", &id]).ok().json()[0].clone();
    let pid = container()["pid"].clone();

    let first = service.pid().unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    assert!(until(DEADLINE, || service.pid().is_some_and(|pid| pid != first)), "systemd starts it again");
    assert_eq!((&container()["status"], &container()["pid"]), (&"running".into(), &pid));

    systemctl(&["restart", &service.unit("service")]).ok();
    assert_eq!((&container()["status"], &container()["pid"]), (&"running".into(), &pid));

    systemctl(&["stop", &service.unit("socket"), &service.unit("service")]).ok();
    assert!(Path::new("/proc").join(pid.to_string()).exists(), "a stop leaves it");
    systemctl(&["start", &service.unit("socket")]).ok();
    assert_eq!((&container()["status"], &container()["pid"]), (&"running".into(), &pid));
    service.sextant(&["rm", "--force", &id]).ok();
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
}
