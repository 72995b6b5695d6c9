//! `update`: changes the limits of a container, all that are asked for or
//! none. Device rules stay as they are, as with runc.
//!
//! Flags and `--resources` alike become the `/linux/resources` of a config and
//! go through the same loader and planner; a mistake is then told by the flag,
//! or by its place in the file.

use super::quantity::bytes;
use super::{Context, resctrl};
use crate::bundle::Bundle;
use crate::cgroup::{Cgroup, update};
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::{Failure, StageKind};
use crate::contract::state::Status;
use crate::plan::Problem;
use crate::report::{Attempt, Outcome, refuse, refuse_all};
use crate::store::{Directory, Stored};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::Path;

/// Most bytes of a file of resources.
const LIMIT: u64 = 1 << 20;

/// Where resources stand in a config.
const BASE: &str = "/linux/resources";

/// Each flag, and what it is in the resources.
const FLAGS: &[(&str, &str)] = &[
    ("--blkio-weight", "/blockIO/weight"),
    ("--cpu-period", "/cpu/period"),
    ("--cpu-quota", "/cpu/quota"),
    ("--cpu-burst", "/cpu/burst"),
    ("--cpu-rt-period", "/cpu/realtimePeriod"),
    ("--cpu-rt-runtime", "/cpu/realtimeRuntime"),
    ("--cpu-share", "/cpu/shares"),
    ("--cpu-idle", "/cpu/idle"),
    ("--cpuset-cpus", "/cpu/cpus"),
    ("--cpuset-mems", "/cpu/mems"),
    ("--memory", "/memory/limit"),
    ("--memory-reservation", "/memory/reservation"),
    ("--memory-swap", "/memory/swap"),
    ("--pids-limit", "/pids/limit"),
];

