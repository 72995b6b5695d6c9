use super::*;
use serde_json::json;

fn config() -> Value {
    serde_json::to_value(crate::plan::default_spec()).unwrap()
}

fn parse(config: &Value) -> Result<Bundle, Failure> {
    Bundle::parse(Path::new("/b"), &serde_json::to_vec(config).unwrap())
}

fn warnings(config: &Value) -> Vec<String> {
    parse(config).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bundle_is_read_from_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config().to_string()).unwrap();
    let bundle = Bundle::load(dir.path()).unwrap();
    assert_eq!(bundle.dir, dir.path());
    assert_eq!(bundle.spec, crate::plan::default_spec());
}

#[test]
fn a_missing_config_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let failure = Bundle::load(dir.path()).unwrap_err();
    assert_eq!((failure.stage.as_str(), failure.errno), ("load", libc::ENOENT));
    assert!(failure.object.ends_with("/config.json") && !failure.hint.is_empty(), "{failure}");
}

#[test]
fn only_a_regular_file_of_bounded_size_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(Bundle::load(dir.path()).unwrap_err().because.contains("not a regular file"));
    std::fs::remove_file(&path).unwrap();
    std::fs::File::create(&path).unwrap().set_len(MAX_CONFIG + 1).unwrap();
    assert!(Bundle::load(dir.path()).unwrap_err().because.contains("more than the limit"));
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    let failure = Bundle::parse(Path::new("/b"), b"{\n  \"ociVersion\": ,\n}").unwrap_err();
    assert!(failure.because.contains("line 2"), "{failure}");
    assert!(Bundle::parse(Path::new("/b"), b"[]").unwrap_err().because.contains("not a JSON object"));
}

#[test]
fn an_unknown_capability_is_left_out_with_a_warning() {
    let mut config = config();
    config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_TIME_TRAVEL", "SYS_ADMIN"]);
    let bundle = parse(&config).unwrap();
    let pointers: Vec<&str> = bundle.warnings.iter().map(|w| w.pointer.as_str()).collect();
    assert_eq!(pointers, ["/process/capabilities/bounding/1", "/process/capabilities/bounding/2"]);
    let process = bundle.spec.process().as_ref().unwrap();
    assert_eq!(process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap().len(), 1);
}

#[test]
fn null_counts_as_absent() {
    let mut config = config();
    config["process"]["user"] = Value::Null;
    config["linux"]["devices"] = Value::Null;
    config["mounts"][0]["options"] = Value::Null;
    assert_eq!(warnings(&config), [""; 0]);
}

#[test]
fn pids_without_a_limit_is_no_limit() {
    let mut config = config();
    let pids = |config: &Value| {
        let bundle = parse(config).unwrap();
        let resources = bundle.spec.linux().as_ref().unwrap().resources().clone().unwrap();
        resources.pids().map(|p| p.limit())
    };
    config["linux"]["resources"]["pids"] = json!({});
    assert_eq!(pids(&config), None);
    config["linux"]["resources"]["pids"] = json!({"limit": 0});
    assert_eq!(pids(&config), Some(0));
}

#[test]
fn an_unknown_property_is_ignored_aloud() {
    let mut config = config();
    config["linux"]["maskedPath"] = json!(["/proc/kcore"]);
    config["mounts"][2]["opts"] = json!("ro");
    config["freebsd"] = json!({"jail": {}});
    config["process"]["empty"] = json!("");
    assert_eq!(
        warnings(&config),
        ["/freebsd", "/linux/maskedPath", "/mounts/2/opts"]
            .map(|pointer| format!("{pointer}: unknown property, it has no effect"))
    );
}

#[test]
fn known_properties_are_not_taken_for_unknown_ones() {
    let mut config = config();
    config["annotations"] = json!({"a/b": "c"});
    config["linux"]["intelRdt"] = json!({"closID": "x", "schemata": []});
    config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1}});
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}],
    });
    config["linux"]["resources"]["memory"] = json!({"limit": 1, "disableOOMKiller": true, "kernelTCP": 2});
    config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
    config["mounts"][0]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    assert_eq!(warnings(&config), [""; 0]);
    assert_eq!(parse(&config).unwrap().annotations["a/b"], "c");
}

#[test]
fn indices_behind_a_mistake_are_those_of_the_config() {
    let mut config = config();
    for index in [0, 2, 3] {
        config["linux"]["namespaces"][index]["type"] = json!(format!("odd{index}"));
    }
    let failure = parse(&config).unwrap_err();
    assert_eq!(failure.pointer, "/linux/namespaces/0/type");
    for (index, pointer) in [(2, "/linux/namespaces/2/type"), (3, "/linux/namespaces/3/type")] {
        assert!(failure.because.contains(&format!("{pointer}: unknown variant `odd{index}`")), "{failure}");
    }
}

#[test]
fn pointers_are_escaped() {
    assert_eq!(escape("a/b~c"), "a~1b~0c");
}
