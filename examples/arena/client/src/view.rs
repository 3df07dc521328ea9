//! The arena drawn in a terminal: arrows or WASD run, space shoots, enter speaks, q leaves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Position};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};
use ratatui::{DefaultTerminal, Frame};

use crate::game::{Game, Happening};
use crate::world::{Roster, World};

const COLOURS: [Color; 6] = [
    Color::Cyan,
    Color::Yellow,
    Color::Green,
    Color::Magenta,
    Color::Blue,
    Color::Red,
];
/// Lines of chat that stay on the screen.
const CHAT_LINES: usize = 6;
/// A terminal tells of a key going down again and again, never of its going up: a direction holds this long.
const HOLD: Duration = Duration::from_millis(220);

struct View<'a> {
    game: &'a mut Game,
    world: World,
    roster: Roster,
    chat: VecDeque<String>,
    typing: Option<String>,
    run: (i8, i8),
    run_until: Instant,
    shoot: bool,
    seen: u64,
    since: Instant,
}

/// Draws until the player leaves or the arena ends.
pub(crate) async fn show(game: &mut Game) -> anyhow::Result<()> {
    let mut terminal = ratatui::init();
    let done = run(&mut terminal, game).await;
    restore();
    if let Ok(Some(why)) = &done {
        use std::io::Write as _;
        writeln!(std::io::stdout().lock(), "{why}")?;
    }
    done.map(drop)
}

/// Gives the terminal back; harmless where it was never taken.
pub(crate) fn restore() {
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        drop(ratatui::try_restore());
    }
}

async fn run(terminal: &mut DefaultTerminal, game: &mut Game) -> anyhow::Result<Option<String>> {
    let (keys, mut pressed) = tokio::sync::mpsc::channel(64);
    // Keys are read by a thread that waits for them; it ends with the process, or when nobody takes its keys.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if keys.blocking_send(event).is_err() {
                break;
            }
        }
    });
    let now = Instant::now();
    let mut view = View {
        game,
        world: World::default(),
        roster: Roster::default(),
        chat: VecDeque::new(),
        typing: None,
        run: (0, 0),
        run_until: now,
        shoot: false,
        seen: 0,
        since: now,
    };
    loop {
        tokio::select! {
            happening = view.game.next() => match happening {
                Happening::World(world) => {
                    view.world = world;
                    view.seen += 1;
                    view.steer();
                    terminal.draw(|frame| view.draw(frame))?;
                }
                Happening::Roster(roster) => view.roster = roster,
                Happening::Chat(text) | Happening::News(text) => view.hear(text),
                Happening::End(why) => return Ok(Some(why)),
            },
            event = pressed.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                    if control_c || !view.press(key.code).await {
                        return Ok(None);
                    }
                }
                Some(Event::Key(_) | Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_)) => {}
                None => return Ok(None),
            },
        }
    }
}

