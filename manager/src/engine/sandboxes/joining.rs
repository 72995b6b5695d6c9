//! From the modes of a request to what its config says of namespaces: each is
//! opened here, and what the kernel would refuse is refused, with its place.
//!
//! Two rules of user_namespaces(7) decide. A namespace is owned by the user
//! namespace that its maker was in; and procfs, sysfs and mqueue show the pid,
//! network and ipc namespace of who mounts them, for which that needs
//! CAP_SYS_ADMIN in its owner. So a container that is in a user namespace of its
//! own cannot have a procfs of a pid namespace of others; one that is in none (the
//! host's) can have all. The owner is asked of the kernel (ioctl_ns(2)), since the
//! namespace of a container may itself be that of another.

use crate::engine::error::{Error, Violation};
use crate::engine::ids::Lease;
use crate::engine::pins::{Holder, SHM, bind, inode, open};
use crate::engine::{Context, blocking};
use crate::model::IdRange;
use crate::placement::{Entries, Entry, KINDS, Mode, Modes, Placement};
use crate::shims::hold::Held;
use crate::shims::{Fact, journal};
use crate::sys;
use sextant_runtime::plan::NamespaceKind;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where `/dev/shm` of the host is.
const HOST_SHM: &str = "/dev/shm";

/// What a container joins, and what holds that until it has.
#[derive(Debug, Default)]
pub(in crate::engine) struct Joining {
    /// No more with a default.
    pub(in crate::engine) modes: Modes,
    /// What its config says.
    pub(in crate::engine) entries: Entries,
    /// The ids of its user namespace, unless it is the host's.
    pub(in crate::engine) ids: Option<IdRange>,
    /// The host name that it finds, where that is a sandbox's or another container's.
    pub(in crate::engine) hostname: String,
    /// They are its, or among others its.
    pub(in crate::engine) leases: Vec<Lease>,
    /// Namespaces of other containers, which are to be pinned for this one.
    others: Vec<(NamespaceKind, OwnedFd)>,
}

impl Joining {
    /// Pins what it joins of other containers, behind its record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::engine) fn pin(&self, context: &Context, id: &str) -> Result<(), Error> {
        if self.others.is_empty() {
            return Ok(());
        }
        let place = context.pins.prepare(Holder::Container, id)?;
        self.others.iter().try_for_each(|(kind, ns)| bind(ns, &place, kind.proc_name()))
    }
}

/// Decides for the container `id` whose namespaces it is in; `named` says that it asks for a host name.
///
/// # Errors
/// [`Error::Refused`] with every mistake; [`Error::NoSandbox`], [`Error::SandboxNotReady`];
/// [`Error::Exhausted`] for want of ids.
pub(in crate::engine) async fn resolve(
    context: &Arc<Context>,
    id: &str,
    placement: &Placement,
    named: bool,
) -> Result<Joining, Error> {
    let (context, id, placement) = (Arc::clone(context), id.to_owned(), placement.clone());
    blocking(move || Resolver { context: &context, id: &id, named, violations: Vec::new() }.run(&placement))
        .await
}

struct Resolver<'a> {
    context: &'a Context,
    id: &'a str,
    named: bool,
    violations: Vec<Violation>,
}

