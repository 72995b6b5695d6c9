//! The wire of Sextant: what clients say to the manager ([`v1`]), what the
//! manager says to a shim ([`shim`]), and how a shim's journal is framed
//! ([`journal`]), and how the files of a log are named ([`logfile`]). Nothing here
//! does any I/O, but for listing these; and, with the feature `client`, the client of
//! the manager (`client`), with the feature `faults` failures on purpose (`faults`), whose
//! plans anybody can read ([`fault_plan`]).

#[cfg(feature = "client")]
pub mod client;
pub mod fault_plan;
#[cfg(feature = "faults")]
pub mod faults;
pub mod journal;
pub mod logfile;

/// `sextant.v1`, the API of the manager.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("sextant.v1");
}

/// `sextant.shim.v1`, the API of one shim.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod shim {
    tonic::include_proto!("sextant.shim.v1");
}

/// The part of Kubernetes' CRI that `sextant stress` speaks, as a client.
#[cfg(feature = "client")]
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod stress_cri {
    include!(concat!(env!("OUT_DIR"), "/stress/runtime.v1.rs"));
}

/// The file descriptor set of both packages, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
