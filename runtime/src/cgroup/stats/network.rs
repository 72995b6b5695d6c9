//! The interfaces of the container's network namespace, where it is not the
//! caller's: `/proc/PID/net/dev` shows those of the process (proc_pid_net(5)).

use crate::contract::stats::NetworkInterface;
use std::fs;

/// `None` without any but `lo`, as runc prints null.
pub(super) fn read(pid: i32) -> Option<Vec<NetworkInterface>> {
    let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/net")).ok();
    let theirs = namespace(&pid.to_string())?;
    if namespace("self")? == theirs {
        return None;
    }
    let interfaces = parse(&fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?);
    (!interfaces.is_empty()).then_some(interfaces)
}

fn parse(text: &str) -> Vec<NetworkInterface> {
    let one = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let numbers: Vec<u64> = rest.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let column = |index: usize| numbers.get(index).copied();
        Some(NetworkInterface {
            name: name.trim().into(),
            rx_bytes: column(0)?,
            rx_packets: column(1)?,
            rx_errors: column(2)?,
            rx_dropped: column(3)?,
            tx_bytes: column(8)?,
            tx_packets: column(9)?,
            tx_errors: column(10)?,
            tx_dropped: column(11)?,
        })
    };
    text.lines().skip(2).filter_map(one).filter(|i| i.name != "lo").collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    \
                    lo:  10 1 0 0 0 0 0 0  10 1 0 0 0 0 0 0\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n";
        let got = super::parse(text);
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].name.as_str(), got[0].rx_dropped, got[0].tx_bytes), ("eth0", 4, 5));
    }
}