/// Carries it out.
///
/// # Errors
/// All mistakes of what was asked for, before anything is written; then the
/// first write that the kernel refused, and what was in force is in force again.
pub fn run(context: &Context, args: &cli::Update) -> Outcome<ExitCode> {
    let directory = Directory::claim(&context.root, &args.id)?;
    let stored = directory.read()?;
    if matches!(stored.state.status, Status::Stopped | Status::Creating) {
        let because = format!("container not running: {}", stored.state.status);
        return Err(refuse(format!("update the container {}", args.id), because));
    }
    warn_of_ignored(args);
    let asked = Asked::from(args, &stored)?;
    let (l3_cache, memory_bandwidth) = (args.l3_cache_schema.as_deref(), args.mem_bw_schema.as_deref());
    context.report.stage(StageKind::Update, &args.id, || {
        let cgroup = Cgroup::open(&stored.cgroup);
        let settings = asked.plan(&cgroup)?;
        resctrl::check(l3_cache, memory_bandwidth)?;
        cgroup.update(&settings).map_err(|failure| asked.place(Box::new(failure)))?;
        resctrl::update(&stored, l3_cache, memory_bandwidth)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn warn_of_ignored(args: &cli::Update) {
    for (value, flag) in
        [(&args.kernel_memory, "--kernel-memory"), (&args.kernel_memory_tcp, "--kernel-memory-tcp")]
    {
        if value.is_some() {
            crate::log::warn(&format!("{flag} is ignored: kernels from 5.16 on cannot limit it apart"));
        }
    }
    if args.resources.is_some() && FLAGS.iter().any(|(flag, _)| args.limits.get(flag).is_some()) {
        crate::log::warn("the other limits are ignored beside --resources");
    }
}

/// The resources that were asked for, and how to name a place in them.
struct Asked<'a> {
    resources: Value,
    oci_version: &'a str,
    source: Source<'a>,
}

/// Where they were typed.
enum Source<'a> {
    Flags,
    File(&'a Path),
}

impl<'a> Asked<'a> {
    fn from(args: &'a cli::Update, stored: &'a Stored) -> Outcome<Self> {
        let oci_version = stored.state.oci_version.as_str();
        match &args.resources {
            Some(path) => Ok(Self { resources: read(path)?, oci_version, source: Source::File(path) }),
            // A flag that is given is meant, also as 0: so it is in version 1.3 of the spec.
            None => Ok(Self {
                resources: of_flags(&args.limits)?,
                oci_version: crate::contract::OCI_VERSION,
                source: Source::Flags,
            }),
        }
    }

    fn plan(&self, cgroup: &Cgroup) -> Outcome<Vec<crate::cgroup::plan::Setting>> {
        let config = json!({"ociVersion": self.oci_version, "linux": {"resources": self.resources}});
        let bundle = Bundle::parse(Path::new(""), config.to_string().as_bytes()).map_err(|mut failure| {
            failure.attempted = self.attempted();
            failure.object.clear();
            self.place(Box::new(failure))
        })?;
        let mut warnings = bundle.warnings;
        let resources = bundle.spec.linux().as_ref().and_then(|l| l.resources().clone()).unwrap_or_default();
        if resources.devices().as_ref().is_some_and(|d| !d.is_empty())
            && self.resources.get("devices").is_some()
        {
            let message = "ignored: device rules cannot be changed by an update";
            warnings.push(Problem {
                pointer: format!("{BASE}/devices"),
                message: message.into(),
                hint: String::new(),
            });
        }
        let planned = update::plan(cgroup, &resources, self.oci_version, &mut warnings);
        for warning in warnings {
            crate::log::warn(&self.named(&warning).to_string());
        }
        planned.map_err(|problems| {
            let named: Vec<_> = problems.iter().map(|problem| self.named(problem)).collect();
            refuse_all(self.attempted(), &named)
        })
    }

    fn attempted(&self) -> String {
        match self.source {
            Source::Flags => "update the limits".into(),
            Source::File(path) => format!("update the limits from {}", path.display()),
        }
    }

    fn named(&self, problem: &Problem) -> Problem {
        Problem { pointer: self.name(&problem.pointer), ..problem.clone() }
    }

    fn place(&self, mut failure: Box<Failure>) -> Box<Failure> {
        failure.pointer = self.name(&failure.pointer);
        failure
    }

    /// A place in a config as the user knows it.
    fn name(&self, pointer: &str) -> String {
        let inside = pointer.strip_prefix(BASE).unwrap_or(pointer);
        match self.source {
            Source::File(_) => inside.to_owned(),
            Source::Flags => {
                let flag = FLAGS.iter().find(|(_, place)| *place == inside);
                flag.map_or(inside, |(flag, _)| flag).to_owned()
            }
        }
    }
}

/// Reads the resources from a file, or from stdin for `-`.
fn read(path: &Path) -> Outcome<Value> {
    let what = || format!("read the resources from {}", path.display());
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(LIMIT).read_to_end(&mut text).attempt(what)?;
    } else {
        std::fs::File::open(path).attempt(what)?.take(LIMIT).read_to_end(&mut text).attempt(what)?;
    }
    let value: Value =
        serde_json::from_slice(&text).map_err(|e| refuse(what(), format!("it is not JSON: {e}")))?;
    if value.is_object() {
        return Ok(value);
    }
    let mut failure = refuse(what(), "it is not a JSON object");
    failure.hint = "such as {\"memory\": {\"limit\": 1048576}}".into();
    Err(failure)
}

/// The flags as resources.
fn of_flags(limits: &cli::Limits) -> Outcome<Value> {
    let mut root = Map::new();
    for (flag, place) in FLAGS {
        let Some(text) = limits.get(flag) else { continue };
        let value = match *flag {
            "--cpuset-cpus" | "--cpuset-mems" => json!(text),
            "--memory" | "--memory-reservation" | "--memory-swap" => json!(bytes(flag, text)?),
            _ => json!(integer(flag, text)?),
        };
        let mut names = place.split('/').skip(1);
        let (Some(group), Some(field)) = (names.next(), names.next()) else { continue };
        if let Value::Object(fields) = root.entry(group).or_insert_with(|| json!({})) {
            fields.insert(field.into(), value);
        }
    }
    Ok(Value::Object(root))
}

fn integer(flag: &str, text: &str) -> Outcome<i64> {
    text.parse().map_err(|e| {
        let mut failure = refuse("update the limits", format!("{text:?} is not a whole number: {e}"));
        failure.pointer = flag.into();
        failure
    })
}
