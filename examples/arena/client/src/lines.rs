//! The arena as plain lines, for pipes and logs: a line a second, and one for each thing that is said.

use std::io::Write as _;

use crate::game::{Game, Happening};
use crate::world::Roster;

/// Prints until the end.
pub(crate) async fn show(game: &mut Game) -> anyhow::Result<()> {
    let mut roster = Roster::default();
    let mut last = 0;
    loop {
        match game.next().await {
            Happening::World(world) => {
                // The tick may start again with the server.
                if world.tick.abs_diff(last) >= 20 {
                    last = world.tick;
                    let leader = roster.players.iter().max_by_key(|player| player.score);
                    let leader = leader.map_or_else(String::new, |p| {
                        format!(", {} leads with {}", p.name, p.score)
                    });
                    line(&format!(
                        "tick {}: {} players, {} shots{leader}",
                        world.tick,
                        world.players.len(),
                        world.shots.len()
                    ))?;
                }
            }
            Happening::Roster(now) => roster = now,
            Happening::Chat(text) => line(&format!("chat {text}"))?,
            Happening::News(text) => line(&text)?,
            Happening::End(why) => {
                line(&why)?;
                return Ok(());
            }
        }
    }
}

fn line(text: &str) -> std::io::Result<()> {
    // What others wrote must not steer the terminal.
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    writeln!(std::io::stdout().lock(), "{text}")
}
