//! A client that follows the events through all restarts, and one that reads them at the end.

use super::World;
use sextant_proto::v1::system_client::SystemClient;
use sextant_proto::v1::{Event, EventsRequest, InfoRequest};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// From the first event on, until chaos is over and the last one was heard.
pub(super) async fn follow(world: Arc<World>) -> Vec<Event> {
    let mut seen: Vec<Event> = Vec::new();
    let mut system = SystemClient::new(world.channel());
    loop {
        let after_seq = seen.last().map_or(0, |event| event.seq);
        let request = EventsRequest { after_seq, follow: true, ..Default::default() };
        if let Ok(answer) = system.events(request).await {
            let mut stream = answer.into_inner();
            while let Ok(Ok(Some(event))) =
                tokio::time::timeout(Duration::from_secs(2), stream.message()).await
            {
                seen.push(event);
            }
        }
        let last = seen.last().map_or(0, |event| event.seq);
        if world.over.load(Ordering::Relaxed) {
            match system.info(InfoRequest {}).await {
                Ok(info) if is_over(&world).await && info.get_ref().last_event_seq == last => return seen,
                _ => {}
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether there is no container any more of which there could be events.
async fn is_over(world: &World) -> bool {
    let mut containers = sextant_proto::v1::containers_client::ContainersClient::new(world.channel());
    let list = containers.list(sextant_proto::v1::ListRequest::default()).await;
    list.is_ok_and(|list| list.get_ref().containers.is_empty())
}

/// All of them, as they are told now.
pub(super) async fn read_all(world: &World) -> Vec<Event> {
    let mut system = SystemClient::new(world.channel());
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let Ok(answer) = system.events(EventsRequest::default()).await else { continue };
        let (mut stream, mut all) = (answer.into_inner(), Vec::new());
        loop {
            match stream.message().await {
                Ok(Some(event)) => all.push(event),
                Ok(None) => return all,
                Err(_) => break,
            }
        }
    }
    world.wrong("the events cannot be read".into());
    Vec::new()
}
