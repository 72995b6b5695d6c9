//! Creations of one id at once, beside a command that removes what was cut short.

use super::{Directory, STATE, open_directory};
use std::os::fd::AsFd;
use std::path::Path;

#[test]
fn a_directory_that_another_creation_has_filled_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let parent = || open_directory(root.path()).unwrap();
    // One creation has made it; `delete --force` has removed that one, and another creation
    // has made the next one, before the first opens what it takes for its own.
    let second = Directory::reserve(root.path(), "one").unwrap();
    crate::sys::file::create_file(second.fd.as_fd(), Path::new(STATE), 0o600).unwrap();
    drop(second);
    let refused = Directory::take_new(parent(), "one").unwrap_err();
    assert_eq!(refused.because, "container with given ID already exists");
    assert!(root.path().join("one").join(STATE).exists());
}

#[test]
fn a_directory_that_was_removed_before_the_lock_is_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let made = Directory::reserve(root.path(), "one").unwrap();
    made.remove().unwrap();
    assert!(Directory::take_new(open_directory(root.path()).unwrap(), "one").unwrap().is_none());
}

#[test]
fn an_id_is_reserved_once() {
    let root = tempfile::tempdir().unwrap();
    let _first = Directory::reserve(root.path(), "one").unwrap();
    let refused = Directory::reserve(root.path(), "one").unwrap_err();
    assert_eq!(refused.because, "container with given ID already exists");
    assert!(refused.hint.contains("sextant-runtime delete one"), "{refused}");
}
