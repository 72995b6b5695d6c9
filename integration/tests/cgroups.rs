//! How processes get into a cgroup of version 1. Version 2 against the kernel: what it has of every limit that a config can
//! set, read back from the live container; and to whom the cgroup belongs. They skip
//! themselves where version 2 is not the only one (`scripts/vm` has it).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::{Value, json};
use sextant_integration::bundle::{HOST_ID, set};
use sextant_integration::seen::Answer;
use sextant_integration::{Bundle, Runtime, cgroup, skip, skip_unless_root, unique};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

fn skip_without_v2() -> bool {
    if skip_unless_root() {
        return true;
    }
    let other = !cgroup::is_version_2_alone();
    if other {
        skip("cgroup version 2 is not the only one");
    }
    other
}

/// The flags of each driver that works here.
fn drivers() -> Vec<&'static [&'static str]> {
    if Path::new("/run/systemd/private").exists() { vec![&[], &["--systemd-cgroup"]] } else { vec![&[]] }
}

/// A container in a cgroup, by a driver.
struct Live {
    runtime: Runtime,
    id: String,
    dir: PathBuf,
}

impl Live {
    #[track_caller]
    fn start(bundle: &Bundle, flags: &[&str]) -> Self {
        let (runtime, id) = (Runtime::new(), unique("v2"));
        runtime.create_with(flags, bundle, &id).ok();
        let dir = cgroup::dir(runtime.pid(&id), "");
        Self { runtime, id, dir }
    }

    fn read(&self, file: &str) -> String {
        let path = self.dir.join(file);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
    }

    #[track_caller]
    fn assert_values(&self, expected: &[(&str, &str)]) {
        for (file, value) in expected {
            assert_eq!(self.read(file), *value, "{file}");
        }
    }

    #[track_caller]
    fn end(&self) {
        self.runtime.delete(&self.id);
        self.runtime.leftovers(&[&self.id]).assert_none();
    }
}

fn waiting(resources: Value) -> Bundle {
    Bundle::without_user().set("/linux/resources", resources)
}

/// `major:minor` of a disk of this machine.
fn disk() -> Option<(u64, u64)> {
    let names = std::fs::read_dir("/sys/block").ok()?.filter_map(|e| Some(e.ok()?.path().join("dev")));
    let text = names.filter_map(|path| std::fs::read_to_string(path).ok()).min()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

// proves: live limits of cgroup version 2
#[test]
fn every_field_is_in_the_kernels_file() {
    if skip_without_v2() {
        return;
    }
    let resources = json!({
        "memory": {"limit": 50_331_648, "reservation": 16_777_216, "swap": 67_108_864},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "burst": 1_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 17},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
    });
    for flags in drivers() {
        let live = Live::start(&waiting(resources.clone()), flags);
        live.assert_values(&[
            ("memory.max", "50331648"),
            ("memory.low", "16777216"),
            ("memory.swap.max", "16777216"),
            ("cpu.weight", "59"),
            ("cpu.max", "50000 100000"),
            ("cpu.max.burst", "1000"),
            ("cpuset.cpus", "0"),
            ("cpuset.cpus.effective", "0"),
            ("cpuset.mems", "0"),
            ("pids.max", "17"),
            ("hugetlb.2MB.max", "4194304"),
            ("hugetlb.2MB.rsvd.max", "4194304"),
        ]);
        live.end();
    }
}

// proves: live limits of cgroup version 2
#[test]
fn unlimited_and_idle_are_in_the_kernels_files() {
    if skip_without_v2() {
        return;
    }
    let resources = json!({
        "memory": {"limit": -1, "swap": -1},
        "cpu": {"quota": -1, "period": 50_000, "idle": 1},
        "pids": {"limit": -1},
    });
    for flags in drivers() {
        let live = Live::start(&waiting(resources.clone()), flags);
        live.assert_values(&[
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("cpu.max", "max 50000"),
            ("cpu.idle", "1"),
            ("pids.max", "max"),
        ]);
        live.end();
    }
}

// proves: live limits of cgroup version 2
#[test]
fn unified_files_are_written_as_they_are() {
    if skip_without_v2() {
        return;
    }
    let files = json!({
        "memory.min": "4194304", "memory.high": "41943040", "memory.oom.group": "1", "memory.swap.high": "8388608",
        "cpu.weight": "7", "cpu.max": "25000 50000", "cpuset.cpus.partition": "member", "pids.max": "11",
        "hugetlb.2MB.max": "2097152", "cgroup.max.depth": "3", "cgroup.max.descendants": "5",
    });
    for flags in drivers() {
        let live = Live::start(&waiting(json!({"unified": files})), flags);
        let expected: Vec<_> = files
            .as_object()
            .unwrap()
            .iter()
            .map(|(file, value)| (file.as_str(), value.as_str().unwrap()))
            .collect();
        live.assert_values(&expected);
        live.end();
    }
}

