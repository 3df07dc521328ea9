//! The world and its rules, number for number those of `arena.luau`, and in the same shape when it is saved: a script and this component hand it to each
//! other.

use std::collections::BTreeMap;
use std::fmt;

use cohnect_module::random;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// In cells.
pub(crate) const WIDTH: f64 = 60.0;
pub(crate) const HEIGHT: f64 = 24.0;
pub(crate) const NAME_BYTES_MAX: usize = 16;
/// Cells a second.
const SPEED: f64 = 12.0;
const SHOT_SPEED: f64 = 30.0;
/// Seconds.
const SHOT_LIFE: f64 = 1.2;
const SHOT_PAUSE: f64 = 0.35;
const RESPAWN: f64 = 2.0;
const DAMAGE: f64 = 25.0;
/// In cells.
const HIT_RADIUS: f64 = 0.9;
/// What one datagram of a snapshot holds.
const PLAYERS_MAX: u8 = 48;
const SHOTS_MAX: usize = 96;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct World {
    #[serde(deserialize_with = "table")]
    players: BTreeMap<String, Player>,
    #[serde(deserialize_with = "list")]
    shots: Vec<Shot>,
    tick: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Player {
    number: u8,
    name: String,
    x: f64,
    y: f64,
    dx: f64,
    dy: f64,
    look_x: f64,
    look_y: f64,
    shooting: bool,
    health: f64,
    score: i64,
    pause: f64,
    respawn: f64,
}

#[derive(Serialize, Deserialize)]
struct Shot {
    owner: String,
    x: f64,
    y: f64,
    vx: f64,
    vy: f64,
    life: f64,
}

#[derive(Serialize)]
pub(crate) struct Roster<'a> {
    players: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    number: u8,
    name: &'a str,
    score: i64,
}

/// What a player's keys say.
pub(crate) struct Input {
    pub(crate) dx: i8,
    pub(crate) dy: i8,
    pub(crate) shoot: bool,
}

impl World {
    pub(crate) const fn ticks(&self) -> u64 {
        self.tick
    }

    /// Takes a seat, or keeps the one it has; its number, none when the arena is full.
    pub(crate) fn join(&mut self, id: &str, name: &str) -> Option<u8> {
        if !self.players.contains_key(id) {
            let number = (1..=PLAYERS_MAX)
                .find(|n| self.players.values().all(|player| player.number != *n))?;
            let mut player = Player {
                number,
                look_x: 1.0,
                ..Player::default()
            };
            player.place();
            self.players.insert(id.to_owned(), player);
        }
        let player = self.players.get_mut(id)?;
        player.name = name.to_owned();
        Some(player.number)
    }

    pub(crate) fn leave(&mut self, id: &str) -> bool {
        self.players.remove(id).is_some()
    }

    pub(crate) fn retain(&mut self, here: impl Fn(&str) -> bool) {
        self.players.retain(|id, _| here(id));
    }

    pub(crate) fn steer(&mut self, id: &str, input: Input) {
        let Some(player) = self.players.get_mut(id) else {
            return;
        };
        let (dx, dy) = (f64::from(input.dx), f64::from(input.dy));
        // Nobody runs faster by saying so: the input is a direction.
        let length = dx.hypot(dy);
        (player.dx, player.dy) = if length > 0.0 {
            (dx / length, dy / length)
        } else {
            (0.0, 0.0)
        };
        if length > 0.0 {
            (player.look_x, player.look_y) =
                (f64::from(input.dx.signum()), f64::from(input.dy.signum()));
        }
        player.shooting = input.shoot;
    }

    /// Moves everything on by `step` seconds; true when somebody scored.
    pub(crate) fn tick(&mut self, step: f64) -> bool {
        self.tick += 1;
        self.move_players(step);
        self.move_shots(step)
    }

