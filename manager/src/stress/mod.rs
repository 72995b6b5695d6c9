//! `sextant stress`: puts load on a target, and says what that did to it and whether it was good enough.
//!
//! [`run`] puts the parts together: a [`scenario`] says what a unit of load is, [`pace`] when it is to begin,
//! [`drive`] lets it begin, a [`target`] does it, and the [`book`] keeps what was measured. Beside it the
//! [`sampler`] looks at processes, the [`killer`] kills some, and [`faults`] happen by a plan. A [`report`] is all of that as a file, on
//! which the [`verdict`] is passed, that [`html`] draws and [`compare`] reads.

pub(crate) mod book;
pub(crate) mod compare;
pub(crate) mod drive;
pub(crate) mod faults;
pub(crate) mod figures;
pub(crate) mod host;
pub(crate) mod html;
pub mod killer;
pub(crate) mod leaks;
pub mod pace;
pub(crate) mod procfs;
pub(crate) mod progress;
pub(crate) mod random;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod sampler;
pub(crate) mod scenario;
pub(crate) mod target;
pub(crate) mod text;
pub mod verdict;
