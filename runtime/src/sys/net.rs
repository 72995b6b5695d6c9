//! The one thing that a new network namespace needs: its loopback up.

use super::{Result, named};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::AsRawFd;

/// Sets `IFF_UP` on `lo` of the caller's network namespace (netdevice(7)).
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` over the namespace.
pub fn loopback_up() -> Result<()> {
    let fd = named(socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None), || {
        "socket(AF_INET, SOCK_DGRAM)".into()
    })?;
    // SAFETY: ifreq is plain old data; all zeroes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    // The other flags of a loopback device cannot be changed: they need not be known.
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: SIOCSIFFLAGS reads the ifreq it is given.
    let value = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    named(Errno::result(value), || "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".into()).map(drop)
}
