//! Paths and strings of a config, as far as they can be judged by their text.

use super::InnerPath;
use super::problems::Problems;
use std::ffi::CString;
use std::path::{Component, Path, PathBuf};

/// An absolute path inside the root without `.`, `..` and double slashes.
/// Nothing is resolved here; that happens in the root only.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn inner(path: &Path) -> Result<PathBuf, &'static str> {
    check(path)?;
    if !path.is_absolute() {
        return Err("the path is not absolute");
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir if !clean.pop() => return Err("the path leads out of the root by its `..`"),
            _ => {}
        }
    }
    Ok(clean)
}

/// A path of the host.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn check(path: &Path) -> Result<(), &'static str> {
    if path.as_os_str().is_empty() {
        return Err("the path is empty");
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err("the path has a NUL byte");
    }
    Ok(())
}

/// `linux.maskedPaths` or `linux.readonlyPaths`.
pub(super) fn list(paths: Option<&[String]>, pointer: &str, problems: &mut Problems) -> Vec<InnerPath> {
    let mut list = Vec::new();
    for (index, path) in paths.unwrap_or_default().iter().enumerate() {
        match inner(Path::new(path)) {
            Ok(path) => list.push(InnerPath { path, index }),
            Err(why) => problems.refuse(format!("{pointer}/{index}"), why),
        }
    }
    list
}

/// Strings for execve(2): without NUL.
pub(super) fn c_strings(texts: &[String], pointer: &str, problems: &mut Problems) -> Vec<CString> {
    let mut list = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match CString::new(text.as_str()) {
            Ok(text) => list.push(text),
            Err(e) => problems
                .refuse(format!("{pointer}/{index}"), format!("a NUL byte at offset {}", e.nul_position())),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_paths_are_normalized_and_never_lead_out() {
        for (path, clean) in [("/", "/"), ("/a//b/./c/", "/a/b/c"), ("/a/../b", "/b")] {
            assert_eq!(inner(Path::new(path)), Ok(PathBuf::from(clean)));
        }
        for bad in ["", "a", "./a", "/..", "/a/../../b", "/a\0b"] {
            assert!(inner(Path::new(bad)).is_err(), "{bad:?}");
        }
    }
}
