//! seccomp: `linux.seccomp` → a BPF program, by our own compiler.

/// A compiled filter and how to load it (seccomp(2), `SECCOMP_SET_MODE_FILTER`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The program: `struct sock_filter` as (code, jt, jf, k).
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// `listenerPath`, when an action is `SCMP_ACT_NOTIFY`.
    pub listener: Option<Listener>,
}

/// One `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump when true.
    pub jt: u8,
    /// Jump when false.
    pub jf: u8,
    /// Constant.
    pub k: u32,
}

/// Where the notify descriptor goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// A unix socket.
    pub path: std::path::PathBuf,
    /// `listenerMetadata`.
    pub metadata: String,
}