// proves: live limits of cgroup version 2
#[test]
fn block_io_is_in_the_kernels_files() {
    if skip_without_v2() {
        return;
    }
    let Some((major, minor)) = disk() else { return skip("no block device is here") };
    let device = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": device(1_048_576), "throttleWriteBpsDevice": device(2_097_152),
        "throttleReadIOPSDevice": device(300), "throttleWriteIOPSDevice": device(400),
    }});
    for flags in drivers() {
        let live = Live::start(&waiting(resources.clone()), flags);
        let line = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=300 wiops=400");
        live.assert_values(&[("io.max", &line)]);
        live.end();
    }
}

/// Containers with user and cgroup namespaces whose `/sys/fs/cgroup` has this option.
fn with_cgroup_mount(option: &str) -> Bundle {
    Bundle::new().set("/process/user/uid", json!(5)).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let mount = mounts.iter_mut().find(|m| m["type"] == "cgroup").unwrap();
        set(mount, "/options", json!(["nosuid", "noexec", "nodev", option]));
        set(config, "/linux/resources/memory", json!({"limit": 50_331_648}));
    })
}

// proves: cgroup ownership
#[test]
fn a_writable_cgroup_belongs_to_the_containers_user() {
    if skip_without_v2() {
        return;
    }
    for flags in drivers() {
        for (option, owner) in [("rw", HOST_ID + 5), ("ro", 0)] {
            let live = Live::start(&with_cgroup_mount(option), flags);
            for file in [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                assert_eq!(live.dir.join(file).metadata().unwrap().uid(), owner, "{option} {file}");
            }
            for file in ["memory.max", "pids.max", "cgroup.freeze"] {
                assert_eq!(
                    live.dir.join(file).metadata().unwrap().uid(),
                    0,
                    "{option} {file}: limits stay the host's"
                );
            }
            live.end();
        }
    }
}

// proves: cgroup ownership
#[test]
fn the_containers_user_makes_cgroups_and_lifts_no_limit() {
    if skip_without_v2() {
        return;
    }
    let asks = ["--mkdir", "/sys/fs/cgroup/below", "--write", "/sys/fs/cgroup/memory.max"];
    let bundle = with_cgroup_mount("rw").edit(|config| {
        let args: Vec<_> = ["/bin/probe"].iter().chain(&asks).collect();
        config["process"]["args"] = json!(args);
    });
    let seen = Runtime::seen_in(&bundle);
    assert_eq!(seen.mkdirs[asks[1]], Answer::Ok(()));
    assert_eq!(seen.writes[asks[3]], Answer::Errno(libc::EACCES));
}

/// Which of `tasks` and `cgroup.procs` in this cgroup have been written to since the last look.
fn written(inotify: &Inotify) -> Vec<OsString> {
    let mut files: Vec<OsString> =
        inotify.read_events().unwrap_or_default().into_iter().filter_map(|event| event.name).collect();
    files.retain(|file| ["tasks", "cgroup.procs"].iter().any(|name| file.as_os_str() == *name));
    files.dedup();
    files
}

// A pid in `cgroup.procs` waits for a grace period of RCU, and lets every other change of cgroups wait.
#[test]
fn a_process_joins_its_cgroups_of_version_1_by_itself() {
    if skip_unless_root() {
        return;
    }
    if !cgroup::is_version_1("freezer") {
        return skip("there is no freezer of version 1");
    }
    let (runtime, id) = (Runtime::new(), unique("v1"));
    let path = format!("/{id}");
    // One that is there and empty is used.
    let dir = Path::new(cgroup::ROOT).join("freezer").join(&id);
    std::fs::create_dir(&dir).unwrap();
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
    inotify.add_watch(&dir, AddWatchFlags::IN_MODIFY).unwrap();
    let bundle = Bundle::new().sleeping().set("/linux/cgroupsPath", json!(path));
    let pid = runtime.start(&bundle, &id);
    assert_eq!(written(&inotify), ["tasks"]);
    runtime.call(["exec", &id, "/bin/probe", "exit", "0"]).ok();
    assert_eq!(written(&inotify), ["tasks"]);
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(text.lines().all(|line| line.ends_with(&path)), "{text}");
    runtime.call(["delete", "--force", &id]).ok();
}

#[test]
fn a_process_that_joins_namespaces_is_cloned_into_its_cgroup() {
    if skip_unless_root() {
        return;
    }
    let root = [cgroup::ROOT.to_owned(), format!("{}/unified", cgroup::ROOT)];
    let Some(root) = root.iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists()) else {
        return skip("there is no cgroup version 2");
    };
    let (runtime, id) = (Runtime::new(), unique("born"));
    let dir = root.join(&id);
    std::fs::create_dir(&dir).unwrap();
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
    inotify.add_watch(&dir, AddWatchFlags::IN_MODIFY).unwrap();
    let bundle = Bundle::without_user().sleeping().set("/linux/cgroupsPath", json!(format!("/{id}")));
    let pid = runtime.start(&bundle.join("ipc", Path::new("/proc/self/ns/ipc")), &id);
    assert_eq!(written(&inotify), Vec::<OsString>::new());
    assert_eq!(std::fs::read_to_string(dir.join("cgroup.procs")).unwrap().trim(), pid.to_string());
    runtime.call(["delete", "--force", &id]).ok();
}
