//! A container that runs, with the runtime and the bundle that it is of.

use crate::seen::Seen;
use crate::{Bundle, Ran, Runtime, unique};

/// A running container. What is left of it when it is dropped is deleted by force.
#[derive(Debug)]
pub struct Running {
    /// Of it alone.
    pub runtime: Runtime,
    /// Its bundle.
    pub bundle: Bundle,
    /// Its id.
    pub id: String,
    /// Of its init.
    pub pid: i32,
}

impl Running {
    /// `create` and `start` of this bundle.
    #[track_caller]
    pub fn start(bundle: Bundle) -> Self {
        Self::start_with(&[], bundle)
    }

    /// Likewise, with these global flags for `create`: later ones need no flag.
    #[track_caller]
    pub fn start_with(flags: &[&str], bundle: Bundle) -> Self {
        let (runtime, id) = (Runtime::new(), unique("running"));
        runtime.create_with(flags, &bundle, &id).ok();
        runtime.call(["start", &id]).ok();
        let pid = runtime.pid(&id);
        Self { runtime, bundle, id, pid }
    }

    /// A command with these flags, on this container, with these arguments.
    #[track_caller]
    pub fn call(&self, command: &[&str], arguments: &[&str]) -> Ran {
        self.runtime.call([command, &[&self.id], arguments].concat())
    }

    /// `exec` with these flags.
    #[track_caller]
    pub fn exec(&self, flags: &[&str], command: &[&str]) -> Ran {
        self.call(&[&["exec"], flags].concat(), command)
    }

    /// What the probe sees that is executed with these flags.
    #[track_caller]
    pub fn seen(&self, flags: &[&str]) -> Seen {
        self.exec(flags, &["/bin/probe"]).ok().seen()
    }

    /// Deletes it, and asserts that nothing is left.
    #[track_caller]
    pub fn end(self) {
        self.runtime.delete(&self.id);
        self.runtime.leftovers(&[&self.id]).assert_none();
    }
}
