//! The server's configuration: one file, `cohnect.toml`. Every key has a default, a unit in its name where it has one, and its meaning here; unknown keys
//! and values out of range are refused with file, line and key before any port is bound.

mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use value::ConfigError;

/// Shards, and workers, of one server: each is a thread that wants a core and holds a copy of every `per-shard` module, and machines with more cores than
/// this are rare.
pub const HOMES_MAX: u64 = 64;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct Config {
    /// `[server]`: where it listens and what it runs on.
    pub server: ServerConfig,
    /// `[access]`: who may come.
    pub access: AccessConfig,
    /// `[session]`: the wire's timers.
    pub session: SessionConfig,
    /// `[database.NAME]`: the databases that modules reach with the grant `db:NAME`. `main` is there without a word: `main.db` in the data folder.
    pub database: BTreeMap<String, DatabaseConfig>,
    /// `[flags]`: feature flags.
    pub flags: FlagsConfig,
    /// `[secrets]`: what modules read with the grant `secret:NAME`. Each is `{ file = "…" }` or `{ env = "…" }`; never a value, so that none is ever printed or
    /// checked in. `serve` starts only if each of them is there and not empty; in `dev`, modules find absent what is not.
    pub secrets: BTreeMap<String, SecretConfig>,
    /// `[log]`: what the server says of itself.
    pub log: LogConfig,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct ServerConfig {
    /// The UDP address that clients send to. Default `127.0.0.1:4433`; port 0 takes a free one. Each shard binds a socket to it.
    #[serde(deserialize_with = "value::address")]
    pub listen: SocketAddr,
    /// How many shards, 1 to 64. Default: one a core in `serve`, 1 in `dev`. Each costs a thread and a copy of every `per-shard` module.
    #[serde(deserialize_with = "value::between::<_, 1, HOMES_MAX>")]
    pub shards: Option<u64>,
    /// How many workers, 1 to 64. Default: max(1, cores / 4) in `serve`, 1 in `dev`. Each costs a thread.
    #[serde(deserialize_with = "value::between::<_, 1, HOMES_MAX>")]
    pub workers: Option<u64>,
    /// The folder of the modules, from this file's. Default `modules`.
    pub modules_dir: PathBuf,
    /// The folder for databases and compiled components, from this file's; made if it is not there. Default `.cohnect`. One server
    /// alone may use it; a second is refused.
    pub data_dir: PathBuf,
    /// The file of the server's secret key, from this file's. Default `.cohnect/server.key`, made at the first start. Clients pin its public half.
    pub key_file: PathBuf,
    /// A file with 64 hex digits that clients must know, too. Default: none. A key inside every client is no secret; it keeps strangers' scanners out.
    pub psk_file: Option<PathBuf>,
    /// Two odd numbers that decide which client lives in which shard. Default: drawn at start, so that nobody can choose his shard. For tests.
    #[serde(deserialize_with = "value::odd_pair")]
    pub steering_keys: Option<[u32; 2]>,
    /// Whether saved modules are loaded at once. Default: true.
    pub watch: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4433)),
            shards: None,
            workers: None,
            modules_dir: "modules".into(),
            data_dir: ".cohnect".into(),
            key_file: ".cohnect/server.key".into(),
            psk_file: None,
            steering_keys: None,
            watch: true,
        }
    }
}

/// `[access]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct AccessConfig {
    /// Whether clients without a token are admitted. Default: false, and until tokens exist `serve` starts only with true.
    pub anonymous: bool,
}

/// `[session]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct SessionConfig {
    /// Seconds of silence after which a client counts as away, 3 to 600. Default 15; a client may ask for less, down to 3.
    #[serde(deserialize_with = "value::number::<_, 3, 600>")]
    pub idle_timeout_s: u64,
    /// Seconds that an away client's session waits for it, 0 to 3,600. Default 60. Each costs what its queue holds.
    #[serde(deserialize_with = "value::number::<_, 0, 3600>")]
    pub away_s: u64,
    /// Seconds without sending after which a client pings, 1 to 200 and at most a third of `idle_timeout_s`, so that two lost pings make nobody away.
    /// Default 5, or that third if it is less. Less costs traffic, more costs late news of a lost client.
    #[serde(deserialize_with = "value::between::<_, 1, 200>")]
    pub keepalive_s: Option<u64>,
    /// Milliseconds that an acknowledgement may wait for something to travel with, 1 to 255. Default 20; a fast game takes 5.
    #[serde(deserialize_with = "value::number::<_, 1, 255>")]
    pub max_ack_delay_ms: u64,
    /// Sessions of the whole server, 1 to 1,000,000. Default 100,000; each costs about 4 KiB when it is idle, and at most 2 MiB with all that may wait in it.
    #[serde(deserialize_with = "value::number::<_, 1, 1000000>")]
    pub sessions_max: u64,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            idle_timeout_s: 15,
            away_s: 60,
            keepalive_s: None,
            max_ack_delay_ms: 20,
            sessions_max: 100_000,
        }
    }
}

