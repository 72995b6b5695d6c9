//! `pin`: namespaces that outlive every process. They are made as a config asks
//! (id maps, host name, sysctls, network devices) and bound to files, which
//! containers join by path: a pod without a pause process. `unpin` lets them go.

use super::Context;
use crate::bundle::Bundle;
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::{Failure, StageKind};
use crate::create::net_devices::{self, Moved};
use crate::handshake::{self, InitSide, ParentSide, ToInit, ToParent};
use crate::namespaces;
use crate::plan::{Host, Namespace, NamespaceKind, Plan};
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse, refuse_all, with_leftovers};
use crate::sys;
use crate::sys::process::{Cloned, Parentage, clone3};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What can be pinned. The others are of a process: a pid namespace ends with its init, mounts are a
/// container's own, and the cgroup and time namespaces are those of who makes them.
const KINDS: [NamespaceKind; 4] =
    [NamespaceKind::User, NamespaceKind::Network, NamespaceKind::Uts, NamespaceKind::Ipc];

/// Carries it out.
///
/// # Errors
/// All mistakes of the config; or the stage that failed, and then nothing is left.
pub fn run(context: &Context, args: &cli::Pin) -> Outcome<ExitCode> {
    let report = &context.report;
    let plan = plan(&args.bundle, report)?;
    let mut pins =
        report.stage(StageKind::Store, args.to.to_string_lossy(), || Pins::make(&args.to, &plan))?;
    let holder = match Holder::begin(&plan, report) {
        Ok(holder) => holder,
        Err(failure) => return Err(with_leftovers(failure, &pins.remove())),
    };
    let pinned = holder.serve(&plan, report).and_then(|devices| {
        let bound = report.stage(StageKind::Pin, args.to.to_string_lossy(), || pins.bind(holder.pid));
        bound.map_err(|failure| with_leftovers(failure, &devices.map_or_else(Vec::new, |d| d.back())))
    });
    // From here on the files alone hold them.
    holder.end();
    pinned.map_err(|failure| with_leftovers(failure, &pins.remove()))?;
    Ok(ExitCode::SUCCESS)
}

/// Carries out `unpin`: what is missing already is as wanted.
///
/// # Errors
/// A file that cannot be unmounted or removed.
pub fn unpin(context: &Context, args: &cli::Unpin) -> Outcome<ExitCode> {
    context.report.stage(StageKind::Pin, args.from.to_string_lossy(), || {
        let files = KINDS.into_iter().map(|kind| args.from.join(kind.proc_name())).collect();
        let mut pins = Pins { files };
        match pins.remove().as_slice() {
            [] => Ok(ExitCode::SUCCESS),
            left => {
                Err(refuse(format!("let go of the namespaces in {}", args.from.display()), left.join("; ")))
            }
        }
    })
}

/// The plan of a config, of which process and root need not be there, and mean nothing.
fn plan(dir: &Path, report: &Reporter) -> Outcome<Plan> {
    let mut bundle =
        report.stage(StageKind::Load, dir.to_string_lossy(), || Bundle::load(dir).map_err(Box::new))?;
    complete(&mut bundle)?;
    report.stage(StageKind::Plan, "", || {
        let host = Host::probe_caller();
        let mut plan = crate::plan::plan(&bundle, "pin", &host)
            .map_err(|problems| refuse_all("plan the namespaces", &problems))?;
        // It was there for the planner's sake.
        plan.namespaces.mount = Namespace::Host;
        for kind in NamespaceKind::ALL {
            let because = match plan.namespaces.get(kind) {
                Namespace::Host => continue,
                Namespace::Create if KINDS.contains(&kind) => continue,
                Namespace::Create => "it cannot be shared by a file; leave it to the containers",
                Namespace::Join { .. } => "it exists already; containers can join it themselves",
            };
            return Err(refuse(format!("pin the {} namespace", kind.name()), because))
                .at("/linux/namespaces");
        }
        if KINDS.iter().all(|kind| *plan.namespaces.get(*kind) == Namespace::Host) {
            return Err(refuse("plan the namespaces", "there is none: name some of user, network, uts, ipc"))
                .at("/linux/namespaces");
        }
        Ok(plan)
    })
}

