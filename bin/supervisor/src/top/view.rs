//! The screen: what is shown of a picture, in as much room as there is.
//!
//! ```text
//!   name, pid, how many stand where                     one line
//!   NAME  STATE  PID  UPTIME  CPU  MEMORY  RST  WHY     the workers; columns that have no room are left out from the
//!   ...                                                 right, by how much they are missed
//!   QUEUE  LEN  FLIGHT  PUT  GOT  DEAD                  the queues, where both have room; else the one Tab shows
//!   keys, or a question, or what became of a key        one line
//! ```

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table, TableState};

use super::picture::{InstanceRow, Picture, QueueRow};
use crate::output::wants_colour;

/// How many lines of a log are kept.
const LINES_AT_MOST: usize = 2000;

/// Both tables are shown from this height on.
const BOTH_FROM: u16 = 14;

/// A question that waits for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Which signal this instance is to get.
    WhichSignal(String),
    /// Whether this instance is to be stopped.
    ReallyStop(String),
}

/// Looking elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// So many rows up.
    Up(usize),
    /// So many rows down.
    Down(usize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// The other table.
    OtherTable,
    /// A question.
    Ask(Asks),
    /// No question any more.
    AskNothing,
}

/// A log that is shown instead of the tables.
#[derive(Debug)]
struct Log {
    worker: String,
    lines: VecDeque<String>,
    /// How many lines below those that are shown are not; 0: the newest is seen.
    below: usize,
}

/// What the screen shows.
#[derive(Debug)]
pub struct Screen {
    picture: Option<Picture>,
    /// The row that is chosen, and its name: rows come and go.
    chosen: usize,
    chosen_name: String,
    table: TableState,
    queues_only: bool,
    asks: Option<Asks>,
    said: String,
    log: Option<Log>,
    coloured: bool,
}

impl Default for Screen {
    fn default() -> Screen {
        Screen {
            picture: None,
            chosen: 0,
            chosen_name: String::new(),
            table: TableState::default(),
            queues_only: false,
            asks: None,
            said: String::new(),
            log: None,
            coloured: wants_colour(),
        }
    }
}

impl Screen {
    /// Shows another picture. Who was chosen stays so, wherever its row is now.
    pub fn show(&mut self, picture: Picture) {
        let place = picture.instances.iter().position(|row| row.name == self.chosen_name);
        self.picture = Some(picture);
        self.choose(place.unwrap_or(self.chosen));
    }

    /// Says something in the last line, until the next key.
    pub fn say(&mut self, text: String) {
        self.asks = None;
        self.said = text;
    }

    /// The instance that is chosen.
    pub fn selected(&self) -> Option<&str> {
        let picture = self.picture.as_ref()?;
        picture.instances.get(self.chosen).map(|row| row.name.as_str()).filter(|_| !self.queues_only)
    }

    /// The question that waits for a key.
    pub fn asks(&self) -> Option<&Asks> {
        self.asks.as_ref()
    }

    /// Whether a log is shown.
    pub fn shows_log(&self) -> bool {
        self.log.is_some()
    }

    /// Shows the log of this instance.
    pub fn open_log(&mut self, worker: &str) {
        self.said.clear();
        self.log = Some(Log { worker: worker.to_owned(), lines: VecDeque::new(), below: 0 });
    }

    /// Shows the tables again.
    pub fn close_log(&mut self) {
        self.log = None;
    }

    /// One more line of the log.
    pub fn add_line(&mut self, line: String) {
        let Some(log) = &mut self.log else { return };
        if log.lines.len() == LINES_AT_MOST {
            log.lines.pop_front();
        }
        log.lines.push_back(line);
        if log.below > 0 {
            // Who reads further up is not pulled down.
            log.below = (log.below + 1).min(log.lines.len());
        }
    }

    /// Looks elsewhere.
    pub fn change(&mut self, change: Change) {
        self.said.clear();
        self.asks = None;
        let last = self.picture.as_ref().map_or(0, |picture| picture.instances.len().saturating_sub(1));
        if let Some(log) = &mut self.log {
            match change {
                Change::Up(rows) => log.below = (log.below + rows).min(log.lines.len()),
                Change::Down(rows) => log.below = log.below.saturating_sub(rows),
                Change::First => log.below = log.lines.len(),
                Change::Last => log.below = 0,
                Change::OtherTable | Change::Ask(_) | Change::AskNothing => {}
            }
            return;
        }
        match change {
            Change::Up(rows) => self.choose(self.chosen.saturating_sub(rows)),
            Change::Down(rows) => self.choose(self.chosen + rows),
            Change::First => self.choose(0),
            Change::Last => self.choose(last),
            Change::OtherTable => self.queues_only = !self.queues_only,
            Change::Ask(question) => self.asks = Some(question),
            Change::AskNothing => {}
        }
    }

