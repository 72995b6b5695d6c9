//! bpf(2): loading a device program and attaching it to a cgroup.

use super::{Error, Result};
use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const LICENSE: &CStr = c"Apache-2.0";

/// The head of `union bpf_attr` for BPF_PROG_LOAD (linux/bpf.h); the kernel
/// takes the fields that are not given for 0.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// Likewise for BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttr {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`: instructions in
/// the kernel's encoding (`struct bpf_insn`), 8 bytes each.
///
/// # Errors
/// bpf(2): EPERM without `CAP_BPF`, EINVAL where the verifier refuses it.
pub fn load_device_program(words: &[u64]) -> Result<OwnedFd> {
    let call = || format!("bpf(BPF_PROG_LOAD, {{BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt={}}})", words.len());
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(words.len()).map_err(|_| Error { call: call(), errno: Errno::E2BIG })?,
        insns: address(words.as_ptr()),
        license: address(LICENSE.as_ptr()),
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"sextant_devices\0",
    };
    // SAFETY: the attributes are of the layout and size given, and the two
    // addresses in them point to memory that outlives the call, which reads it.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    let fd = Errno::result(result)
        .and_then(|fd| RawFd::try_from(fd).map_err(|_| Errno::EBADF))
        .map_err(|errno| Error { call: call(), errno })?;
    // SAFETY: a successful BPF_PROG_LOAD returns a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a version 2 cgroup, beside those that are
/// there: every one of them must allow an access. It stays for the cgroup's life.
///
/// # Errors
/// bpf(2).
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes are of the layout and size given; the call only reads them.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attr, size_of::<AttachAttr>()) };
    Errno::result(result).map(|_| ()).map_err(|errno| Error {
        call: format!(
            "bpf(BPF_PROG_ATTACH, {{target_fd={}, attach_bpf_fd={}, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI}})",
            attr.target_fd, attr.attach_bpf_fd
        ),
        errno,
    })
}

fn address<T>(pointer: *const T) -> u64 {
    u64::try_from(pointer.addr()).unwrap_or(0)
}
