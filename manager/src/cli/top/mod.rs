//! `sextant top`: all containers in the terminal (docs/top.md).
//!
//! [`model`] is the state, changed by what is heard and which keys are pressed; [`draw`] makes lines of it,
//! [`screen`] bytes of lines; all three are pure. [`feed`] asks the daemon, and [`terminal`] is ours while this
//! runs. This file puts them together.
//!
//! One stream of figures and one of events come from the daemon, whatever is shown; a page of a container
//! asks for itself while it is open.

pub mod draw;
mod feed;
pub mod filter;
pub mod keys;
pub mod model;
pub mod page;
pub mod row;
pub mod screen;
mod terminal;

use super::client::Client;
use super::error::{EXIT_SIGNAL_BASE, Error};
use super::output::{self, Paint};
use draw::Clocks;
use feed::Feeds;
use filter::Filter;
use keys::Keys;
use model::{Action, Heard, Model};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use terminal::{Came, Terminal};

/// Columns of a table for no terminal.
const COLUMNS: usize = 120;
/// Where the terminal does not tell its size.
const SIZE: (u16, u16) = (24, 80);
/// What is heard waits so long to be drawn, for more of it.
const GATHER: Duration = Duration::from_millis(200);
/// Time until an escape that has come alone is the key.
const ALONE: Duration = Duration::from_millis(50);
/// Messages that are taken before anything else is looked after.
const AT_ONCE: usize = 1000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between two figures.
    pub interval: Duration,
    /// The filter to begin with.
    pub filter: String,
}

fn size() -> (usize, usize) {
    let (rows, columns) = crate::sys::terminal_size().filter(|(rows, _)| *rows > 0).unwrap_or(SIZE);
    (usize::from(columns), usize::from(rows))
}

fn model(options: &Options, size: (usize, usize)) -> Model {
    let mut model = Model::new(options.interval.as_secs_f64(), size);
    model.filter = Filter::new(&options.filter);
    model
}

/// Prints one table of all containers, with figures of one interval.
///
/// # Errors
/// What the daemon says, or that nobody reads it.
pub async fn once(client: &Client, options: &Options) -> Result<(), Error> {
    let columns = crate::sys::terminal_size().map_or(COLUMNS, |(_, columns)| usize::from(columns));
    let mut model = model(options, (columns, 0));
    model.hear(Heard::List(feed::list(client).await?), 0.0);
    model.hear(Heard::Stats(feed::stats(client).await?), 0.0);
    tokio::time::sleep(options.interval).await;
    model.hear(Heard::Stats(feed::stats(client).await?), 1.0);
    output::print(&draw::table(&model, super::time::now(), columns, Paint::stdout()))
}

/// Shows them until `q`, ctrl-c or a signal.
///
/// # Errors
/// When the terminal cannot be used.
pub async fn watch(client: &Client, options: &Options) -> Result<ExitCode, Error> {
    let mut terminal = Terminal::enter()?;
    let mut feeds = Feeds::begin(client, options.interval);
    let (mut model, mut keys) = (model(options, size()), Keys::default());
    let begun = Instant::now();
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // When to draw: at once after a key, a moment later after anything else.
    let mut draw_at = Some(tokio::time::Instant::now());
    loop {
        let at = draw_at.unwrap_or_else(tokio::time::Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(at), if draw_at.is_some() => {
                draw_at = None;
                model.follow();
                let clocks = Clocks { now: begun.elapsed().as_secs_f64(), epoch: super::time::now() };
                terminal.show(draw::lines(&model, clocks, Paint::stdout()))?;
            }
            heard = feeds.next() => {
                let now = begun.elapsed().as_secs_f64();
                let mut next = Some(heard);
                for _ in 0..AT_ONCE {
                    let Some(heard) = next else { break };
                    model.hear(heard, now).into_iter().for_each(|id| feeds.describe(id));
                    next = feeds.waiting();
                }
                draw_at = draw_at.or(Some(tokio::time::Instant::now() + GATHER));
            }
            _ = clock.tick() => {
                model.tick(begun.elapsed().as_secs_f64());
                draw_at = Some(tokio::time::Instant::now());
            }
            () = tokio::time::sleep(ALONE), if keys.waits() => {
                let key = keys.flush();
                if let Some(code) = press(key, &mut model, &mut terminal, &mut feeds)? {
                    return Ok(code);
                }
                draw_at = Some(tokio::time::Instant::now());
            }
            came = terminal.next() => {
                match came {
                    Came::Bytes(bytes) => {
                        let pressed = keys.push(&bytes);
                        if let Some(code) = press(pressed, &mut model, &mut terminal, &mut feeds)? {
                            return Ok(code);
                        }
                    }
                    Came::Resized => model.size = size(),
                    Came::Continued => {
                        terminal.again()?;
                        model.size = size();
                    }
                    Came::Signal(signal) => {
                        let code = u8::try_from(signal).unwrap_or(0).saturating_add(EXIT_SIGNAL_BASE);
                        return Ok(ExitCode::from(code));
                    }
                    Came::End => return Ok(ExitCode::SUCCESS),
                }
                draw_at = Some(tokio::time::Instant::now());
            }
        }
    }
}

/// Does what keys say; gives the code to end with.
fn press(
    keys: impl IntoIterator<Item = keys::Key>,
    model: &mut Model,
    terminal: &mut Terminal,
    feeds: &mut Feeds,
) -> Result<Option<ExitCode>, Error> {
    for key in keys {
        match model.key(key) {
            Action::None => {}
            Action::Quit => return Ok(Some(ExitCode::SUCCESS)),
            Action::Suspend => {
                terminal.suspend()?;
                model.size = size();
            }
            Action::Redraw => terminal.forget(),
            Action::Open => {
                if let Some(page) = &model.page {
                    feeds.open(page);
                }
            }
            Action::Close => feeds.close(),
        }
    }
    Ok(None)
}
