//! Operations in a file, for a manager that is started again: a line when one
//! begins, and another when it has ended. Lines are not synced: a killed manager
//! loses none, and with the host all that an operation could be repeated on is gone
//! or in the records. Creations are not in it: their keys are in the records; nor are
//! execs: their shims know their keys. Of the request it has a fingerprint.
//!
//! The file is written anew, with what is remembered, at each start and when it has grown long.

use super::{Answer, Fingerprint};
use crate::engine::blocking;
use crate::engine::error::Error;
use crate::faults::{self, Point};
use crate::model::{Exit, Failure, Verb};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Bytes at which the file is written anew.
const LONG: u64 = 4 << 20;

/// An operation as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// As its client gave it.
    pub(crate) key: String,
    pub(crate) verb: Verb,
    /// What it is done to.
    pub(crate) container: String,
    /// How many lives of the container had begun before.
    #[serde(default)]
    pub(crate) lives: u32,
    #[serde(default)]
    pub(crate) request: Option<Fingerprint>,
    pub(crate) begun: SystemTime,
    /// When and how it has ended, once it has.
    #[serde(default)]
    pub(crate) ended: Option<(SystemTime, End)>,
}

/// How an operation has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// As wanted; a container that it answered with is looked at anew.
    Done,
    Exit(Exit),
    Exec(String),
    Sandbox(String),
    Failed(Failure),
}

impl End {
    pub(super) fn of(result: &Result<Answer, Error>) -> Self {
        match result {
            Ok(Answer::Container(_) | Answer::Done) => Self::Done,
            Ok(Answer::Exit(exit)) => Self::Exit(exit.clone()),
            Ok(Answer::Exec(exec)) => Self::Exec(exec.id.clone()),
            Ok(Answer::Sandbox(sandbox)) => Self::Sandbox(sandbox.clone()),
            Err(error) => Self::Failed(error.to_failure()),
        }
    }
}

/// The file. Cloning shares it; without one nothing is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Option<Arc<Pages>>);

#[derive(Debug)]
struct Pages {
    path: PathBuf,
    file: Mutex<(File, u64)>,
}

impl Book {
    /// Opens the file of a manager before this one, or makes it; what it has of operations for which
    /// `keep` holds, by key. A line that is none is left out, as the last one of a full disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn open(path: &Path, keep: impl Fn(&Line) -> bool) -> Result<(Self, Vec<Line>), Error> {
        let failed = || Error::io(format!("read {}", path.display()));
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(failed()(e)),
        };
        let lines = text.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let last: BTreeMap<String, Line> = lines.map(|line| (line.key.clone(), line)).collect();
        let lines: Vec<Line> = last.into_values().filter(keep).collect();
        // On a full disk the manager has to start all the same, and goes on in the old file.
        let file = write_anew(path, &lines).or_else(|_| append_to(path));
        let file = file.map_err(Error::io(format!("open {}", path.display())))?;
        Ok((Self(Some(Arc::new(Pages { path: path.into(), file: Mutex::new(file) }))), lines))
    }

    /// Adds a line. When the file has grown long, it is written anew with `all`.
    ///
    /// # Errors
    /// [`Error::Io`]: a manager that is killed now does not know of it.
    pub(super) async fn add(
        &self,
        line: Line,
        all: impl FnOnce() -> Vec<Line> + Send + 'static,
    ) -> Result<(), Error> {
        let Some(pages) = self.0.clone() else { return Ok(()) };
        blocking(move || {
            let attempted = format!("write the operation down in {}", pages.path.display());
            pages.add(&line, all).map_err(Error::io(attempted))
        })
        .await
    }
}

impl Pages {
    fn add(&self, line: &Line, all: impl FnOnce() -> Vec<Line>) -> io::Result<()> {
        // Behind a newline: whatever is there of a line that was cut short ends before it.
        let mut bytes = b"\n".to_vec();
        serde_json::to_writer(&mut bytes, line)?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.1 > LONG {
            *file = write_anew(&self.path, &all())?;
        }
        faults::write(Point::OperationsAppend, &bytes, |bytes| file.0.write_all(bytes))?;
        file.1 += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// The file as it is, and its length.
fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// A file of these lines in the place of another, and its length.
fn write_anew(path: &Path, lines: &[Line]) -> io::Result<(File, u64)> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, line)?;
    }
    let new = path.with_extension("new");
    let (mut file, _) = append_to(&new)?;
    file.set_len(0)?;
    file.write_all(&bytes)?;
    std::fs::rename(&new, path)?;
    Ok((file, u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, ended: Option<End>) -> Line {
        let ended = ended.map(|end| (SystemTime::UNIX_EPOCH, end));
        Line {
            key: key.into(),
            verb: Verb::Stop,
            container: "c".into(),
            lives: 2,
            request: None,
            begun: SystemTime::UNIX_EPOCH,
            ended,
        }
    }

    #[tokio::test]
    async fn what_was_added_last_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operations");
        let (book, none) = Book::open(&path, |_| true).unwrap();
        assert_eq!(none, []);
        let failed = End::Failed(Failure { stage: "shim".into(), ..Failure::default() });
        for line in
            [line("a", None), line("b", None), line("a", Some(End::Done)), line("c", Some(failed.clone()))]
        {
            book.add(line, Vec::new).await.unwrap();
        }
        // A line that a full disk has cut short, and one behind it.
        File::options().append(true).open(&path).unwrap().write_all(b"\n{\"key\":\"d").unwrap();
        book.add(line("b", None), Vec::new).await.unwrap();
        let expected = [line("a", Some(End::Done)), line("b", None), line("c", Some(failed))];
        let (_, again) = Book::open(&path, |_| true).unwrap();
        assert_eq!(again, expected);
        let (_, some) = Book::open(&path, |line| line.ended.is_some()).unwrap();
        assert_eq!(some.len(), 2);
        assert_eq!(Book::open(&path, |_| true).unwrap().1.len(), 2, "written anew");
    }

    #[tokio::test]
    async fn a_long_file_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operations");
        let (book, _) = Book::open(&path, |_| true).unwrap();
        let long = "x".repeat(1 << 20);
        for _ in 0..6 {
            book.add(line(&long, None), || vec![line("a", None)]).await.unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < LONG);
        let keys: Vec<_> =
            Book::open(&path, |_| true).unwrap().1.into_iter().map(|line| line.key.len()).collect();
        assert_eq!(keys, [1, 1 << 20]);
    }
}