    fn move_players(&mut self, step: f64) {
        for (id, player) in &mut self.players {
            player.pause = (player.pause - step).max(0.0);
            if player.respawn > 0.0 {
                player.respawn -= step;
                if player.respawn <= 0.0 {
                    player.place();
                }
                continue;
            }
            player.x = (player.x + player.dx * SPEED * step).clamp(0.0, WIDTH - 1.0);
            player.y = (player.y + player.dy * SPEED * step).clamp(0.0, HEIGHT - 1.0);
            if player.shooting && player.pause <= 0.0 && self.shots.len() < SHOTS_MAX {
                player.pause = SHOT_PAUSE;
                let length = player.look_x.hypot(player.look_y);
                let (vx, vy) = (
                    player.look_x / length * SHOT_SPEED,
                    player.look_y / length * SHOT_SPEED,
                );
                self.shots.push(Shot {
                    owner: id.clone(),
                    x: player.x,
                    y: player.y,
                    vx,
                    vy,
                    life: SHOT_LIFE,
                });
            }
        }
    }

    fn move_shots(&mut self, step: f64) -> bool {
        let mut scored = false;
        let players = &mut self.players;
        self.shots.retain_mut(|shot| {
            shot.x += shot.vx * step;
            shot.y += shot.vy * step;
            shot.life -= step;
            let struck = players.iter_mut().find(|(id, player)| {
                let (dx, dy) = (player.x - shot.x, player.y - shot.y);
                **id != shot.owner
                    && player.respawn <= 0.0
                    && dx * dx + dy * dy <= HIT_RADIUS * HIT_RADIUS
            });
            if let Some((_, player)) = struck {
                player.health -= DAMAGE;
                if player.health <= 0.0 {
                    (player.health, player.respawn) = (0.0, RESPAWN);
                    scored = true;
                    if let Some(shooter) = players.get_mut(&shot.owner) {
                        shooter.score += 1;
                    }
                }
                return false;
            }
            shot.life > 0.0 && (0.0..WIDTH).contains(&shot.x) && (0.0..HEIGHT).contains(&shot.y)
        });
        scored
    }

    pub(crate) fn roster(&self) -> Roster<'_> {
        let mut players: Vec<_> = self
            .players
            .values()
            .map(|player| Named {
                number: player.number,
                name: &player.name,
                score: player.score,
            })
            .collect();
        players.sort_by_key(|player| player.number);
        Roster { players }
    }

    /// The bytes that `arena.luau` describes above its `snapshot`.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let cells = |value: f64| ((value * 100.0) as u16).to_le_bytes();
        let mut bytes = Vec::with_capacity(6 + self.players.len() * 8 + self.shots.len() * 4);
        bytes.extend((self.tick as u32).to_le_bytes());
        bytes.push(self.players.len() as u8);
        for player in self.players.values() {
            bytes.push(player.number);
            bytes.extend(cells(player.x));
            bytes.extend(cells(player.y));
            bytes.extend([
                player.health as u8,
                (player.look_x as i8).cast_unsigned(),
                (player.look_y as i8).cast_unsigned(),
            ]);
        }
        bytes.push(self.shots.len() as u8);
        for shot in &self.shots {
            bytes.extend(cells(shot.x));
            bytes.extend(cells(shot.y));
        }
        bytes
    }
}

impl Player {
    fn place(&mut self) {
        self.x = 1.0 + random::number() * (WIDTH - 2.0);
        self.y = 1.0 + random::number() * (HEIGHT - 2.0);
        (self.health, self.respawn) = (100.0, 0.0);
    }
}

/// A map; a Luau table without entries is neither map nor list, and may come as either.
fn table<'de, D: Deserializer<'de>>(value: D) -> Result<BTreeMap<String, Player>, D::Error> {
    struct Table;

    impl<'de> Visitor<'de> for Table {
        type Value = BTreeMap<String, Player>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("players by id")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut players = BTreeMap::new();
            while let Some((id, player)) = entries.next_entry()? {
                players.insert(id, player);
            }
            Ok(players)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, _empty: A) -> Result<Self::Value, A::Error> {
            Ok(BTreeMap::new())
        }
    }

    value.deserialize_any(Table)
}

/// A list, or a Luau table without entries.
fn list<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<Shot>, D::Error> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<Shot>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of shots")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut shots = Vec::new();
            while let Some(shot) = items.next_element()? {
                shots.push(shot);
            }
            Ok(shots)
        }

        fn visit_map<A: MapAccess<'de>>(self, _empty: A) -> Result<Self::Value, A::Error> {
            Ok(Vec::new())
        }
    }

    value.deserialize_any(List)
}
