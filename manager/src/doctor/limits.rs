//! Numbers that bound how many containers there can be: of the kernel, and of the process.

use super::check::{Check, Level, Subject, set_sysctl};
use super::cost;
use super::host::Host;
use super::who::Who;

/// A limit, and what is used of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The limit; `u64::MAX` for none.
    pub max: u64,
    /// What is used.
    pub used: u64,
}

impl Used {
    /// What is left.
    pub fn left(self) -> u64 {
        self.max.saturating_sub(self.used)
    }
}

/// What is known of limits; `None` where the kernel does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of proc(5) and getrlimit(2)")]
pub struct Facts {
    pub pid_max: Option<u64>,
    pub threads_max: Option<u64>,
    /// Threads of the host now.
    pub threads: u64,
    /// Soft and hard limit of open files.
    pub nofile: (u64, u64),
    /// Soft and hard limit of processes of the user.
    pub nproc: (u64, u64),
    pub file_max: Option<Used>,
    pub nr_open: Option<u64>,
    pub inotify_instances: Option<u64>,
    pub inotify_watches: Option<u64>,
    /// Keys of the user, with the limit for it.
    pub keys: Option<Used>,
    /// Bytes of keys of the user, with the limit for it.
    pub key_bytes: Option<Used>,
    pub mount_max: Option<u64>,
    pub ptys: Option<Used>,
    /// Bytes of memory in all.
    pub memory: u64,
    /// Bytes that can be had without swapping (`MemAvailable`).
    pub available: u64,
}

impl Facts {
    /// Of the calling process and its user.
    pub fn gather(host: &Host, who: &Who) -> Self {
        let limits = host.text("/proc/self/limits").unwrap_or_default();
        let meminfo = host.text("/proc/meminfo").unwrap_or_default();
        let load = host.text("/proc/loadavg").unwrap_or_default();
        let threads = load.split(' ').nth(3).and_then(|running| running.split_once('/')?.1.parse().ok());
        let files = host.text("/proc/sys/fs/file-nr").unwrap_or_default();
        let used = files.split_whitespace().next().and_then(|used| used.parse().ok()).unwrap_or(0);
        let (keys, key_bytes) = keys(host, who);
        let kib = |key: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kib.unwrap_or(0) << 10
        };
        Self {
            pid_max: host.sysctl("kernel.pid_max"),
            threads_max: host.sysctl("kernel.threads-max"),
            threads: threads.unwrap_or(0),
            nofile: rlimit(&limits, "Max open files"),
            nproc: rlimit(&limits, "Max processes"),
            file_max: host.sysctl("fs.file-max").map(|max| Used { max, used }),
            nr_open: host.sysctl("fs.nr_open"),
            inotify_instances: host.sysctl("fs.inotify.max_user_instances"),
            inotify_watches: host.sysctl("fs.inotify.max_user_watches"),
            keys,
            key_bytes,
            mount_max: host.sysctl("fs.mount-max"),
            ptys: host.sysctl("kernel.pty.max").map(|max| Used {
                max: max.saturating_sub(host.sysctl("kernel.pty.reserve").unwrap_or(0)),
                used: host.sysctl("kernel.pty.nr").unwrap_or(0),
            }),
            memory: kib("MemTotal"),
            available: kib("MemAvailable"),
        }
    }
}

/// Limits of each container alone; those that all share are bounds of [`super::capacity`].
pub fn judge(facts: &Facts) -> Vec<Check> {
    let of = |max: u64| {
        let check = Check::ok(
            Subject::Limits,
            "fs.mount-max",
            format!("{max} in each mount namespace, a container has {}", cost::MOUNTS),
            "/proc/sys/fs/mount-max",
        )
        .by("proc_sys_fs(5)");
        match max > 2 * cost::MOUNTS {
            true => check,
            false => check
                .but(Level::Limited, "Containers with more mounts are refused with ENOSPC.")
                .mend(set_sysctl("fs.mount-max", 100_000)),
        }
    };
    facts.mount_max.map(of).into_iter().collect()
}

/// Soft and hard value of a line of /proc/PID/limits.
fn rlimit(limits: &str, name: &str) -> (u64, u64) {
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let mut values = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    (values.next().unwrap_or(u64::MAX), values.next().unwrap_or(u64::MAX))
}

/// Keys and bytes of keys, of /proc/key-users and keys(7).
fn keys(host: &Host, who: &Who) -> (Option<Used>, Option<Used>) {
    let names = match who.uid {
        0 => ["kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes"],
        _ => ["kernel.keys.maxkeys", "kernel.keys.maxbytes"],
    };
    let text = host.text("/proc/key-users").unwrap_or_default();
    let fields: Vec<&str> = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&format!("{}:", who.uid)))
        .map(|rest| rest.split_whitespace().collect())
        .unwrap_or_default();
    let used = |field: usize| fields.get(field).and_then(|f| f.split_once('/')?.0.parse().ok()).unwrap_or(0);
    let [count, bytes] = names.map(|name| host.sysctl(name));
    (count.map(|max| Used { max, used: used(2) }), bytes.map(|max| Used { max, used: used(3) }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::who::tests::user;
    use super::*;

    /// A host of 16 GiB with the defaults of Debian under systemd.
    pub(in crate::doctor) fn debian() -> Facts {
        Facts {
            pid_max: Some(4_194_304),
            threads_max: Some(127_000),
            threads: 300,
            nofile: (524_288, 524_288),
            nproc: (63_000, 63_000),
            file_max: Some(Used { max: u64::MAX, used: 2000 }),
            nr_open: Some(1_048_576),
            inotify_instances: Some(1024),
            inotify_watches: Some(125_000),
            keys: Some(Used { max: 1_000_000, used: 9 }),
            key_bytes: Some(Used { max: 25_000_000, used: 100 }),
            mount_max: Some(100_000),
            ptys: Some(Used { max: 3072, used: 1 }),
            memory: 16 << 30,
            available: 14 << 30,
        }
    }

    #[test]
    fn few_mounts() {
        let few = judge(&Facts { mount_max: Some(40), ..debian() });
        assert!(few[0].level == Level::Limited && few[0].remedy.contains("fs.mount-max=100000"), "{few:?}");
        assert_eq!(judge(&debian())[0].level, Level::Ok);
    }

    #[test]
    fn they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "proc/self/limits",
                "Limit  Soft Limit  Hard Limit  Units\nMax processes   unlimited  unlimited  processes\nMax open files  1024  4096  files\n",
            ),
            ("proc/meminfo", "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   50 kB\n"),
            ("proc/loadavg", "0.0 0.0 0.0 1/236 77\n"),
            ("proc/sys/fs/file-nr", "1615\t0\t2466174\n"),
            ("proc/sys/fs/file-max", "2466174\n"),
            ("proc/sys/kernel/keys/maxkeys", "200\n"),
            ("proc/key-users", "    0:     9 8/8 3/1000000 40/25000000\n 1000:     4 4/4 4/200 44/20000\n"),
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let facts = Facts::gather(&Host::below(dir.path()), &user());
        assert_eq!((facts.nofile, facts.nproc), ((1024, 4096), (u64::MAX, u64::MAX)));
        assert_eq!((facts.memory, facts.available, facts.threads), (102_400, 51_200, 236));
        assert_eq!(facts.file_max, Some(Used { max: 2_466_174, used: 1615 }));
        assert_eq!((facts.keys, facts.key_bytes), (Some(Used { max: 200, used: 4 }), None));
        assert_eq!(facts.keys.unwrap().left(), 196);
    }
}
