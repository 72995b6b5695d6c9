//! Who the user's process is: signals, ids, capabilities, `HOME`.

use crate::plan::{Capabilities, Process};
use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use crate::sys::privilege::{self, Keep, Sets};
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use std::io::Read;

/// Largest passwd file that is read (security rule R6).
const PASSWD_LIMIT: u64 = 1 << 20;

/// `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

/// Takes away the mask, which the process would inherit. `SIGPIPE`, which the program's
/// entry catches, is its default again with execve(2); until then, who reads the report,
/// or a hook that does not read its stdin, may go away without ending init.
///
/// # Errors
/// As the system calls.
pub(super) fn reset_signals() -> sys::Result<()> {
    sys::named(SigSet::empty().thread_set_mask(), || "sigprocmask(SIG_SETMASK, [])".into())
}

/// Gives stdio to the user, so that the process can open it again by its name in
/// `/dev` (a pipe and a terminal are their maker's alone). Never `/dev/null`, which
/// is the host's, and never the group, which a terminal has from its devpts.
pub(super) fn own_stdio(process: &Process) {
    for fd in sys::stdio() {
        let Ok(stat) = sys::file::stat(fd) else { continue };
        let is_null = stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == libc::makedev(1, 3);
        if stat.st_uid != process.uid && !is_null {
            // EINVAL, EPERM: it belongs to nobody in this user namespace. EROFS. It works as it is, then.
            nix::unistd::fchown(fd, Some(nix::unistd::Uid::from_raw(process.uid)), None).ok();
        }
    }
}

/// Takes on groups, gid and uid; the permitted set is kept for [`limit`].
///
/// # Errors
/// With the pointer of the id.
pub(super) fn become_user(process: &Process) -> Outcome<()> {
    let what = || format!("become user {}:{}", process.uid, process.gid);
    privilege::limit_bounding(process.capabilities.bounding)
        .attempt(|| "limit the bounding set".into())
        .at("/process/capabilities/bounding")?;
    privilege::keep_capabilities(Keep::Yes).attempt(what)?;
    match privilege::setgroups(&process.additional_gids) {
        // A rootless map denies setgroups: with none asked for that is no loss.
        Err(e) if e.errno == Errno::EPERM && process.additional_gids.is_empty() => {}
        result => result.attempt(what).at("/process/user/additionalGids")?,
    }
    let unmapped = "the id has no mapping in the user namespace";
    privilege::setgid(process.gid).attempt(what).at("/process/user/gid").hint(Errno::EINVAL, unmapped)?;
    privilege::setuid(process.uid).attempt(what).at("/process/user/uid").hint(Errno::EINVAL, unmapped)?;
    privilege::keep_capabilities(Keep::No).attempt(what)
}

/// What is in force until the last moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Only what the config wants.
    Exec,
    /// Also what loading a seccomp filter without no_new_privs takes.
    Seccomp,
}

/// Puts the capability sets in force; never more than the caller has.
///
/// # Errors
/// With the pointer of the sets.
pub(super) fn limit(wanted: &Capabilities, until: Until) -> Outcome<()> {
    let what = || "set the capabilities".to_owned();
    let extra = if until == Until::Seccomp { SYS_ADMIN } else { 0 };
    let held = privilege::capabilities().attempt(what)?;
    let permitted = (wanted.permitted | extra) & held.permitted;
    let sets = Sets {
        effective: (wanted.effective | extra) & permitted,
        permitted,
        inheritable: wanted.inheritable & (held.inheritable | held.permitted),
    };
    privilege::set_capabilities(sets).attempt(what).at("/process/capabilities")?;
    let ambient = wanted.ambient & sets.permitted & sets.inheritable;
    privilege::set_ambient(ambient).attempt(what).at("/process/capabilities/ambient")
}

/// The home directory of a uid by the container's own passwd file; `/` when it
/// says none. Only a plain value is taken: one line, no control characters.
pub(super) fn home_of(uid: u32) -> String {
    let mut text = String::with_capacity(4096);
    let file = sys::file::open_host(
        std::path::Path::new("/etc/passwd"),
        nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NONBLOCK,
    );
    if let Ok(fd) = file {
        // A file that is no text has no lines for us.
        drop(std::fs::File::from(fd).take(PASSWD_LIMIT).read_to_string(&mut text));
    }
    home_in(&text, uid)
}

fn home_in(passwd: &str, uid: u32) -> String {
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [_, _, id, _, _, home, ..] if id.parse() == Ok(uid) => Some(*home),
            _ => None,
        }
    });
    match home {
        Some(home) if home.starts_with('/') && !home.chars().any(char::is_control) => home.to_owned(),
        _ => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_found_by_uid_alone() {
        let passwd =
            "root:x:0:0:r:/root:/bin/sh\n1000:x:0x5:0::/bad:/\nu:x:5:5::/home/u:\nctl:x:6:6::/a\u{7}:\n";
        assert_eq!(home_in(passwd, 0), "/root");
        assert_eq!(home_in(passwd, 5), "/home/u");
        assert_eq!(home_in(passwd, 1000), "/");
        assert_eq!(home_in(passwd, 6), "/");
    }
}
