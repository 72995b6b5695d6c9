//! The life of a container through its shim: creation, start, exit, deletion.

mod common;

use common::{Fixture, within};
use sextant_proto::shim::{
    CreateRequest, DeleteRequest, Failure, KillRequest, StateRequest, Status, event::What, exit::How,
};

#[tokio::test]
async fn a_normal_life() {
    let mut f = Fixture::new("echo out; echo err >&2; exit 7").await;
    let state = f.client.state(StateRequest {}).await.unwrap().into_inner();
    assert_eq!((state.status(), state.pid, state.last_seq), (Status::Empty, 0, 0));
    let pid = f.create().await;
    let state = f.client.state(StateRequest {}).await.unwrap().into_inner();
    assert_eq!((state.status(), state.pid, state.last_seq), (Status::Created, pid, 1));
    assert_eq!(f.client.create(CreateRequest {}).await.unwrap_err().code(), tonic::Code::AlreadyExists);
    f.start().await;
    assert_eq!(f.wait().await, How::Code(7));
    let state = f.client.state(StateRequest {}).await.unwrap().into_inner();
    assert_eq!((state.status(), state.pid, state.last_seq), (Status::Stopped, 0, 3));
    let log = std::fs::read_to_string(f.file("log")).unwrap();
    assert!(log.contains(" stdout F out\n") && log.contains(" stderr F err\n"), "{log}");
    assert_eq!(state.log_bytes, u64::try_from(log.len()).unwrap());
    f.delete().await;
    assert!(!common::socket(f.temp.path()).exists());
    assert!(!f.temp.path().join("root/c1").exists());
}
