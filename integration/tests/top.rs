//! `sextant top` in a real terminal: what it shows, what its keys do, and that the terminal is as it was
//! before on every way out.
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
use sextant_integration::process::{DEADLINE, run, until};
use sextant_integration::tmux::Tmux;
use sextant_integration::{Daemon, binary, skip_unless_root, unique};

const PROGRAMS: [&str; 3] = ["sh", "sleep", "echo"];

/// A daemon with two containers, and a terminal.
struct Stage {
    daemon: Daemon,
    tmux: Tmux,
    /// One that uses CPU and writes lines, one that sleeps.
    ids: [String; 2],
}

fn begin() -> Option<Stage> {
    if skip_unless_root() {
        return None;
    }
    let (daemon, ids) = (Daemon::start(), [unique("busy"), unique("calm")]);
    if !add_busybox(&daemon.rootfs(), &PROGRAMS) {
        return None;
    }
    let tmux = Tmux::start(daemon.dir())?;
    let busy = "n=0; while :; do n=$((n+1)); echo line $n of the log; sleep 0.05; done";
    daemon.sextant_run(&["-d", "--name", &ids[0], "-l", "tier=front"], &["/bin/sh", "-c", busy]).ok();
    daemon.sextant_run(&["-d", "--name", &ids[1], "-l", "tier=back"], &["/bin/sleep", "1000"]).ok();
    Some(Stage { daemon, tmux, ids })
}

impl Stage {
    fn top(&self, args: &str) -> String {
        format!("{} --address {} top {args}", binary("sextant").display(), self.daemon.address())
    }

    /// Waits until the screen is as wanted.
    #[track_caller]
    fn see(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        if !until(DEADLINE, || wanted(&self.tmux.visible())) {
            panic!("{what}:\n{}", self.tmux.visible());
        }
    }

    /// Starts it and waits for both containers.
    fn start(&self) {
        self.tmux.line(&self.top("--interval 0.2"));
        self.see("the containers", |screen| self.ids.iter().all(|id| screen.contains(id)));
    }

    /// The pid of `top`.
    fn pid(&self) -> Pid {
        let shell: i32 = self.tmux.knows("#{pane_pid}").parse().unwrap();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
    }

    /// The terminal is the shell's again.
    #[track_caller]
    fn restored(&self, before: &str) {
        self.tmux.wait_for_prompt();
        let state = || self.tmux.knows("#{alternate_on} #{cursor_flag}");
        assert!(until(DEADLINE, || state() == "0 1"), "the screen of before, with a cursor: {}", state());
        let state = || self.tmux.run("stty -a").0;
        // tmux gives a terminal whose window was resized its size a moment later.
        assert!(until(DEADLINE, || state() == before), "{}\nand before\n{before}", state());
    }

    fn finish(self) {
        drop(self.tmux);
        for id in &self.ids {
            self.daemon.sextant(&["rm", "-f", id]).ok();
        }
        self.daemon.finish(&[&self.ids[0], &self.ids[1]]);
    }
}

/// The line of a container.
fn line<'a>(screen: &'a str, id: &str) -> Option<&'a str> {
    screen.lines().find(|line| line.trim_start_matches(['>', ' ']).starts_with(id))
}

#[test]
fn containers_are_seen_sorted_filtered_and_looked_into() {
    let Some(stage) = begin() else { return };
    let (tmux, [busy, calm]) = (&stage.tmux, &stage.ids);
    let before = tmux.run("stty -a").0;
    stage.start();
    stage.see("states, figures and totals", |screen| {
        let figures =
            line(screen, calm).is_some_and(|line| line.contains(" running ") && line.contains("KiB"));
        figures && screen.contains("2 containers: 2 running") && screen.contains("CPU%▼")
    });
    assert_eq!(tmux.knows("#{alternate_on} #{cursor_flag}"), "1 0");
    let first = |id: &str| {
        let (id, other) = (id.to_owned(), if id == busy { calm.clone() } else { busy.clone() });
        move |screen: &str| {
            let at = |id: &str| {
                screen.lines().position(|line| line.trim_start_matches(['>', ' ']).starts_with(id))
            };
            at(&id).zip(at(&other)).is_some_and(|(one, two)| one < two)
        }
    };
    tmux.literally("sn");
    stage.see("by name", |screen| screen.contains("by NAME") && first(busy)(screen));
    tmux.literally("r");
    stage.see("the other way round", |screen| screen.contains("by NAME, reversed") && first(calm)(screen));
    tmux.literally("/tier=front");
    stage.see("one of them", |screen| line(screen, busy).is_some() && line(screen, calm).is_none());
    tmux.keys(&["Enter"]);
    stage.see("the filter", |screen| screen.contains("filter \"tier=front\": 1 of 2"));
    tmux.keys(&["Enter"]);
    stage.see("its processes", |screen| {
        screen.contains("[processes]") && screen.contains("COMMAND") && screen.contains("/bin/sh -c")
    });
    tmux.literally("l");
    stage.see("its log", |screen| screen.contains("[logs]") && screen.contains("of the log"));
    let last = |screen: &str| screen.lines().rfind(|line| line.ends_with("of the log")).map(str::to_owned);
    let then = last(&tmux.visible());
    stage.see("the log goes on", |screen| last(screen) > then && screen.contains("followed"));
    tmux.literally("n");
    stage.see("its namespaces", |screen| screen.contains("[namespaces]") && screen.contains("uid map"));
    tmux.literally("t");
    stage.see("the trace of its start", |screen| screen.contains("[trace]") && screen.contains("create: "));
    tmux.literally("e");
    stage.see("its events", |screen| screen.contains("[events]") && screen.contains("started"));
    tmux.keys(&["Escape"]);
    stage.see("the list", |screen| screen.contains("filter ") && line(screen, busy).is_some());
    tmux.keys(&["Escape"]);
    stage.see("both", |screen| line(screen, calm).is_some());
    tmux.literally("?");
    stage.see("help", |screen| screen.contains("reverse the order") && screen.contains("any key: back"));
    tmux.literally("x");
    tmux.resize(120, 40);
    stage.see("more columns", |screen| screen.contains("COMMAND") && screen.lines().count() == 40);
    tmux.resize(40, 10);
    stage.see("fewer columns", |screen| {
        !screen.contains("PIDS") && line(screen, "it-busy").is_some() && screen.lines().count() == 10
    });
    tmux.resize(80, 24);
    stage.see("all of them", |screen| screen.contains("q quit"));
    tmux.literally("q");
    stage.restored(&before);
    assert!(!tmux.visible().contains("sextantd"), "nothing of it stays: {}", tmux.visible());
    stage.finish();
}

