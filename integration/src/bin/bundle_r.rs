//! `bundle-r SOURCES <default.json >config.json`: makes bundle R of the
//! benchmarks (see [`sextant_integration::bundle_r`]) from a default spec, and
//! its binds' sources in the directory SOURCES.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bundle-r: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), String> {
    use sextant_integration::bundle_r::{from_default, make_sources};
    let sources = std::env::args_os().nth(1).ok_or("usage: bundle-r SOURCES <default.json >config.json")?;
    let sources = std::path::absolute(Path::new(&sources)).map_err(|e| format!("SOURCES: {e}"))?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| format!("read the default spec: {e}"))?;
    let default = serde_json::from_str(&text).map_err(|e| format!("the default spec: {e}"))?;
    let config = from_default(default, &sources)?;
    make_sources(&sources).map_err(|e| format!("make {}: {e}", sources.display()))?;
    let mut out = std::io::stdout();
    writeln!(out, "{config:#}").map_err(|e| format!("write the config: {e}"))
}
