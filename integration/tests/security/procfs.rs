//! False procfs and devices, sysctls that go elsewhere (rules R2, R3, R10).

use super::*;

#[test]
fn cve_2019_19921_a_volume_over_proc_is_refused() {
    if skip_unless_root() {
        return;
    }
    for destination in ["/proc", "/proc/self/attr", "/proc/sys", "/sys/kernel"] {
        let host = Host::new();
        for kind in [
            json!({"type": "tmpfs", "source": "tmpfs"}),
            json!({"type": "bind", "source": host.path(), "options": ["rbind"]}),
        ] {
            // The config's own proc goes first: nothing but this mount is at fault.
            let mut mount = kind;
            mount["destination"] = json!(destination);
            let bundle = Bundle::new().mount(mount);
            let index = bundle.config["mounts"].as_array().unwrap().len() - 1;
            refused(&bundle, &[&format!("/mounts/{index}"), destination]);
        }
        host.assert_untouched();
    }
}

#[test]
fn cve_2023_28642_a_volume_does_not_get_over_proc_through_a_link() {
    if skip_unless_root() {
        return;
    }
    // What the config calls /mnt is for the image to say.
    for (link, destination) in [("/proc", "/mnt/sys"), ("/proc/self/attr", "/mnt"), ("/sys", "/mnt/kernel")] {
        for bundle in both() {
            let host = Host::new();
            relink(&bundle, "mnt", Path::new(link));
            let index = bundle.config["mounts"].as_array().unwrap().len();
            let bundle = bundle.mount(json!({
                "destination": destination, "type": "bind", "source": host.path(), "options": ["rbind"],
            }));
            refused(&bundle, &[&format!("/mounts/{index}"), destination, "symbolic link"]);
            let bundle = bundle.edit(|config| {
                config["mounts"][index] =
                    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"});
            });
            refused(&bundle, &[&format!("/mounts/{index}"), destination, "symbolic link"]);
            host.assert_untouched();
        }
    }
}

#[test]
fn cve_2025_31133_a_false_dev_null_of_the_image_is_not_the_mask() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let host = Host::new();
        // No tmpfs at /dev: the image's own /dev/null is what a careless mask would bind.
        let bundle = bundle
            .edit(|c| {
                c["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"))
            })
            .set("/linux/maskedPaths", json!(["/etc/passwd"]))
            .args(&["/bin/probe", "--read", "/etc/passwd"]);
        std::fs::create_dir_all(bundle.rootfs().join("dev")).unwrap();
        relink(&bundle, "dev/null", &host.path().join("secret"));
        std::fs::write(bundle.rootfs().join("etc/shadow"), "of the image").unwrap();
        let ran = Runtime::new().run(&bundle, &unique("mask"));
        if ran.code == 0 {
            assert_eq!(ran.seen().contents["/etc/passwd"], Answer::Ok(String::new()));
        } else {
            ran.failed_with(&["/dev/null"]);
        }
        host.assert_untouched();
    }
}

#[test]
fn cri_o_2022_0811_a_sysctl_value_cannot_carry_a_second_one() {
    if skip_unless_root() {
        return;
    }
    let before = look::sysctl("kernel.core_pattern").unwrap();
    for (key, value) in [
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/evil"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil"),
        ("kernel.shm_rmid_forced=1+kernel.core_pattern", "|/evil"),
        ("kernel/../kernel/core_pattern", "|/evil"),
        ("net.ipv4.../../../kernel/core_pattern", "|/evil"),
        ("kernel.core_pattern", "|/evil"),
    ] {
        let (runtime, id) = (Runtime::new(), unique("sysctl"));
        let ran = runtime.create(&Bundle::new().set("/linux/sysctl", json!({key: value})), &id);
        ran.failed_with(&["/linux/sysctl"]);
        runtime.leftovers(&[&id]).assert_none();
    }
    assert_eq!(look::sysctl("kernel.core_pattern").unwrap(), before);
}

#[test]
fn cve_2022_0532_a_sysctl_of_a_shared_namespace_is_refused() {
    if skip_unless_root() {
        return;
    }
    for (kind, key) in
        [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.msgmax"), ("uts", "kernel.domainname")]
    {
        let before = look::sysctl(key).unwrap();
        let bundle = Bundle::without_user().edit(|config| {
            sextant_integration::bundle::remove_namespace(config, kind);
            if kind == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
            config["linux"]["sysctl"] = json!({key: "1"});
        });
        refused(&bundle, &["/linux/sysctl/", key]);
        assert_eq!(look::sysctl(key).unwrap(), before);
    }
}
