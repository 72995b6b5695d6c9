//! The commands of the probe: to exit, to sleep, to write, to fork, to use
//! memory. None of them reads configuration or needs anything of the container.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A command: its arguments in, the exit status out.
type Act = fn(&[&str]) -> Result<ExitCode, String>;

/// The command of this name.
pub(crate) fn command(name: &str) -> Option<Act> {
    Some(match name {
        "true" => |_| Ok(ExitCode::SUCCESS),
        "false" => |_| Ok(ExitCode::from(1)),
        "exit" => |args| Ok(ExitCode::from(number::<u8>(args, 0)?)),
        "signal" => signal,
        "sleep" => sleep,
        "echo" => |args| super::say(&args.join(" ")).map(|()| ExitCode::SUCCESS),
        "spam" => spam,
        "cat" => cat,
        "record" => record,
        "work" => work,
        "fork" => fork,
        "count" => count,
        "eat" => eat,
        "feed" => feed,
        "answer" => answer,
        "ipc" => ipc,
        "listen" => listen,
        "connect" => connect,
        "orphan" => orphan,
        "summary" => |_| {
            super::say(&super::summary::summary(&sextant_integration::look::look()))
                .map(|()| ExitCode::SUCCESS)
        },
        _ => return None,
    })
}

fn number<N: std::str::FromStr>(args: &[&str], index: usize) -> Result<N, String>
where
    N::Err: std::fmt::Display,
{
    let text = args.get(index).ok_or_else(|| format!("argument {} is missing", index + 1))?;
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}

/// Ends itself by a signal. A pid 1 cannot: the kernel keeps it (pid_namespaces(7)).
fn signal(args: &[&str]) -> Result<ExitCode, String> {
    let signal = Signal::try_from(number::<i32>(args, 0)?).map_err(|e| format!("signal: {e}"))?;
    raise(signal).map_err(|e| format!("raise {signal}: {e}"))?;
    Err(format!("still alive after {signal}"))
}

/// Sleeps. With `--term-exit N` it exits with N on SIGTERM, as pid 1 as well;
/// with `--then-exit N` when the time is over.
fn sleep(args: &[&str]) -> Result<ExitCode, String> {
    let time = Duration::from_secs_f64(number(args, 0)?);
    if args.get(1) != Some(&"--term-exit") {
        std::thread::sleep(time);
        return match args.get(1) {
            Some(&"--then-exit") => Ok(ExitCode::from(number::<u8>(args, 2)?)),
            _ => Ok(ExitCode::SUCCESS),
        };
    }
    let code = ExitCode::from(number::<u8>(args, 2)?);
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.thread_block().map_err(|e| format!("block SIGTERM: {e}"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).map_err(|e| format!("signalfd: {e}"))?;
    super::say("ready")?;
    let end = Instant::now() + time;
    loop {
        let left =
            PollTimeout::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], left) {
            Ok(0) if Instant::now() >= end => return Ok(ExitCode::SUCCESS),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(code),
            Err(e) => return Err(format!("poll: {e}")),
        }
    }
}

