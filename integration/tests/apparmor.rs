//! AppArmor profiles on a kernel that has it in force, as the machine of
//! `scripts/vm --systemd` has: a profile is loaded under a name of the test's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::json;
use sextant_integration::seen::Answer;
use sextant_integration::{Bundle, Runtime, skip, skip_unless_root, unique};
use std::process::Command;

/// A loaded profile, removed with it.
struct Profile {
    name: String,
    file: tempfile::NamedTempFile,
}

impl Profile {
    /// One that allows all but reading `/etc/passwd`; `None`, said, where none can be loaded.
    fn load() -> Option<Self> {
        if skip_unless_root() {
            return None;
        }
        if !std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|v| v.starts_with(b"Y")) {
            skip("AppArmor is not in force");
            return None;
        }
        let (name, file) = (unique("profile"), tempfile::NamedTempFile::new().unwrap());
        let rules = "file, capability, network, mount, umount, pivot_root, ptrace, signal, unix, dbus,";
        let text = format!("profile {name} flags=(attach_disconnected) {{ {rules} deny /etc/passwd r, }}\n");
        std::fs::write(file.path(), text).unwrap();
        let profile = Self { name, file };
        match profile.parser("--add") {
            Err(error) => {
                skip(&format!("apparmor_parser: {error}"));
                None
            }
            Ok(said) => {
                assert_eq!(said, "");
                Some(profile)
            }
        }
    }

    /// What apparmor_parser(8) has to say.
    fn parser(&self, what: &str) -> std::io::Result<String> {
        let ran =
            Command::new("apparmor_parser").args([what, "--skip-cache"]).arg(self.file.path()).output()?;
        Ok(if ran.status.success() {
            String::new()
        } else {
            String::from_utf8_lossy(&ran.stderr).into_owned()
        })
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove").ok();
    }
}

fn label_of(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap().trim().to_owned()
}

// proves: AppArmor on a real kernel
#[test]
fn the_process_is_under_the_profile_of_the_config() {
    let Some(profile) = Profile::load() else { return };
    let bundle = Bundle::without_user().set("/process/apparmorProfile", json!(profile.name));
    let (runtime, id) = (Runtime::new(), unique("apparmor"));
    let pid = runtime.start(&bundle.sleeping(), &id);
    assert_eq!(label_of(pid), format!("{} (enforce)", profile.name));
    runtime.delete(&id);
    let asks = ["/bin/probe", "--read", "/etc/passwd", "--read", "/proc/self/attr/current"];
    let bundle = Bundle::without_user().set("/process/apparmorProfile", json!(profile.name)).args(&asks);
    let seen = Runtime::seen_in(&bundle);
    assert_eq!(seen.contents["/etc/passwd"], Answer::Errno(libc::EACCES), "the profile is in force");
    let unconfined = Runtime::seen_in(&Bundle::without_user().args(&asks));
    assert!(matches!(unconfined.contents["/etc/passwd"], Answer::Ok(_)), "without it the file can be read");
    runtime.leftovers(&[&id]).assert_none();
}

// proves: AppArmor on a real kernel
#[test]
fn exec_takes_the_containers_profile_or_its_own() {
    let Some(profile) = Profile::load() else { return };
    let Some(other) = Profile::load() else { return };
    let bundle = Bundle::without_user().sleeping().set("/process/apparmorProfile", json!(profile.name));
    let (runtime, id) = (Runtime::new(), unique("apparmor"));
    runtime.start(&bundle, &id);
    let pid_file = runtime.dir().join("pid");
    for (flags, expected) in [(vec![], &profile), (vec!["--apparmor", &other.name], &other)] {
        let mut args = vec!["exec", "--detach", "--pid-file", pid_file.to_str().unwrap()];
        args.extend(flags);
        args.extend([&id, "/bin/probe", "sleep", "1000"]);
        runtime.call(args).ok();
        let pid = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        assert_eq!(label_of(pid), format!("{} (enforce)", expected.name));
    }
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_profile_that_is_not_loaded_is_named() {
    if Profile::load().is_none() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("apparmor"));
    let bundle = Bundle::without_user().set("/process/apparmorProfile", json!("it-no-such-profile"));
    runtime.run(&bundle, &id).failed_with(&["/process/apparmorProfile", "apparmor_parser"]);
    runtime.leftovers(&[&id]).assert_none();
}
