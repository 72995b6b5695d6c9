//! `checkpoint` and `restore` through CRIU. Where CRIU cannot work (it fails on
//! kernels newer than it knows), only what is said about that is tested.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::json;
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Bundle, Ran, Runtime, skip, skip_unless_root, unique};
use std::path::Path;
use std::process::{Command, Stdio};

/// A container whose state is a number in memory.
fn counter() -> Bundle {
    Bundle::without_user().args(&["/bin/probe", "count", "/count"]).set("/root/readonly", json!(false))
}

fn count(bundle: &Bundle) -> u64 {
    let text = std::fs::read_to_string(bundle.rootfs().join("count")).unwrap_or_default();
    text.parse().unwrap_or(0)
}

#[track_caller]
fn wait_beyond(bundle: &Bundle, number: u64) {
    assert!(until(DEADLINE, || count(bundle) > number), "it stays at {}", count(bundle));
}

/// Whether CRIU works here; else says why not.
fn works() -> bool {
    match Command::new("criu").arg("check").output() {
        Err(e) => skip(&format!("criu: {e}")),
        Ok(checked) if checked.status.success() => return true,
        Ok(checked) => {
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            skip(&format!("criu cannot work here: {}", said.lines().last().unwrap_or_default()));
        }
    }
    false
}

/// `checkpoint` with these flags.
#[track_caller]
fn checkpoint(runtime: &Runtime, images: &Path, flags: &[&str], id: &str) -> Ran {
    let mut args = vec!["checkpoint", "--image-path", images.to_str().unwrap()];
    args.extend(flags);
    args.push(id);
    runtime.call(args)
}

/// `restore --detach`; its stdio is that of the container.
#[track_caller]
fn restore(runtime: &Runtime, bundle: &Bundle, images: &Path, id: &str) -> Ran {
    let mut command = runtime.command();
    command
        .args(["restore", "--detach", "--image-path"])
        .arg(images)
        .arg("--bundle")
        .arg(bundle.write())
        .arg(id);
    sextant_integration::process::run(&mut command, bundle.dir())
}

// proves: checkpoint, restore (through CRIU)
#[test]
fn a_container_with_state_goes_on_after_its_restore() {
    if skip_unless_root() || !works() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("restore"), counter());
    let images = runtime.dir().join("images");
    runtime.start(&bundle, &id);
    wait_beyond(&bundle, 20);
    checkpoint(&runtime, &images, &[], &id).ok();
    runtime.call(["state", &id]).failed_with(&["does not exist"]);
    let before = count(&bundle);
    std::fs::write(bundle.rootfs().join("count"), "0").unwrap();

    restore(&runtime, &bundle, &images, &id).ok();
    wait_beyond(&bundle, before);
    let state = runtime.state(&id);
    assert_eq!(state["status"], "running", "{state}");
    let pids = runtime.call(["ps", "--format", "json", &id]).ok().stdout;
    assert_eq!(pids.trim(), format!("[{}]", state["pid"]), "it is in its cgroup");
    runtime.call(["pause", &id]).ok();
    runtime.call(["resume", &id]).ok();

    // A container that was restored can be dumped again, and under another id.
    let (again, other) = (runtime.dir().join("again"), unique("other"));
    checkpoint(&runtime, &again, &[], &id).ok();
    let before = count(&bundle);
    restore(&runtime, &bundle, &again, &other).ok();
    wait_beyond(&bundle, before);
    runtime.delete(&other);
    runtime.leftovers(&[&id, &other]).assert_none();
}

#[test]
fn a_dump_can_leave_the_container_running() {
    if skip_unless_root() || !works() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("leave"), counter());
    runtime.start(&bundle, &id);
    wait_beyond(&bundle, 5);
    let (first, second) = (runtime.dir().join("first"), runtime.dir().join("second"));
    let pre_dump = checkpoint(&runtime, &first, &["--pre-dump"], &id);
    if pre_dump.code != 0 && pre_dump.stderr.contains("lacks what it needs") {
        skip("the kernel does not track memory");
    } else {
        pre_dump.ok();
        checkpoint(&runtime, &second, &["--leave-running", "--parent-path", "../first"], &id).ok();
    }
    let work = runtime.dir().join("work");
    let third = runtime.dir().join("third");
    checkpoint(&runtime, &third, &["--leave-running", "--work-path", work.to_str().unwrap()], &id).ok();
    assert!(work.join("dump.log").exists() && !third.join("dump.log").exists());
    assert_eq!(runtime.state(&id)["status"], "running");
    wait_beyond(&bundle, count(&bundle));
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn sources_of_mounts_are_the_bundles() {
    if skip_unless_root() || !works() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("mounts"));
    let [first, second] = ["first", "second"].map(|name| runtime.dir().join(name));
    for dir in [&first, &second] {
        std::fs::create_dir(dir).unwrap();
    }
    let mount = |source: &Path| json!({"destination": "/mnt", "type": "bind", "source": source, "options": ["rbind"]});
    let bundle = counter().args(&["/bin/probe", "count", "/mnt/count"]).mount(mount(&first));
    runtime.start(&bundle, &id);
    let written = |dir: &Path| std::fs::read_to_string(dir.join("count")).is_ok_and(|t| !t.is_empty());
    assert!(until(DEADLINE, || written(&first)));
    let images = runtime.dir().join("images");
    checkpoint(&runtime, &images, &[], &id).ok();

    // Without the mount in the bundle, the image's idea of it counts for nothing.
    let without = counter();
    std::fs::create_dir_all(without.rootfs().join("mnt")).unwrap();
    restore(&runtime, &without, &images, &id).failed_with(&["restore", "criu"]);
    runtime.call(["state", &id]).failed_with(&["does not exist"]);

    let index = bundle.config["mounts"].as_array().unwrap().len() - 1;
    let bundle = bundle.set(&format!("/mounts/{index}"), mount(&second));
    restore(&runtime, &bundle, &images, &id).ok();
    assert!(until(DEADLINE, || written(&second)), "it writes to the bundle's source");
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

