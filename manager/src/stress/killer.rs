//! Kills shims and the manager while the load goes on.

use super::drive::stopped;
use super::procfs;
use super::random::Random;
use super::sampler::Samples;
use super::scenario::Ground;
use super::target::Fault;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Whom to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One of the shims of the run, drawn by the seed.
    Shim,
    /// The manager.
    Manager,
}

/// `shim=5s` of `--kill`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Whom.
    pub victim: Victim,
    /// How often.
    pub every: Duration,
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (victim, every) = text.split_once('=').ok_or("a kill is shim=TIME or manager=TIME")?;
        let victim = match victim {
            "shim" => Victim::Shim,
            "manager" => Victim::Manager,
            other => return Err(format!("{other:?} is neither shim nor manager")),
        };
        let every = crate::cli::parse::duration(every)?;
        if every.is_zero() {
            return Err("the time between two kills is not to be 0".into());
        }
        Ok(Self { victim, every })
    }
}

/// Kills again and again, until the end is asked for.
pub(crate) async fn go_on(what: Kill, ground: Arc<Ground>, samples: Arc<Samples>, restart: Option<String>) {
    let mut random = Random::new(ground.options.seed ^ 0x6b69_6c6c);
    let mut stop = ground.stop.clone();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(what.every) => {}
        }
        match what.victim {
            Victim::Shim => kill_shim(&ground, &samples, &mut random),
            Victim::Manager => {
                let begun = Instant::now();
                let back = kill_manager(&ground, restart.as_deref()).await;
                ground.book.done("manager-back", begun, begun, back.err().as_ref());
            }
        }
    }
}

fn kill_shim(ground: &Ground, samples: &Samples, random: &mut Random) {
    let (shims, now) = (samples.shims(), Instant::now());
    let Some(pid) = shims.get(random.below(shims.len())).copied() else { return };
    // Its number may be somebody else's by now.
    if procfs::is_marked(pid, &ground.target.marks()) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
        ground.book.done("shim-kill", now, now, None);
    }
}

/// Kills the manager and waits until it answers again.
async fn kill_manager(ground: &Ground, restart: Option<&str>) -> Result<(), Fault> {
    let Some(pid) = ground.target.facts().await?.manager else { return Ok(()) };
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|e| Fault::new("NOT_KILLED", e.to_string()))?;
    if let Some(line) = restart {
        start_again(line).map_err(|e| Fault::new("NOT_RESTARTED", e.to_string()))?;
    }
    ground.target.facts().await.map(drop)
}

/// Starts the manager by a line of shell. It is not ended by the ctrl-c that ends us, nor waited for: it is to
/// outlive us.
pub(crate) fn start_again(line: &str) -> std::io::Result<()> {
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", line])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group_own()
        .spawn()?;
    std::thread::spawn(move || drop(child.wait()));
    Ok(())
}

/// A process group of its own.
trait OwnGroup {
    fn process_group_own(&mut self) -> &mut Self;
}

impl OwnGroup for std::process::Command {
    fn process_group_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

/// Whether systemd starts this process again: it is in the cgroup of a service.
pub(crate) fn is_service(pid: i32) -> bool {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    cgroup.lines().any(|line| line.ends_with("sextantd.service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_read() {
        let five = Duration::from_secs(5);
        assert_eq!("shim=5s".parse(), Ok(Kill { victim: Victim::Shim, every: five }));
        assert_eq!("manager=5".parse(), Ok(Kill { victim: Victim::Manager, every: five }));
        for wrong in ["shim", "host=1s", "shim=0s", "shim=soon"] {
            assert!(wrong.parse::<Kill>().is_err(), "{wrong}");
        }
    }
}
