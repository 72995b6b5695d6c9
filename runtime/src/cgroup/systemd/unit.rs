//! The container's unit once it is there: changed, stopped, joined. Each is one
//! conversation with the manager, which this process then leaves. It is started in
//! [`super::start`].

use super::connection::{Connection, Fault};
use super::manager::{self, Instance, NO_SUCH_UNIT, connect};
use super::properties;
use super::wire::Writer;
use crate::cgroup::plan::Setting;
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

/// A connection that was opened ahead, or why there is none.
pub(in crate::cgroup) type Line = Result<Connection, Failure>;

impl Unit {
    pub(super) fn is_slice(&self) -> bool {
        self.name.ends_with(".slice")
    }

    /// Stops it after a failure, which is what the caller has to see.
    pub(super) fn taken_back(&self, failure: Failure) -> Failure {
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
    pub(super) fn named(&self, connection: &mut Connection, member: &str) -> Result<(), Fault> {
        let mut body = Writer::default();
        body.text(&self.name);
        connection.manager(member, "s", body).map(drop)
    }
}