impl Resolver<'_> {
    fn run(mut self, placement: &Placement) -> Result<Joining, Error> {
        let sandbox = placement.sandbox.as_deref().map(|id| self.context.sandboxes.get(id)).transpose()?;
        let sandbox = sandbox.map(|sandbox| sandbox.record());
        let shares = |kind| sandbox.as_ref().is_some_and(|record| record.shared.has(kind));
        let modes = Modes::of(|kind| match placement.modes.get(kind) {
            Mode::Default if shares(kind) => Mode::Sandbox,
            Mode::Default => Mode::Own,
            mode => mode.clone(),
        });
        let joined = |kind: &NamespaceKind| *modes.get(*kind) == Mode::Sandbox;
        for kind in KINDS.into_iter().filter(|kind| joined(kind) && !shares(*kind)) {
            let message = format!("the sandbox shares no {} namespace", kind.name());
            self.refuse(kind, message, "use another mode, or a sandbox that shares it".into());
        }
        if let (Some(record), false) = (&sandbox, placement.init) {
            let kinds: Vec<_> = KINDS.into_iter().filter(|kind| joined(kind) && shares(*kind)).collect();
            if let Some(because) = self.context.unready(record, &kinds) {
                return Err(Error::SandboxNotReady { id: record.id.clone(), because });
            }
        }
        let mut joining = Joining { modes, ..Joining::default() };
        joining.hostname = match (&joining.modes.uts, &sandbox) {
            (Mode::Sandbox, Some(record)) => record.hostname.clone(),
            (Mode::Container(other), _) => self
                .context
                .directory
                .get(other)
                .map(|other| other.snapshot().hostname.clone())
                .unwrap_or_default(),
            _ => String::new(),
        };
        self.ids(&mut joining, sandbox.as_ref().and_then(|record| record.ids))?;
        let sandbox = sandbox.map(|record| self.context.pins.place(Holder::Sandbox, &record.id));
        let opened = self.open_all(&mut joining, sandbox.as_deref())?;
        self.check_owners(&opened, &mut joining)?;
        joining.entries.shm = match (&joining.modes.ipc, &sandbox) {
            (Mode::Sandbox, Some(place)) => Some(place.join(SHM)),
            (Mode::Host, _) => Some(PathBuf::from(HOST_SHM)),
            _ => None,
        };
        if self.named && joining.entries.get(NamespaceKind::Uts) != Entry::New {
            self.violations.push(Violation {
                field: "rootfs.hostname".into(),
                message: "the uts namespace, and so the host name, is shared with others".into(),
                hint: "leave it out, or use the mode own for uts".into(),
            });
        }
        for (kind, ns) in opened {
            if let (Mode::Container(_), Some(ns)) = (joining.modes.get(kind), ns) {
                joining.others.push((kind, ns));
            }
        }
        match self.violations.is_empty() {
            true => Ok(joining),
            false => {
                let attempted = format!("create container {:?}", self.id);
                Err(Error::Refused { attempted, violations: self.violations })
            }
        }
    }

    fn refuse(&mut self, kind: NamespaceKind, message: String, hint: String) {
        self.violations.push(Violation { field: format!("namespaces.{}", kind.name()), message, hint });
    }

    /// The ids follow the user namespace. Taken before the process is looked at that has them: while that
    /// lives, nobody else can have got them.
    fn ids(&mut self, joining: &mut Joining, of_sandbox: Option<IdRange>) -> Result<(), Error> {
        let ids = match &joining.modes.user {
            Mode::Own | Mode::Default => {
                let lease = self.context.ranges.lease()?;
                joining.ids = Some(lease.range());
                joining.leases.push(lease);
                return Ok(());
            }
            Mode::Host => None,
            Mode::Sandbox => of_sandbox,
            Mode::Container(other) => {
                self.context.directory.get(other).and_then(|other| other.snapshot().ids)
            }
        };
        joining.ids = ids;
        joining.leases = ids.map(|ids| self.context.ranges.claim(ids)).unwrap_or_default();
        Ok(())
    }

    /// Opens what is not its own; a namespace of a container that is the host's is taken for that.
    fn open_all(
        &mut self,
        joining: &mut Joining,
        sandbox: Option<&Path>,
    ) -> Result<Vec<(NamespaceKind, Option<OwnedFd>)>, Error> {
        let mut opened = Vec::new();
        for kind in KINDS {
            let ns = match joining.modes.get(kind) {
                Mode::Own | Mode::Default => None,
                Mode::Host => {
                    joining.entries.set(kind, Entry::Host);
                    None
                }
                Mode::Sandbox => sandbox.and_then(|place| {
                    let file = place.join(kind.proc_name());
                    let ns = open(&file).ok().flatten();
                    joining.entries.set(kind, Entry::Join(file));
                    ns
                }),
                Mode::Container(other) => match open_of(self.context, other, kind) {
                    Ok(ns) if is_hosts(kind, &ns)? => {
                        joining.entries.set(kind, Entry::Host);
                        None
                    }
                    Ok(ns) => {
                        let place = self.context.pins.place(Holder::Container, self.id);
                        joining.entries.set(kind, Entry::Join(place.join(kind.proc_name())));
                        Some(ns)
                    }
                    Err(because) => {
                        let hint = "name a container that lives, or use another mode";
                        self.refuse(kind, because, hint.into());
                        None
                    }
                },
            };
            opened.push((kind, ns));
        }
        Ok(opened)
    }

    /// The rules of who owns what.
    fn check_owners(
        &mut self,
        opened: &[(NamespaceKind, Option<OwnedFd>)],
        joining: &mut Joining,
    ) -> Result<(), Error> {
        let fd = |kind| opened.iter().find(|(k, _)| *k == kind).and_then(|(_, ns)| ns.as_ref());
        let user = match joining.entries.get(NamespaceKind::User) {
            // Root of the host has rights over all.
            Entry::Host => {
                joining.ids = None;
                joining.leases.clear();
                return Ok(());
            }
            Entry::New => None,
            Entry::Join(_) => fd(NamespaceKind::User).map(number).transpose()?,
        };
        if let (Mode::Container(other), Some(_), None) = (&joining.modes.user, user, joining.ids) {
            let message =
                format!("the ids of container {other:?} were not given by the manager: it is of a bundle");
            self.refuse(NamespaceKind::User, message, "join a container that was made with rootfs".into());
        }
        for kind in [NamespaceKind::Pid, NamespaceKind::Network, NamespaceKind::Ipc] {
            let owner = match (joining.entries.get(kind), fd(kind)) {
                (Entry::New, _) => continue,
                (Entry::Host, _) => None,
                (Entry::Join(_), Some(ns)) => Some(owner(ns)?),
                // It could not be opened, and is refused already.
                (Entry::Join(_), None) => continue,
            };
            if owner.is_some() && owner == user {
                continue;
            }
            match (kind, owner) {
                (NamespaceKind::Ipc, _) => joining.entries.no_mqueue = true,
                (NamespaceKind::Network, None) => joining.entries.host_sysfs = true,
                (NamespaceKind::Network, Some(_)) => self.refuse_foreign(kind, &joining.modes, "sysfs"),
                _ => self.refuse_foreign(kind, &joining.modes, "procfs"),
            }
        }
        Ok(())
    }

    fn refuse_foreign(&mut self, kind: NamespaceKind, modes: &Modes, shows: &str) {
        let name = kind.name();
        let message = format!(
            "the {name} namespace belongs to another user namespace than the container's, which has no right \
             to mount a {shows} of it (user_namespaces(7))"
        );
        let remedy = match modes.get(kind) {
            Mode::Container(other) => format!("use container:{other} for user as well, or host"),
            Mode::Sandbox => "use sandbox for user as well (the sandbox has to share it), or host".into(),
            _ => format!("use host for user as well, or another mode for {name}"),
        };
        self.refuse(kind, message, remedy);
    }
}

