//! `sextant run -it`, `exec -it` and `attach` in a real terminal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sextant_integration::bundle::add_busybox;
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::tmux::Tmux;
use sextant_integration::{Daemon, binary, skip_unless_root, unique};

const NAMES: [&str; 10] = ["sh", "cat", "sleep", "stty", "vi", "ps", "test", "touch", "grep", "tty"];

/// What the shell in the container says when it waits for a command.
const INSIDE: &str = "inside$ ";

struct Stage {
    daemon: Daemon,
    tmux: Tmux,
    id: String,
}

fn begin(name: &str) -> Option<Stage> {
    if skip_unless_root() {
        return None;
    }
    let (daemon, id) = (Daemon::start(), unique(name));
    if !add_busybox(&daemon.rootfs(), &NAMES) {
        return None;
    }
    let tmux = Tmux::start(daemon.dir())?;
    Some(Stage { daemon, tmux, id })
}

impl Stage {
    /// The command line, with this daemon's address.
    fn sextant(&self, args: &str) -> String {
        format!("{} --address {} {args}", binary("sextant").display(), self.daemon.address())
    }

    /// `run -it` of a shell, up to its prompt.
    fn run_shell(&self, options: &str) {
        let rootfs = self.daemon.rootfs();
        let shell = format!("run -it {options} --name {} --rootfs {}", self.id, rootfs.display());
        self.tmux.line(&self.sextant(&format!("{shell} -e 'PS1={INSIDE}' -- /bin/sh")));
        self.prompt(1);
    }

    /// Waits until there are so many prompts of the inside, each of which an answer has come before.
    fn prompt(&self, count: usize) {
        let prompts = |screen: &str| screen.lines().filter(|l| l.starts_with(INSIDE.trim_end())).count();
        self.tmux.wait_until("there is no prompt", |screen| prompts(screen) >= count);
    }

    fn status(&self) -> String {
        let inspect = self.daemon.sextant(&["inspect", &self.id]).ok().json();
        inspect[0]["status"].as_str().unwrap().to_owned()
    }

    fn finish(self) {
        drop(self.tmux);
        self.daemon.finish(&[&self.id]);
    }
}

#[test]
fn a_shell_has_jobs_signals_and_the_size_of_the_window() {
    let Some(stage) = begin("jobs") else { return };
    let tmux = &stage.tmux;
    stage.run_shell("--rm");
    tmux.line("stty size");
    tmux.wait_for("\n24 80\n");
    tmux.resize(100, 30);
    tmux.line("while ! stty size | grep '30 100'; do sleep 0.02; done");
    tmux.wait_for("\n30 100\n");
    tmux.line("tty; echo grüße, 世界");
    tmux.wait_for("\n/dev/pts/0\n");
    tmux.wait_for("\ngrüße, 世界\n");
    let running = |seconds: &str, state: &str| {
        let list = || stage.daemon.sextant(&["exec", &stage.id, "ps", "-o", "stat,args"]).ok().stdout;
        let found = || list().lines().any(|l| l.trim_start().starts_with(state) && l.ends_with(seconds));
        assert!(until(DEADLINE, found), "{}", list());
    };
    tmux.line("sleep 701");
    running("sleep 701", "S");
    tmux.keys(&["C-c"]);
    tmux.line("echo interrupted: $?");
    tmux.wait_for("\ninterrupted: 130\n");
    tmux.line("sleep 702");
    running("sleep 702", "S");
    tmux.keys(&["C-z"]);
    running("sleep 702", "T");
    tmux.wait_for("Stopped");
    tmux.line("fg");
    running("sleep 702", "S");
    tmux.keys(&["C-c"]);
    tmux.line("echo continued: $?");
    tmux.wait_for("\ncontinued: 130\n");
    tmux.line("exit 7");
    tmux.wait_for_prompt();
    let (screen, code) = tmux.run("stty -a");
    assert_eq!(code, 0);
    assert!(screen.contains(" icanon") && screen.contains(" echo "), "the terminal is as before: {screen}");
    stage.finish();
}

#[test]
fn the_exit_code_is_the_processs() {
    let Some(stage) = begin("code") else { return };
    let rootfs = stage.daemon.rootfs().display().to_string();
    let run = |command: &str| {
        stage.tmux.run(&stage.sextant(&format!("run --rm -it --rootfs {rootfs} -- {command}"))).1
    };
    assert_eq!(run("/bin/sh -c 'exit 9'"), 9);
    assert_eq!(run("/bin/nothing"), 127);
    assert_eq!(run("/etc/passwd"), 126);
    stage.finish();
}