/// Gives the config what the planner asks for: a process, a root, and a mount namespace for it.
fn complete(bundle: &mut Bundle) -> Outcome<()> {
    use oci_spec::runtime::{
        LinuxBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, ProcessBuilder, RootBuilder,
    };
    let wrong = |e: oci_spec::OciSpecError| refuse("complete the config", e.to_string());
    let process = ProcessBuilder::default().args(vec!["pin".to_owned()]).cwd("/").build().map_err(wrong)?;
    bundle.spec.set_process(Some(process));
    bundle.spec.set_root(Some(RootBuilder::default().path(".").build().map_err(wrong)?));
    bundle.spec.set_mounts(None);
    let mut linux = match bundle.spec.linux().clone() {
        Some(linux) => linux,
        None => LinuxBuilder::default().namespaces(Vec::new()).build().map_err(wrong)?,
    };
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    if let Some(index) = namespaces.iter().position(|ns| ns.typ() == LinuxNamespaceType::Mount) {
        let because = "it cannot be shared by a file; leave it to the containers";
        return Err(refuse("pin the mount namespace", because)).at(&format!("/linux/namespaces/{index}"));
    }
    let mount = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Mount).build().map_err(wrong)?;
    namespaces.push(mount);
    linux.set_namespaces(Some(namespaces));
    bundle.spec.set_linux(Some(linux));
    Ok(())
}

/// The files, in the order of [`KINDS`].
struct Pins {
    files: Vec<PathBuf>,
}

impl Pins {
    /// Makes them; the directory has to be there, and the files not.
    fn make(dir: &Path, plan: &Plan) -> Outcome<Self> {
        let dir = std::path::absolute(dir).attempt(|| format!("find {}", dir.display()))?;
        let mut pins = Self { files: Vec::new() };
        for kind in KINDS.into_iter().filter(|kind| *plan.namespaces.get(*kind) == Namespace::Create) {
            let file = dir.join(kind.proc_name());
            let made = std::fs::File::create_new(&file)
                .attempt(|| format!("make {}", file.display()))
                .hint(Errno::EEXIST, "something is pinned there: `sextant-runtime unpin DIR` lets it go")
                .hint(Errno::ENOENT, "make the directory first");
            match made {
                Ok(_) => pins.files.push(file),
                Err(failure) => return Err(with_leftovers(failure, &pins.remove())),
            }
        }
        Ok(pins)
    }

    /// Binds the namespaces of a process to them.
    fn bind(&self, pid: i32) -> Outcome<()> {
        for file in &self.files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let what = || format!("bind {name} to {}", file.display());
            let path = format!("/proc/{pid}/ns/{name}");
            let ns = sys::file::open_host(path.as_ref(), OFlag::O_RDONLY).attempt(what)?;
            let from = format!("/proc/self/fd/{}", ns.as_raw_fd());
            let bound = mount(Some(from.as_str()), file, None::<&str>, MsFlags::MS_BIND, None::<&str>);
            sys::named(bound, || format!("mount({path:?}, {file:?}, MS_BIND)"))
                .attempt(what)
                .hint(Errno::EPERM, "mounting takes CAP_SYS_ADMIN in the caller's mount namespace")
                .hint(Errno::EINVAL, "the directory must not lie on a mount with shared propagation")?;
        }
        Ok(())
    }

    /// Lets go of them; says what is left.
    fn remove(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for file in self.files.drain(..) {
            match umount2(&file, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                // Not there, or nothing was bound to it.
                Ok(()) | Err(Errno::ENOENT | Errno::EINVAL) => {}
                Err(errno) => left.push(format!("unmount {}: {}", file.display(), errno.desc())),
            }
            match std::fs::remove_file(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    left.push(format!("remove {}: {e}", file.display()));
                }
                _ => {}
            }
        }
        left
    }
}

