//! Which containers, which events and which fields an answer has: selectors, filters
//! and field masks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use prost_types::FieldMask;
use sextant_integration::calls::{Client, delete, events, start};
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::{Container, EventsRequest, GetRequest, ListRequest, StatsRequest, Status};
use tonic::Code;
use tonic_types::StatusExt;

/// A daemon with three containers: `front` and `back` with a tier, and one without labels.
async fn begin() -> Option<(Daemon, Client, [String; 3])> {
    if skip_unless_root() {
        return None;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let ids = ["a", "b", "c"].map(|letter| unique(&format!("select-{letter}")));
    let labels = [&[("app", "web"), ("tier", "front")][..], &[("app", "web"), ("tier", "back")], &[]];
    for (id, labels) in ids.iter().zip(labels) {
        let mut request = daemon.request(id, &["/bin/probe", "sleep", "1000"]);
        request.labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        start(&mut client, request).await;
    }
    Some((daemon, client, ids))
}

async fn end(daemon: Daemon, mut client: Client, ids: &[String]) {
    for id in ids {
        delete(&mut client, id).await;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    daemon.finish(&ids);
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
}

/// What is wrong, as the one violation has it: field and description.
fn violation(status: &tonic::Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let mut violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations.len(), 1, "{violations:?}");
    let violation = violations.remove(0);
    (violation.field, violation.description)
}

#[tokio::test]
async fn lists_stats_and_events_of_what_is_selected() {
    let Some((daemon, mut client, ids)) = begin().await else { return };
    let [a, b, c] = &ids;
    for (selector, expected) in [
        ("", vec![a, b, c]),
        ("app=web", vec![a, b]),
        ("app=web, tier!=back", vec![a]),
        ("tier in (back, none)", vec![b]),
        ("tier notin (front)", vec![b, c]),
        ("!app", vec![c]),
        ("app,!tier", vec![]),
    ] {
        let request = ListRequest { selector: selector.into(), ..Default::default() };
        let found = client.list(request).await.unwrap().into_inner().containers;
        let found: Vec<&String> = found.iter().map(|c| &c.id).collect();
        assert_eq!(found, expected, "{selector:?}");
        let request = StatsRequest { selector: selector.into(), ..Default::default() };
        let samples = client.stats(request).await.unwrap().into_inner().samples;
        let sampled: Vec<&String> = samples.iter().map(|s| &s.id).collect();
        assert_eq!(sampled, expected, "{selector:?}");
        let request = EventsRequest {
            selector: selector.into(),
            kinds: vec![Kind::Started.into()],
            ..Default::default()
        };
        let events = events(&daemon, request).await;
        let started: Vec<&String> = events.iter().map(|e| &e.container).collect();
        assert_eq!(started, expected, "{selector:?}");
    }
    let one = EventsRequest { containers: vec![b.clone()], ..Default::default() };
    let kinds: Vec<(String, Kind)> =
        events(&daemon, one).await.iter().map(|e| (e.container.clone(), e.kind())).collect();
    assert_eq!(kinds, [(b.clone(), Kind::Created), (b.clone(), Kind::Started)]);
    // Pages are of what is selected.
    let first = ListRequest { selector: "app".into(), page_size: 1, ..Default::default() };
    let page = client.list(first.clone()).await.unwrap().into_inner();
    assert_eq!((page.containers[0].id.as_str(), page.next_page_token.as_str()), (a.as_str(), a.as_str()));
    let second = ListRequest { page_token: page.next_page_token, ..first };
    let page = client.list(second).await.unwrap().into_inner();
    assert_eq!((page.containers[0].id.as_str(), page.next_page_token.as_str()), (b.as_str(), ""));
    let odd = ListRequest { selector: "app=web tier".into(), ..Default::default() };
    let (field, description) = violation(&client.list(odd).await.unwrap_err());
    assert_eq!(field, "selector");
    assert!(
        description.starts_with("at character 9, 't': a comma, or the end, is expected"),
        "{description}"
    );
    let odd = EventsRequest { kinds: vec![Kind::Created.into(), 4711], ..Default::default() };
    let refused = daemon.system().await.events(odd).await.unwrap_err();
    assert_eq!(violation(&refused), ("kinds[1]".into(), "4711 is no kind of event".into()));
    end(daemon, client, &ids).await;
}

#[tokio::test]
async fn an_answer_has_the_fields_that_are_asked_for() {
    let Some((daemon, mut client, ids)) = begin().await else { return };
    let request = ListRequest { read_mask: mask(&["id", "status"]), page_size: 2, ..Default::default() };
    let page = client.list(request).await.unwrap().into_inner();
    let expected =
        |id: &String| Container { id: id.clone(), status: Status::Running.into(), ..Default::default() };
    assert_eq!(page.containers, [expected(&ids[0]), expected(&ids[1])]);
    // Pages need no id in the answer.
    let request =
        ListRequest { read_mask: mask(&["labels"]), page_token: page.next_page_token, ..Default::default() };
    let rest = client.list(request).await.unwrap().into_inner();
    assert_eq!((rest.containers, rest.next_page_token), (vec![Container::default()], String::new()));
    let get = GetRequest { id: ids[0].clone(), read_mask: mask(&["pid", "command"]) };
    let found = client.get(get).await.unwrap().into_inner().container.unwrap();
    assert!(found.id.is_empty() && found.pid > 0 && found.command[0] == "/bin/probe", "{found:?}");
    let all = GetRequest { id: ids[0].clone(), read_mask: mask(&["*"]) };
    assert!(client.get(all).await.unwrap().into_inner().container.unwrap().created_at.is_some());
    let unknown = GetRequest { id: ids[0].clone(), read_mask: mask(&["id", "nonsense"]) };
    let (field, description) = violation(&client.get(unknown).await.unwrap_err());
    assert_eq!(field, "read_mask");
    assert!(description.starts_with("\"nonsense\" is no field of a container"), "{description}");
    assert!(description.contains("its fields are id, status, degraded"), "{description}");
    end(daemon, client, &ids).await;
}
