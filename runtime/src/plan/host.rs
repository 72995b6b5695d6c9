//! The facts of the machine that a plan depends on. [`Host::probe`] is the one
//! impure function of this module's parent; it lies on the way of every start,
//! so it reads two or three small files and walks nothing.

use crate::cgroup::layout::{Hierarchy, HostCgroups, Layout, Version};
use std::fs;

/// What the planner knows about the machine and the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Effective user id of the caller.
    pub euid: u32,
    /// Effective group id of the caller.
    pub egid: u32,
    /// Permitted capabilities of the caller; bit N is capability N.
    pub permitted: u64,
    /// Bounding set of the caller: what a container outside a user namespace of
    /// its own can be given at most.
    pub bounding: u64,
    /// The highest capability that the kernel knows (`cap_last_cap`).
    pub last_capability: u32,
    /// Release of the kernel, such as `6.1.0-13-amd64`.
    pub kernel_release: String,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// AppArmor is in force.
    pub apparmor: bool,
    /// SELinux is in force.
    pub selinux: bool,
    /// newuidmap(1) and newgidmap(1) are installed; looked for only when the
    /// caller cannot write id maps himself.
    pub newidmap: bool,
    /// The cgroup hierarchies, and where the caller is in them.
    pub cgroups: HostCgroups,
}

const CAP_SETUID: u32 = 7;
const CAP_SYS_ADMIN: u32 = 21;

impl Host {
    /// Looks at this machine. What cannot be read counts as absent.
    pub fn probe() -> Self {
        Self { cgroups: HostCgroups::probe(), ..Self::probe_caller() }
    }

    /// Likewise, without a look at the cgroup hierarchies.
    pub fn probe_caller() -> Self {
        let permitted = crate::sys::privilege::capabilities().map_or(0, |sets| sets.permitted);
        let (bounding, last_capability) = crate::sys::privilege::bounding();
        let release = nix::sys::utsname::uname()
            .map(|names| names.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        Self {
            euid: nix::unistd::geteuid().as_raw(),
            egid: nix::unistd::getegid().as_raw(),
            permitted,
            bounding,
            last_capability,
            kernel: version(&release),
            kernel_release: release,
            apparmor: fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|v| v.starts_with(b"Y")),
            selinux: fs::exists("/sys/fs/selinux/enforce").unwrap_or(false),
            newidmap: !has(permitted, CAP_SETUID) && ["newuidmap", "newgidmap"].iter().all(|p| installed(p)),
            cgroups: HostCgroups::default(),
        }
    }

    /// A machine for tests: root with all capabilities, cgroup2, kernel 6.12, no LSM.
    pub fn sample() -> Self {
        let all = (1 << 41) - 1;
        let unified = Hierarchy {
            name: String::new(),
            version: Version::V2,
            controllers: ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"].map(str::to_owned).into(),
            mount: "/sys/fs/cgroup".into(),
            own: "user.slice".into(),
        };
        Self {
            euid: 0,
            egid: 0,
            permitted: all,
            bounding: all,
            last_capability: 40,
            kernel_release: "6.12.0".into(),
            kernel: (6, 12),
            apparmor: false,
            selinux: false,
            newidmap: false,
            cgroups: HostCgroups { layout: Layout::V2, hierarchies: vec![unified], systemd: None },
        }
    }

    /// Whether the caller may make namespaces other than user namespaces.
    pub fn is_privileged(&self) -> bool {
        has(self.permitted, CAP_SYS_ADMIN)
    }

    /// Whether the caller may write any id map himself (user_namespaces(7)).
    pub fn maps_any_id(&self) -> bool {
        has(self.permitted, CAP_SETUID)
    }
}

fn has(mask: u64, capability: u32) -> bool {
    mask >> capability & 1 == 1
}

/// Major and minor version in a kernel's release.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

fn installed(program: &str) -> bool {
    ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .any(|dir| fs::exists(format!("{dir}/{program}")).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_kernel_and_capabilities() {
        let host = Host::probe();
        assert!(host.kernel >= (4, 0), "{:?}", host.kernel);
        assert!((37..64).contains(&host.last_capability));
        assert_eq!(host.permitted & !host.bounding, 0, "permitted within bounding");
    }

    #[test]
    fn releases() {
        assert_eq!(version("6.1.0-13-amd64"), (6, 1));
        assert_eq!(version("5.4"), (5, 4));
        assert_eq!(version("6.18.44-fc-v657"), (6, 18));
        assert_eq!(version(""), (0, 0));
    }
}
