//! Fills in [`Seen`] from `/proc`, getifaddrs(3) and stat(2). Never fails as a
//! whole: a container may have no `/proc`, and that is worth seeing too.

use crate::seen::{Answer, Capabilities, File, Interface, Ipc, Mount, Process, Seen};
use nix::net::if_::InterfaceFlags;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Everything that can be seen without being asked for.
pub fn look() -> Seen {
    let status = status();
    let stat = stat_fields();
    Seen {
        pid: std::process::id(),
        ppid: std::os::unix::process::parent_id(),
        pgid: number(&stat, 2),
        session: number(&stat, 3),
        tty: number(&stat, 4),
        processes: processes(),
        namespaces: namespaces(),
        uid: numbers(&status, "Uid"),
        gid: numbers(&status, "Gid"),
        groups: numbers(&status, "Groups"),
        uid_map: id_map("/proc/self/uid_map"),
        gid_map: id_map("/proc/self/gid_map"),
        hostname: line("/proc/sys/kernel/hostname"),
        domainname: line("/proc/sys/kernel/domainname"),
        interfaces: interfaces(),
        routes: text("/proc/self/net/route").lines().skip(1).map(|l| l.trim_end().to_owned()).collect(),
        mounts: parse_mountinfo(&text("/proc/self/mountinfo")),
        ipc: ipc(),
        capabilities: capabilities(&status),
        no_new_privs: status.get("NoNewPrivs").is_some_and(|v| v == "1"),
        seccomp: numbers(&status, "Seccomp").first().copied().unwrap_or(0),
        rlimits: rlimits(),
        umask: status.get("Umask").and_then(|v| u32::from_str_radix(v, 8).ok()).unwrap_or(0),
        cwd: std::env::current_dir().map(|p| p.display().to_string()).unwrap_or_default(),
        env: std::env::vars_os()
            .map(|(k, v)| format!("{}={}", k.to_string_lossy(), v.to_string_lossy()))
            .collect(),
        argv: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect(),
        fds: fds(),
        oom_score_adj: line("/proc/self/oom_score_adj").parse().unwrap_or(0),
        cgroups: text("/proc/self/cgroup").lines().map(ToOwned::to_owned).collect(),
        ..Seen::default()
    }
}

/// Facts of the file itself (lstat(2)).
///
/// # Errors
/// lstat's.
pub fn stat(path: &str) -> io::Result<File> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    let kinds = [
        (kind.is_dir(), "dir"),
        (kind.is_symlink(), "symlink"),
        (kind.is_char_device(), "char"),
        (kind.is_block_device(), "block"),
        (kind.is_fifo(), "fifo"),
        (kind.is_socket(), "socket"),
    ];
    Ok(File {
        kind: kinds.iter().find(|(is, _)| *is).map_or("file", |(_, name)| name).to_string(),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        rdev: (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev())),
        size: meta.size(),
        link: fs::read_link(path).map(|p| p.display().to_string()).unwrap_or_default(),
    })
}

/// The value of a kernel parameter, its key with dots.
///
/// # Errors
/// Of reading its file.
pub fn sysctl(key: &str) -> io::Result<String> {
    Ok(fs::read_to_string(format!("/proc/sys/{}", key.replace('.', "/")))?.trim_end().to_owned())
}

/// Up to 4 KiB of a file, as text.
///
/// # Errors
/// Of opening and reading.
pub fn content(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(4096).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The names in a directory, sorted.
///
/// # Errors
/// Of reading it.
pub fn listing(path: &str) -> io::Result<Vec<String>> {
    let mut names = fs::read_dir(path)?
        .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Whether the file opens for writing; it is neither made nor truncated.
pub fn write(path: &str) -> Answer<()> {
    fs::OpenOptions::new().write(true).open(path).map(drop).into()
}

/// The lines of a mountinfo file (proc_pid_mountinfo(5)).
pub fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let mut right = right.split(' ');
    let list = |options: &str| options.split(',').map(ToOwned::to_owned).collect();
    Some(Mount {
        root: unescape(left.next()?),
        target: unescape(left.next()?),
        options: list(left.next()?),
        tags: left.map(ToOwned::to_owned).collect(),
        fstype: right.next()?.to_owned(),
        source: unescape(right.next()?),
        super_options: list(right.next()?),
    })
}

/// The kernel writes blank, tab, newline and backslash as `\040` and so on.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn line(path: &str) -> String {
    text(path).trim_end().to_owned()
}

fn status() -> BTreeMap<String, String> {
    let pairs = text("/proc/self/status");
    let pairs = pairs.lines().filter_map(|l| l.split_once(':'));
    pairs.map(|(k, v)| (k.to_owned(), v.trim().to_owned())).collect()
}

/// `/proc/self/stat` from its state field on: what stands before may hold blanks.
fn stat_fields() -> Vec<String> {
    let stat = text("/proc/self/stat");
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').map(ToOwned::to_owned).collect()
}