/// The process that is in the namespaces until the files are.
struct Holder {
    pid: i32,
    channel: ParentSide,
}

impl Holder {
    fn begin(plan: &Plan, report: &Reporter) -> Outcome<Self> {
        let proc = Proc::host()?;
        let (channel, side) = handshake::pair()?;
        let flags = namespaces::clone_flags(&plan.namespaces);
        let cloned = report.stage_of_clone(|| {
            clone3(flags, Parentage::Child, None)
                .attempt(|| "clone a process with the namespaces".into())
                .hint(Errno::ENOSPC, "a limit in /proc/sys/user/max_*_namespaces is reached")
                .hint(Errno::EPERM, "creating namespaces takes root, or a user namespace in the config")
        });
        match cloned? {
            Cloned::Parent(pid) => Ok(Self { pid, channel }),
            Cloned::Child => {
                drop(channel);
                hold(plan, &side, &proc, report)
            }
        }
    }

    /// Writes id maps, moves devices in, and hears that all is set up.
    fn serve(&self, plan: &Plan, report: &Reporter) -> Outcome<Option<Moved>> {
        let ns = &plan.namespaces;
        if ns.user == Namespace::Create {
            let proc = Proc::host()?;
            report.stage(StageKind::IdMap, "", || {
                namespaces::user::write_maps(&proc, self.pid, &ns.uid_mappings, &ns.gid_mappings)
            })?;
        }
        let devices = net_devices::move_in(self.pid, &plan.net_devices, report)?;
        let heard = self.channel.say(&ToInit::Mapped).and_then(|()| self.channel.hear());
        let failure = match heard {
            Ok(Some(ToParent::Ready)) => return Ok(devices),
            Ok(Some(ToParent::Failed(failure))) => failure,
            Ok(other) => refuse("set the namespaces up", format!("their first process said {other:?}")),
            Err(failure) => crate::create::attend::last_words(failure, &self.channel),
        };
        Err(with_leftovers(failure, &devices.map_or_else(Vec::new, |devices| devices.back())))
    }

    /// Ends it, also where somebody has stopped it, and waits for that.
    fn end(self) {
        // Nobody else waits for this child, so the number is its own. It may have ended already.
        drop(sys::signal::kill(self.pid, libc::SIGKILL));
        drop(sys::process::wait(self.pid));
    }
}

/// The life of that process: it sets its namespaces up and waits to be let go.
fn hold(plan: &Plan, side: &InitSide, proc: &Proc, report: &Reporter) -> ! {
    let failed = match set_up(plan, side, proc, report) {
        Ok(()) => side.say(&ToParent::Ready).err(),
        Err(failure) => side.say(&ToParent::Failed(failure)).err(),
    };
    if failed.is_none() {
        // Nothing more is said: this is the end of the parent, or its leave.
        drop(side.hear());
    }
    sys::process::exit_now(0)
}

fn set_up(plan: &Plan, side: &InitSide, proc: &Proc, report: &Reporter) -> Outcome<()> {
    let unexpected = |said: Option<ToInit>| -> Box<Failure> {
        refuse("set the namespaces up", format!("the parent said {said:?}"))
    };
    match side.hear()? {
        Some(ToInit::Mapped) => {}
        other => return Err(unexpected(other)),
    }
    let ns = &plan.namespaces;
    if ns.user == Namespace::Create {
        report.stage(StageKind::NamespaceUser, "", namespaces::user::become_root)?;
    }
    report.stage(StageKind::NamespaceNetwork, "lo", || namespaces::network::set_up(&ns.network))?;
    if ns.uts != Namespace::Host {
        report.stage(StageKind::NamespaceUts, "", || namespaces::uts::set_up(plan))?;
    }
    crate::init::set_sysctls(plan, proc, report)
}
