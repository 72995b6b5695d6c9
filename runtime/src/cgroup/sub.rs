//! What `exec` joins: the container's cgroup, or one below it that the
//! container has made (`--cgroup`). Everything is opened before the caller
//! joins the container's namespaces, in which its paths mean something else.

use super::create::failure;
use super::files;
use super::handle::{Cgroup, Dir};
use super::join::{Door, Joiner};
use super::procs;
use super::systemd::Unit;
use crate::contract::report::{Failure, StageKind};
use crate::report::{Outcome, refuse};
use crate::sys::{Error, Result};
use nix::errno::Errno;
use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// The values of `--cgroup`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubCgroups(Vec<(Hierarchies, PathBuf)>);

/// Whose sub-cgroup it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hierarchies {
    /// In every hierarchy.
    All,
    /// In the version 1 hierarchy of this controller.
    Of(String),
}

impl SubCgroups {
    /// `PATH`, or, several times, `CONTROLLER[,CONTROLLER]:PATH`, as runc takes them.
    ///
    /// # Errors
    /// Refused: a path that leads out of the container's cgroup, a controller named
    /// twice or not at all.
    pub fn parse(args: &[String]) -> Outcome<Self> {
        let mut subs: Vec<(Hierarchies, PathBuf)> = Vec::new();
        for arg in args {
            let no = |because: String| Err(refuse(format!("choose the cgroup {arg:?}"), because));
            let (controllers, path) = match arg.split_once(':') {
                Some((controllers, path)) => (Some(controllers), path),
                None => (None, arg.as_str()),
            };
            let components = || Path::new(path).components();
            if components().any(|c| c == Component::ParentDir) {
                return no(format!("{path} is not a sub cgroup path: it contains \"..\""));
            }
            let path: PathBuf = components().filter(|c| matches!(c, Component::Normal(_))).collect();
            let Some(controllers) = controllers else {
                if args.len() > 1 {
                    return no("several need a controller each: CONTROLLER:PATH".into());
                }
                return Ok(Self(vec![(Hierarchies::All, path)]));
            };
            for controller in controllers.split(',') {
                let of = Hierarchies::Of(controller.into());
                if controller.is_empty() {
                    return no("the name of a controller is empty".into());
                }
                if subs.iter().any(|(other, _)| *other == of) {
                    return no(format!("the controller {controller} is named twice"));
                }
                subs.push((of, path.clone()));
            }
        }
        Ok(Self(subs))
    }

    fn path_for(&self, dir: &Dir) -> Option<&Path> {
        let is_for = |of: &Hierarchies| match of {
            Hierarchies::All => true,
            Hierarchies::Of(controller) => dir.has(controller),
        };
        self.0.iter().find(|(of, _)| is_for(of)).map(|(_, path)| path.as_path())
    }

    /// The first controller that no hierarchy of the container has.
    fn unknown(&self, dirs: &[Dir]) -> Option<&str> {
        self.0.iter().find_map(|(of, _)| match of {
            Hierarchies::Of(controller) if !dirs.iter().any(|d| d.has(controller)) => {
                Some(controller.as_str())
            }
            _ => None,
        })
    }
}

impl Cgroup {
    /// The same or its sub-cgroup, with everything open that joining takes.
    ///
    /// # Errors
    /// `ENOENT` when it is gone, or the container has no such sub-cgroup.
    pub fn to_join(mut self, subs: &SubCgroups) -> std::result::Result<Self, Failure> {
        let attempted = "open the container's cgroup";
        if let Some(controller) = subs.unknown(&self.dirs) {
            let hint = "on cgroup v2 give the path alone";
            return Err(Failure {
                attempted: attempted.into(),
                because: format!("the container has no cgroup of the controller {controller}"),
                hint: hint.into(),
                ..Failure::default()
            });
        }
        let joiner = Joiner::of_caller(self.unit().is_some());
        for dir in &mut self.dirs {
            let wrap = |e: Error, path: &Path| failure(StageKind::Cgroup, attempted.into(), e, path);
            if let Some(below) = subs.path_for(dir) {
                let path = dir.path.join(below);
                let fd = dir.descend(below).map_err(|e| Failure {
                    hint: "only a cgroup that the container has made below its own can be joined".into(),
                    ..wrap(e, &path)
                })?;
                dir.fd = OnceCell::from(fd);
                dir.path = path;
            }
            let fd = dir.present().map_err(|e| wrap(e, &dir.path))?;
            dir.door = Some(Door::open(fd, dir.version, joiner).map_err(|e| wrap(e, &dir.path))?);
        }
        self.line = RefCell::new(self.unit().and_then(Unit::line));
        Ok(self)
    }

    /// The cgroup of the unified hierarchy, among those below this one, that
    /// process `pid` is in.
    pub fn holder_of(&self, pid: i32) -> Option<OwnedFd> {
        let dir = self.unified()?.open().ok()??;
        procs::holder(dir, pid).ok()?
    }
}

impl Dir {
    fn present(&self) -> Result<BorrowedFd<'_>> {
        self.open()?.ok_or_else(|| Error { call: format!("open({:?})", self.path), errno: Errno::ENOENT })
    }

    /// Opens a cgroup below, step by step: no link, no `..`.
    fn descend(&self, below: &Path) -> Result<OwnedFd> {
        let mut fd = files::open_below(self.present()?, Path::new("."))?;
        for component in below.components() {
            fd = files::open_below(fd.as_fd(), Path::new(component.as_os_str()))?;
        }
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Outcome<SubCgroups> {
        SubCgroups::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn paths_and_controllers() {
        let all = SubCgroups(vec![(Hierarchies::All, "a/b".into())]);
        for same in ["a/b", "/a/b", "a//b/", "./a/./b"] {
            assert_eq!(parse(&[same]).unwrap(), all, "{same}");
        }
        let of = |name: &str, path: &str| (Hierarchies::Of(name.into()), PathBuf::from(path));
        assert_eq!(
            parse(&["cpu,memory:a", "pids:b"]).unwrap().0,
            [of("cpu", "a"), of("memory", "a"), of("pids", "b")]
        );
        assert_eq!(parse(&[]).unwrap(), SubCgroups::default());
        for bad in [&["../x"][..], &["a/../../b"], &["a", "b"], &["cpu:a", "b"], &[":a"], &["cpu:a", "cpu:b"]]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