    fn choose(&mut self, row: usize) {
        let Some(picture) = &self.picture else { return };
        self.chosen = row.min(picture.instances.len().saturating_sub(1));
        self.chosen_name = picture.instances.get(self.chosen).map(|row| row.name.clone()).unwrap_or_default();
        self.table.select((!picture.instances.is_empty()).then_some(self.chosen));
    }

    /// Draws all of it.
    pub fn draw(&mut self, frame: &mut Frame) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
                .areas(frame.area());
        frame.render_widget(Line::styled(self.heading(head.width), self.style(Modifier::BOLD)), head);
        frame.render_widget(Line::from(self.footing()), foot);
        if let Some(log) = &mut self.log {
            return draw_log(log, frame, body);
        }
        let queues = self.picture.as_ref().map_or(0, |picture| picture.queues.len());
        let queue_lines = u16::try_from(queues + 2).unwrap_or(u16::MAX).min(body.height / 3);
        if queues > 0 && body.height >= BOTH_FROM && !self.queues_only {
            let [workers, below] =
                Layout::vertical([Constraint::Min(0), Constraint::Length(queue_lines)]).areas(body);
            self.draw_workers(frame, workers);
            self.draw_queues(frame, below);
        } else if self.queues_only {
            self.draw_queues(frame, body);
        } else {
            self.draw_workers(frame, body);
        }
    }

    /// How many stand where, as far as there is room.
    fn heading(&self, width: u16) -> String {
        if let Some(log) = &self.log {
            return format!("log of {}", log.worker);
        }
        let Some(picture) = &self.picture else { return "…".to_owned() };
        let mut text = picture.run.clone();
        let mut states: Vec<(&str, usize)> = Vec::new();
        for row in &picture.instances {
            match states.iter_mut().find(|(state, _)| *state == row.state) {
                Some((_, count)) => *count += 1,
                None => states.push((&row.state, 1)),
            }
        }
        states.sort_by_key(|(state, _)| *state != "failed");
        let parts = states.iter().map(|(state, count)| format!("{count} {state}"));
        for part in parts.chain([format!("pid {}", picture.pid)]) {
            if text.chars().count() + 2 + part.chars().count() > usize::from(width) {
                break;
            }
            text.push_str("  ");
            text.push_str(&part);
        }
        text
    }

    fn footing(&self) -> String {
        match &self.asks {
            Some(Asks::WhichSignal(worker)) => format!("{worker}: t TERM  k KILL  h HUP  i INT  other: no"),
            Some(Asks::ReallyStop(worker)) => format!("stop {worker}? y/n"),
            None if !self.said.is_empty() => self.said.clone(),
            None if self.log.is_some() => "esc back  arrows scroll".to_owned(),
            None => "q quit  s stop  t start  r restart  k kill  l log  tab queues".to_owned(),
        }
    }

    fn style(&self, modifier: Modifier) -> Style {
        Style::new().add_modifier(modifier)
    }

    fn draw_workers(&mut self, frame: &mut Frame, area: Rect) {
        let Some(picture) = &self.picture else { return };
        let widest = picture.instances.iter().map(|row| row.name.chars().count()).max().unwrap_or(4);
        let columns = fitting(INSTANCE_COLUMNS, widest, area.width);
        let rows = picture.instances.iter().map(|row| {
            let cells = columns.iter().map(|(column, _)| (column.of)(row));
            Row::new(cells.collect::<Vec<_>>()).style(self.state_style(&row.state))
        });
        let highlight = Style::new().add_modifier(Modifier::REVERSED);
        let table = table(rows.collect(), &columns).row_highlight_style(highlight);
        frame.render_stateful_widget(table, area, &mut self.table);
    }

    fn draw_queues(&self, frame: &mut Frame, area: Rect) {
        let Some(picture) = &self.picture else { return };
        if picture.queues.is_empty() {
            return frame.render_widget(Line::from("no queues"), area);
        }
        let widest = picture.queues.iter().map(|row| row.name.chars().count()).max().unwrap_or(5);
        let columns = fitting(QUEUE_COLUMNS, widest, area.width);
        let rows = picture
            .queues
            .iter()
            .map(|row| Row::new(columns.iter().map(|(column, _)| (column.of)(row)).collect::<Vec<_>>()));
        frame.render_widget(table(rows.collect(), &columns), area);
    }

    fn state_style(&self, state: &str) -> Style {
        let colour = match state {
            _ if !self.coloured => return Style::new(),
            "running" => Color::Green,
            "failed" => Color::Red,
            "done" | "stopped" => return Style::new().add_modifier(Modifier::DIM),
            _ => Color::Yellow,
        };
        Style::new().fg(colour)
    }
}

