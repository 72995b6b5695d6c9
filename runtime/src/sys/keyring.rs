//! The session keyring (session-keyring(7), keyctl(2)).

use super::{Result, named};
use nix::errno::Errno;
use std::ffi::CStr;

const JOIN_SESSION_KEYRING: i32 = 1;
const SETPERM: i32 = 5;
const DESCRIBE: i32 = 6;

/// A keyring's serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyring(i32);

/// Joins the session keyring of this name, or makes it.
///
/// # Errors
/// `EDQUOT` when the user has too many keys, `ENOSYS` without `CONFIG_KEYS`.
pub fn join_session(name: &CStr) -> Result<Keyring> {
    // SAFETY: the name is a valid C string.
    let value = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    let serial = named(Errno::result(value), || format!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name:?})"))?;
    Ok(Keyring(i32::try_from(serial).unwrap_or(0)))
}

/// Adds permissions (`KEY_*` of keyctl(2)) to those that a keyring has; none to what
/// [`join_session`] gives where the caller's session keyring has the name already, which is 0.
///
/// # Errors
/// `EACCES` for who does not own it.
pub fn add_permissions(keyring: Keyring, more: u32) -> Result<()> {
    if keyring == Keyring(0) {
        return Ok(());
    }
    let permissions = permissions(keyring)? | more;
    // SAFETY: takes integers only.
    let value = unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, keyring.0, permissions) };
    named(Errno::result(value).map(drop), || {
        format!("keyctl(KEYCTL_SETPERM, {}, {permissions:#x})", keyring.0)
    })
}

/// The permissions in a keyring's description: `type;uid;gid;permissions;name`.
fn permissions(keyring: Keyring) -> Result<u32> {
    let mut text = [0_u8; 512];
    // SAFETY: the kernel writes at most the length of `text`.
    let value =
        unsafe { libc::syscall(libc::SYS_keyctl, DESCRIBE, keyring.0, text.as_mut_ptr(), text.len()) };
    let call = || format!("keyctl(KEYCTL_DESCRIBE, {})", keyring.0);
    named(Errno::result(value), call)?;
    let text = String::from_utf8_lossy(&text);
    let field = text.split(';').nth(3).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    field.ok_or_else(|| super::Error { call: call(), errno: Errno::EBADMSG })
}
