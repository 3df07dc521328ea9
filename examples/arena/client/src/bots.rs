//! Bots: players that run about, shoot at whom they see, and now and then say something. Each is a client like any other.

use std::time::Duration;

use cohnect_client::{Config, Identity};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::game::{self, Game, Happening};
use crate::world::World;

const NAMES: [&str; 11] = [
    "Ada", "Alan", "Barbara", "Dennis", "Edsger", "Frances", "Grace", "Hedy", "Ken", "Margaret",
    "Radia",
];
const WORDS: [&str; 6] = [
    "gg",
    "who was that?",
    "damn, missed",
    "behind you!",
    "again!",
    "nice shot",
];

/// The running bots.
pub(crate) struct Bots {
    tasks: JoinSet<()>,
    end: watch::Sender<bool>,
}

impl Bots {
    /// Makes them leave, and waits until they have.
    pub(crate) async fn leave(mut self) {
        let _ = self.end.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(Duration::from_secs(3), all).await);
    }
}

/// Starts so many bots, each with an identity of its own.
pub(crate) fn start(config: &Config, count: u32) -> Bots {
    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let config = config.clone().identity(Identity::generate());
        let mut ended = ended.clone();
        tasks.spawn(async move {
            let name = NAMES[n as usize % NAMES.len()];
            if let Ok(game) = game::join(config, Some(name)).await {
                play(game, u64::from(n) + 1, &mut ended).await;
            }
        });
    }
    Bots { tasks, end }
}

/// Numbers that differ from bot to bot and repeat from run to run (xorshift64).
struct Dice(u64);

impl Dice {
    const fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

async fn play(mut game: Game, seed: u64, ended: &mut watch::Receiver<bool>) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut direction = (1, 0);
    let mut seen = 0_u32;
    loop {
        let happening = tokio::select! {
            happening = game.next() => happening,
            _ = ended.changed() => break,
        };
        match happening {
            Happening::World(world) => {
                seen += 1;
                // Four decisions a second are as many as a person makes.
                if seen.is_multiple_of(5) {
                    direction = decide(&world, game.number, &mut dice, direction);
                    game.input(direction.0, direction.1, dice.roll(3) == 0);
                }
                if dice.roll(600) == 0 {
                    drop(
                        game.say(WORDS[dice.roll(WORDS.len() as u64) as usize])
                            .await,
                    );
                }
            }
            Happening::End(_) => return,
            Happening::Roster(_) | Happening::Chat(_) | Happening::News(_) => {}
        }
    }
    game.leave().await;
}

/// Towards the nearest other player mostly, somewhere else now and then.
fn decide(world: &World, own: Option<u8>, dice: &mut Dice, before: (i8, i8)) -> (i8, i8) {
    let Some(me) = world
        .players
        .iter()
        .find(|player| Some(player.number) == own)
    else {
        return before;
    };
    if dice.roll(4) == 0 {
        return [
            (1, 0),
            (-1, 0),
            (0, 1),
            (0, -1),
            (1, 1),
            (-1, -1),
            (1, -1),
            (-1, 1),
        ][dice.roll(8) as usize];
    }
    let distance = |x: f32, y: f32| (x - me.x).powi(2) + (y - me.y).powi(2);
    let nearest = world
        .players
        .iter()
        .filter(|player| player.number != me.number && player.health > 0)
        .min_by(|a, b| distance(a.x, a.y).total_cmp(&distance(b.x, b.y)));
    nearest.map_or(before, |other| {
        (towards(other.x - me.x), towards(other.y - me.y))
    })
}

fn towards(difference: f32) -> i8 {
    if difference.abs() < 0.7 {
        0
    } else {
        difference.signum() as i8
    }
}
