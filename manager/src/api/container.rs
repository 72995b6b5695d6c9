//! A container on the wire, field by field, so that an answer has those that are
//! asked for and costs no more: `read_mask`, as AIP-157 has it.

use super::convert::{exit_to_wire, failure_to_wire, time};
use super::{policies, sandboxes};
use crate::engine::error::{Error, Violation};
use crate::model::{IdRange, Phase, Snapshot};
use prost_types::FieldMask;
use sextant_proto::v1;

/// Puts one field into an answer.
type Put = fn(&mut v1::Container, &Snapshot);

/// The fields of `sextant.v1.Container`.
const FIELDS: &[(&str, Put)] = &[
    ("id", |c, s| c.id = s.id.clone()),
    ("status", |c, s| c.status = status(s.phase).into()),
    ("degraded", |c, s| c.degraded = s.degraded.clone().unwrap_or_default()),
    ("pid", |c, s| c.pid = s.pid.unwrap_or(0)),
    ("shim_pid", |c, s| c.shim_pid = s.shim_pid.unwrap_or(0)),
    ("bundle", |c, s| c.bundle = s.bundle.to_string_lossy().into_owned()),
    ("rootfs", |c, s| c.rootfs = s.rootfs.to_string_lossy().into_owned()),
    ("command", |c, s| c.command = s.command.clone()),
    ("labels", |c, s| c.labels = s.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
    ("created_at", |c, s| c.created_at = time(s.created_at)),
    ("started_at", |c, s| c.started_at = s.started_at.and_then(time)),
    ("exit", |c, s| c.exit = s.exit.clone().map(exit_to_wire)),
    ("failure", |c, s| c.failure = s.failure.clone().map(failure_to_wire)),
    ("ids", |c, s| c.ids = s.ids.map(|IdRange { host_id, size }| v1::IdRange { host_id, size })),
    ("age", |c, s| c.age = prost_types::Duration::try_from(s.heard.elapsed()).ok()),
    ("terminal", |c, s| c.terminal = s.stdio.terminal),
    ("stdin", |c, s| c.stdin = s.stdio.stdin),
    ("sandbox", |c, s| c.sandbox = s.placement.sandbox.clone().unwrap_or_default()),
    ("namespaces", |c, s| c.namespaces = sandboxes::modes_to_wire(&s.placement.modes)),
    ("sandbox_init", |c, s| c.sandbox_init = s.placement.init),
    ("restart", |c, s| c.restart = policies::restart_to_wire(&s.restart)),
    ("life", |c, s| c.life = s.life),
    ("restart_count", |c, s| c.restart_count = s.restarts),
    ("next_restart_at", |c, s| c.next_restart_at = s.next.and_then(time)),
    ("health", |c, s| c.health = s.health.as_ref().map(policies::health_to_wire)),
    ("health_check", |c, s| c.health_check = s.check.as_ref().map(policies::check_to_wire)),
    ("last_exit", |c, s| c.last_exit = s.last_exit.clone().map(exit_to_wire)),
];

/// The fields that are asked for.
#[derive(Clone, Debug)]
pub(super) struct Mask(Vec<Put>);

impl Mask {
    /// All fields.
    pub(super) fn all() -> Self {
        Self(FIELDS.iter().map(|(_, put)| *put).collect())
    }

    /// Those that a request names; without a mask, or with `*`, all. `attempted` is for the error.
    ///
    /// # Errors
    /// [`Error::Refused`] with each path that is no field.
    pub(super) fn of(mask: Option<FieldMask>, attempted: &str) -> Result<Self, Error> {
        let Some(FieldMask { paths }) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Ok(Self::all());
        };
        if paths.iter().all(|path| path == "*") {
            return Ok(Self::all());
        }
        let field = |path: &String| {
            let found = FIELDS.iter().find(|(name, _)| name == path).map(|(_, put)| *put);
            found.ok_or_else(|| path.clone())
        };
        let (known, unknown): (Vec<_>, Vec<_>) = paths.iter().map(field).partition(Result::is_ok);
        if unknown.is_empty() {
            return Ok(Self(known.into_iter().filter_map(Result::ok).collect()));
        }
        let violation = |path: String| Violation {
            field: "read_mask".into(),
            message: format!("{path:?} is no field of a container"),
            hint: format!("its fields are {}", names().join(", ")),
        };
        let violations = unknown.into_iter().filter_map(Result::err).map(violation).collect();
        Err(Error::Refused { attempted: attempted.into(), violations })
    }

    /// A container, with these fields.
    pub(super) fn apply(&self, snapshot: &Snapshot) -> v1::Container {
        let mut container = v1::Container::default();
        for put in &self.0 {
            put(&mut container, snapshot);
        }
        container
    }
}