#[test]
fn exits_are_seen_and_so_is_a_daemon_that_is_away_for_a_while() {
    let Some(mut stage) = begin() else { return };
    let calm = stage.ids[1].clone();
    stage.start();
    stage.daemon.sextant(&["kill", "-s", "KILL", &calm]).ok();
    stage.see("its exit", |screen| {
        line(screen, &calm).is_some_and(|line| line.contains("exit 137")) && screen.contains("exits 1/min")
    });
    stage.daemon.kill();
    stage.see("that it is away", |screen| screen.contains("sextantd does not answer since"));
    assert!(line(&stage.tmux.visible(), &stage.ids[0]).is_some(), "what was known stays");
    stage.daemon.restart();
    stage
        .see("that it is back", |screen| !screen.contains("does not answer") && screen.contains("1 running"));
    let id = unique("new");
    stage.daemon.sextant_run(&["-d", "--name", &id], &["/bin/sleep", "1000"]).ok();
    stage.see("a new container", |screen| line(screen, &id).is_some_and(|line| line.contains("running")));
    stage.daemon.sextant(&["rm", "-f", &id]).ok();
    stage.see("that it goes", |screen| line(screen, &id).is_none());
    stage.tmux.keys(&["C-c"]);
    stage.tmux.wait_for_prompt();
    stage.finish();
}

#[test]
fn the_terminal_is_as_before_after_signals_and_stops() {
    let Some(stage) = begin() else { return };
    let tmux = &stage.tmux;
    let before = tmux.run("stty -a").0;
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        stage.start();
        kill(stage.pid(), signal).unwrap();
        stage.restored(&before);
    }
    stage.start();
    tmux.keys(&["C-z"]);
    tmux.wait_until("it is stopped", |screen| screen.contains("Stopped"));
    stage.restored(&before);
    tmux.line("fg");
    stage.see("it goes on", |screen| stage.ids.iter().all(|id| screen.contains(id)));
    assert_eq!(tmux.knows("#{alternate_on} #{cursor_flag}"), "1 0");
    tmux.literally("q");
    stage.restored(&before);
    stage.finish();
}

#[test]
fn without_a_terminal_there_is_one_table_or_a_hint() {
    let Some(stage) = begin() else { return };
    let refused = stage.daemon.sextant(&["top"]).exited(1);
    for word in ["standard output is no terminal", "sextant stats", "sextant ps", "--once"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    let table = stage.daemon.sextant(&["top", "--once", "--interval", "0.2"]).ok().stdout;
    assert!(table.starts_with("NAME ") && table.lines().count() == 3 && !table.contains('\x1b'), "{table}");
    assert!(
        stage.ids.iter().all(|id| line(&table, id).is_some_and(|line| line.contains(" running "))),
        "{table}"
    );
    let filtered =
        stage.daemon.sextant(&["top", "--once", "--interval", "0.2", "-F", "label=tier=back"]).ok().stdout;
    assert!(
        line(&filtered, &stage.ids[1]).is_some() && line(&filtered, &stage.ids[0]).is_none(),
        "{filtered}"
    );
    let mut dumb = stage.daemon.command();
    let ran = run(dumb.args(["top", "--interval", "nonsense"]), stage.daemon.dir());
    ran.exited(2);
    stage.finish();
}
