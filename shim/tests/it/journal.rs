//! The journal, on disk and through Watch.

use crate::fixture::{Fixture, connect, ended, layout, socket, spawn, within};
use sextant_proto::shim::{DeleteRequest, Event, WatchRequest, event::What, exit::How};
use std::io::Read;

#[tokio::test]
async fn watchers_read_from_where_they_want_to_the_deletion() {
    let mut f = Fixture::new("exit 7").await;
    let mut others = Vec::new();
    for after_seq in [0, 2] {
        let mut client = connect(socket(f.temp.path())).await;
        let mut stream = client.watch(WatchRequest { after_seq }).await.unwrap().into_inner();
        others.push(tokio::spawn(async move {
            let mut seqs = Vec::new();
            while let Some(event) = within(stream.message()).await.unwrap() {
                seqs.push(event.seq);
            }
            seqs
        }));
    }
    f.live().await;
    let events = f.events(0, 3).await;
    let Some(What::Created(created)) = &events[0].what else { panic!("{:?}", events[0]) };
    assert_eq!(created.trace.iter().map(|s| s.stage.as_str()).collect::<Vec<_>>(), ["load", "mount/3"]);
    let Some(What::Started(started)) = &events[1].what else { panic!("{:?}", events[1]) };
    assert_eq!((started.trace[0].command.as_str(), started.trace[0].stage.as_str()), ("start", "start"));
    let Some(What::Exited(exited)) = &events[2].what else { panic!("{:?}", events[2]) };
    assert_eq!(exited.exit.as_ref().unwrap().how, Some(How::Code(7)));
    assert!(events.windows(2).all(|w| w[0].monotonic_ns <= w[1].monotonic_ns));

    let on_disk = sextant_proto::journal::decode::<Event>(&std::fs::read(f.file("journal")).unwrap());
    assert_eq!((on_disk.records, on_disk.torn), (events, 0));
    f.delete().await;
    assert_eq!(others.remove(0).await.unwrap(), [1, 2, 3, 4]);
    assert_eq!(others.remove(0).await.unwrap(), [3, 4]);
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_does_not_keep_the_shim_alive() {
    let mut f = Fixture::new("true").await;
    let stream = f.client.watch(WatchRequest { after_seq: 0 }).await.unwrap();
    f.create().await;
    within(f.client.delete(DeleteRequest { force: true })).await.unwrap();
    assert!(within(ended(&mut f.shim)).await);
    drop(stream);
}

#[tokio::test]
async fn a_torn_tail_is_cut() {
    let temp = layout("true");
    std::fs::write(temp.path().join("dir/journal"), [200, 0, 0, 0, 1, 2, 3, 4, 5]).unwrap();
    let mut f = Fixture::of(temp).await;
    f.create().await;
    let on_disk = sextant_proto::journal::decode::<Event>(&std::fs::read(f.file("journal")).unwrap());
    assert_eq!((on_disk.records.len(), on_disk.torn), (1, 0));
    assert_eq!(f.events(0, 1).await, on_disk.records);
    f.delete().await;
}

#[tokio::test]
async fn the_journal_of_an_earlier_shim_is_refused() {
    let temp = layout("true");
    let record = sextant_proto::journal::encode(&Event { seq: 1, ..Event::default() }).unwrap();
    std::fs::write(temp.path().join("dir/journal"), &record).unwrap();
    let mut shim = spawn(temp.path());
    let mut said = String::new();
    shim.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!shim.wait().unwrap().success());
    assert!(said.starts_with("sextant-shim: begin the journal /") && said.contains("1 records"), "{said}");
    assert_eq!(said.lines().count(), 1);
    assert_eq!(std::fs::read(temp.path().join("dir/journal")).unwrap(), record);
}
