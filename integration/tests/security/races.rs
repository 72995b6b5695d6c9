//! An attacker who swaps a path of the image with a link to the host, as fast as
//! he can, while containers start (rules R1, R2, R3).

use super::*;

/// Tells the attacker to stop, also when the test ends by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts containers of `bundle` while `path` in its root, a directory or a file, is
/// exchanged with a link to `target` all the time. It may be refused; the host's
/// directory is as it was, and the container never shows what is in it.
#[track_caller]
fn race(bundle: &Bundle, path: &str, host: &Host, target: &Path) {
    let place = bundle.rootfs().join(path);
    let (parent, name) = (place.parent().unwrap(), place.file_name().unwrap().to_str().unwrap());
    let other = format!("{name}-other");
    let depth = "../".repeat(12);
    symlink(Path::new(&depth).join(target.strip_prefix("/").unwrap()), parent.join(&other)).unwrap();
    let stop = AtomicBool::new(false);
    let rounds = std::env::var("SEXTANT_RACES").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let bad = std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = open(parent, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                renameat2(&dir, name, &dir, other.as_str(), RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let _stop = Stop(&stop);
        let runtime = Runtime::new();
        let round = |_: &u32| {
            let ran = runtime.run(bundle, &unique("race"));
            let names = std::fs::read_dir(host.path()).unwrap().count();
            let touched = names != 1
                || std::fs::read_to_string(host.path().join("secret")).ok().as_deref() != Some("of the host");
            (touched || ran.stdout.contains("of the host") || ![0, 1].contains(&ran.code)).then_some(ran)
        };
        (0..rounds).find_map(|n| round(&n))
    });
    assert!(bad.is_none(), "{path}: {bad:?}");
    host.assert_untouched();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(&host.path().display().to_string()), "mounted on the host: {table}");
}

#[test]
fn cve_2025_31133_a_masked_path_that_is_swapped_masks_nothing_of_the_host() {
    if skip_unless_root() {
        return;
    }
    let host = Host::new();
    let bundle = Bundle::without_user().set("/linux/maskedPaths", json!(["/mnt/secret", "/mnt/dir/secret"]));
    std::fs::create_dir(bundle.rootfs().join("mnt/dir")).unwrap();
    std::fs::write(bundle.rootfs().join("mnt/dir/secret"), "of the image").unwrap();
    race(&bundle, "mnt/dir", &host, host.path());
}

#[test]
fn cve_2024_21626_a_working_directory_that_is_swapped_stays_inside() {
    if skip_unless_root() {
        return;
    }
    let host = Host::new();
    let bundle = Bundle::without_user().set("/process/cwd", json!("/mnt/dir/made")).args(&[
        "/bin/probe",
        "--read",
        "secret",
        "--read",
        "../secret",
    ]);
    std::fs::create_dir(bundle.rootfs().join("mnt/dir")).unwrap();
    race(&bundle, "mnt/dir", &host, host.path());
}

#[test]
fn cve_2026_41579_a_dev_that_is_swapped_makes_no_nodes_on_the_host() {
    if skip_unless_root() {
        return;
    }
    let host = Host::new();
    // Without a mount on /dev the nodes and links are made in the image's own.
    let bundle = Bundle::without_user().edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    });
    race(&bundle, "dev", &host, host.path());
}

#[test]
fn cve_2025_52565_a_device_that_is_swapped_is_not_bound_elsewhere() {
    if skip_unless_root() {
        return;
    }
    let host = Host::new();
    let bundle = Bundle::new().without_mappings().edit(|config| {
        sextant_integration::bundle::remove_namespace(config, "user");
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    });
    std::fs::write(bundle.rootfs().join("dev/null"), "").unwrap();
    std::fs::write(bundle.rootfs().join("dev/console"), "").unwrap();
    race(&bundle, "dev/null", &host, &host.path().join("secret"));
}

#[test]
fn cve_2025_52881_a_false_procfs_that_is_swapped_takes_no_sysctl() {
    if skip_unless_root() {
        return;
    }
    let host = Host::new();
    let fake = "proc/sys/net/ipv4";
    // No mount on /proc: what the image has there must not be written to either.
    let bundle = Bundle::without_user()
        .edit(|config| {
            config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/proc");
            config["linux"]["readonlyPaths"] = json!([]);
            config["linux"]["maskedPaths"] = json!([]);
        })
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    std::fs::create_dir_all(bundle.rootfs().join(fake)).unwrap();
    let file = bundle.rootfs().join(fake).join("ip_forward");
    std::fs::write(&file, "of the image").unwrap();
    race(&bundle, "proc/sys/net/ipv4/ip_forward", &host, &host.path().join("secret"));
    for name in ["ip_forward", "ip_forward-other"] {
        let path = bundle.rootfs().join(fake).join(name);
        if !path.is_symlink() {
            assert_eq!(std::fs::read_to_string(path).unwrap(), "of the image");
        }
    }
}

#[test]
fn cve_2021_30465_a_cgroup_directory_that_is_swapped_stays_inside() {
    if skip_unless_root() {
        return;
    }
    let host = Host::new();
    let bundle = Bundle::without_user().edit(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/sys");
    });
    std::fs::create_dir_all(bundle.rootfs().join("sys/fs/cgroup")).unwrap();
    race(&bundle, "sys/fs/cgroup", &host, host.path());
}
