//! Times sextantd through its API beside what it is made of: a run of the
//! runtime, an exec of the runtime, a `ctr run`; then many containers at once.
//! `scripts/bench manager` calls it; it prints Markdown.

mod crowd;
mod figures;
mod life;
mod ready;

use sextant_integration::Daemon;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is measured, and where.
#[derive(Clone)]
pub(crate) struct Options {
    /// Which table.
    what: String,
    /// Rounds, or containers.
    count: usize,
    /// Below it the daemon has its directories.
    base: PathBuf,
    /// A root file system with /bin/true and /bin/sleep.
    rootfs: String,
    /// Words of a `ctr` that reaches a containerd; empty for none.
    ctr: Vec<String>,
}

const USAGE: &str = "usage: bench-manager lives|execs|clients|crowd|silent|ready COUNT BASE ROOTFS [CTR…]";

fn options() -> Result<Options, String> {
    let mut args = std::env::args().skip(1);
    let (Some(what), Some(count), Some(base), Some(rootfs)) =
        (args.next(), args.next(), args.next(), args.next())
    else {
        return Err(USAGE.into());
    };
    let count = count.parse().map_err(|e| format!("{count}: {e}; {USAGE}"))?;
    Ok(Options { what, count, base: base.into(), rootfs, ctr: args.collect() })
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    if options.what == "ready" {
        return match ready::ready(&options) {
            Ok(table) => {
                println!("{table}");
                ExitCode::SUCCESS
            }
            Err(message) => {
                eprintln!("bench-manager: {message}");
                ExitCode::FAILURE
            }
        };
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("bench-manager: {e}");
            return ExitCode::FAILURE;
        }
    };
    let daemon = Daemon::start_in(&options.base, &[]);
    let measured = match options.what.as_str() {
        "lives" => runtime.block_on(life::lives(&daemon, &options)),
        "execs" => runtime.block_on(life::execs(&daemon, &options)),
        "clients" => runtime.block_on(life::clients(&daemon, &options)),
        "crowd" => runtime.block_on(crowd::crowd(&daemon, &options)),
        "silent" => runtime.block_on(crowd::silent(&daemon, &options)),
        other => Err(format!("{other}: {USAGE}")),
    };
    match measured {
        Ok(table) => {
            daemon.finish(&[]);
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("bench-manager: {message}\n{}", daemon.log());
            ExitCode::FAILURE
        }
    }
}

/// The config.json that the daemon has made for a container of this request.
pub(crate) fn made_bundle(daemon: &Daemon, id: &str) -> PathBuf {
    daemon.dir().join("root/containers").join(id).join("bundle")
}

/// Copies that bundle to where it stays, with its cgroup renamed.
pub(crate) fn copy_bundle(from: &Path, to: &Path, id: &str) -> Result<(), String> {
    let said = |e: &dyn std::fmt::Display| format!("copy {}: {e}", from.display());
    let text = std::fs::read_to_string(from.join("config.json")).map_err(|e| said(&e))?;
    std::fs::create_dir_all(to).map_err(|e| said(&e))?;
    let renamed = text.replace(&format!("/sextant/{id}"), "/sextant/bench-plain");
    std::fs::write(to.join("config.json"), renamed).map_err(|e| said(&e))
}