/// `[database.NAME]`. A statement ends at its time limit, but for one that searches full text by an expression of some ten thousand terms and more: it holds its
/// connection until it has ended, and the database is *busy* where two of them do. What modules bind to MATCH is bounded (16 KiB); what they put together in
/// SQL is not.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `file`")]
pub struct DatabaseConfig {
    /// The SQLite file, from this file's folder; made if it is not there.
    pub file: PathBuf,
    /// MiB that the file may grow to, 1 to 1,048,576. Default 1,024: far more than a game keeps, and far below a disk. A write beyond it is `limit-exceeded`; a
    /// file that is already larger keeps its size. Its log, `-wal`, may take as much again and 256 MiB while a large transaction runs.
    #[serde(
        default = "DatabaseConfig::default_size_max_mib",
        deserialize_with = "value::number::<_, 1, 1048576>"
    )]
    pub size_max_mib: u64,
}

impl DatabaseConfig {
    const fn default_size_max_mib() -> u64 {
        cohnect_backend_sql::SIZE_MAX_MIB
    }
}

/// `[flags]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct FlagsConfig {
    /// A file in flagd's JSON format, from this file's folder; read again when it changes. Default: none; in `dev`, `flags.json` if it is there.
    pub file: Option<PathBuf>,
}

/// A secret: where it is found.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    untagged,
    expecting = "a secret is { file = \"…\" } or { env = \"…\" }"
)]
pub enum SecretConfig {
    /// In a file; line breaks at its end do not count.
    File {
        /// Which, from the configuration's folder.
        file: PathBuf,
    },
    /// In the environment.
    Environment {
        /// Under which name.
        env: String,
    },
}

impl SecretConfig {
    /// Its value.
    ///
    /// # Errors
    /// Why it has none; without it.
    pub fn value(&self) -> Result<String, String> {
        let value = match self {
            Self::File { file } => std::fs::read_to_string(file)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|e| format!("{} cannot be read: {e}", file.display())),
            Self::Environment { env } => std::env::var(env)
                .map_err(|_| format!("the environment has no {env}, or it is no text")),
        }?;
        // A service that was set up by half leaves just that: what is compared with it would fit everybody who sends nothing.
        if value.is_empty() {
            return Err(match self {
                Self::File { file } => format!("{} is empty", file.display()),
                Self::Environment { env } => format!("{env} is empty in the environment"),
            });
        }
        Ok(value)
    }
}

