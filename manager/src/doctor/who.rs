//! Who makes containers here: the process whose view is told.

use super::host::Host;

/// `CAP_SYS_ADMIN` of capabilities(7).
const SYS_ADMIN: u32 = 21;
/// `CAP_SYS_RESOURCE`.
pub(super) const SYS_RESOURCE: u32 = 24;

/// A process and its rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its effective user id.
    pub uid: u64,
    /// The user's name, where /etc/passwd has one.
    pub name: Option<String>,
    /// Effective capabilities; bit N is capability N.
    pub capabilities: u64,
    /// Those that it and what it executes can have at most.
    pub bounding: u64,
    /// Programs that it executes get no further rights (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
}

impl Who {
    /// The calling process, as its /proc/self/status says.
    pub fn gather(host: &Host) -> Self {
        let status = host.text("/proc/self/status").unwrap_or_default();
        let line = |key: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            found.unwrap_or_default().trim().to_owned()
        };
        let mask = |key: &str| u64::from_str_radix(&line(key), 16).unwrap_or(0);
        let uid = line("Uid").split_whitespace().nth(1).and_then(|uid| uid.parse().ok()).unwrap_or(0);
        let passwd = host.text("/etc/passwd").unwrap_or_default();
        let name = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
        Self {
            uid,
            name: name.and_then(|line| line.split(':').next()).map(str::to_owned),
            capabilities: mask("CapEff"),
            bounding: mask("CapBnd"),
            no_new_privileges: line("NoNewPrivs") == "1",
        }
    }

    /// Whether it may do what root may with namespaces and mounts.
    pub fn privileged(&self) -> bool {
        self.has(SYS_ADMIN)
    }

    /// Whether it has this capability.
    pub fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }

    /// The name, or the number where there is none.
    pub fn user(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Root with all capabilities.
    pub(in crate::doctor) fn root() -> Who {
        let all = (1 << 41) - 1;
        Who { uid: 0, name: Some("root".into()), capabilities: all, bounding: all, no_new_privileges: false }
    }

    /// A user without any.
    pub(in crate::doctor) fn user() -> Who {
        Who { uid: 1000, name: Some("me".into()), capabilities: 0, ..root() }
    }

    #[test]
    fn a_status_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        let status = "Name:\tx\nUid:\t1\t1000\t3\t4\nCapEff:\t0000000001000000\nCapBnd:\t0000000000200000\nNoNewPrivs:\t1\n";
        std::fs::write(dir.path().join("proc/self/status"), status).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:\nme:x:1000:1000::/:\n").unwrap();
        let who = Who::gather(&Host::below(dir.path()));
        assert_eq!((who.uid, who.user().as_str(), who.no_new_privileges), (1000, "me", true));
        assert!(who.has(SYS_RESOURCE) && !who.privileged() && who.bounding == 1 << 21);
    }
}