/// Writes that many bytes as numbered lines, every third one to stderr.
fn spam(args: &[&str]) -> Result<ExitCode, String> {
    let bytes: usize = number(args, 0)?;
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let (mut written, mut n) = (0, 0_u64);
    while written < bytes {
        let mut line = format!("line {n:012} {}\n", "x".repeat(44));
        line.truncate(bytes - written);
        let done = if n % 3 == 2 { err.write_all(line.as_bytes()) } else { out.write_all(line.as_bytes()) };
        done.map_err(|e| format!("write line {n}: {e}"))?;
        written += line.len();
        n += 1;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes numbered lines for that many milliseconds, then how many there were, and exits with the status.
/// A third number makes each line so much longer.
fn work(args: &[&str]) -> Result<ExitCode, String> {
    let (time, code): (u64, u8) = (number(args, 0)?, number(args, 1)?);
    let pad = "x".repeat(if args.len() > 2 { number(args, 2)? } else { 0 });
    let end = Instant::now() + Duration::from_millis(time);
    let mut lines = 0_u64;
    while Instant::now() < end {
        lines += 1;
        super::say(&format!("line {lines}{pad}"))?;
        std::thread::sleep(Duration::from_millis(5));
    }
    super::say(&format!("end {code} after {lines}"))?;
    Ok(ExitCode::from(code))
}

/// Copies stdin to stdout.
fn cat(_: &[&str]) -> Result<ExitCode, String> {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).map_err(|e| format!("copy stdin: {e}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes stdin to a file: as a hook, the state that it was given.
fn record(args: &[&str]) -> Result<ExitCode, String> {
    let path = args.first().ok_or("record needs a file")?;
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).map_err(|e| format!("read stdin: {e}"))?;
    std::fs::write(path, text).map_err(|e| format!("write {path}: {e}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts N children that sleep, prints how many it could start, and sleeps as well.
fn fork(args: &[&str]) -> Result<ExitCode, String> {
    let wanted: usize = number(args, 0)?;
    let seconds = args.get(1).copied().unwrap_or("1000");
    let start = || std::process::Command::new("/proc/self/exe").args(["sleep", seconds]).spawn();
    let mut children = Vec::new();
    for _ in 0..wanted {
        match start() {
            Ok(child) => children.push(child),
            Err(e) => {
                eprintln!("child {}: {e}", children.len());
                break;
            }
        }
    }
    super::say(&format!("started {}", children.len()))?;
    sleep(&[seconds])
}

/// Counts in memory, and writes each number to a file.
fn count(args: &[&str]) -> Result<ExitCode, String> {
    let path = args.first().ok_or("count needs a file")?;
    let mut number = 0_u64;
    loop {
        number += 1;
        std::fs::write(path, number.to_string()).map_err(|e| format!("write {path}: {e}"))?;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Uses that many bytes of memory and says so.
fn eat(args: &[&str]) -> Result<ExitCode, String> {
    let memory = vec![0x5a_u8; number(args, 0)?];
    super::say(&format!("ate {}", std::hint::black_box(&memory).len()))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts a child that uses that many bytes of memory, says how it ended, and sleeps.
fn feed(args: &[&str]) -> Result<ExitCode, String> {
    let bytes = args.first().ok_or("feed needs a number of bytes")?;
    let child = std::process::Command::new("/proc/self/exe").args(["eat", bytes]).status();
    super::say(&format!("child: {}", child.map_err(|e| format!("start a child: {e}"))?))?;
    sleep(&["1000"])
}

/// Says a numbered line each time that it gets SIGUSR1; ends on SIGTERM.
fn answer(_: &[&str]) -> Result<ExitCode, String> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR1);
    mask.add(Signal::SIGTERM);
    mask.thread_block().map_err(|e| format!("block signals: {e}"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC).map_err(|e| format!("signalfd: {e}"))?;
    for number in 0_u64.. {
        super::say(&format!("line {number}"))?;
        let signal = signals.read_signal().map_err(|e| format!("read a signal: {e}"))?;
        if signal.is_some_and(|s| s.ssi_signo == Signal::SIGTERM as u32) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Listens on a port of the loopback interface, says so, and greets who comes.
fn listen(args: &[&str]) -> Result<ExitCode, String> {
    let port = number::<u16>(args, 0)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|e| format!("listen on {port}: {e}"))?;
    super::say(&format!("listens on {port}"))?;
    for client in listener.incoming() {
        let greeted = client.and_then(|mut client| client.write_all(b"hello\n"));
        greeted.map_err(|e| format!("greet a client: {e}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what comes from a port of the loopback interface.
fn connect(args: &[&str]) -> Result<ExitCode, String> {
    let port = number::<u16>(args, 0)?;
    let mut heard = String::new();
    TcpStream::connect(("127.0.0.1", port))
        .and_then(|mut stream| stream.read_to_string(&mut heard))
        .map_err(|e| format!("connect to {port}: {e}"))?;
    super::say(heard.trim_end()).map(|()| ExitCode::SUCCESS)
}

/// Leaves a sleeping grandchild without a parent, says its pid, and sleeps.
fn orphan(args: &[&str]) -> Result<ExitCode, String> {
    let mut child = std::process::Command::new("/proc/self/exe");
    if args.first() == Some(&"parent") {
        let null = std::process::Stdio::null;
        let child = child.args(["sleep", "1000"]).stdin(null()).stdout(null()).stderr(null()).spawn();
        return super::say(&child.map_err(|e| format!("start a child: {e}"))?.id().to_string())
            .map(|()| ExitCode::SUCCESS);
    }
    let status = child.args(["orphan", "parent"]).status().map_err(|e| format!("start a parent: {e}"))?;
    if !status.success() {
        return Err(format!("the parent: {status}"));
    }
    sleep(&["1000"])
}

/// Makes one System V object of each kind and a message queue, then looks.
fn ipc(args: &[&str]) -> Result<ExitCode, String> {
    sextant_integration::sys::make_ipc_objects().map_err(|e| format!("make IPC objects: {e}"))?;
    if std::path::Path::new("/dev/mqueue").exists() {
        std::fs::File::create("/dev/mqueue/made").map_err(|e| format!("make /dev/mqueue/made: {e}"))?;
    }
    super::print_seen(args)
}
