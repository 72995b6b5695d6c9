//! A diagnosis on the wire, field by field. `sextant doctor --local` goes the same way, so that both views
//! have one form.

use crate::doctor::Settings;
use crate::doctor::capacity::{Ask, Beyond, Bound, Capacity};
use crate::doctor::check::{Check, Level, Report};
use crate::doctor::files::Places;
use crate::engine;
use sextant_proto::v1;

/// What is asked, by a daemon that has so many containers.
pub fn ask(request: &v1::DoctorRequest, containers: usize) -> Ask {
    Ask { containers: u64::try_from(containers).unwrap_or(u64::MAX), process_bytes: request.process_bytes }
}

/// What a daemon with these settings has where.
pub fn settings(settings: &engine::Settings) -> Settings {
    let engine::Settings { root, state, runtime, shim, ids } = settings.clone();
    Settings {
        places: Places { root, state, runtime, shim },
        pool: (ids.base.into(), ids.size.into(), ids.count.into()),
    }
}

/// The answer.
pub fn to_wire(report: Report) -> v1::DoctorResponse {
    v1::DoctorResponse {
        able: report.able(),
        checks: report.checks.into_iter().map(check).collect(),
        capacity: Some(capacity(report.capacity)),
        user: report.user,
        pid: report.pid,
        version: env!("CARGO_PKG_VERSION").into(),
        kernel: report.kernel,
        cgroup: report.cgroup.into(),
        cpus: report.cpus,
        memory_bytes: report.memory,
    }
}

fn check(check: Check) -> v1::Check {
    let level = match check.level {
        Level::Ok => v1::check::Level::Ok,
        Level::Note => v1::check::Level::Note,
        Level::Limited => v1::check::Level::Limited,
        Level::Missing => v1::check::Level::Missing,
    };
    v1::Check {
        subject: check.subject.name().into(),
        name: check.name,
        level: level.into(),
        found: check.found,
        source: check.source,
        follows: check.follows,
        remedy: check.remedy,
        basis: check.basis,
    }
}

fn capacity(capacity: Capacity) -> v1::Capacity {
    v1::Capacity { containers: capacity.containers, bounds: capacity.bounds.into_iter().map(bound).collect() }
}

fn bound(bound: Bound) -> v1::Bound {
    v1::Bound {
        name: bound.name,
        containers: bound.containers,
        left: bound.left,
        each: bound.each,
        unit: bound.unit.into(),
        source: bound.source,
        refuses: bound.beyond == Beyond::Refused,
        follows: bound.follows.into(),
        remedy: bound.remedy,
    }
}
