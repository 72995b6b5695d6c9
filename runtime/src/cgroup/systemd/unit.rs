//! The container's unit: started with its limits, changed, stopped. Each is one
//! conversation with the manager, which this process then leaves.

use super::connection::{Connection, Fault};
use super::manager::{self, Instance, NO_SUCH_UNIT, UNIT_EXISTS, connect};
use super::placeholder::Placeholder;
use super::wire::{Property, Value, Writer};
use super::{devices, properties};
use crate::cgroup::plan::{CgroupPlan, Setting};
use crate::contract::report::Failure;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A unit by its name: what the state directory keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Such as `sextant-web.scope`.
    pub name: String,
    /// Whose it is.
    pub instance: Instance,
}

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

/// A connection that was opened ahead, or why there is none.
pub(in crate::cgroup) type Line = Result<Connection, Failure>;

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

    fn ask(
        &self,
        connection: &mut Connection,
        properties: &[Property],
    ) -> Result<super::message::Message, Fault> {
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

impl Unit {
    fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Stops it after a failure, which is what the caller has to see.
    fn taken_back(&self, failure: Failure) -> Failure {
        match self.stop() {
            Ok(()) => failure,
            Err(left) => {
                Failure { because: format!("{} (and left behind: {left})", failure.because), ..failure }
            }
        }
    }

    /// Stops it, and lets systemd forget that it may have failed. One that systemd
    /// does not know (any more) is success.
    ///
    /// # Errors
    /// systemd refuses or does not answer.
    pub(in crate::cgroup) fn stop(&self) -> Result<(), Failure> {
        let attempted = || format!("stop the systemd unit {}", self.name);
        let mut connection = match connect(self.instance) {
            Ok(connection) => connection,
            Err(failure) => {
                // Its processes are gone: whatever manager is there next finds nothing to keep.
                crate::log::warn(&format!("cannot {}: {failure}", attempted()));
                return Ok(());
            }
        };
        let mut body = Writer::default();
        body.text(&self.name);
        body.text("replace");
        let begun = match connection.manager("StopUnit", "ss", body) {
            Err(Fault::Refused { name, .. }) if name == NO_SUCH_UNIT => return Ok(()),
            result => result.map_err(|fault| manager::failure(attempted(), fault))?,
        };
        let result = connection.finished(&begun).map_err(|e| manager::failure(attempted(), e.into()))?;
        drop(self.named(&mut connection, "ResetFailedUnit"));
        if result == "done" {
            return Ok(());
        }
        let because = format!("its job ended as {result:?}");
        Err(Failure { attempted: attempted(), because, ..Failure::default() })
    }

    /// Lets systemd know the limits that these settings are, and waits until it has
    /// applied them; it would else write its own over those in the files one day.
    ///
    /// # Errors
    /// systemd refuses or does not answer.
    pub(in crate::cgroup) fn change(&self, settings: &[Setting], what: &str) -> Result<(), Failure> {
        let failed = |fault| manager::failure(format!("{what} the systemd unit {}", self.name), fault);
        let found = super::Manager::of(self.instance)?;
        let properties = properties::of_settings(settings, found.version);
        if properties.is_empty() {
            return Ok(());
        }
        let mut connection = connect(self.instance)?;
        let mut body = Writer::default();
        body.text(&self.name);
        // Until the unit is gone, not for ever.
        body.u32(1);
        body.array(8, &properties, Writer::property);
        connection.manager("SetUnitProperties", "sba(sv)", body).map_err(failed)?;
        // It writes the files after it has answered, but before it answers again.
        connection.property("Version").map(drop).map_err(failed)
    }

    /// Opens what [`Unit::attach`] may need, where nobody but systemd may have the right
    /// to move a process: whoever has joined the container's namespaces finds no socket.
    pub(in crate::cgroup) fn line(&self) -> Option<Line> {
        (self.instance == Instance::User).then(|| connect(self.instance))
    }

    /// Lets systemd move a process into it, or into a cgroup below: what a user may
    /// not do himself from a cgroup outside of his manager's.
    ///
    /// # Errors
    /// systemd refuses or does not answer.
    pub(in crate::cgroup) fn attach(
        &self,
        line: Option<Line>,
        below: &Path,
        pid: i32,
    ) -> Result<(), Failure> {
        let failed =
            |fault| manager::failure(format!("move process {pid} into the unit {}", self.name), fault);
        let mut body = Writer::default();
        body.text(&self.name);
        body.text(&Path::new("/").join(below).display().to_string());
        body.array(4, &[u32::try_from(pid).unwrap_or(0)], |w, pid| w.u32(*pid));
        let mut connection = line.unwrap_or_else(|| connect(self.instance))?;
        connection.manager("AttachProcessesToUnit", "ssau", body).map(drop).map_err(failed)
    }

    /// A call with the unit's name alone.
    fn named(&self, connection: &mut Connection, member: &str) -> Result<(), Fault> {
        let mut body = Writer::default();
        body.text(&self.name);
        connection.manager(member, "s", body).map(drop)
    }
}

fn place(failure: Failure) -> Failure {
    let pointer = if failure.pointer.is_empty() { crate::cgroup::plan::PATH.into() } else { failure.pointer };
    Failure { pointer, ..failure }
}
