//! `ns ID`: the namespaces of a container or a sandbox beside the host's, who
//! else is in each, and what is different inside.

use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output::{self, Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::view::sandbox::Namespace;
use serde::Serialize;
use sextant_proto::v1::{self, GetRequest, NamespacesRequest};
use std::process::ExitCode;
use tonic::Code;

/// Everything shown, in the form that `--json` prints.
#[derive(Debug, Serialize)]
struct View {
    id: String,
    pid: i32,
    namespaces: Vec<Namespace>,
    uid_mappings: Vec<IdMapping>,
    gid_mappings: Vec<IdMapping>,
    hostname: String,
    host_hostname: String,
    #[serde(skip)]
    rootfs: String,
}

#[derive(Debug, Serialize)]
struct IdMapping {
    container_id: u32,
    host_id: u32,
    size: u32,
}

pub(super) async fn run(client: &Client, id: String, json: bool) -> Result<ExitCode, Error> {
    let view = ask(client, id).await?;
    if json {
        output::print_json(&view)?;
    } else {
        output::print(&render(Paint::stdout(), &view))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The namespaces of a container as a text without colours.
///
/// # Errors
/// What the daemon says.
pub(in crate::cli) async fn text(client: &Client, id: &str) -> Result<String, Error> {
    Ok(render(Paint::Plain, &ask(client, id.to_owned()).await?))
}

async fn ask(client: &Client, id: String) -> Result<View, Error> {
    let failed = || Error::request(format!("show the namespaces of {id}"));
    let mut containers = client.clone().containers;
    let answer = containers.namespaces(NamespacesRequest { id: id.clone() }).await.map_err(failed())?;
    let container = match containers.get(GetRequest { id: id.clone(), ..Default::default() }).await {
        Ok(found) => found.into_inner().container.unwrap_or_default(),
        // A sandbox, which has no process, or has its init.
        Err(status) if status.code() == Code::NotFound => {
            v1::Container { id: id.clone(), ..Default::default() }
        }
        Err(status) => return Err(failed()(status)),
    };
    Ok(view(container, answer.into_inner()))
}

fn view(container: v1::Container, answer: v1::NamespacesResponse) -> View {
    let mapping =
        |m: v1::IdMapping| IdMapping { container_id: m.container_id, host_id: m.host_id, size: m.size };
    View {
        id: container.id,
        pid: container.pid,
        rootfs: container.rootfs,
        namespaces: answer.namespaces.into_iter().map(Namespace::from).collect(),
        uid_mappings: answer.uid_mappings.into_iter().map(mapping).collect(),
        gid_mappings: answer.gid_mappings.into_iter().map(mapping).collect(),
        hostname: answer.hostname,
        host_hostname: answer.host_hostname,
    }
}

fn render(paint: Paint, view: &View) -> String {
    let row = |ns: &Namespace| {
        let (word, colour) = match (ns.shared, ns.sharers.is_empty()) {
            (true, _) => ("shared".to_owned(), Colour::Yellow),
            (false, true) => ("own".into(), Colour::Green),
            (false, false) => (format!("with {}", ns.sharers.join(", ")), Colour::Bold),
        };
        let inside = if ns.shared { "nothing: it is the host's".to_owned() } else { inside(ns, view) };
        [
            Cell::from(ns.kind.as_str()),
            ns.inode.to_string().into(),
            ns.host_inode.to_string().into(),
            Cell::coloured(word, colour),
            inside.into(),
        ]
    };
    let rows: Vec<_> = view.namespaces.iter().map(row).collect();
    let heading = ["NAMESPACE", "CONTAINER", "HOST", "", "DIFFERENT INSIDE"];
    let pairs = [
        ("uid map", mappings(&view.uid_mappings)),
        ("gid map", mappings(&view.gid_mappings)),
        ("host name", format!("{} inside, {} on the host", view.hostname, view.host_hostname)),
    ];
    format!("{}\n{}", table::render(paint, heading, &rows), table::pairs(paint, &pairs))
}

/// What a process in its own namespace of this kind sees (namespaces(7)).
fn inside(ns: &Namespace, view: &View) -> String {
    match ns.kind.as_str() {
        "pid" if view.pid == 0 => "processes of its containers; an init is pid 1".into(),
        "pid" if !ns.sharers.is_empty() => {
            format!("also the processes of those; it is {} on the host", view.pid)
        }
        "pid" => format!("its own processes only; its init is pid 1, on the host {}", view.pid),
        "network" => "interfaces, addresses, routes and ports of its own".into(),
        "mount" if view.rootfs.is_empty() => "a root and mounts of its own".into(),
        "mount" => format!("its root is {}; mounts of its own", view.rootfs),
        "uts" if view.hostname == view.host_hostname => "a host name of its own, the same for now".into(),
        "uts" => format!("the host name is {}", view.hostname),
        "user" => view.uid_mappings.first().map_or_else(
            || "no ids are mapped".into(),
            |map| {
                format!(
                    "uid {} is {} on the host; capabilities count inside only",
                    map.container_id, map.host_id
                )
            },
        ),
        "ipc" => "System V IPC and POSIX message queues of its own".into(),
        "cgroup" => "its own cgroup is the root of what it sees".into(),
        "time" => "offsets of its own for the monotonic and the boot clock".into(),
        other => format!("a {other} namespace of its own"),
    }
}

fn mappings(mappings: &[IdMapping]) -> String {
    let map = |m: &IdMapping| match m.size {
        1 => format!("{} is {} on the host", m.container_id, m.host_id),
        _ => {
            let last = |first: u32| u64::from(first).saturating_add(u64::from(m.size).saturating_sub(1));
            let (inside, host) = (m.container_id, m.host_id);
            format!("{inside}-{} are {host}-{} on the host", last(inside), last(host))
        }
    };
    if mappings.is_empty() { "none".into() } else { mappings.iter().map(map).collect::<Vec<_>>().join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_shared_namespaces_are_told_apart() {
        let ns = |kind: &str, inode, host_inode| v1::Namespace {
            r#type: kind.into(),
            inode,
            host_inode,
            sharers: vec![],
        };
        let user = v1::Namespace { sharers: vec!["a".into(), "b".into()], ..ns("user", 7, 3) };
        let answer = v1::NamespacesResponse {
            namespaces: vec![ns("uts", 5, 1), ns("time", 2, 2), user],
            uid_mappings: vec![v1::IdMapping { container_id: 0, host_id: 100_000, size: 65_536 }],
            gid_mappings: vec![v1::IdMapping { container_id: 0, host_id: 9, size: 1 }],
            hostname: "web".into(),
            host_hostname: "deb".into(),
            owners: vec![],
        };
        let text = render(Paint::Plain, &view(v1::Container::default(), answer));
        assert_eq!(
            text,
            "NAMESPACE  CONTAINER  HOST             DIFFERENT INSIDE\n\
             uts        5          1     own        the host name is web\n\
             time       2          2     shared     nothing: it is the host's\n\
             user       7          3     with a, b  uid 0 is 100000 on the host; capabilities count inside only\n\
             \n\
             uid map    0-65535 are 100000-165535 on the host\n\
             gid map    0 is 9 on the host\n\
             host name  web inside, deb on the host\n"
        );
    }
}
