//! What is heard and pressed, and what the model is then.

use super::super::row::tests::sample;
use super::*;
use sextant_proto::v1::exit::How;

/// A container of the daemon.
pub(in crate::cli::top) fn container(id: &str, command: &str) -> v1::Container {
    v1::Container {
        id: id.into(),
        status: v1::Status::Running.into(),
        command: vec![command.into()],
        labels: [("app".to_owned(), id.to_owned())].into(),
        started_at: Some(prost_types::Timestamp { seconds: 100, nanos: 0 }),
        ..Default::default()
    }
}

/// Three of them, with figures of two seconds: `busy` has the most CPU, `large` the most memory.
pub(in crate::cli::top) fn three(size: (usize, usize)) -> Model {
    let mut model = Model::new(1.0, size);
    model.hear(Heard::Daemon("0.1.0".into()), 0.0);
    model.hear(Heard::List(["idle", "busy", "large"].map(|id| container(id, "/bin/sleep")).to_vec()), 0.0);
    model.hear(
        Heard::Stats(vec![sample("idle", 10, 0, 1), sample("busy", 10, 0, 2), sample("large", 10, 0, 300)]),
        1.0,
    );
    model.hear(
        Heard::Stats(vec![
            sample("idle", 11, 0, 1),
            sample("busy", 11, 500, 2),
            sample("large", 11, 10, 300),
        ]),
        2.0,
    );
    model
}

/// An event.
pub(in crate::cli::top) fn event(id: &str, kind: Happened) -> Heard {
    let exit = v1::Exit { how: Some(How::Code(3)), ..Default::default() };
    let exit = (kind == Happened::Exited).then_some(exit);
    Heard::Event(Box::new(v1::Event { container: id.into(), kind: kind.into(), exit, ..Default::default() }))
}

fn names(model: &Model) -> Vec<&str> {
    model.shown().iter().map(|row| row.id.as_str()).collect()
}

fn typed(model: &mut Model, text: &str) {
    text.chars().for_each(|letter| {
        model.key(Key::Char(letter));
    });
}

#[test]
fn rows_are_sorted_and_filtered() {
    let mut model = three((80, 24));
    assert_eq!(names(&model), ["busy", "large", "idle"]);
    typed(&mut model, "sm");
    assert_eq!(names(&model), ["large", "busy", "idle"]);
    typed(&mut model, "r");
    assert_eq!(names(&model), ["idle", "busy", "large"]);
    typed(&mut model, "sn");
    assert_eq!(names(&model), ["busy", "idle", "large"]);
    typed(&mut model, ">");
    assert_eq!(model.sort.0, Column::State);
    typed(&mut model, "<<");
    assert_eq!(model.sort.0, Column::Age);
    typed(&mut model, "/bus");
    assert_eq!(names(&model), ["busy"]);
    model.key(Key::Escape);
    assert_eq!(names(&model).len(), 3);
    typed(&mut model, "/app=large");
    model.key(Key::Enter);
    assert_eq!(names(&model), ["large"]);
    model.key(Key::Escape);
    assert_eq!((names(&model).len(), &model.mode), (3, &Mode::Commands));
}

#[test]
fn the_selection_follows_its_container_and_the_screen_the_selection() {
    let mut model = Model::new(1.0, (80, 10));
    let many: Vec<v1::Container> = (0..30).map(|n| container(&format!("c{n:02}"), "x")).collect();
    model.hear(Heard::List(many), 0.0);
    typed(&mut model, "sn");
    assert_eq!(model.selection(), Some((0, "c00".into())));
    model.key(Key::PageDown);
    assert_eq!((model.selection().unwrap().0, model.top), (5, 1));
    model.key(Key::End);
    assert_eq!((model.selection().unwrap().0, model.top), (29, 25));
    model.key(Key::Home);
    model.key(Key::Down);
    assert_eq!((model.selection().unwrap().1.as_str(), model.top), ("c01", 0));
    typed(&mut model, "r");
    assert_eq!(model.selection(), Some((28, "c01".into())));
    model.follow();
    assert_eq!(model.top, 24);
    model.size = (80, 40);
    model.follow();
    assert_eq!(model.top, 0);
}

