//! What is drawn, at the sizes of terminals.

use super::super::keys::Key;
use super::super::model::Heard;
use super::super::model::tests::{container, event, three};
use super::super::row::tests::sample;
use super::*;
use sextant_proto::v1;
use sextant_proto::v1::event::Kind as Happened;

const CLOCKS: Clocks = Clocks { now: 2.5, epoch: 190 };

/// The lines without what colours them.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("\x1b[") {
        plain += before;
        rest = behind.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

fn press(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        model.key(Key::Char(key));
    }
}

fn check(model: &Model) -> Vec<String> {
    let (columns, height) = model.size;
    let coloured = lines(model, CLOCKS, Paint::Colours);
    let drawn = lines(model, CLOCKS, Paint::Plain);
    assert_eq!((coloured.len(), drawn.len()), (height, height));
    for (coloured, line) in coloured.iter().zip(&drawn) {
        assert!(width::of(line) <= columns, "{columns}: {line:?}");
        assert!(!line.contains('\x1b'), "{line:?}");
        assert_eq!(plain(coloured).trim_end(), line.trim_end());
    }
    drawn
}

#[test]
fn eighty_by_twenty_four() {
    let drawn = check(&three((80, 24)));
    assert_eq!(drawn[0], "sextantd 0.1.0  00:03:10Z  3 containers: 3 running");
    assert_eq!(drawn[1], "CPU 51.0%  mem 303.0MiB  pids 9  events 0.0/s  exits 0/min  read 510.0KiB/s  wr…");
    assert_eq!(drawn[2], "by CPU%");
    assert_eq!(drawn[3], " NAME       STATE        CPU%▼       MEM  PIDS    READ/s   WRITE/s   AGE");
    assert_eq!(drawn[4], format!(">busy       running       50.0    2.0MiB     3  500.0KiB{:>16}", "90s"));
    assert_eq!(drawn[6], format!(" idle       running        0.0    1.0MiB     3        0B{:>16}", "90s"));
    assert_eq!(drawn[23], "p processes l logs n namespaces t trace e events  s sort / filter ? help q quit");
}

#[test]
fn every_size() {
    for size in [(80, 24), (120, 40), (40, 10), (20, 6), (1, 1), (200, 3)] {
        let mut model = three(size);
        check(&model);
        for keys in ["s", "?", "/xyz", "p"] {
            press(&mut model, keys);
            check(&model);
            model.key(Key::Escape);
        }
    }
}

#[test]
fn a_wide_terminal_has_more_columns_and_a_narrow_one_fewer() {
    let drawn = check(&three((120, 40)));
    assert!(
        drawn[3].contains("LIMIT") && drawn[3].contains("COMMAND") && drawn[4].ends_with("/bin/sleep"),
        "{drawn:?}"
    );
    let drawn = check(&three((40, 10)));
    assert_eq!(drawn[3].split_whitespace().collect::<Vec<_>>(), ["NAME", "STATE", "CPU%▼", "MEM"]);
}

#[test]
fn pressure_has_a_column_where_there_is_some() {
    let mut model = three((120, 24));
    let pressure =
        v1::Pressure { some: Some(v1::PressureOf { avg10: 12.4, ..Default::default() }), full: None };
    let mut one = sample("busy", 12, 600, 2);
    one.cpu.as_mut().unwrap().pressure = Some(pressure);
    model.hear(Heard::Stats(vec![one]), 3.0);
    let drawn = check(&model);
    assert!(drawn[3].contains("PSI c  m  io"), "{}", drawn[3]);
    assert!(drawn.iter().any(|line| line.contains("  12   -   -")), "{drawn:?}");
}

#[test]
fn names_of_others_cannot_steer_the_terminal_and_wide_ones_fit() {
    let mut model = Model::new(1.0, (80, 24));
    let hostile = "\x1b[2J\x1b]0;owned\x07\u{202e}x";
    let mut wide = container("容器容器容器容器容器容器容器容器容器容器", hostile);
    wide.labels.clear();
    model.hear(Heard::List(vec![container(hostile, hostile), wide]), 0.0);
    model.hear(Heard::Lost(hostile.into()), 1.0);
    let drawn = check(&model);
    assert!(drawn[2].contains("\\u{1b}[2J"), "{drawn:?}");
    assert!(
        lines(&model, CLOCKS, Paint::Colours)
            .iter()
            .all(|line| !line.contains("\x1b[2J") && !line.contains('\x07'))
    );
    model.hear(Heard::Daemon(hostile.into()), 1.0);
    press(&mut model, "//////");
    check(&model);
    model.key(Key::Escape);
    model.key(Key::Char('l'));
    let serial = model.page.as_ref().unwrap().serial;
    model.hear(Heard::More(serial, vec![hostile.into(), "容器".repeat(80)]), 1.0);
    check(&model);
}

#[test]
fn old_figures_and_a_daemon_that_is_away_are_told() {
    let mut model = three((80, 24));
    let told = |model: &Model, now| lines(model, Clocks { now, epoch: 190 }, Paint::Plain).swap_remove(2);
    assert_eq!(told(&model, 20.0), "figures are 18 s old");
    model.hear(Heard::Lost("connection refused".into()), 10.0);
    assert_eq!(
        told(&model, 15.0),
        "sextantd does not answer since 5 s; figures are 13 s old: connection refused"
    );
    model.hear(Heard::Daemon("1".into()), 15.0);
    model.key(Key::Char(' '));
    assert!(told(&model, 4.0).contains("DISPLAY STOPPED"));
}

#[test]
fn pages_have_their_tab_and_their_place() {
    let mut model = three((80, 24));
    model.key(Key::Char('l'));
    let serial = model.page.as_ref().unwrap().serial;
    assert!(check(&model)[4].contains('…'));
    model.hear(Heard::More(serial, (1..=50).map(|n| format!("line {n}")).collect()), 3.0);
    let drawn = check(&model);
    assert_eq!(drawn[2], "logs of busy  line 50 of 50  followed");
    assert!(drawn[3].contains("[logs]") && drawn[22] == "line 50", "{drawn:?}");
    model.key(Key::PageUp);
    let drawn = check(&model);
    assert_eq!(
        (drawn[2].as_str(), drawn[4].as_str()),
        ("logs of busy  line 31 of 50  not followed (End)", "line 13")
    );
    model.key(Key::Right);
    assert_eq!(check(&model)[4], "");
    model.hear(Heard::Page(serial, Err("it is gone".into())), 4.0);
    assert_eq!(check(&model)[2], "logs of busy: it is gone");
}

#[test]
fn exits_stay_and_help_is_shown() {
    let mut model = three((80, 24));
    model.hear(event("idle", Happened::Exited), 2.0);
    let drawn = check(&model);
    assert_eq!(drawn[0], "sextantd 0.1.0  00:03:10Z  3 containers: 2 running, 1 stopped");
    assert!(drawn.iter().any(|line| line.starts_with(" idle       exit 3")), "{drawn:?}");
    model.key(Key::Char('?'));
    let drawn = check(&model);
    assert!(drawn.iter().any(|line| line.starts_with("space ")) && drawn[23] == "any key: back");
    assert!(HELP.iter().all(|line| width::of(line) <= 80) && HELP.len() <= 24 - AROUND);
}

#[test]
fn the_table_has_no_keys() {
    let text = table(&three((80, 24)), 190, 100, Paint::Plain);
    assert_eq!((text.lines().count(), text.contains("q quit")), (4, false));
    assert!(text.starts_with("NAME       STATE"), "{text}");
}
