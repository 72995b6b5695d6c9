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
            Claim::Daemon => Ok(self.kept(object).unwrap_or(Owner::Daemon)),
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

#[cfg(test)]
mod tests {
    use super::super::lists::{Recorded, range};
    use super::super::records::{Container, Records, marks_for_tests as marks};
    use super::*;
    use crate::model::IdRange;
    use std::path::PathBuf;

    fn records(containers: &[&str], sandboxes: &[&str]) -> Records {
        let ids = IdRange { host_id: 100, size: 10 };
        let container = |_: &&str| Container { shim: Some(7), ids: Some(ids), changing: false };
        Records {
            containers: containers.iter().map(|id| ((*id).to_owned(), container(id))).collect(),
            sandboxes: sandboxes.iter().map(|id| ((*id).to_owned(), None)).collect(),
            names: containers.iter().chain(sandboxes).map(|id| (*id).to_owned()).collect(),
            taken: [100].into(),
            kept: [(5, "web".to_owned())].into(),
        }
    }

    fn object(kind: Kind, claim: Claim, place: Place) -> Object {
        Object { kind, name: "it".into(), claim, place }
    }

    fn whose(object: Object, recorded: Recorded, before: Records, after: Records) -> Result<Owner, String> {
        let lists = Lists { objects: vec![object], recorded };
        let mut judged = judge(&marks(), lists, &Readings { before, after });
        assert_eq!(judged.len(), 1);
        let whose = judged.remove(0).whose;
        whose.map_err(|orphan| {
            assert!(orphan.proofs.len() >= 2 && !orphan.remedy.is_empty(), "{orphan:?}");
            orphan.reason
        })
    }

    fn directory(id: &str) -> Object {
        let place = Place::Path(PathBuf::from("/lib/s/containers").join(id));
        object(Kind::ContainerDirectory, Claim::Container(id.into()), place)
    }

    #[test]
    fn one_reading_that_knows_the_name_is_enough_for_an_owner() {
        let owner = Ok(Owner::Container("web".into()));
        let (web, none) = (|| records(&["web"], &[]), || records(&[], &[]));
        let of = |before, after| whose(directory("web"), Recorded::default(), before, after);
        assert_eq!(of(web(), none()), owner, "it was deleted meanwhile");
        assert_eq!(of(none(), web()), owner, "it was made meanwhile");
        assert_eq!(of(none(), none()), Err("it has no record".into()));
        // The name is taken before there is a container, and given back behind it.
        let taken = || Records { names: ["web".to_owned()].into(), ..none() };
        assert_eq!(of(none(), taken()), owner);
    }

    #[test]
    fn a_record_that_the_daemon_could_not_read_is_an_owner() {
        let recorded = Recorded { containers: ["web".to_owned()].into(), ..Recorded::default() };
        let none = || records(&[], &[]);
        assert_eq!(whose(directory("web"), recorded, none(), none()), Ok(Owner::Recorded("web".into())));
    }

    #[test]
    fn a_second_shim_is_one_only_where_the_first_is_there() {
        let shim = |pid| object(Kind::Shim, Claim::Container("web".into()), Place::Process(pid));
        let web = || records(&["web"], &[]);
        let seen = || Recorded { shims: [7, 8].into(), ..Recorded::default() };
        assert_eq!(whose(shim(8), seen(), web(), web()), Err("the shim of web is 7".into()));
        let owner = Ok(Owner::Container("web".into()));
        assert_eq!(whose(shim(7), seen(), web(), web()), owner);
        let alone = Recorded { shims: [8].into(), ..Recorded::default() };
        assert_eq!(whose(shim(8), alone, web(), web()), owner, "it is the next one");
        let mut changing = web();
        changing.containers.get_mut("web").unwrap().changing = true;
        assert_eq!(whose(shim(8), seen(), changing, web()), owner, "it is given another");
    }

    #[test]
    fn a_runtime_works_for_any_name_on_its_command_line() {
        let of = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            object(Kind::Runtime, Claim::AnyOf(names), Place::Process(9))
        };
        let pod = || records(&[], &["pod"]);
        let owner = Ok(Owner::Sandbox("pod".into()));
        assert_eq!(whose(of(&["pin", "pod"]), Recorded::default(), pod(), pod()), owner);
        let lost = whose(of(&["create", "x"]), Recorded::default(), pod(), pod());
        assert_eq!(lost, Err("it works for nobody that there is".into()));
    }

    #[test]
    fn a_range_of_ids_is_nobodys_only_in_peace() {
        let web = || records(&["web"], &[]);
        let of = |first, before, after| whose(range(first), Recorded::default(), before, after);
        assert_eq!(of(100, web(), web()), Ok(Owner::Container("web".into())));
        assert_eq!(of(500, web(), web()), Err("no container or sandbox has it".into()));
        let making = Records { names: ["web".to_owned(), "new".to_owned()].into(), ..web() };
        assert_eq!(of(500, web(), making), Ok(Owner::Daemon), "somebody is being made");
    }

    #[test]
    fn a_descriptor_is_a_containers_while_it_is_kept_for_it() {
        let of = |fd, claim| object(Kind::Descriptor, claim, Place::Descriptor(fd));
        let web = || records(&["web"], &[]);
        let whose = |object| whose(object, Recorded::default(), web(), web());
        assert_eq!(whose(of(5, Claim::Nobody)), Ok(Owner::Container("web".into())));
        assert_eq!(whose(of(5, Claim::Daemon)), Ok(Owner::Container("web".into())));
        assert_eq!(whose(of(6, Claim::Daemon)), Ok(Owner::Daemon));
        assert_eq!(whose(of(6, Claim::Nobody)), Err("no container needs it".into()));
    }

    #[test]
    fn each_kind_has_a_name_and_a_place_in_the_order_of_removal() {
        let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert!(Kind::ALL.is_sorted());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
