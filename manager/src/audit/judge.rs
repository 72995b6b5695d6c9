//! Whose each thing is: `Lists × Readings → judgements`, pure.

use super::lists::Lists;
use super::records::{Marks, Readings};
use super::words;
use super::{Claim, Kind, Object, Orphan, Owner, Place};

/// What one look makes of an object. A suspect is an orphan only if it is the same in further looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// It.
    pub object: Object,
    /// Whose it is, or why it seems to be nobody's.
    pub whose: Result<Owner, Orphan>,
}

/// All of the lists.
pub fn judge(marks: &Marks, lists: Lists, readings: &Readings) -> Vec<Judged> {
    let Lists { objects, recorded } = lists;
    let court = Court { marks, recorded: &recorded, readings };
    let judged = |object: Object| Judged { whose: court.whose(&object), object };
    objects.into_iter().map(judged).collect()
}

struct Court<'a> {
    marks: &'a Marks,
    recorded: &'a super::lists::Recorded,
    readings: &'a Readings,
}

impl Court<'_> {
    fn whose(&self, object: &Object) -> Result<Owner, Orphan> {
        let orphan = |gone: words::Gone<'_>| Err(words::orphan(self.marks, object, &gone));
        match &object.claim {
            Claim::Daemon => Ok(Owner::Daemon),
            Claim::Host => Ok(Owner::Host),
            Claim::Container(id) => match self.named(id, Owner::Container) {
                Some(owner) => self
                    .second_shim(object, id)
                    .map_or(Ok(owner), |real| orphan(words::Gone::Second { container: id, shim: real })),
                None => orphan(words::Gone::Container(id)),
            },
            Claim::Sandbox(id) => {
                self.named(id, Owner::Sandbox).map_or_else(|| orphan(words::Gone::Sandbox(id)), Ok)
            }
            Claim::AnyOf(names) => {
                let owner = names.iter().find_map(|id| self.named(id, Owner::Container));
                owner.map_or_else(|| orphan(words::Gone::All), Ok)
            }
            Claim::Range(first) => match self.readings.of_range(*first) {
                Some(id) => Ok(self.named(&id, Owner::Container).unwrap_or(Owner::Container(id))),
                // Its owner's record does not name it yet, or no more.
                None if self.readings.is_changing() => Ok(Owner::Daemon),
                None => orphan(words::Gone::Range),
            },
            Claim::Nobody => match self.kept(object) {
                Some(owner) => Ok(owner),
                None => orphan(words::Gone::All),
            },
        }
    }

    /// The owner of this name, if the daemon knows it, or there is a record of it on disk.
    fn named(&self, id: &str, owner: fn(String) -> Owner) -> Option<Owner> {
        if self.readings.has_container(id) {
            return Some(Owner::Container(id.into()));
        }
        if self.readings.has_sandbox(id) {
            return Some(Owner::Sandbox(id.into()));
        }
        if self.readings.has_name(id) {
            return Some(owner(id.into()));
        }
        self.recorded.has(id).then(|| Owner::Recorded(id.into()))
    }

    /// The shim that the container has, where this is another one.
    fn second_shim(&self, object: &Object, id: &str) -> Option<i32> {
        let Place::Process(pid) = object.place else { return None };
        let real = self.readings.shim(id).filter(|real| *real != pid)?;
        // The one that is known has to be there itself, or this is the next one.
        (object.kind == Kind::Shim && self.recorded.shims.contains(&real)).then_some(real)
    }

    fn kept(&self, object: &Object) -> Option<Owner> {
        let Place::Descriptor(fd) = object.place else { return None };
        self.readings.kept(fd).map(|id| Owner::Container(id.clone()))
    }
}