/// `[log]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct LogConfig {
    /// `text` for people or `json` for machines. Default `text`.
    #[serde(deserialize_with = "value::format")]
    pub format: LogFormat,
    /// Which lines: a level, or levels by target as in `info,module=debug`. Default `info`. `debug` costs a line a request.
    #[serde(deserialize_with = "value::level")]
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads a file. Paths in it are from its folder.
    ///
    /// # Errors
    /// Names file, line and key, what was found, and what would be right.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|e| ConfigError::unreadable(file, &e))?;
        let mut config = Self::parse(file, &text)?;
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        config.anchor(folder);
        Ok(config)
    }

    /// Reads text; `file` is only for what is said of it.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self =
            toml::from_str(text).map_err(|e| ConfigError::malformed(file, text, &e))?;
        let session = &config.session;
        match session.keepalive_s {
            Some(found) if found * 3 > session.idle_timeout_s => Err(ConfigError::at_key(
                file,
                text,
                "keepalive_s",
                format!(
                    "{found} is more than a third of `idle_timeout_s`, which is {}: 1 to {} would be right",
                    session.idle_timeout_s,
                    session.idle_timeout_s / 3
                ),
            )),
            Some(_) | None => Ok(config),
        }
    }

    /// The secrets without a value, each with file and line. Modules find them absent.
    #[must_use]
    pub fn check_secrets(&self, file: &Path) -> Vec<ConfigError> {
        // It was read a moment ago; without it, there is no line to name.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let missing = self.secrets.iter().filter_map(|(name, source)| {
            let problem = source.value().err()?;
            Some(ConfigError::at_key_of(
                file, &text, "secrets", name, problem,
            ))
        });
        missing.collect()
    }

    /// Makes every path one from `folder`.
    pub fn anchor(&mut self, folder: &Path) {
        let server = &mut self.server;
        for path in [
            &mut server.modules_dir,
            &mut server.data_dir,
            &mut server.key_file,
        ]
        .into_iter()
        .chain(server.psk_file.as_mut())
        .chain(
            self.database
                .values_mut()
                .map(|database| &mut database.file),
        )
        .chain(self.flags.file.as_mut())
        .chain(self.secrets.values_mut().filter_map(|secret| match secret {
            SecretConfig::File { file } => Some(file),
            SecretConfig::Environment { .. } => None,
        })) {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        Config::parse(Path::new("cohnect.toml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_empty_file_has_every_default() {
        let config = Config::parse(Path::new("cohnect.toml"), "").unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:4433");
        assert_eq!(
            (config.session.idle_timeout_s, config.session.away_s),
            (15, 60)
        );
        assert!(!config.access.anonymous && config.server.watch);
    }

    #[test]
    fn the_example_names_every_key_with_its_default() {
        let example = include_str!("../cohnect.example.toml");
        let config = Config::parse(Path::new("cohnect.example.toml"), example).unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
        // What is commented out there is right, too.
        let all: String = example
            .lines()
            .map(|line| {
                format!(
                    "{}\n",
                    line.strip_prefix("# ")
                        .filter(|l| l.starts_with('[') || l.split(' ').nth(1) == Some("="))
                        .unwrap_or(line)
                )
            })
            .collect();
        let config = Config::parse(Path::new("cohnect.example.toml"), &all).unwrap();
        assert_eq!((config.database.len(), config.secrets.len()), (1, 2));
        assert_eq!(config.database["game"].size_max_mib, 1_024);
        assert!(config.server.psk_file.is_some() && config.flags.file.is_some());
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line_and_the_right_ones() {
        let text = complaint("[server]\nlistn = \"127.0.0.1:0\"\n");
        assert!(text.starts_with("cohnect.toml:2: `listn`"), "{text}");
        assert!(text.contains("`listen`"), "{text}");
        let text = complaint("\n[sever]\n");
        assert!(text.starts_with("cohnect.toml:2: "), "{text}");
        assert!(
            text.contains("sever") && text.contains("`server`"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_key_and_what_would_be_right() {
        for (text, line, parts) in [
            ("[server]\nshards = 0\n", 2, ["`shards`", "1 to 64"]),
            ("[server]\nshards = \"two\"\n", 2, ["`shards`", "two"]),
            (
                "[server]\n\nlisten = \"here\"\n",
                3,
                ["`listen`", "address"],
            ),
            (
                "[session]\nidle_timeout_s = 1\n",
                2,
                ["`idle_timeout_s`", "3 to 600"],
            ),
            (
                "[database.main]\nfile = \"m\"\nsize_max_mib = 0\n",
                3,
                ["`size_max_mib`", "1 to 1048576"],
            ),
            ("[log]\nformat = \"xml\"\n", 2, ["`format`", "json"]),
            ("[secrets]\nkey = \"hunter2\"\n", 2, ["`key`", "env"]),
            ("[server\n", 1, ["cohnect.toml", "1"]),
        ] {
            let complaint = complaint(text);
            assert!(
                complaint.starts_with(&format!("cohnect.toml:{line}: ")),
                "{complaint}"
            );
            assert!(
                parts.iter().all(|part| complaint.contains(part)),
                "{parts:?}: {complaint}"
            );
        }
    }

    #[test]
    fn a_secret_without_a_value_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohnect.toml");
        let text = "[flags]\nfile = \"f\"\n[secrets]\nhere = { file = \"cohnect.toml\" }\nfile = { file = \"none\" }\n\
                    env = { env = \"NO_SUCH_SECRET_OF_COHNECT\" }\n";
        std::fs::write(&file, text).unwrap();
        let missing = Config::read(&file).unwrap().check_secrets(&file);
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let at = file.display();
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert_eq!(
            missing[0],
            format!(
                "{at}:6: `env`: the environment has no NO_SUCH_SECRET_OF_COHNECT, or it is no text"
            )
        );
        assert!(
            missing[1].starts_with(&format!("{at}:5: `file`: ")),
            "{}",
            missing[1]
        );
    }

    #[test]
    fn an_empty_secret_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohnect.toml");
        for content in ["", "\n", "\r\n\n"] {
            std::fs::write(folder.path().join("key"), content).unwrap();
            std::fs::write(&file, "[secrets]\n\nkey = { file = \"key\" }\n").unwrap();
            let config = Config::read(&file).unwrap();
            let missing = config.check_secrets(&file);
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            let key = folder.path().join("key");
            let said = format!("{}:3: `key`: {} is empty", file.display(), key.display());
            assert_eq!(missing, [said], "{content:?}");
        }
        std::fs::write(folder.path().join("key"), " \n").unwrap();
        let config = Config::read(&file).unwrap();
        assert_eq!(config.secrets["key"].value().as_deref(), Ok(" "));
    }

    #[test]
    fn a_secret_that_was_written_into_the_file_is_not_printed() {
        assert!(!complaint("[secrets]\nkey = \"hunter2\"\n").contains("hunter2"));
    }

    #[test]
    fn paths_are_from_the_files_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cohnect.toml");
        std::fs::write(&file, "[database.game]\nfile = \"game.db\"\n").unwrap();
        let config = Config::read(&file).unwrap();
        assert_eq!(config.database["game"].size_max_mib, 1_024);
        assert_eq!(config.database["game"].file, folder.path().join("game.db"));
        assert_eq!(config.server.modules_dir, folder.path().join("modules"));
    }
}