/// Opens a namespace of a container's init. It is certain to be that: the process is held by a pidfd, was
/// proven to be the one that the shim has made, and had not ended when the namespace was open already.
///
/// # Errors
/// Why it cannot be.
pub(super) fn open_of(context: &Context, id: &str, kind: NamespaceKind) -> Result<OwnedFd, String> {
    let handle = context.directory.get(id).ok_or_else(|| format!("there is no container {id:?}"))?;
    let over = || format!("container {id:?} has no process whose namespace could be joined");
    let events = journal::events(&handle.paths.journal(), 0).map_err(|e| format!("read the journal: {e}"))?;
    let created = events.into_iter().find_map(|event| match event.fact {
        Fact::Created(init) => Some(init),
        _ => None,
    });
    let init = created.ok_or_else(over)?;
    let held = Held::init(&init).ok_or_else(over)?;
    let file = format!("/proc/{}/ns/{}", init.pid, kind.proc_name());
    let ns = File::open(&file).map_err(|e| format!("open {file} of container {id:?}: {e}"))?;
    if held.ended() { Err(over()) } else { Ok(ns.into()) }
}

fn number(ns: &OwnedFd) -> Result<u64, Error> {
    inode(ns).map_err(Error::io("look at a namespace"))
}

/// The number of the user namespace that owns it.
fn owner(ns: &OwnedFd) -> Result<u64, Error> {
    let owner = sys::ns::owner(ns.as_fd()).map_err(Error::io("ask who owns a namespace"))?;
    number(&owner)
}

/// Whether it is that of the manager, which is the host's.
fn is_hosts(kind: NamespaceKind, ns: &OwnedFd) -> Result<bool, Error> {
    let file = format!("/proc/self/ns/{}", kind.proc_name());
    let own = File::open(&file).map_err(Error::io(format!("open {file}")))?;
    Ok(number(&own.into())? == number(ns)?)
}
