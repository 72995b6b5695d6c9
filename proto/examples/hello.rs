//! Runs a container, executes a second process in it, follows its log, and shows what a refused
//! request says: `cargo run -p sextant-proto --features client --example hello -- ADDRESS ROOTFS`.

use sextant_proto::client::{Client, Error};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::{CreateExecRequest, CreateRequest, EventsRequest, InfoRequest, RootfsSource};

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "a test calls hello")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "unix:/run/sextant/sextantd.sock".into());
    let rootfs = arguments.next().unwrap_or_else(|| "/srv/rootfs".into());
    let (shell, echo) = ("read line; echo \"$line\"", "cat; exit 3");
    print!("{}", hello(&address, &rootfs, &["/bin/sh", "-c", shell], &["/bin/sh", "-c", echo]).await?);
    Ok(())
}

/// Runs `first` in a container, which is to end once it has read a line, and `second` beside it; what there is
/// to tell of it.
///
/// # Errors
/// The first one that is not meant to come.
pub(crate) async fn hello(
    address: &str,
    rootfs: &str,
    first: &[&str],
    second: &[&str],
) -> Result<String, Error> {
    let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
    let mut told = String::new();
    let client = Client::connect(&address.parse()?).await?;
    let before = client.system.clone().info(InfoRequest {}).await?.into_inner().last_event_seq;

    let source = RootfsSource { rootfs: rootfs.into(), command: owned(first), ..Default::default() };
    let request = CreateRequest { source: Some(Source::Rootfs(source)), stdin: true, ..Default::default() };
    let container = client.run(request).await?;

    // A second process: its stdin, what it writes, how it ends.
    let process =
        container.exec(CreateExecRequest { command: owned(second), stdin: true, ..Default::default() });
    let process = process.await?;
    process.input.stdin("to the second\n").await;
    process.input.close_stdin().await;
    let end = process.output.collect().await?;
    told += &format!("exec: {} {:?}\n", String::from_utf8_lossy(&end.stdout).trim(), end.ended.exit);

    // The container's own process.
    let (input, _output) = container.attach().await?;
    input.stdin("to the first\n").await;
    input.close_stdin().await;
    let mut log = container.follow();
    while let Some(entry) = log.next().await? {
        told += &format!("log: {}", String::from_utf8_lossy(&entry.data));
    }
    told += &format!("exit: {:?}\n", container.wait().await?.how);
    container.delete().await?;

    let mut events = client.events(EventsRequest { after_seq: before, ..Default::default() });
    while let Some(event) = events.next().await? {
        told += &format!("event: {} {}\n", event.seq - before, event.kind().as_str_name());
    }

    // Every mistake of a request is told at once.
    let source = RootfsSource { rootfs: "relative".into(), ..Default::default() };
    let request = CreateRequest { source: Some(Source::Rootfs(source)), ..Default::default() };
    if let Err(Error::Refused(refusal)) = client.run(request).await {
        told += &format!("refused: {}\n", refusal.reason);
        for mistake in &refusal.mistakes {
            told += &format!("  {}: {}\n", mistake.field, mistake.description);
        }
    }
    Ok(told)
}
