//! The faces of the engine on the wire: `sextant.v1`. A handler decodes, calls
//! the engine, encodes. Types of the wire stay in here; a domain error becomes
//! a status in [`status`] only.

pub mod containers;
pub mod convert;
pub mod status;
pub mod system;
