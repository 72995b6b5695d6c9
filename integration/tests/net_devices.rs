//! `linux.netDevices`: interfaces that become the container's. Each test is in a
//! network namespace of its own, which stands for the host's: its thread is in it,
//! and so are the runtimes that the thread starts. The interfaces are ends of
//! veth pairs, whose other ends stay.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::process::{DEADLINE, run, until};
use sextant_integration::seen::{Answer, Seen};
use sextant_integration::{Bundle, Runtime, skip, skip_unless_root, unique};
use std::process::{Child, Command, Stdio};

/// ip(8) in the caller's network namespace; what it printed, if it succeeded.
fn ip(args: &str) -> Option<String> {
    let output = Command::new("ip").args(args.split(' ')).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// Runs `test` in a new network namespace that has veth pairs of these names, with
/// `peer-NAME` as the other end.
fn on_a_host_with(names: &'static [&'static str], test: impl FnOnce() + Send + 'static) {
    if skip_unless_root() {
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        for name in names {
            if ip(&format!("link add {name} type veth peer name peer-{name}")).is_none() {
                return skip("no veth pairs: neither ip(8) nor the kernel may lack them");
            }
        }
        test();
    });
    thread.join().unwrap();
}

/// What ip(8) knows of an interface, if there is one.
fn facts(name: &str) -> Option<Value> {
    let json = ip(&format!("-j address show dev {name}"))?;
    let all: Value = serde_json::from_str(&json).unwrap();
    Some(all[0].clone())
}

/// Its addresses of this family with a scope that is not the link's.
fn addresses(facts: &Value, family: &str) -> Vec<String> {
    let all = facts["addr_info"].as_array().unwrap().iter();
    all.filter(|a| a["family"] == family && a["scope"] == "global")
        .map(|a| format!("{}/{}", a["local"].as_str().unwrap(), a["prefixlen"]))
        .collect()
}

fn is_up(facts: &Value) -> bool {
    facts["flags"].as_array().unwrap().iter().any(|flag| flag == "UP")
}

fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

/// Makes the pair anew, once the kernel has cleared the namespace that had one end away.
fn renew(name: &str) {
    let made =
        || facts(name).is_some() || ip(&format!("link add {name} type veth peer name peer-{name}")).is_some();
    assert!(until(DEADLINE, made), "{name} cannot be made");
}

fn configure(name: &str) -> Value {
    ip(&format!("link set {name} mtu 1300 address 02:00:00:00:00:07")).unwrap();
    ip(&format!("address add 10.9.8.7/24 broadcast 10.9.8.255 label {name}:a dev {name}")).unwrap();
    ip(&format!("address add 10.9.8.8/24 dev {name}")).unwrap();
    ip(&format!("address add 169.254.7.7/16 scope link dev {name}")).unwrap();
    if has_ipv6() {
        ip(&format!("address add fd00::7/64 dev {name}")).unwrap();
    }
    facts(name).unwrap()
}

/// Both kinds of bundle, with a config of devices, whose probe reads what sysfs knows of `name`.
fn bundles(devices: &Value, name: &str) -> [Bundle; 2] {
    let file = |file: &str| format!("/sys/class/net/{name}/{file}");
    let (mtu, mac) = (file("mtu"), file("address"));
    let args = ["/bin/probe", "--read", &mtu, "--read", &mac];
    [Bundle::new(), Bundle::without_user()].map(|b| b.args(&args).set("/linux/netDevices", devices.clone()))
}

#[track_caller]
fn read<'a>(seen: &'a Seen, path: &str) -> &'a str {
    match &seen.contents[path] {
        Answer::Ok(text) => text.trim(),
        Answer::Errno(errno) => panic!("{path}: errno {errno}"),
    }
}

// proves: netDevices
#[test]
fn an_interface_comes_in_with_its_addresses_under_another_name_and_up() {
    on_a_host_with(&["out0"], || {
        for bundle in bundles(&json!({"out0": {"name": "inner0"}}), "inner0") {
            renew("out0");
            configure("out0");
            let (runtime, id) = (Runtime::new(), unique("net"));
            let seen = runtime.run(&bundle, &id).ok().seen();
            let inner = seen.interfaces.iter().find(|i| i.name == "inner0").unwrap();
            assert!(inner.up, "{inner:?}");
            // getifaddrs(3) tells an address under its label, which follows the name.
            let labelled = seen.interfaces.iter().find(|i| i.name == "inner0:a").unwrap();
            assert_eq!(labelled.addresses, ["10.9.8.7"]);
            let mut expected = vec!["10.9.8.8"];
            if has_ipv6() {
                expected.push("fd00::7");
            }
            let global = |a: &&String| !a.starts_with("fe80");
            assert_eq!(inner.addresses.iter().filter(global).collect::<Vec<_>>(), expected);
            assert_eq!(read(&seen, "/sys/class/net/inner0/mtu"), "1300");
            assert_eq!(read(&seen, "/sys/class/net/inner0/address"), "02:00:00:00:00:07");
            assert_eq!(seen.interfaces.len(), 3, "{:?}", seen.interfaces);
            runtime.leftovers(&[&id]).assert_none();
            assert_eq!(facts("out0"), None);
        }
    });
}