impl View<'_> {
    fn hear(&mut self, text: String) {
        self.chat.push_back(
            text.chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
        );
        while self.chat.len() > CHAT_LINES {
            self.chat.pop_front();
        }
    }

    /// False when the player leaves.
    async fn press(&mut self, key: KeyCode) -> bool {
        if let Some(mut text) = self.typing.take() {
            if key == KeyCode::Enter {
                if let Some(no) = self.game.say(&text).await {
                    self.hear(format!("(not sent: {no})"));
                }
            } else if key != KeyCode::Esc {
                if key == KeyCode::Backspace {
                    text.pop();
                } else if let KeyCode::Char(c) = key {
                    text.push(c);
                }
                self.typing = Some(text);
            }
            return true;
        }
        if let Some(direction) = direction(key) {
            self.run = direction;
            self.run_until = Instant::now() + HOLD;
        } else if key == KeyCode::Char(' ') {
            self.shoot = true;
        } else if key == KeyCode::Enter {
            self.typing = Some(String::new());
        }
        key != KeyCode::Char('q') && key != KeyCode::Esc
    }

    /// Tells the server what the keys say, once a snapshot.
    fn steer(&mut self) {
        if self.game.number.is_none() {
            return;
        }
        if Instant::now() > self.run_until {
            self.run = (0, 0);
        }
        self.game
            .input(self.run.0, self.run.1, core::mem::take(&mut self.shoot));
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [top, bottom] =
            Layout::vertical([Constraint::Length(self.game.size.1 + 2), Constraint::Min(3)])
                .areas(frame.area());
        let [field, scores] = Layout::horizontal([
            Constraint::Length(self.game.size.0 + 2),
            Constraint::Min(16),
        ])
        .areas(top);
        let rate = self.seen as f64 / self.since.elapsed().as_secs_f64().max(0.001);
        let rtt = self
            .game
            .rtt_ms()
            .map_or_else(String::new, |ms| format!(" · {ms:.1} ms"));
        let block = Block::bordered().title(format!(
            " arena · tick {} · {rate:.0}/s{rtt} ",
            self.world.tick
        ));
        let inner = block.inner(field);
        frame.render_widget(block, field);
        let buffer = frame.buffer_mut();
        for (x, y) in &self.world.shots {
            let at = Position::new(inner.x + *x as u16, inner.y + *y as u16);
            if inner.contains(at) {
                buffer[at].set_symbol("·").set_fg(Color::White);
            }
        }
        for player in &self.world.players {
            let at = Position::new(inner.x + player.x as u16, inner.y + player.y as u16);
            if inner.contains(at) {
                let symbol = if player.health == 0 {
                    "✝"
                } else {
                    look(player.look)
                };
                buffer[at]
                    .set_symbol(symbol)
                    .set_style(self.style(player.number));
            }
        }
        frame.render_widget(
            Paragraph::new(self.scores()).block(Block::bordered().title(" score ")),
            scores,
        );
        let mut lines: Vec<Line<'_>> = self
            .chat
            .iter()
            .map(|text| Line::raw(text.as_str()))
            .collect();
        lines.push(match (&self.typing, self.game.number) {
            (Some(text), _) => Line::styled(format!("say: {text}_"), Style::new().fg(Color::White)),
            (None, Some(_)) => Line::styled(
                "arrows run · space shoots · enter speaks · q leaves",
                Style::new().fg(Color::DarkGray),
            ),
            (None, None) => Line::styled(
                "you watch; join with --name NAME · enter speaks · q leaves",
                Style::new().fg(Color::DarkGray),
            ),
        });
        frame.render_widget(Paragraph::new(lines), bottom);
    }

    fn scores(&self) -> Vec<Line<'_>> {
        let mut players: Vec<_> = self.roster.players.iter().collect();
        players.sort_by_key(|player| (-player.score, player.number));
        players
            .into_iter()
            .map(|player| {
                let health = self
                    .world
                    .players
                    .iter()
                    .find(|p| p.number == player.number)
                    .map_or(0, |p| p.health);
                let bar = "▮".repeat(usize::from(health.div_ceil(25)));
                Line::from(vec![
                    Span::styled(format!("{:>3} ", player.score), Style::new()),
                    Span::styled(player.name.as_str(), self.style(player.number)),
                    Span::styled(format!(" {bar}"), Style::new().fg(Color::DarkGray)),
                ])
            })
            .collect()
    }

    fn style(&self, number: u8) -> Style {
        let style = Style::new().fg(COLOURS[usize::from(number) % COLOURS.len()]);
        if Some(number) == self.game.number {
            style.add_modifier(Modifier::BOLD | Modifier::REVERSED)
        } else {
            style
        }
    }
}

fn direction(key: KeyCode) -> Option<(i8, i8)> {
    [
        (KeyCode::Left, 'a', (-1, 0)),
        (KeyCode::Right, 'd', (1, 0)),
        (KeyCode::Up, 'w', (0, -1)),
        (KeyCode::Down, 's', (0, 1)),
    ]
    .into_iter()
    .find(|(arrow, letter, _)| key == *arrow || key == KeyCode::Char(*letter))
    .map(|(_, _, direction)| direction)
}

const fn look(look: (i8, i8)) -> &'static str {
    match look {
        (0, -1) => "▲",
        (0, 1) => "▼",
        (-1, 0) => "◀",
        (1, 0) => "▶",
        (-1, -1) => "◤",
        (1, -1) => "◥",
        (-1, 1) => "◣",
        (1, 1) => "◢",
        _ => "●",
    }
}