fn draw_log(log: &mut Log, frame: &mut Frame, area: Rect) {
    let height = usize::from(area.height);
    // No further up than to the first line.
    log.below = log.below.min(log.lines.len().saturating_sub(height));
    let end = log.lines.len() - log.below;
    let shown = log.lines.range(end.saturating_sub(height)..end);
    frame
        .render_widget(Paragraph::new(shown.map(|line| Line::from(line.as_str())).collect::<Vec<_>>()), area);
}

/// A column of a table of `T`.
struct Column<T> {
    heading: &'static str,
    /// How wide it is; 0: what is left.
    width: u16,
    of: fn(&T) -> String,
}

/// In the order in which they are missed when there is no room. The first takes what its longest name needs, the last
/// what is left.
const INSTANCE_COLUMNS: &[Column<InstanceRow>] = &[
    Column { heading: "NAME", width: 0, of: |row| row.name.clone() },
    Column { heading: "STATE", width: 8, of: |row| row.state.clone() },
    Column { heading: "PID", width: 7, of: |row| row.pid.clone() },
    Column { heading: "UPTIME", width: 6, of: |row| row.uptime.clone() },
    Column { heading: "CPU", width: 5, of: |row| row.cpu.clone() },
    Column { heading: "MEMORY", width: 6, of: |row| row.memory.clone() },
    Column { heading: "RST", width: 4, of: |row| row.restarts.clone() },
    Column { heading: "WHY", width: 0, of: |row| row.why.clone() },
];

const QUEUE_COLUMNS: &[Column<QueueRow>] = &[
    Column { heading: "QUEUE", width: 0, of: |row| row.name.clone() },
    Column { heading: "LEN", width: 9, of: |row| row.len.clone() },
    Column { heading: "FLIGHT", width: 6, of: |row| row.in_flight.clone() },
    Column { heading: "PUT", width: 9, of: |row| row.puts.clone() },
    Column { heading: "GOT", width: 9, of: |row| row.gets.clone() },
    Column { heading: "DEAD", width: 5, of: |row| row.dead.clone() },
    Column { heading: "", width: 0, of: |row| row.closed.clone() },
];