// proves: netDevices
#[test]
fn names_stay_or_are_made_of_a_template() {
    on_a_host_with(&["one", "two", "three"], || {
        let devices = json!({"one": {}, "two": {"name": "eth%d"}, "three": {"name": "eth%d"}});
        let bundle = Bundle::new().set("/linux/netDevices", devices);
        let seen = Runtime::new().run(&bundle, &unique("net")).ok().seen();
        let names: Vec<&str> = seen.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1", "lo", "one"]);
    });
}

/// A process that holds another network namespace.
struct Other(Child);

impl Other {
    fn new() -> Self {
        let sleep = Command::new("unshare").args(["--net", "sleep", "1000"]).stdin(Stdio::null()).spawn();
        let other = Self(sleep.unwrap());
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let is_apart = || std::fs::read_link(other.path()).is_ok_and(|path| path != own);
        assert!(until(DEADLINE, is_apart));
        other
    }

    fn path(&self) -> std::path::PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

// proves: netDevices
#[test]
fn what_cannot_go_is_refused_and_stays() {
    on_a_host_with(&["out0", "out1", "taken"], || {
        let other = Other::new();
        ip(&format!("link set taken netns {}", other.0.id())).unwrap();
        ip("address add 10.9.8.7/24 dev out0").unwrap();
        ip("link set out0 up").unwrap();
        let before = facts("out0").unwrap();
        let joining = |devices: Value| {
            Bundle::without_user().join("network", &other.path()).set("/linux/netDevices", devices)
        };
        for (bundle, words) in [
            // The first one has gone by the time that the second one is refused.
            (
                joining(json!({"out0": {}, "out1": {"name": "taken"}})),
                &["netDevices/out1", "already", "eth%d"][..],
            ),
            (joining(json!({"out0": {}, "zero": {}})), &["netDevices/zero", "no interface of this name"]),
            (joining(json!({"lo": {"name": "lo2"}, "out0": {}})), &["netDevices/lo", "RTM_SETLINK", "lo"]),
            (
                Bundle::without_user()
                    .join("network", "/proc/thread-self/ns/net".as_ref())
                    .set("/linux/netDevices", json!({"out0": {}})),
                &["/linux/netDevices", "is the host's"],
            ),
        ] {
            let (runtime, id) = (Runtime::new(), unique("net"));
            runtime.create(&bundle, &id).failed_with(words);
            let after = facts("out0").unwrap();
            assert_eq!(addresses(&after, "inet"), addresses(&before, "inet"), "{words:?}");
            assert!(is_up(&after) && facts("out1").is_some_and(|f| !is_up(&f)), "{words:?}");
            runtime.leftovers(&[&id]).assert_none();
        }
    });
}

// proves: netDevices
#[test]
fn an_interface_comes_back_whatever_fails() {
    let Some(normal) = Runtime::of("sextant-runtime-faults") else {
        return skip("no sextant-runtime-faults: scripts/build --faults makes it");
    };
    on_a_host_with(&["out0"], move || {
        let before = configure("out0");
        let devices = json!({"out0": {"name": "inner0"}});
        let [_, bundle] = bundles(&devices, "inner0");
        let fail = json!([{"path": "/bin/false", "args": ["false"]}]);
        let mut faults = vec![String::new()];
        let path = bundle.write().to_owned();
        let id = unique("net");
        let args = ["create", "--bundle", path.to_str().unwrap(), &id].map(std::ffi::OsStr::new);
        let (ran, records) = normal.report(&args, normal.dir());
        ran.ok();
        normal.delete(&id);
        renew("out0");
        configure("out0");
        let mut seen = std::collections::BTreeMap::new();
        for record in &records {
            let name = record["stage"].as_str().unwrap();
            let who = if record["pid"] == 1 { "child" } else { "parent" };
            let nth = seen.entry((name, who)).or_insert(0);
            *nth += 1;
            let stage = format!("{name}#{nth}@{who}");
            faults.push(format!("fail:{stage}"));
            if record["pid"] == 1 {
                faults.push(format!("die:{stage}"));
            }
            if stage.starts_with("net-device") {
                faults.push(format!("fail-after:{stage}"));
            }
        }
        assert!(faults.iter().any(|fault| fault == "fail-after:net-device/0#1@parent"), "{faults:?}");
        for fault in faults {
            let [_, bundle] = bundles(&devices, "inner0");
            let bundle =
                if fault.is_empty() { bundle.set("/hooks/createContainer", fail.clone()) } else { bundle };
            let runtime = Runtime::of("sextant-runtime-faults").unwrap();
            let id = unique("net");
            let mut command = runtime.command();
            command.args(["create", "--bundle"]).arg(bundle.write()).arg(&id).env("SEXTANT_FAULT", &fault);
            let ran = run(&mut command, runtime.dir());
            if ran.code == 0 && fault == "die:ready#1@child" {
                // Too late for the creation: the kernel has taken it with the namespace.
                runtime.delete(&id);
                renew("out0");
                configure("out0");
                continue;
            }
            assert_eq!(ran.code, 1, "{fault}: {}", ran.stderr);
            let after = facts("out0").unwrap_or_else(|| panic!("{fault}: it is gone: {}", ran.stderr));
            for family in ["inet", "inet6"] {
                assert_eq!(addresses(&after, family), addresses(&before, family), "{fault}");
            }
            assert!(!is_up(&after), "{fault}: it was down");
            assert_eq!(after["mtu"], 1300, "{fault}");
            let label = after["addr_info"].as_array().unwrap().iter().any(|a| a["label"] == "out0:a");
            assert!(label, "{fault}: {after}");
            runtime.leftovers(&[&id]).assert_none();
        }
    });
}