fn number(fields: &[String], index: usize) -> i32 {
    fields.get(index).and_then(|f| f.parse().ok()).unwrap_or(0)
}

fn numbers(status: &BTreeMap<String, String>, key: &str) -> Vec<u32> {
    let value = status.get(key).map_or("", String::as_str);
    value.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    let mut found: Vec<Process> =
        pids.map(|pid: u32| Process { pid, comm: line(&format!("/proc/{pid}/comm")) }).collect();
    found.sort_by_key(|p| p.pid);
    found
}

fn namespaces() -> BTreeMap<String, u64> {
    let entries = fs::read_dir("/proc/self/ns").into_iter().flatten().filter_map(Result::ok);
    let inode = |path| fs::metadata(path).map_or(0, |m| m.ino());
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), inode(e.path()))).collect()
}

fn id_map(path: &str) -> Vec<[u32; 3]> {
    let parse = |l: &str| {
        let numbers: Vec<u32> = l.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        numbers.try_into().ok()
    };
    text(path).lines().filter_map(parse).collect()
}

fn interfaces() -> Vec<Interface> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for address in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let name = address.interface_name.clone();
        let interface =
            found.entry(name.clone()).or_insert_with(|| Interface { name, ..Interface::default() });
        interface.up |= address.flags.contains(InterfaceFlags::IFF_UP);
        interface.loopback |= address.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        if let Some(ip) = address.address.and_then(|a| {
            let v4 = a.as_sockaddr_in().map(|v4| v4.ip().to_string());
            v4.or_else(|| a.as_sockaddr_in6().map(|v6| v6.ip().to_string()))
        }) {
            interface.addresses.push(ip);
        }
    }
    found.into_values().collect()
}

fn ipc() -> Ipc {
    let count = |name: &str| text(&format!("/proc/sysvipc/{name}")).lines().skip(1).count();
    let mqueue = listing("/dev/mqueue").unwrap_or_default();
    Ipc { shm: count("shm"), msg: count("msg"), sem: count("sem"), mqueue }
}

fn capabilities(status: &BTreeMap<String, String>) -> Capabilities {
    let mask = |key| status.get(key).and_then(|v| u64::from_str_radix(v, 16).ok()).unwrap_or(0);
    Capabilities {
        inheritable: mask("CapInh"),
        permitted: mask("CapPrm"),
        effective: mask("CapEff"),
        bounding: mask("CapBnd"),
        ambient: mask("CapAmb"),
    }
}

/// The columns have fixed widths: 26 for the name, 21 for each limit.
fn rlimits() -> BTreeMap<String, (Option<u64>, Option<u64>)> {
    let column = |l: &str, from: usize, to: usize| l.get(from..to).unwrap_or("").trim().to_owned();
    let limits = text("/proc/self/limits");
    let rows = limits.lines().skip(1);
    rows.map(|l| (column(l, 0, 26), (column(l, 26, 47).parse().ok(), column(l, 47, 68).parse().ok())))
        .collect()
}

fn fds() -> BTreeMap<u32, String> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(Result::ok);
    let read = |e: fs::DirEntry| Some((e.file_name().to_str()?.parse().ok()?, fs::read_link(e.path()).ok()?));
    let all: Vec<(u32, std::path::PathBuf)> = entries.filter_map(read).collect();
    let own = format!("/proc/{}/fd", std::process::id());
    all.into_iter()
        .filter(|(_, target)| target.as_os_str().as_bytes() != own.as_bytes())
        .map(|(fd, target)| (fd, target.display().to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_with_tags_and_a_blank_in_its_path() {
        let line =
            "36 35 98:0 /mnt1 /a\\040b rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue";
        let mount = parse_mount(line).unwrap();
        assert_eq!((mount.root.as_str(), mount.target.as_str()), ("/mnt1", "/a b"));
        assert_eq!(mount.options, ["rw", "noatime"]);
        assert_eq!(mount.tags, ["shared:1", "master:2"]);
        assert_eq!((mount.fstype.as_str(), mount.source.as_str()), ("ext3", "/dev/root"));
        assert_eq!(mount.super_options, ["rw", "errors=continue"]);
    }

    #[test]
    fn looking_at_this_very_process() {
        let seen = look();
        assert_eq!(seen.pid, std::process::id());
        assert!(seen.processes.iter().any(|p| p.pid == seen.pid));
        assert!(seen.interfaces.iter().any(|i| i.name == "lo" && i.loopback));
        assert!(seen.namespaces.keys().any(|k| k == "uts"));
        assert!(seen.rlimits.contains_key("Max open files"), "{:?}", seen.rlimits);
        let json = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Seen>(&json).unwrap(), seen);
    }

    #[test]
    fn an_answer_keeps_the_errno() {
        assert_eq!(write("/nonexistent/file"), Answer::Errno(nix::libc::ENOENT));
        assert_eq!(stat("/dev/null").unwrap().rdev, (1, 3));
    }
}