#[test]
fn events_change_rows_and_what_is_gone_stays_for_a_moment() {
    let mut model = three((80, 24));
    assert_eq!(model.hear(event("idle", Happened::Exited), 5.0), None);
    let row = &model.known()["idle"];
    assert_eq!((row.state, row.status().as_str(), row.figures.memory), (State::Stopped, "exit 3", None));
    assert_eq!(model.rates(6.0), (0.1, 1));
    model.hear(Heard::Stats(vec![sample("idle", 12, 1, 1)]), 6.0);
    assert_eq!(model.known()["idle"].figures.memory, None, "a sample that was under way");
    model.hear(event("idle", Happened::Deleted), 6.0);
    model.tick(15.0);
    assert_eq!(model.known()["idle"].status(), "exit 3");
    model.tick(16.5);
    assert!(!model.known().contains_key("idle"));
    assert_eq!(model.hear(event("new", Happened::Created), 17.0), Some("new".into()));
    model.hear(Heard::Container(Box::new(container("new", "/bin/x"))), 17.0);
    let row = &model.known()["new"];
    assert_eq!((row.state, row.command.as_str()), (State::Created, "/bin/x"));
    model.hear(event("new", Happened::Unhealthy), 17.0);
    assert_eq!(model.known()["new"].status(), "created (unhealthy)");
    model.hear(event("new", Happened::Started), 17.0);
    model.hear(event("new", Happened::Paused), 17.0);
    assert_eq!(model.known()["new"].state, State::Paused);
    assert_eq!(model.hear(event("never seen", Happened::Deleted), 17.0), None);
    model.tick(100.0);
    assert_eq!(model.rates(100.0), (0.0, 0));
}

#[test]
fn a_daemon_that_is_away_and_comes_back_without_some() {
    let mut model = three((80, 24));
    model.hear(Heard::Lost("gone".into()), 10.0);
    model.hear(Heard::Lost("still gone".into()), 12.0);
    assert_eq!(model.lost, Some((10.0, "still gone".into())));
    model.hear(Heard::Daemon("0.2.0".into()), 13.0);
    model.hear(Heard::List(vec![container("busy", "x")]), 13.0);
    assert_eq!((model.lost.as_ref(), model.version.as_str()), (None, "0.2.0"));
    assert_eq!(model.known()["idle"].state, State::Removed);
    model.tick(30.0);
    assert_eq!(names(&model), ["busy"]);
}

#[test]
fn a_stopped_display_keeps_its_figures() {
    let mut model = three((80, 24));
    typed(&mut model, " ");
    model.hear(event("busy", Happened::Exited), 5.0);
    assert_eq!((model.paused(), model.known()["busy"].state), (true, State::Running));
    typed(&mut model, " ");
    assert_eq!((model.paused(), model.known()["busy"].state), (false, State::Stopped));
}

#[test]
fn pages_are_opened_and_left_and_late_answers_are_of_no_use() {
    let mut model = three((80, 24));
    assert_eq!(model.key(Key::Enter), Action::Open);
    let page = model.page.clone().unwrap();
    assert_eq!((page.kind, page.id.as_str()), (Kind::Processes, "busy"));
    model.hear(Heard::Page(page.serial, Ok(vec!["PID".into()])), 3.0);
    assert_eq!(model.page.as_ref().unwrap().lines, ["PID"]);
    assert_eq!(model.key(Key::Tab), Action::Open);
    model.hear(Heard::Page(page.serial, Ok(vec!["late".into()])), 3.0);
    let logs = model.page.clone().unwrap();
    assert!(logs.kind == Kind::Logs && logs.lines.is_empty());
    model.hear(Heard::More(logs.serial, vec!["line".into()]), 3.0);
    assert_eq!(model.page.as_ref().unwrap().lines, ["line"]);
    model.key(Key::Right);
    model.key(Key::Right);
    model.key(Key::Left);
    assert_eq!(model.page.as_ref().unwrap().column, 20);
    assert_eq!(model.key(Key::Char('q')), Action::Close);
    assert_eq!((model.page.is_none(), model.key(Key::Char('q'))), (true, Action::Quit));
    for (key, action) in [('c', Action::Quit), ('z', Action::Suspend), ('l', Action::Redraw)] {
        assert_eq!(model.key(Key::Ctrl(key)), action);
    }
    typed(&mut model, "?");
    assert_eq!(model.mode, Mode::Help);
    assert_eq!((model.key(Key::Char('q')), &model.mode), (Action::None, &Mode::Commands));
    let mut empty = Model::new(1.0, (80, 24));
    assert_eq!(empty.key(Key::Enter), Action::None);
    assert_eq!(empty.key(Key::Down), Action::None);
}
