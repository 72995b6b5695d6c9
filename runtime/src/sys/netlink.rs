//! A small client of rtnetlink(7): looks interfaces up, moves one to another
//! network namespace, reads and adds addresses. A socket belongs for ever to the
//! network namespace in which it was opened, so one of each side is enough for a
//! move there and back. What is moved and why is [`crate::create::net_devices`]'.

use super::{Result, named};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use wire::{Message, Request};

mod wire;

/// A socket in the network namespace that it was opened in.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name there.
    pub name: String,
    /// `IFF_UP`
    pub up: Up,
}

/// Whether an interface is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// An IP address of an interface, with everything that adding it again takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    /// Type and bytes, as the kernel gave them.
    attributes: Vec<(u16, Vec<u8>)>,
}

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_LABEL: u16 = 3;
const IFA_FLAGS: u16 = 8;
/// Address, local, label, broadcast, times, metric, protocol.
const IFA_KEPT: [u16; 7] = [1, 2, IFA_LABEL, 4, 6, 9, 11];
const IFA_F_PERMANENT: u32 = 0x80;
/// What an address is asked for with; the other flags are the kernel's to set.
const IFA_F_ASKED: u32 = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;
/// `RT_SCOPE_UNIVERSE`: global.
const GLOBAL: u8 = 0;
const IFF_UP: u32 = 1;
const NLM_F_EXCL_CREATE: u16 = 0x200 | 0x400;

impl Netlink {
    /// Opens one in the caller's network namespace.
    ///
    /// # Errors
    /// As socket(2).
    pub fn open() -> Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let made = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute);
        named(made, || "socket(AF_NETLINK, NETLINK_ROUTE)".into()).map(|fd| Self { fd })
    }

    /// The interface of this name, if there is one.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn link(&self, name: &str) -> Result<Option<Link>> {
        let request = Request::new(RTM_GETLINK).link(0, 0, 0).text(IFLA_IFNAME, name);
        match self.ask(request, || format!("rtnetlink(RTM_GETLINK, {name:?})")) {
            Err(e) if e.errno == Errno::ENODEV => Ok(None),
            Err(e) => Err(e),
            Ok(messages) => Ok(messages.iter().find_map(link_of)),
        }
    }

    /// All interfaces.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn links(&self) -> Result<Vec<Link>> {
        let request = Request::new(RTM_GETLINK).dump().link(0, 0, 0);
        let messages = self.ask(request, || "rtnetlink(RTM_GETLINK, all)".into())?;
        Ok(messages.iter().filter_map(link_of).collect())
    }

    /// The addresses of an interface that do not go by themselves: permanent, of global scope.
    ///
    /// # Errors
    /// As the kernel answers.
    pub fn addresses(&self, link: &Link) -> Result<Vec<Address>> {
        let request = Request::new(RTM_GETADDR).dump().address(0, 0, 0, 0);
        let messages = self.ask(request, || "rtnetlink(RTM_GETADDR, all)".into())?;
        Ok(messages.iter().filter_map(|message| address_of(message, link.index)).collect())
    }

    /// Moves an interface to another network namespace, under this name.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken there, `EINVAL` for one that cannot leave, such as `lo`.
    pub fn move_link(&self, link: &Link, to: BorrowedFd<'_>, name: &str) -> Result<()> {
        let request = Request::new(RTM_SETLINK)
            .link(link.index, 0, 0)
            .attribute(IFLA_NET_NS_FD, &to.as_raw_fd().to_ne_bytes())
            .text(IFLA_IFNAME, name);
        let call = || {
            format!("rtnetlink(RTM_SETLINK, {:?}, IFLA_NET_NS_FD={to:?}, IFLA_IFNAME={name:?})", link.name)
        };
        self.ask(request, call).map(drop)
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// As the driver has them.
    pub fn set_up(&self, link: &Link) -> Result<()> {
        let request = Request::new(RTM_SETLINK).link(link.index, IFF_UP, IFF_UP);
        self.ask(request, || format!("rtnetlink(RTM_SETLINK, {:?}, IFF_UP)", link.name)).map(drop)
    }

    /// Gives an interface an address that one of the name `before` had.
    ///
    /// # Errors
    /// As the kernel answers; one that is there already is no error.
    pub fn add_address(&self, link: &Link, address: &Address, before: &str) -> Result<()> {
        let mut request = Request::new(RTM_NEWADDR).with(NLM_F_EXCL_CREATE).address(
            address.family,
            address.prefix,
            GLOBAL,
            link.index,
        );
        for (kind, bytes) in &address.attributes {
            match (*kind, label(bytes, before, &link.name)) {
                (IFA_LABEL, None) => {}
                (IFA_LABEL, Some(label)) => request = request.text(IFA_LABEL, &label),
                (kind, _) => request = request.attribute(kind, bytes),
            }
        }
        let request = request.attribute(IFA_FLAGS, &address.flags.to_ne_bytes());
        match self.ask(request, || format!("rtnetlink(RTM_NEWADDR, {:?}, {address})", link.name)) {
            Err(e) if e.errno == Errno::EEXIST => Ok(()),
            result => result.map(drop),
        }
    }

    /// Sends a request, and gives the kernel's messages up to its last one.
    fn ask(&self, request: Request, call: impl Fn() -> String) -> Result<Vec<Message>> {
        named(send(self.fd.as_raw_fd(), &request.finish(), MsgFlags::empty()), &call)?;
        let mut messages = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                result => named(result, &call)?,
            };
            for message in wire::messages(buffer.get(..length).unwrap_or_default()) {
                match message.end() {
                    None => messages.push(message),
                    Some(0) => return Ok(messages),
                    Some(errno) => return named(Err(Errno::from_raw(errno)), &call),
                }
            }
        }
    }
}

