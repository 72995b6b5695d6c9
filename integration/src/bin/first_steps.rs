//! Prints the functions that a program executes, in the order in which it comes
//! to them: `first-steps SYMBOLS COMMAND…`. SYMBOLS is what `nm --print-size`
//! says of the program, which is static and not position-independent, so that
//! its addresses are those of the process. It is run one instruction after the
//! other (ptrace(2)), and so are the processes that it clones, each until it
//! executes another program. Called by scripts/link-order.

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    match trace() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("first-steps: {message}");
            ExitCode::FAILURE
        }
    }
}

/// `PTRACE_EVENT_EXEC`.
const EXECUTED: i32 = libc::PTRACE_EVENT_EXEC;

/// A function: where it begins, how long it is, its name.
type Function = (u64, u64, String);

fn trace() -> Result<(), String> {
    let mut words = std::env::args_os().skip(1);
    let symbols = words.next().ok_or("usage: first-steps SYMBOLS COMMAND…")?;
    let text = std::fs::read_to_string(&symbols).map_err(|e| format!("{}: {e}", symbols.display()))?;
    let functions = functions(&text);
    let program = words.next().ok_or("no command is given")?;
    let mut command = Command::new(program);
    sextant_integration::sys::traced(command.args(words));
    // Reaped with all the others, below.
    let child = command.spawn().map_err(|e| format!("start the command: {e}"))?;
    let first = Pid::from_raw(i32::try_from(child.id()).map_err(|e| e.to_string())?);
    let mut met = HashSet::new();
    let succeeded = follow(first, |address| {
        let at = functions.partition_point(|(start, ..)| *start <= address);
        let Some((start, size, name)) = at.checked_sub(1).and_then(|at| functions.get(at)) else { return };
        if address < start + size && met.insert(*start) {
            println!("{name}");
        }
    })
    .map_err(|e| format!("follow the command: {e}"))?;
    if succeeded { Ok(()) } else { Err("the command failed".into()) }
}

/// Lines of nm: `address size type name`.
fn functions(text: &str) -> Vec<Function> {
    let hex = |field: &str| u64::from_str_radix(field, 16).ok();
    let mut all: Vec<Function> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            match fields.as_slice() {
                [address, size, kind, name] if "tTwWi".contains(*kind) => {
                    Some((hex(address)?, hex(size)?, (*name).to_owned()))
                }
                _ => None,
            }
        })
        .collect();
    all.sort();
    all
}

/// Steps through all processes until the first one is gone, and says whether that
/// one succeeded. A container that waits for its start ends with it.
fn follow(first: Pid, mut at: impl FnMut(u64)) -> nix::Result<bool> {
    waitpid(first, None)?;
    let clones = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    ptrace::setoptions(first, clones | Options::PTRACE_O_TRACEEXEC)?;
    ptrace::step(first, None)?;
    loop {
        let (pid, signal) = match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Err(nix::errno::Errno::ECHILD) => return Ok(false),
            Ok(WaitStatus::PtraceEvent(pid, _, event)) if event == EXECUTED => {
                ptrace::detach(pid, None)?;
                continue;
            }
            Ok(WaitStatus::PtraceEvent(pid, ..)) => (pid, None),
            Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP | Signal::SIGSTOP)) => (pid, None),
            Ok(WaitStatus::Stopped(pid, signal)) => (pid, Some(signal)),
            Ok(WaitStatus::Exited(pid, status)) if pid == first => return Ok(status == 0),
            Ok(WaitStatus::Signaled(pid, ..)) if pid == first => return Ok(false),
            Ok(_) => continue,
            Err(errno) => return Err(errno),
        };
        // ESRCH: it was killed meanwhile, which is told next.
        if let Ok(registers) = ptrace::getregs(pid) {
            at(registers.rip);
            ptrace::step(pid, signal).ok();
        }
    }
}
