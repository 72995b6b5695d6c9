//! The mount API on descriptors (Linux 5.2; mount_setattr Linux 5.12).

use super::{Result, checked, checked_fd, named};
use nix::errno::Errno;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

pub use libc::{MOUNT_ATTR_IDMAP, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};

/// Of one mount, or of it and all below it.
pub use crate::plan::Depth;

fn recursive(depth: Depth) -> u32 {
    match depth {
        Depth::One => 0,
        Depth::Recursive => AT_RECURSIVE,
    }
}

const AT_RECURSIVE: u32 = 0x8000;
const AT_EMPTY_PATH: u32 = 0x1000;
const OPEN_TREE_CLONE: u32 = 1;
const MOVE_MOUNT_EMPTY_BOTH: u32 = 0x4 | 0x40; // F_EMPTY_PATH | T_EMPTY_PATH

fn cstring(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// open_tree(2) with `OPEN_TREE_CLONE`: a detached copy of what is mounted at
/// `object`, from there down.
///
/// # Errors
/// `EINVAL` when the object is in another mount namespace, `EPERM` without `CAP_SYS_ADMIN`.
pub fn clone_tree(object: BorrowedFd<'_>, depth: Depth) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | AT_EMPTY_PATH | recursive(depth) | libc::O_CLOEXEC.cast_unsigned();
    // SAFETY: the path is a valid C string.
    let value = unsafe { libc::syscall(libc::SYS_open_tree, object.as_raw_fd(), c"".as_ptr(), flags) };
    checked_fd(value, || format!("open_tree([{}], \"\", OPEN_TREE_CLONE|{depth:?})", object.as_raw_fd()))
}

/// move_mount(2): attaches a detached mount on `target`.
///
/// # Errors
/// `ENOTDIR` and the like when a file and a directory meet.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: both paths are valid C strings.
    let value = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_EMPTY_BOTH,
        )
    };
    checked(value, || format!("move_mount([{}], \"\", [{}], \"\")", mount.as_raw_fd(), target.as_raw_fd()))
        .map(drop)
}

/// A file system that is being configured (fsopen(2)).
#[derive(Debug)]
pub struct Context {
    fd: OwnedFd,
    fstype: String,
}

/// fsopen(2).
///
/// # Errors
/// `ENODEV` when the kernel does not know the type.
pub fn fsopen(fstype: &str) -> Result<Context> {
    let name = cstring(fstype);
    // SAFETY: the name is a valid C string.
    let value = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), 1) };
    let fd = checked_fd(value, || format!("fsopen({fstype:?}, FSOPEN_CLOEXEC)"))?;
    Ok(Context { fd, fstype: fstype.into() })
}

/// fspick(2): the file system of an object, to be changed.
///
/// # Errors
/// `EINVAL` when the object is not the root of a mount, `EPERM` without rights over the file system.
pub fn fspick(object: BorrowedFd<'_>) -> Result<Context> {
    const FSPICK_CLOEXEC_EMPTY_PATH: u32 = 0x1 | 0x8;
    let fd = object.as_raw_fd();
    // SAFETY: the path is a valid C string.
    let value = unsafe { libc::syscall(libc::SYS_fspick, fd, c"".as_ptr(), FSPICK_CLOEXEC_EMPTY_PATH) };
    let fd = checked_fd(value, || format!("fspick([{fd}], \"\", FSPICK_EMPTY_PATH)"))?;
    Ok(Context { fd, fstype: "picked".into() })
}

impl Context {
    /// fsconfig(2): a flag, or a key with its value.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not know it; the kernel's own words are in the call.
    pub fn set(&self, key: &str, value: Option<&str>) -> Result<()> {
        let (c_key, c_value) = (cstring(key), value.map(cstring));
        let command = if value.is_some() { 1 } else { 0 };
        let pointer = c_value.as_ref().map_or(std::ptr::null(), |v| v.as_ptr());
        // SAFETY: key and value are valid C strings, or the value is null with FSCONFIG_SET_FLAG.
        let result = unsafe {
            libc::syscall(libc::SYS_fsconfig, self.fd.as_raw_fd(), command, c_key.as_ptr(), pointer, 0)
        };
        checked(result, || match value {
            Some(value) => self.call(&format!("FSCONFIG_SET_STRING, {key:?}, {value:?}")),
            None => self.call(&format!("FSCONFIG_SET_FLAG, {key:?}")),
        })
        .map(drop)
    }

