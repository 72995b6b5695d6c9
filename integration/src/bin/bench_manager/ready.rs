//! How long a shim takes from its start until it listens, and until its first connection.

use super::Options;
use super::figures::{Times, table};
use sextant_integration::binary;
use std::fs::DirBuilder;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Starts shims one after the other, beside `/bin/true` from the same place.
pub(crate) fn ready(options: &Options) -> Result<String, String> {
    let failed = |what: &'static str| move |e: std::io::Error| format!("{what}: {e}");
    let dir = tempfile::tempdir_in(&options.base).map_err(failed("make a directory"))?;
    let mut times = ["/bin/true", "a shim prints that it is ready", "and is connected to"].map(Times::of);
    let [idle, listens, connected] = &mut times;
    for number in 0..options.count {
        let own = dir.path().join(number.to_string());
        DirBuilder::new().mode(0o700).create(&own).map_err(failed("make a directory"))?;
        let begin = Instant::now();
        Command::new("/bin/true").env_clear().status().map_err(failed("run /bin/true"))?;
        idle.add(begin.elapsed());
        let socket = own.join("socket");
        let mut command = Command::new(binary("sextant-shim"));
        command.arg("--id").arg(format!("ready-{number}")).arg("--dir").arg(&own);
        command.arg("--bundle").arg(&own).arg("--runtime").arg(binary("sextant-runtime"));
        command.arg("--runtime-root").arg(&own).arg("--socket").arg(&socket);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
        let begin = Instant::now();
        let mut shim = command.spawn().map_err(failed("start a shim"))?;
        let mut line = String::new();
        let stdout = shim.stdout.take().ok_or("its pipe is missing")?;
        BufReader::new(stdout).read_line(&mut line).map_err(failed("hear of a shim"))?;
        let (is_ready, ready) = (line == "ready\n", begin.elapsed());
        let stream = UnixStream::connect(&socket);
        let whole = begin.elapsed();
        shim.kill().and_then(|()| shim.wait()).map_err(failed("end a shim"))?;
        if !is_ready {
            return Err(format!("a shim is not ready: {line:?}"));
        }
        stream.map_err(failed("connect to a shim"))?;
        listens.add(ready);
        connected.add(whole);
    }
    Ok(table(&mut times))
}
