//! Mount propagation between the host and a container (mount_namespaces(7)).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};

/// On a host whose mounts are shared, as systemd makes them, a container starts,
/// and none of its mounts is a peer of the host's: what it mounts stays inside.
#[test]
fn on_shared_mounts_no_mount_of_the_container_is_a_peer_of_the_hosts() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("shared"));
    let bundle = Bundle::without_user().args(&["/bin/probe", "look", "--read", "/proc/self/mountinfo"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "shared"]).arg(sextant_integration::binary("sextant-runtime"));
    command.arg("--root").arg(runtime.root()).arg("run").arg("--bundle").arg(bundle.write()).arg(&id);
    let ran = sextant_integration::process::run(&mut command, bundle.dir()).ok();
    let text = format!("{:?}", ran.seen().contents);
    assert!(text.contains("/proc"), "{text}");
    assert!(!text.contains("shared:"), "{text}");
    runtime.leftovers(&[&id]).assert_none();
}