    /// Changes a file system that was picked.
    ///
    /// # Errors
    /// As the file system has them; the kernel's own words are in the call.
    pub fn reconfigure(self) -> Result<()> {
        let null = std::ptr::null::<()>();
        // SAFETY: FSCONFIG_CMD_RECONFIGURE takes neither key nor value.
        let value = unsafe { libc::syscall(libc::SYS_fsconfig, self.fd.as_raw_fd(), 7, null, null, 0) };
        checked(value, || self.call("FSCONFIG_CMD_RECONFIGURE")).map(drop)
    }

    /// Makes the file system and a detached mount of it with these attributes (fsmount(2)).
    ///
    /// # Errors
    /// `EPERM` where the user namespace may not mount this type.
    pub fn mount(self, attrs: u64) -> Result<OwnedFd> {
        // SAFETY: FSCONFIG_CMD_CREATE takes neither key nor value.
        let value = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.fd.as_raw_fd(),
                6,
                std::ptr::null::<()>(),
                std::ptr::null::<()>(),
                0,
            )
        };
        checked(value, || self.call("FSCONFIG_CMD_CREATE"))?;
        // SAFETY: takes integers only.
        let value = unsafe { libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), 1, attrs) };
        checked_fd(value, || format!("fsmount({}, FSMOUNT_CLOEXEC, {attrs:#x})", self.fstype))
    }

    /// The call, with what the kernel has logged in the context.
    fn call(&self, what: &str) -> String {
        let mut log = [0_u8; 256];
        let length = nix::unistd::read(&self.fd, &mut log).unwrap_or(0);
        let text = String::from_utf8_lossy(log.get(..length).unwrap_or_default());
        let text = text.trim_start_matches("e ").trim();
        if text.is_empty() {
            format!("fsconfig({}, {what})", self.fstype)
        } else {
            format!("fsconfig({}, {what}) [{text}]", self.fstype)
        }
    }
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Attr {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear, first.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
    /// With `MOUNT_ATTR_IDMAP`: the user namespace.
    pub userns_fd: u64,
}

/// mount_setattr(2).
///
/// # Errors
/// `EINVAL` when the file system does not support id mapping, `EPERM` for a locked attribute.
pub fn set_attr(mount: BorrowedFd<'_>, depth: Depth, attr: &Attr) -> Result<()> {
    let flags = AT_EMPTY_PATH | recursive(depth);
    // SAFETY: `attr` is a valid struct mount_attr of the size given.
    let value = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<Attr>(),
        )
    };
    checked(value, || {
        format!(
            "mount_setattr([{}], \"\", {depth:?}, {{set={:#x}, clear={:#x}, propagation={:#x}}})",
            mount.as_raw_fd(),
            attr.set,
            attr.clear,
            attr.propagation
        )
    })
    .map(drop)
}

/// pivot_root(2) to the working directory, and the old root detached: the
/// working directory is then the new root.
///
/// # Errors
/// `EINVAL` when the new root is no mount point, or its parent is shared.
pub fn pivot_to_cwd() -> Result<()> {
    named(nix::unistd::pivot_root(".", "."), || "pivot_root(\".\", \".\")".into())?;
    named(nix::mount::umount2(".", nix::mount::MntFlags::MNT_DETACH), || {
        "umount2(\".\", MNT_DETACH)".into()
    })?;
    named(nix::unistd::chdir("/"), || "chdir(\"/\")".into())
}

/// chroot(2) to the working directory, which is a mount over `/`: what is left
/// where pivot_root(2) cannot be, in an initramfs.
///
/// # Errors
/// As the system calls.
pub fn chroot_to_cwd() -> Result<()> {
    named(nix::unistd::chroot("."), || "chroot(\".\")".into())?;
    named(nix::unistd::chdir("/"), || "chdir(\"/\")".into())
}

/// Sets the propagation of everything from `/` down.
///
/// # Errors
/// As mount(2).
pub fn propagate_root(flags: nix::mount::MsFlags) -> Result<()> {
    let none = None::<&str>;
    named(nix::mount::mount(none, "/", none, flags, none), || format!("mount(\"\", \"/\", {flags:?})"))
}

/// Whether a mount of the descriptor is read-only (fstatvfs(3), `ST_RDONLY`).
///
/// # Errors
/// As the system call.
pub fn is_readonly(fd: BorrowedFd<'_>) -> Result<Writable> {
    let stat = named(nix::sys::statvfs::fstatvfs(fd), || format!("fstatvfs([{}])", fd.as_raw_fd()))?;
    let readonly = stat.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY);
    Ok(if readonly { Writable::No } else { Writable::Yes })
}

/// See [`is_readonly`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writable {
    /// It can be written.
    Yes,
    /// It is mounted read-only.
    No,
}

/// Whether errno says that the kernel has no such system call.
pub fn is_missing(errno: Errno) -> bool {
    errno == Errno::ENOSYS
}
