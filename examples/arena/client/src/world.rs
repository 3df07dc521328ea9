//! What the arena sends: its snapshots and its roster, as the script describes them. It owns no rule of the game.

use serde::Deserialize;

/// One moment of the arena.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct World {
    /// The server's tick.
    pub(crate) tick: u32,
    /// Who is in it.
    pub(crate) players: Vec<Player>,
    /// Shots under way: x and y in cells.
    pub(crate) shots: Vec<(f32, f32)>,
}

/// A player in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Player {
    pub(crate) number: u8,
    /// In cells.
    pub(crate) x: f32,
    pub(crate) y: f32,
    /// Of 100; 0 waits for its return.
    pub(crate) health: u8,
    /// Where it looks: -1, 0 or 1.
    pub(crate) look: (i8, i8),
}

/// Names and scores.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Roster {
    #[serde(default)]
    pub(crate) players: Vec<Named>,
}

/// One of the roster.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Named {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) score: i64,
}

impl World {
    /// Reads a snapshot; none when it is cut short.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tick, rest) = bytes.split_first_chunk()?;
        let (count, mut rest) = rest.split_first()?;
        let mut world = Self {
            tick: u32::from_le_bytes(*tick),
            ..Self::default()
        };
        for _ in 0..*count {
            let ([number, x0, x1, y0, y1, health, look_x, look_y], after) =
                rest.split_first_chunk()?;
            rest = after;
            world.players.push(Player {
                number: *number,
                x: cells(*x0, *x1),
                y: cells(*y0, *y1),
                health: *health,
                look: (look_x.cast_signed(), look_y.cast_signed()),
            });
        }
        let (count, mut rest) = rest.split_first()?;
        for _ in 0..*count {
            let ([x0, x1, y0, y1], after) = rest.split_first_chunk()?;
            rest = after;
            world.shots.push((cells(*x0, *x1), cells(*y0, *y1)));
        }
        Some(world)
    }
}

fn cells(low: u8, high: u8) -> f32 {
    f32::from(u16::from_le_bytes([low, high])) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_and_none_that_is_cut() {
        let mut bytes = vec![
            7, 0, 0, 0, 1, 3, 0x2c, 1, 0x90, 1, 75, 1, 0xff, 1, 100, 0, 200, 0,
        ];
        let world = World::decode(&bytes).unwrap();
        assert_eq!(world.tick, 7);
        assert_eq!(
            world.players,
            [Player {
                number: 3,
                x: 3.0,
                y: 4.0,
                health: 75,
                look: (1, -1)
            }]
        );
        assert_eq!(world.shots, [(1.0, 2.0)]);
        while bytes.pop().is_some() {
            assert_eq!(World::decode(&bytes), None);
        }
    }
}
