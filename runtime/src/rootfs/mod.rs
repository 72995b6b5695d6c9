//! The container's root file system, made by descriptors only: [`sources`] are
//! opened by the parent, where the host's rights are; init attaches them below a
//! [`root::Root`] ([`mounts`], [`dev`], [`mask`], [`cgroupfs`]) and makes it `/`.
//! No path inside the root is ever resolved a second time.

mod apart;
pub mod cgroupfs;
pub mod console;
pub mod dev;
pub mod idmap;
pub mod mask;
pub mod mounts;
pub mod root;
pub mod sources;
