//! Reading a bundle: `config.json` → [`Bundle`], the OCI types plus what they
//! cannot hold.
//!
//! Only form is judged here: that the file is JSON, and that every value has
//! the type that the runtime-spec gives it. Whether the values make sense is
//! decided by [`crate::plan`]. Nothing but the one file is read.

use crate::contract::report::{Failure, StageKind};
use crate::plan::Problem;
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

mod form;
mod strict;
mod unknown;

pub(crate) use form::escape;

/// A config.json larger than this is refused.
const MAX_CONFIG: u64 = 16 << 20;

/// A bundle whose config has been read.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Absolute path of the bundle directory; symbolic links are not resolved.
    pub dir: PathBuf,
    /// The config.
    pub spec: Spec,
    /// The annotations, unaltered.
    pub annotations: BTreeMap<String, String>,
    /// What the config says and the OCI types do not know.
    pub warnings: Vec<Problem>,
}

impl Bundle {
    /// Reads `config.json` in `dir`.
    ///
    /// # Errors
    /// When it cannot be read, is not a regular file, is larger than 16 MiB, is
    /// not JSON, or has values of a wrong type: the failure points to the first
    /// of them, and names the others.
    pub fn load(dir: &Path) -> Result<Self, Failure> {
        let dir = std::path::absolute(dir)
            .map_err(|e| io_failure(&e, "find the bundle", dir, "name a directory with --bundle"))?;
        let json = read(&dir.join("config.json"))?;
        Self::parse(&dir, &json)
    }

    /// What [`Bundle::load`] does with the bytes of a config; nothing is read.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn parse(dir: &Path, json: &[u8]) -> Result<Self, Failure> {
        let file = dir.join("config.json");
        if let Some(spec) = strict::spec(json) {
            return Ok(Self::of(dir, spec, Vec::new()));
        }
        let raw: Value = serde_json::from_slice(json).map_err(|e| not_json(&e, &file))?;
        if !raw.is_object() {
            return Err(malformed(&file, vec![problem("", "config.json is not a JSON object")]));
        }
        let (spec, warnings) = spec_of(raw, &file)?;
        Ok(Self::of(dir, spec, warnings))
    }

    fn of(dir: &Path, spec: Spec, warnings: Vec<Problem>) -> Self {
        let annotations = spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        Self { dir: dir.to_owned(), spec, annotations, warnings }
    }
}

/// The OCI types of a config, and what they do not know of it.
///
/// # Errors
/// All mistakes of form, as those of `file`.
pub(crate) fn spec_of(raw: Value, file: &Path) -> Result<(Spec, Vec<Problem>), Failure> {
    let mut warnings = Vec::new();
    let normal = form::normalize(raw, &mut warnings);
    let spec = form::deserialize(&normal).map_err(|all| malformed(file, all))?;
    let mistakes = unknown::report(&normal, &spec, &mut warnings);
    if mistakes.is_empty() { Ok((spec, warnings)) } else { Err(malformed(file, mistakes)) }
}

/// A JSON file that is not a bundle's config: the process of `exec`.
///
/// # Errors
/// When it cannot be read, is not a regular file, is too large or not JSON.
pub(crate) fn read_json(path: &Path) -> Result<Value, Failure> {
    const HINT: &str = "a file with one JSON object, of the form of /process in a config";
    let wanted =
        |failure: Failure| Failure { attempted: format!("read the process {}", path.display()), ..failure };
    let bytes = read(path).map_err(|failure| Failure { hint: HINT.into(), ..wanted(failure) })?;
    serde_json::from_slice(&bytes).map_err(|e| wanted(not_json(&e, path)))
}

/// Reads a regular file of at most [`MAX_CONFIG`] bytes.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    const HINT: &str = "a bundle is a directory with a config.json; `sextant-runtime spec` writes one";
    let failed = |e: std::io::Error| io_failure(&e, "read the config", path, HINT);
    // O_NONBLOCK: opening a fifo must not wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let because = if !meta.is_file() {
        "it is not a regular file".to_owned()
    } else if meta.len() > MAX_CONFIG {
        format!("it has {} bytes, more than the limit of {MAX_CONFIG}", meta.len())
    } else {
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or_default() + 1);
        file.take(MAX_CONFIG).read_to_end(&mut bytes).map_err(failed)?;
        return Ok(bytes);
    };
    Err(Failure { because, ..about(path, "read the config") })
}

fn about(path: &Path, attempted: &str) -> Failure {
    Failure {
        stage: crate::contract::report::Stage::from(StageKind::Load).to_string(),
        attempted: format!("{attempted} {}", path.display()),
        object: path.display().to_string(),
        ..Failure::default()
    }
}

fn io_failure(error: &std::io::Error, attempted: &str, path: &Path, hint: &str) -> Failure {
    let errno = error.raw_os_error().unwrap_or_default();
    let because = if errno == 0 { error.to_string() } else { String::new() };
    Failure { errno, because, hint: hint.into(), ..about(path, attempted) }
}

fn not_json(error: &serde_json::Error, file: &Path) -> Failure {
    let because = format!("it is not JSON: {error}");
    Failure { because, ..about(file, "parse the config") }
}

/// A failure about the first of `mistakes`, which names the others as well.
fn malformed(file: &Path, mistakes: Vec<Problem>) -> Failure {
    let mut mistakes = mistakes.into_iter();
    let first = mistakes.next().unwrap_or_else(|| problem("", "the config has no valid form"));
    let others: Vec<String> = mistakes.map(|p| p.to_string()).collect();
    let also = if others.is_empty() { String::new() } else { format!("; also {}", others.join("; ")) };
    Failure {
        because: format!("{}{also}", first.message),
        pointer: first.pointer,
        hint: first.hint,
        ..about(file, "parse the config")
    }
}

fn problem(pointer: &str, message: impl Into<String>) -> Problem {
    Problem { pointer: pointer.into(), message: message.into(), hint: String::new() }
}

#[cfg(test)]
mod tests;
