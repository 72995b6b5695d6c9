//! What loading a bundle costs, part by part: `load_cost BUNDLE…` prints for
//! each the first time, which meets cold caches as every start of the runtime
//! does, and the median of 200. Build it with `--release`.

use sextant_runtime::bundle::Bundle;
use sextant_runtime::plan::{Host, plan};
use sextant_runtime::seccomp;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

const ROUNDS: usize = 200;

fn main() -> ExitCode {
    for dir in std::env::args_os().skip(1) {
        if let Err(message) = bundle(Path::new(&dir)) {
            eprintln!("load_cost: {message}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn bundle(dir: &Path) -> Result<(), String> {
    let config = dir.join("config.json");
    let json = std::fs::read(&config).map_err(|e| format!("{}: {e}", config.display()))?;
    println!("{}: {} bytes", config.display(), json.len());
    time("config.json to bundle", || Bundle::parse(dir, &json))?;
    let bundle = Bundle::parse(dir, &json).map_err(|e| e.to_string())?;
    time("look at the host", || Ok::<_, String>(Host::probe()))?;
    let host = Host::probe();
    if let Some(profile) = bundle.spec.linux().as_ref().and_then(|l| l.seccomp().as_ref()) {
        let compile = || seccomp::compile(profile, &mut Vec::new()).map_err(|p| format!("{p:?}"));
        time("compile the seccomp profile", compile)?;
        println!("    {} instructions", compile()?.program.len());
    }
    time("plan", || plan(&bundle, "load-cost", &host).map_err(|p| format!("{p:?}")))
}

fn time<T, E: std::fmt::Display>(what: &str, work: impl Fn() -> Result<T, E>) -> Result<(), String> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let result = black_box(work());
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        result.map_err(|e| format!("{what}: {e}"))?;
    }
    let first = times.first().copied().unwrap_or_default();
    times.sort_by(f64::total_cmp);
    let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("    {what}: first {first:.0} µs, median {median:.0} µs");
    Ok(())
}