impl std::fmt::Display for Address {
    /// As `ip address` prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let local = self.attributes.iter().find(|(kind, _)| *kind == 2);
        let bytes = local.or_else(|| self.attributes.first()).map_or(&[][..], |(_, bytes)| bytes);
        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            write!(f, "{}/{}", std::net::Ipv4Addr::from(v4), self.prefix)
        } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
            write!(f, "{}/{}", std::net::Ipv6Addr::from(v6), self.prefix)
        } else {
            write!(f, "{bytes:02x?}/{}", self.prefix)
        }
    }
}

fn link_of(message: &Message) -> Option<Link> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let name = message.attributes(16).find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
    let up = if message.number(8)? & IFF_UP == 0 { Up::No } else { Up::Yes };
    Some(Link { index: message.number(4)?, name: text(name), up })
}

fn address_of(message: &Message, index: u32) -> Option<Address> {
    let [family, prefix, flags, scope] = message.number(0)?.to_ne_bytes();
    let wanted = message.kind == RTM_NEWADDR && message.number(4)? == index && scope == GLOBAL;
    let ip = [libc::AF_INET, libc::AF_INET6].contains(&i32::from(family));
    let all = message.attributes(8).find(|(kind, _)| *kind == IFA_FLAGS).map(|(_, bytes)| bytes);
    let flags = all.and_then(|b| <[u8; 4]>::try_from(b).ok()).map_or(flags.into(), u32::from_ne_bytes);
    if !wanted || !ip || flags & IFA_F_PERMANENT == 0 {
        return None;
    }
    let kept = message.attributes(8).filter(|(kind, _)| IFA_KEPT.contains(kind));
    let attributes = kept.map(|(kind, bytes)| (kind, bytes.to_owned())).collect();
    Some(Address { family, prefix, flags: flags & IFA_F_ASKED, attributes })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

/// The label of an IPv4 address under another name of the interface; none where it is that name.
fn label(bytes: &[u8], before: &str, now: &str) -> Option<String> {
    let label = text(bytes);
    let own = label.strip_prefix(before)?.strip_prefix(':')?;
    Some(format!("{now}:{own}")).filter(|label| label.len() < 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lo_is_found_and_has_its_addresses_of_host_scope_left_out() {
        let netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        assert_eq!((lo.index, lo.name.as_str()), (1, "lo"));
        assert!(netlink.links().unwrap().contains(&lo));
        assert_eq!(netlink.link("no-such-device").unwrap(), None);
        for address in netlink.addresses(&lo).unwrap() {
            assert!(!address.to_string().starts_with("127."), "{address}");
        }
    }

    #[test]
    fn labels_follow_the_name() {
        assert_eq!(label(b"eth0\0", "eth0", "net1"), None);
        assert_eq!(label(b"eth0:a\0", "eth0", "net1").as_deref(), Some("net1:a"));
        assert_eq!(label(b"eth0:a\0", "eth0", "a-name-of-15-chr"), None);
    }
}
