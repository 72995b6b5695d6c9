//! Starting the container's unit with its limits ([`super::unit`] is what comes later).

use super::connection::{Connection, Fault};
use super::manager::{self, UNIT_EXISTS, connect};
use super::message::Message;
use super::placeholder::Placeholder;
use super::unit::Unit;
use super::wire::{Property, Value, Writer};
use super::{devices, properties};
use crate::cgroup::plan::CgroupPlan;
use crate::contract::report::Failure;
use std::path::Path;

/// The unit that the config wants, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPlan {
    /// Which.
    pub unit: Unit,
    /// What `systemctl status` says of it.
    pub description: String,
    /// The slice that it is in.
    pub slice: String,
    /// Version of the manager.
    pub version: u32,
    /// What annotations ask for.
    pub asked: Vec<Property>,
}

/// A unit that was started, with what keeps it from ending at once.
pub(in crate::cgroup) type Started = Option<Placeholder>;

impl UnitPlan {
    /// Starts it, and waits until systemd has made its cgroup with its limits.
    ///
    /// # Errors
    /// systemd refuses it or does not answer; the unit is stopped again then.
    pub(in crate::cgroup) fn start(&self, plan: &CgroupPlan) -> Result<Started, Failure> {
        let name = &self.unit.name;
        let attempted = || format!("start the systemd unit {name}");
        let failed = |fault| place(manager::failure(attempted(), fault));
        let mut connection = connect(self.unit.instance)?;
        let holder = if self.unit.is_slice() { None } else { Some(Placeholder::begin()?) };
        let properties = self.properties(plan, holder.as_ref());
        let begun = match self.ask(&mut connection, &properties) {
            Err(Fault::Refused { name, .. }) if name == UNIT_EXISTS && self.unit.is_slice() => {
                // A slice is shared by its nature.
                return self.unit.change(&plan.settings, "set the limits of").map(|()| None);
            }
            Err(Fault::Refused { name, .. }) if name == UNIT_EXISTS => {
                // It may be what is left of one that failed.
                drop(self.unit.named(&mut connection, "ResetFailedUnit"));
                self.ask(&mut connection, &properties)
            }
            result => result,
        };
        let begun = begun.map_err(failed)?;
        let ended = match connection.finished(&begun) {
            Ok(result) if result == "done" => self.check(holder.as_ref(), plan),
            Ok(result) => Err(place(Failure {
                attempted: attempted(),
                because: format!("its job ended as {result:?}"),
                hint: format!("see `systemctl status {name}` and systemd's journal"),
                ..Failure::default()
            })),
            Err(error) => Err(failed(error.into())),
        };
        ended.map(|()| holder).map_err(|failure| self.unit.taken_back(failure))
    }

    fn ask(&self, connection: &mut Connection, properties: &[Property]) -> Result<Message, Fault> {
        let mut body = Writer::default();
        body.text(&self.unit.name);
        body.text("replace");
        body.array(8, properties, Writer::property);
        // No auxiliary units.
        body.array(8, &[] as &[Property], Writer::property);
        connection.manager("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
    }

    /// What an annotation asks for takes the place of our own choice.
    fn properties(&self, plan: &CgroupPlan, holder: Option<&Placeholder>) -> Vec<Property> {
        let mut all: Vec<Property> = vec![
            ("Description", Value::Text(self.description.clone())),
            ("DefaultDependencies", Value::Bool(false)),
        ];
        match holder.and_then(|holder| u32::try_from(holder.pid()).ok()) {
            Some(pid) => all.extend([
                ("Slice", Value::Text(self.slice.clone())),
                ("Delegate", Value::Bool(true)),
                ("PIDs", Value::Numbers(vec![pid])),
            ]),
            None => all.push(("Wants", Value::Texts(vec![self.slice.clone()]))),
        }
        let accounting = ["CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"];
        all.extend(accounting.map(|name| (name, Value::Bool(true))));
        // Else systemd's DefaultTasksMax would be a limit that nobody has asked for.
        all.push(("TasksMax", Value::U64(u64::MAX)));
        all.extend(devices::properties(&plan.devices));
        let more = properties::of_settings(&plan.settings, self.version);
        for property in more.into_iter().chain(self.asked.iter().cloned()) {
            all.retain(|(name, _)| *name != property.0);
            all.push(property);
        }
        all
    }

    /// The unit's cgroup must be where the plan has it.
    fn check(&self, holder: Option<&Placeholder>, plan: &CgroupPlan) -> Result<(), Failure> {
        let planned = plan.directories.first().map(|d| Path::new("/").join(&d.path));
        let (Some(holder), Some(planned)) = (holder, planned) else { return Ok(()) };
        match holder.cgroup() {
            Some(found) if Path::new(&found) == planned => Ok(()),
            found => Err(place(Failure {
                attempted: format!("find the cgroup of the systemd unit {}", self.unit.name),
                because: format!(
                    "it is {}, not {}",
                    found.unwrap_or_else(|| "unknown, its process is gone".into()),
                    planned.display()
                ),
                hint: "the runtime has to run in the cgroup namespace of systemd".into(),
                ..Failure::default()
            })),
        }
    }
}

fn place(failure: Failure) -> Failure {
    let pointer = if failure.pointer.is_empty() { crate::cgroup::plan::PATH.into() } else { failure.pointer };
    Failure { pointer, ..failure }
}
