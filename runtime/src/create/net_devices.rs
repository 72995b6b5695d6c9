//! `linux.netDevices`: the parent moves interfaces of the host into the
//! container's network namespace, before anything runs there. Their permanent
//! addresses of global scope go with them, and they are set up; routes do not:
//! they belong to the namespace, not to the interface. Until the creation has
//! succeeded they can come back: the namespace is held, so that it does not take
//! them with it when init dies. Later the container's end is the kernel's matter:
//! hardware falls back to the host, what is virtual is gone.

use crate::contract::report::{Stage, StageKind};
use crate::plan::NetDevice;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::sys;
use crate::sys::netlink::{Address, Link, Netlink, Up};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, OwnedFd};

/// The two sides, and what has gone over.
#[derive(Debug)]
pub struct Moved {
    host: Side,
    container: Side,
    gone: Vec<Gone>,
}

/// A network namespace, and a socket in it.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    netlink: Netlink,
}

/// An interface that has left the host, or is about to.
#[derive(Debug)]
struct Gone {
    host: String,
    name: String,
    up: Up,
    addresses: Vec<Address>,
}

const POINTER: &str = "/linux/netDevices";

/// Moves all of them into the network namespace of the process `pid`; `None` for none.
///
/// # Errors
/// With the pointer of the first that cannot go; those before it are back then.
pub fn move_in(pid: i32, devices: &[NetDevice], report: &Reporter) -> Outcome<Option<Moved>> {
    if devices.is_empty() {
        return Ok(None);
    }
    let mut moved = report.stage(StageKind::NetDevice, "", || Moved::begin(pid))?;
    for (index, device) in devices.iter().enumerate() {
        let stage = Stage::nth(StageKind::NetDevice, index);
        if let Err(failure) = report.stage(stage, &device.host, || moved.take(device).at(&device.pointer)) {
            let left = moved.back();
            return Err(crate::report::with_leftovers(failure, &left));
        }
    }
    Ok(Some(moved))
}

impl Moved {
    fn begin(pid: i32) -> Outcome<Self> {
        let what = || "reach the container's network namespace".to_owned();
        let open = |path: String| sys::file::open_host(path.as_ref(), OFlag::O_RDONLY).attempt(what);
        let (own, inner) = (open("/proc/self/ns/net".into())?, open(format!("/proc/{pid}/ns/net"))?);
        let identity = |fd: &OwnedFd| sys::file::stat(fd.as_fd()).map(|s| (s.st_dev, s.st_ino)).attempt(what);
        if identity(&own)? == identity(&inner)? {
            return Err(refuse(what(), "the network namespace that is joined is the host's")).at(POINTER);
        }
        let outside = Netlink::open().attempt(what)?;
        sys::process::setns(inner.as_fd(), crate::namespaces::network::FLAG).attempt(what)?;
        let inside = Netlink::open();
        // Should this fail, the creation ends: nothing is done in the wrong namespace.
        sys::process::setns(own.as_fd(), crate::namespaces::network::FLAG).attempt(what)?;
        Ok(Self {
            host: Side { namespace: own, netlink: outside },
            container: Side { namespace: inner, netlink: inside.attempt(what)? },
            gone: Vec::new(),
        })
    }

    /// Moves one.
    fn take(&mut self, device: &NetDevice) -> Outcome<()> {
        let what = || format!("move the network interface {}", device.host);
        let (host, container) = (&self.host.netlink, &self.container.netlink);
        let Some(link) = host.link(&device.host).attempt(what)? else {
            let mut failure = refuse(what(), "the host has no interface of this name");
            failure.hint = "`ip link` shows those of the network namespace that the runtime is in".into();
            return Err(failure);
        };
        let name = self.name_for(device)?;
        if container.link(&name).attempt(what)?.is_some() {
            let because = format!("the container has an interface {name} already");
            let mut failure = refuse(what(), because);
            failure.hint = "give another name, or a template such as eth%d".into();
            return Err(failure);
        }
        let addresses = host.addresses(&link).attempt(what)?;
        let host_name = device.host.clone();
        // Noted before the move: the kernel may move it and then fail to name it.
        self.gone.push(Gone {
            host: host_name,
            name: name.clone(),
            up: link.up,
            addresses: addresses.clone(),
        });
        host.move_link(&link, self.container.namespace.as_fd(), &name)
            .attempt(what)
            .hint(
                Errno::EINVAL,
                "some interfaces cannot leave their namespace: lo, and those of the kind netns-local",
            )
            .hint(Errno::EPERM, "this takes CAP_NET_ADMIN in both network namespaces")?;
        let link = found(container, &name, what)?;
        arrive(container, &link, &addresses, &device.host, Up::Yes)
    }

    /// The name in the container: the lowest number that is free, where it is a template.
    fn name_for(&self, device: &NetDevice) -> Outcome<String> {
        if !device.is_template() {
            return Ok(device.name.clone());
        }
        let what = || format!("find a name like {}", device.name);
        let links = self.container.netlink.links().attempt(what)?;
        let free = |name: &String| links.iter().all(|link| link.name != *name);
        (0..32768)
            .map(|number: u32| device.name.replace("%d", &number.to_string()))
            .find(free)
            .filter(|name| name.len() < 16)
            .ok_or_else(|| refuse(what(), "none is free"))
    }

    /// Gives the host back what it had; tells what could not be.
    pub fn back(&self) -> Vec<String> {
        self.gone.iter().rev().filter_map(|gone| self.give(gone).err().map(|f| f.to_string())).collect()
    }

    fn give(&self, gone: &Gone) -> Outcome<()> {
        let what = || format!("give the network interface {} back to the host", gone.host);
        let (host, container) = (&self.host.netlink, &self.container.netlink);
        if host.link(&gone.host).attempt(what)?.is_some() {
            return Ok(());
        }
        let link = match container.link(&gone.name).attempt(what)? {
            None => found(container, &gone.host, what)?,
            Some(link) => link,
        };
        container.move_link(&link, self.host.namespace.as_fd(), &gone.host).attempt(what)?;
        let link = found(host, &gone.host, what)?;
        arrive(host, &link, &gone.addresses, &gone.host, gone.up)
    }
}

fn found(netlink: &Netlink, name: &str, what: impl Fn() -> String + Copy) -> Outcome<Link> {
    netlink.link(name).attempt(what)?.ok_or_else(|| refuse(what(), format!("there is no {name} to be found")))
}

/// What the kernel has taken from an interface that has moved: its addresses, and that it is up.
fn arrive(netlink: &Netlink, link: &Link, addresses: &[Address], before: &str, up: Up) -> Outcome<()> {
    for address in addresses {
        let what = || format!("give {} the address {address}", link.name);
        netlink.add_address(link, address, before).attempt(what)?;
    }
    match up {
        Up::Yes => netlink.set_up(link).attempt(|| format!("set {} up", link.name)),
        Up::No => Ok(()),
    }
}