/// The columns that have room, and how wide each is.
fn fitting<T>(all: &'static [Column<T>], widest: usize, room: u16) -> Vec<(&'static Column<T>, u16)> {
    let second = all.get(1).map_or(0, |column| column.width + 1);
    // The state is missed more than the end of a long name.
    let heading = all.first().map_or(0, |column| column.heading.len());
    let name = u16::try_from(widest.max(heading))
        .unwrap_or(u16::MAX)
        .min(40)
        .min(room.saturating_sub(second).max(1));
    let mut columns: Vec<(&'static Column<T>, u16)> = Vec::new();
    let mut left = room;
    for (place, column) in all.iter().enumerate() {
        let gap = u16::from(place > 0);
        let width = match (place, column.width) {
            (0, _) => name,
            (_, 0) => left.saturating_sub(gap),
            (_, width) => width,
        };
        if width == 0 || width + gap > left {
            break;
        }
        columns.push((column, width));
        left -= width + gap;
    }
    columns
}

fn table<'a, T>(rows: Vec<Row<'a>>, columns: &[(&'static Column<T>, u16)]) -> Table<'a> {
    let widths: Vec<Constraint> = columns.iter().map(|(_, width)| Constraint::Length(*width)).collect();
    let heading = Row::new(columns.iter().map(|(column, _)| column.heading).collect::<Vec<_>>());
    Table::new(rows, widths)
        .header(heading.style(Style::new().add_modifier(Modifier::UNDERLINED)))
        .column_spacing(1)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn picture(instances: usize) -> Picture {
        let row = |number: usize| InstanceRow {
            name: format!("counter:{number}"),
            state: if number == 1 { "failed" } else { "running" }.to_owned(),
            pid: format!("{}", 4000 + number),
            uptime: "5m".to_owned(),
            restarts: "0".to_owned(),
            cpu: "3%".to_owned(),
            memory: "1.5M".to_owned(),
            why: if number == 1 { "exit 3".to_owned() } else { String::new() },
        };
        let queue = QueueRow {
            name: "jobs".to_owned(),
            len: "3/5".to_owned(),
            in_flight: "1".to_owned(),
            puts: "10/s".to_owned(),
            gets: "9/s".to_owned(),
            dead: "0".to_owned(),
            closed: String::new(),
        };
        Picture {
            run: "shop".to_owned(),
            pid: 17,
            instances: (0..instances).map(row).collect(),
            queues: vec![queue],
        }
    }

    fn screen(instances: usize) -> Screen {
        let mut screen = Screen { coloured: false, ..Screen::default() };
        screen.show(picture(instances));
        screen
    }

    fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen in memory");
        terminal.draw(|frame| screen.draw(frame)).expect("a screen in memory");
        let buffer = terminal.backend().buffer().clone();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(line).collect()
    }

    #[test]
    fn twenty_columns_hold_the_name_and_the_state() {
        let lines = drawn(&mut screen(2), 20, 6);
        assert_eq!(lines[0], "shop  1 failed");
        assert_eq!(lines[1], "NAME      STATE");
        assert_eq!(lines[2], "counter:0 running");
        assert_eq!(lines[3], "counter:1 failed");
        assert_eq!(lines[5], "q quit  s stop  t st");
    }

    #[test]
    fn a_wide_screen_holds_everything_and_the_queues_below() {
        let lines = drawn(&mut screen(2), 80, 20);
        assert_eq!(lines[0], "shop  1 failed  1 running  pid 17");
        assert!(
            lines[1].starts_with("NAME      STATE    PID     UPTIME CPU   MEMORY RST  WHY"),
            "{}",
            lines[1]
        );
        assert!(lines[3].ends_with("exit 3"), "{}", lines[3]);
        let queues = lines.iter().position(|line| line.starts_with("QUEUE")).expect("the queues are shown");
        assert!(lines[queues + 1].starts_with("jobs  3/5       1      10/s"), "{}", lines[queues + 1]);
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        for (width, height) in [(1, 1), (1, 9), (3, 2), (9, 1), (20, 3), (300, 2), (300, 100)] {
            for instances in [0, 1, 500] {
                let mut screen = screen(instances);
                screen.change(Change::Last);
                drawn(&mut screen, width, height);
                screen.change(Change::OtherTable);
                drawn(&mut screen, width, height);
                screen.open_log("counter:0");
                screen.add_line("a line".to_owned());
                screen.change(Change::Up(7));
                drawn(&mut screen, width, height);
            }
        }
        drawn(&mut Screen::default(), 20, 5);
    }

    #[test]
    fn the_chosen_instance_stays_chosen_when_rows_come_and_go() {
        let mut screen = screen(5);
        screen.change(Change::Down(3));
        assert_eq!(screen.selected(), Some("counter:3"));
        let mut fewer = picture(5);
        fewer.instances.remove(0);
        screen.show(fewer);
        assert_eq!(screen.selected(), Some("counter:3"));
        screen.show(picture(2));
        assert_eq!(screen.selected(), Some("counter:1"), "the last that is left");
        screen.show(Picture::default());
        assert_eq!(screen.selected(), None);
    }

    #[test]
    fn a_log_shows_its_end_and_can_be_scrolled_without_being_pulled_down() {
        let mut screen = screen(1);
        screen.open_log("counter:0");
        for number in 0..LINES_AT_MOST + 10 {
            screen.add_line(format!("line {number}"));
        }
        let lines = drawn(&mut screen, 30, 5);
        assert_eq!(lines[0], "log of counter:0");
        assert_eq!(lines[3], format!("line {}", LINES_AT_MOST + 9));
        screen.change(Change::Up(2));
        let before = drawn(&mut screen, 30, 5);
        screen.add_line("one more".to_owned());
        assert_eq!(drawn(&mut screen, 30, 5), before);
        screen.change(Change::First);
        assert_eq!(drawn(&mut screen, 30, 5)[1], "line 11");
        screen.change(Change::Last);
        assert_eq!(drawn(&mut screen, 30, 5)[3], "one more");
    }
}
