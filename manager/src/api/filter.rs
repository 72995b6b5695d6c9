//! Which containers and which events a request is about.

use crate::engine::Engine;
use crate::engine::error::{Error, Violation};
use crate::model::Event;
use crate::selector::Selector;
use sextant_proto::v1;
use std::collections::BTreeSet;

/// The selector of a request. `attempted` is for the error.
///
/// # Errors
/// [`Error::Refused`], with the place of what is wrong.
pub(super) fn selector(text: &str, attempted: &str) -> Result<Selector, Error> {
    Selector::parse(text).map_err(|message| {
        let hint = "such as: app=web, tier in (front, back), !old".into();
        let violations = vec![Violation { field: "selector".into(), message, hint }];
        Error::Refused { attempted: attempted.into(), violations }
    })
}

/// Which events are wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    containers: BTreeSet<String>,
    kinds: BTreeSet<i32>,
    selector: Option<Selector>,
    /// Containers that were selected: their labels are known no more once they are deleted.
    selected: BTreeSet<String>,
}

impl Wanted {
    /// Those that a request names.
    ///
    /// # Errors
    /// [`Error::Refused`] for a selector or a kind that is none.
    pub(super) fn of(request: v1::EventsRequest) -> Result<Self, Error> {
        let attempted = "read the events";
        let unknown = |kind: &i32| v1::event::Kind::try_from(*kind).is_err();
        if let Some((index, kind)) = request.kinds.iter().enumerate().find(|(_, kind)| unknown(kind)) {
            let (field, message) = (format!("kinds[{index}]"), format!("{kind} is no kind of event"));
            let violations = vec![Violation { field, message, hint: String::new() }];
            return Err(Error::Refused { attempted: attempted.into(), violations });
        }
        let selector = match request.selector.as_str() {
            "" => None,
            text => Some(selector(text, attempted)?),
        };
        Ok(Self {
            containers: request.containers.into_iter().collect(),
            kinds: request.kinds.into_iter().collect(),
            selector,
            selected: BTreeSet::new(),
        })
    }

    /// Whether this event is wanted, which is this one on the wire.
    pub(super) fn takes(&mut self, event: &Event, kind: v1::event::Kind, engine: &Engine) -> bool {
        if kind == v1::event::Kind::Gap {
            return true;
        }
        let by_name = self.containers.is_empty() || self.containers.contains(&event.container);
        let selected = match &self.selector {
            None => true,
            Some(selector) => match engine.get(&event.container) {
                Ok(snapshot) if selector.matches(&snapshot.labels) => {
                    self.selected.insert(event.container.clone());
                    true
                }
                Ok(_) => self.selected.remove(&event.container),
                Err(_) => self.selected.contains(&event.container),
            },
        };
        if kind == v1::event::Kind::Deleted {
            self.selected.remove(&event.container);
        }
        by_name && selected && (self.kinds.is_empty() || self.kinds.contains(&kind.into()))
    }
}
