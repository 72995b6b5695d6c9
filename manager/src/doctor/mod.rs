//! What this host can and cannot do for containers, what follows for the user, and the command that mends
//! it (docs/doctor.md).
//!
//! Each subject has one file with two halves: `Facts::gather` looks, through a [`host::Host`], and changes
//! nothing; `judge` turns what was found into [`check::Check`]s, and is pure. [`capacity`] estimates how many
//! containers fit. The daemon tells its own view (`System.Doctor`), and `sextant doctor` that of its process.

pub mod capacity;
pub mod cgroups;
pub mod check;
pub mod cost;
pub mod files;
pub mod host;
pub mod ids;
pub mod kernel;
pub mod limits;
pub mod mounts;
pub mod namespaces;
pub mod security;
pub mod who;

use capacity::Ask;
use check::Report;
use host::Host;

/// What the daemon is set to, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its directories and programs.
    pub places: files::Places,
    /// Its ids: the first, ids in a range, ranges.
    pub pool: (u64, u64, u64),
}

/// All that is known of a host.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each is described where its type is")]
pub struct Facts {
    pub who: who::Who,
    pub kernel: kernel::Facts,
    pub cgroups: cgroups::Facts,
    pub namespaces: namespaces::Facts,
    pub ids: ids::Facts,
    pub security: security::Facts,
    pub limits: limits::Facts,
    pub files: files::Facts,
    /// Open descriptors of the process.
    pub descriptors: u64,
    /// CPUs that the process may run on.
    pub cpus: u64,
}

impl Facts {
    /// As the calling process sees its host. Reads files and executes runtime and shim for their versions.
    pub fn gather(host: &Host, settings: &Settings) -> Self {
        let who = who::Who::gather(host);
        let files = files::Facts::gather(host, &settings.places);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            kernel: kernel::Facts::gather(host, files.root.filesystem.clone()),
            cgroups: cgroups::Facts::gather(host, &who),
            namespaces: namespaces::Facts::gather(host),
            ids: ids::Facts::gather(host, &who, settings.pool),
            security: security::Facts::gather(host),
            limits: limits::Facts::gather(host, &who),
            descriptors: std::fs::read_dir(host.path("/proc/self/fd")).map_or(0, |dir| count(dir.count())),
            cpus: std::thread::available_parallelism().map_or(1, |n| count(n.get())),
            files,
            who,
        }
    }
}

/// Looks at this host, and judges it.
pub fn examine(settings: &Settings, ask: Ask) -> Report {
    judge(&Facts::gather(&Host::here(), settings), ask)
}

/// What follows from what is known. Pure.
pub fn judge(facts: &Facts, ask: Ask) -> Report {
    let capacity = capacity::estimate(facts, ask);
    let own = env!("CARGO_PKG_VERSION");
    let checks = [
        kernel::judge(&facts.kernel),
        cgroups::judge(&facts.cgroups, &facts.who),
        namespaces::judge(&facts.namespaces, &facts.who),
        ids::judge(&facts.ids, &facts.who),
        security::judge(&facts.security, &facts.who),
        capacity::judge(&capacity),
        limits::judge(&facts.limits),
        files::judge(&facts.files, &facts.who, own),
    ];
    Report {
        user: format!("{} (uid {})", facts.who.user(), facts.who.uid),
        pid: std::process::id(),
        kernel: facts.kernel.release.clone(),
        cgroup: facts.cgroups.layout.map_or("none", crate::info::CgroupLayout::name),
        cpus: facts.cpus,
        memory: facts.limits.memory,
        checks: checks.concat(),
        capacity,
    }
}

#[cfg(test)]
mod tests {
    use super::check::{Level, Subject};
    use super::*;

    /// A usual host: Debian's kernel and limits, cgroup v2, root, everything installed.
    pub(super) fn debian() -> Facts {
        let mut files = files::tests::installed();
        files.runtime.1 = Some(env!("CARGO_PKG_VERSION").into());
        files.shim.1 = Some(env!("CARGO_PKG_VERSION").into());
        Facts {
            who: who::tests::root(),
            kernel: kernel::tests::of_version("6.18.0"),
            cgroups: cgroups::tests::v2(),
            namespaces: namespaces::tests::plain(),
            ids: ids::tests::plenty(),
            security: security::tests::apparmor(),
            limits: limits::tests::debian(),
            files,
            descriptors: 20,
            cpus: 2,
        }
    }

    #[test]
    fn a_usual_host_is_well() {
        let report = judge(&debian(), Ask::default());
        let bad: Vec<_> = report.checks.iter().filter(|check| check.level != Level::Ok).collect();
        assert!(bad.is_empty() && report.able(), "{bad:?}");
        for subject in Subject::ALL {
            assert!(report.checks.iter().any(|check| check.subject == subject), "{subject:?}");
        }
    }

    #[test]
    fn what_is_bad_says_what_follows_and_what_is_needed_is_mended() {
        let mut facts = debian();
        facts.who = who::tests::user();
        facts.kernel = kernel::tests::of_version("4.18.0");
        facts.cgroups.layout = None;
        facts.namespaces.unprivileged = Some(0);
        facts.ids.programs = Default::default();
        facts.limits.nofile = (10, 10);
        facts.files.shim.1 = None;
        let report = judge(&facts, Ask::default());
        assert!(!report.able());
        for check in report.checks.iter().filter(|check| check.level > Level::Ok) {
            assert!(check.follows.ends_with('.') && !check.source.is_empty(), "{check:?}");
            assert!(
                check.level < Level::Missing || !check.remedy.is_empty() || check.subject == Subject::Kernel,
                "{check:?}"
            );
        }
    }

    #[test]
    fn this_host_is_looked_at() {
        let places = files::Places {
            root: "/var/lib/sextant".into(),
            state: "/run/sextant".into(),
            runtime: "/bin/true".into(),
            shim: "/bin/true".into(),
        };
        let report = examine(&Settings { places, pool: (0x7000_0000, 0x1_0000, 4095) }, Ask::default());
        assert!(report.capacity.containers > 0 && report.memory > 0 && report.cpus > 0, "{report:?}");
    }
}