fn names() -> Vec<&'static str> {
    FIELDS.iter().map(|(name, _)| *name).collect()
}

fn status(phase: Phase) -> v1::Status {
    match phase {
        Phase::Creating => v1::Status::Creating,
        Phase::Created => v1::Status::Created,
        Phase::Running => v1::Status::Running,
        Phase::Paused => v1::Status::Paused,
        Phase::Stopped => v1::Status::Stopped,
        Phase::Deleting => v1::Status::Deleting,
        Phase::Failed => v1::Status::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Given;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    fn mask(paths: &[&str]) -> Option<FieldMask> {
        Some(FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
    }

    fn snapshot() -> Snapshot {
        crate::engine::snapshot_for_tests(&crate::engine::record::tests::record("a"))
    }

    #[test]
    fn every_field_of_the_message_can_be_asked_for() {
        let set = FileDescriptorSet::decode(sextant_proto::DESCRIPTORS).unwrap();
        let message = set
            .file
            .iter()
            .filter(|file| file.package() == "sextant.v1")
            .flat_map(|file| &file.message_type)
            .find(|message| message.name() == "Container")
            .unwrap();
        let mut fields: Vec<&str> = message.field.iter().map(|field| field.name()).collect();
        let mut known = names();
        fields.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, fields);
    }

    #[test]
    fn what_is_not_asked_for_is_empty() {
        let whole = Mask::all().apply(&snapshot());
        let masked = Mask::of(mask(&["id", "labels"]), "").unwrap().apply(&snapshot());
        let expected =
            v1::Container { id: whole.id.clone(), labels: whole.labels.clone(), ..Default::default() };
        assert_eq!(masked, expected);
        assert_ne!(whole, expected);
        for all in [None, mask(&[]), mask(&["*"])] {
            let given = Mask::of(all, "").unwrap().apply(&snapshot());
            // How old it is differs from one look to the next.
            assert_eq!(v1::Container { age: whole.age, ..given }, whole);
        }
    }

    /// Bytes on the wire and time of 1,000 containers with this mask.
    fn thousand(mask: &Mask, snapshot: &Snapshot) -> (usize, std::time::Duration) {
        let begin = std::time::Instant::now();
        let containers = (0..1000).map(|_| mask.apply(snapshot)).collect();
        let list = v1::ListResponse { containers, ..Default::default() };
        (list.encode_to_vec().len(), begin.elapsed())
    }

    #[test]
    fn a_long_list_of_ids_and_status_is_a_small_part_of_the_whole() {
        let labels = (0..8).map(|n| (format!("example.org/label-{n}"), format!("value {n}"))).collect();
        let command = ["/usr/bin/server", "--listen", "0.0.0.0:8080", "--verbose"].map(String::from).into();
        let mut snapshot = snapshot();
        let given = Given { labels, command, ..Given::clone(&snapshot.given) };
        snapshot.given = std::sync::Arc::new(given);
        let (whole, slow) = thousand(&Mask::all(), &snapshot);
        let (masked, fast) = thousand(&Mask::of(mask(&["id", "status"]), "").unwrap(), &snapshot);
        println!("all: {whole} bytes in {slow:?}; id and status: {masked} bytes in {fast:?}");
        assert!(masked * 20 < whole, "{masked} of {whole} bytes");
    }

    #[test]
    fn an_unknown_path_is_refused_with_the_known_ones() {
        let error = Mask::of(mask(&["id", "nonsense", "exit.code"]), "list").unwrap_err();
        let Error::Refused { violations, .. } = error else { panic!("{error}") };
        let messages: Vec<&str> = violations.iter().map(|v| v.message.as_str()).collect();
        assert_eq!(
            messages,
            ["\"nonsense\" is no field of a container", "\"exit.code\" is no field of a container"]
        );
        assert!(violations.iter().all(|v| v.field == "read_mask" && v.hint.contains("id, status, ")));
    }
}