#[test]
fn a_full_screen_program_is_drawn_and_leaves_the_terminal_as_it_was() {
    let Some(stage) = begin("vi") else { return };
    let tmux = &stage.tmux;
    let request =
        ["run", "-d", "--name", &stage.id, "--rootfs", &stage.daemon.rootfs().display().to_string()]
            .map(str::to_owned);
    let request: Vec<&str> = request.iter().map(String::as_str).chain(["--", "/bin/sleep", "1000"]).collect();
    stage.daemon.sextant(&request).ok();
    let (before, _) = tmux.run("stty -g");
    tmux.line(&stage.sextant(&format!("exec -it -e TERM=xterm {} vi /tmp/text", stage.id)));
    let tildes = |screen: &str| screen.lines().filter(|line| line.starts_with('~')).count();
    assert!(until(DEADLINE, || tildes(&tmux.visible()) == 22), "{}", tmux.visible());
    tmux.keys(&["i"]);
    tmux.literally("written in vi: ä");
    assert!(until(DEADLINE, || tmux.visible().contains("written in vi: ä")));
    tmux.resize(90, 30);
    assert!(until(DEADLINE, || tildes(&tmux.visible()) == 28), "{}", tmux.visible());
    tmux.keys(&["Escape"]);
    let commands = || tmux.visible().trim_end().lines().next_back().is_some_and(|l| l.starts_with('-'));
    assert!(until(DEADLINE, commands), "it waits for commands: {}", tmux.visible());
    tmux.line(":wq");
    tmux.wait_for_prompt();
    let file = stage.daemon.rootfs().join("tmp/text");
    assert!(until(DEADLINE, || std::fs::read_to_string(&file).is_ok_and(|t| t == "written in vi: ä\n")));
    let (after, _) = tmux.run("stty -g");
    let settings = |screen: &str| screen.lines().find(|l| l.matches(':').count() > 20).unwrap().to_owned();
    assert_eq!(settings(&before), settings(&after));
    stage.daemon.sextant(&["rm", "-f", &stage.id]).ok();
    stage.finish();
}

#[test]
fn keys_detach_and_attach_comes_back() {
    let Some(stage) = begin("detach") else { return };
    let tmux = &stage.tmux;
    stage.run_shell("");
    tmux.line("echo first life");
    tmux.wait_for("\nfirst life\n");
    tmux.keys(&["C-p", "C-q"]);
    tmux.wait_for_prompt();
    let (_, code) = tmux.run("true");
    assert_eq!((code, stage.status().as_str()), (0, "running"));
    tmux.line(&stage.sextant(&format!("attach --detach-keys ctrl-x,d {}", stage.id)));
    tmux.wait_for_end(INSIDE);
    // The beginning of the keys is not swallowed.
    tmux.line("echo second li\u{66}e; cat");
    tmux.wait_for("\nsecond life\n");
    tmux.keys(&["C-d"]);
    tmux.wait_for_end(INSIDE);
    tmux.keys(&["C-x", "d"]);
    let (_, code) = tmux.run("true");
    assert_eq!((code, stage.status().as_str()), (0, "running"));
    tmux.line(&stage.sextant(&format!("attach --replay 0 {}", stage.id)));
    tmux.line("exit 3");
    tmux.wait_for_prompt();
    assert!(until(DEADLINE, || stage.status() == "stopped"));
    stage.daemon.sextant(&["rm", &stage.id]).ok();
    stage.finish();
}

#[test]
fn a_signal_to_the_command_line_restores_the_terminal_and_hurts_nobody() {
    let Some(stage) = begin("term") else { return };
    stage.run_shell("");
    // The shell asks the terminal where its cursor is; the answer is not to come to the shell outside.
    stage.tmux.line("touch /tmp/busy; cat");
    let busy = stage.daemon.rootfs().join("tmp/busy");
    assert!(until(DEADLINE, || busy.exists()));
    stage.tmux.line("heard");
    stage.tmux.wait_for("\nheard\nheard\n");
    let find = || {
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&stage.id) && line.contains("sextant --address")
        };
        pids.filter(ours).collect::<Vec<_>>()
    };
    let found = find();
    assert_eq!(found.len(), 1);
    kill(Pid::from_raw(found[0]), Signal::SIGTERM).unwrap();
    assert!(until(DEADLINE, || find().is_empty()));
    let (screen, _) = stage.tmux.run("stty -a");
    assert!(screen.contains(" icanon") && screen.contains(" echo "), "{screen}");
    assert_eq!(stage.status(), "running");
    stage.daemon.sextant(&["rm", "-f", &stage.id]).ok();
    stage.finish();
}

#[test]
fn without_a_terminal_stdin_and_signals_are_handed_on() {
    let Some(stage) = begin("pipe") else { return };
    let rootfs = stage.daemon.rootfs().display().to_string();
    let (screen, code) = stage.tmux.run(&format!(
        "printf 'a\\nb\\n' | {}",
        stage.sextant(&format!("run --rm -i --rootfs {rootfs} -- /bin/sh -c 'cat; exit 4'"))
    ));
    assert_eq!(screen, "a\nb\n");
    assert_eq!(code, 4);
    let (screen, code) = stage
        .tmux
        .run(&format!("true | {}", stage.sextant(&format!("run -it --rootfs {rootfs} -- /bin/sh"))));
    assert!(screen.contains("stdin is none") && code == 1, "{screen}");
    stage.finish();
}

#[test]
fn a_daemon_that_is_killed_and_comes_back_is_not_noticed() {
    let Some(mut stage) = begin("restart") else { return };
    stage.run_shell("--rm");
    stage
        .tmux
        .line("touch /tmp/began; while ! test -e /tmp/go; do sleep 0.02; done; echo counted to $((3+4))");
    let began = stage.daemon.rootfs().join("tmp/began");
    assert!(until(DEADLINE, || began.exists()));
    stage.daemon.kill();
    std::fs::write(stage.daemon.rootfs().join("tmp/go"), "").unwrap();
    stage.daemon.restart();
    stage.tmux.wait_for("\ncounted to 7\n");
    stage.tmux.wait_for_end(INSIDE);
    stage.tmux.line("exit 6");
    stage.tmux.wait_for_prompt();
    let (screen, _) = stage.tmux.run("stty -a");
    assert!(screen.contains(" icanon") && screen.contains(" echo "), "{screen}");
    stage.finish();
}
