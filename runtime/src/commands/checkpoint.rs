//! `checkpoint`: writes a container into an image with CRIU.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Whether checkpoints can be made here: for `features --host`.
pub(super) fn availability(criu: &Path) -> Value {
    json!({ "criu": find(criu) })
}

/// The binary, by its path or in `PATH`.
pub(super) fn find(criu: &Path) -> Option<PathBuf> {
    if criu.components().count() > 1 {
        return criu.is_file().then(|| criu.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(criu)).find(|file| file.is_file())
}
