//! What the tests share.

pub mod look;
pub mod seen;
pub mod sys;