/// The reader of a pipe that the command's stdout is; the command has ended well.
fn piped(command: &mut Command) -> std::io::PipeReader {
    let (reader, writer) = std::io::pipe().unwrap();
    let status = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
    reader
}

fn reads(mut reader: &std::io::PipeReader) {
    let mut byte = [0];
    std::io::Read::read_exact(&mut reader, &mut byte).unwrap();
}

#[test]
fn the_pipes_of_a_restored_container_are_those_of_the_restore() {
    if skip_unless_root() || !works() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("pipe"));
    let bundle = counter().args(&["/bin/probe", "count", "/dev/stdout"]);
    let mut run = runtime.command();
    let before = piped(run.args(["run", "--detach", "--bundle"]).arg(bundle.write()).arg(&id));
    reads(&before);
    let images = runtime.dir().join("images");
    checkpoint(&runtime, &images, &[], &id).ok();
    let mut restore = runtime.command();
    restore.args(["restore", "--detach", "--image-path"]).arg(&images);
    let after = piped(restore.arg("--bundle").arg(bundle.dir()).arg(&id));
    reads(&after);
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_joined_network_namespace_is_joined_again() {
    if skip_unless_root() || !works() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("joined"));
    // It answers when it is in a namespace of its own.
    let mut holder = Command::new("unshare")
        .args(["--net", "sh", "-c", "echo; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(&mut holder.stdout.take().unwrap(), &mut [0]).unwrap();
    let namespace = format!("/proc/{}/ns/net", holder.id());
    let bundle = counter().join("network", Path::new(&namespace));
    runtime.start(&bundle, &id);
    wait_beyond(&bundle, 0);
    let images = runtime.dir().join("images");
    checkpoint(&runtime, &images, &[], &id).ok();
    let before = count(&bundle);
    restore(&runtime, &bundle, &images, &id).ok();
    wait_beyond(&bundle, before);
    let link = |path: &str| std::fs::read_link(path).unwrap();
    assert_eq!(link(&format!("/proc/{}/ns/net", runtime.pid(&id))), link(&namespace));
    runtime.delete(&id);
    holder.kill().unwrap();
    holder.wait().unwrap();
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_restore_in_the_foreground_exits_as_the_container_does() {
    if skip_unless_root() || !works() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("foreground"));
    let bundle = counter().args(&["/bin/probe", "sleep", "1000", "--term-exit", "7"]);
    runtime.start(&bundle, &id);
    assert!(until(DEADLINE, || bundle.dir().join("stdout").metadata().is_ok_and(|m| m.len() > 0)));
    let images = runtime.dir().join("images");
    checkpoint(&runtime, &images, &[], &id).ok();
    std::thread::scope(|scope| {
        let restored = scope.spawn(|| {
            let mut command = runtime.command();
            command.args(["restore", "--image-path"]).arg(&images).arg("--bundle").arg(bundle.dir()).arg(&id);
            sextant_integration::process::run(&mut command, bundle.dir())
        });
        let state = || {
            let out = runtime.command().args(["state", &id]).output().unwrap();
            serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap_or_default()
        };
        assert!(until(DEADLINE, || state()["status"] == "running"));
        runtime.call(["kill", &id, "TERM"]).ok();
        restored.join().unwrap().exited(7);
    });
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn what_cannot_be_dumped_is_refused_with_reasons() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("refused"), counter());
    let images = runtime.dir().join("images");
    runtime.create(&bundle, &id).ok();
    checkpoint(&runtime, &images, &[], &id).failed_with(&["cannot be checkpointed", "created"]);
    runtime.call(["start", &id]).ok();
    wait_beyond(&bundle, 0);
    for (flags, words) in [
        (vec!["--manage-cgroups-mode", "hard"], vec!["hard", "soft, full, strict or ignore"]),
        (vec!["--empty-ns", "pid"], vec!["pid", "not supported"]),
        (vec!["--page-server", "nowhere"], vec!["nowhere", "ADDRESS:PORT"]),
        (vec!["--parent-path", "/abs"], vec!["--parent-path", "relative"]),
        (vec!["--parent-path", "../none"], vec!["none", "not a directory"]),
    ] {
        checkpoint(&runtime, &images, &flags, &id).failed_with(&words);
    }
    runtime
        .call(["--criu", "/no/criu", "checkpoint", "--image-path", images.to_str().unwrap(), &id])
        .failed_with(&["/no/criu", "not installed", "--criu"]);
    runtime
        .call(["--criu", "/bin/true", "checkpoint", "--image-path", images.to_str().unwrap(), &id])
        .failed_with(&["CRIU", "ended without an answer"]);
    assert_eq!(runtime.state(&id)["status"], "running");
    wait_beyond(&bundle, count(&bundle));

    if Command::new("criu").arg("--version").output().is_ok() && !works() {
        // The reason is in CRIU's log, and in the message.
        checkpoint(&runtime, &images, &[], &id).failed_with(&["checkpoint", "criu", "hint"]);
        assert_eq!(runtime.state(&id)["status"], "running");
        wait_beyond(&bundle, count(&bundle));
    }
    let none = unique("none");
    restore(&runtime, &bundle, &runtime.dir().join("nowhere"), &none)
        .failed_with(&["--image-path", "nowhere"]);
    runtime.call(["state", &none]).failed_with(&["does not exist"]);
    runtime.delete(&id);
    runtime.leftovers(&[&id, &none]).assert_none();
}
