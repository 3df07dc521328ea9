//! The command line: what can be said, and which file carries it out. It owns no behaviour of its own.

mod argument;
pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod doctor;
pub(crate) mod exit;
pub(crate) mod make;
pub(crate) mod run;

use core::ops::RangeInclusive;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cohnect_protocol::ops::tags::OWN_TAGS_MAX;

use crate::config::HOMES_MAX;

/// How many shards, or workers, can be asked for.
const HOMES: RangeInclusive<i64> = 1..=HOMES_MAX as i64;

/// A scriptable real-time backend for games.
#[derive(Debug, Parser)]
#[command(name = "cohnect", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a folder while you work on it: anonymous clients, loopback unless --listen says otherwise, modules reloaded when you save.
    Dev(Dev),
    /// Serve for real, by a configuration file.
    Serve(Serve),
    /// Make a new module.
    New(New),
    /// Build a Rust module into a component.
    Build(Build),
    /// Load and link modules without serving, and say what they need and claim.
    Check(Check),
    /// Make a server key.
    Keygen(Keygen),
    /// Call an action of a module.
    Call(Call),
    /// Read a value.
    Get(Get),
    /// Write a value.
    Set(Set),
    /// Change this client's own tags; they end with the command's session, so this only shows whether they are allowed.
    Tags(Tags),
    /// Listen on a topic until it ends.
    Stream(Stream),
    /// Send a message to the clients that listen on a topic, to everyone, or to a tag expression.
    Broadcast(Broadcast),
    /// Send a packet on an opcode of the modules and print the answer.
    Send(Send),
    /// Measure this machine: every figure beside its bare reference.
    Bench(Bench),
    /// Say what is missing on this machine, and how to get it.
    Doctor,
}

/// `cohnect dev`
#[derive(Debug, Args)]
pub struct Dev {
    /// The folder that holds `modules/` and, if wanted, `cohnect.toml`.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// How many shards, 1 to 64.
    #[arg(long, value_parser = clap::value_parser!(u16).range(HOMES))]
    pub shards: Option<u16>,
    /// How many workers, 1 to 64.
    #[arg(long, value_parser = clap::value_parser!(u16).range(HOMES))]
    pub workers: Option<u16>,
    /// Write this file once clients are answered.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// `cohnect serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Write this file once clients are answered.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// A language of modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// A script.
    Luau,
    /// A component.
    Rust,
}

/// `cohnect new`
#[derive(Debug, Args)]
pub struct New {
    /// The module's name: lower-case letters, digits and hyphens, a letter first.
    pub name: String,
    /// In which language.
    #[arg(long, value_enum, default_value = "luau")]
    pub lang: Language,
    /// Where; by default `modules/` if it is here, otherwise here.
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
}

/// `cohnect build`
#[derive(Debug, Args)]
pub struct Build {
    /// The module's folder.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// `cohnect check`
#[derive(Debug, Args)]
pub struct Check {
    /// The folder that holds `modules/`.
    #[arg(default_value = ".")]
    pub dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `cohnect keygen`
#[derive(Debug, Args)]
pub struct Keygen {
    /// Where to write the secret key; it must not exist.
    #[arg(default_value = "server.key")]
    pub file: PathBuf,
}

/// Which server, and how to speak to it.
#[derive(Debug, Args)]
pub struct Connection {
    /// The server's address; by default the one that `cohnect dev` wrote to `.cohnect/server.json`, looked for here and in the parents.
    #[arg(long, value_name = "ADDR", requires = "server_key")]
    pub server: Option<String>,
    /// The server's public key, 64 hex digits.
    #[arg(long = "key", value_name = "HEX", requires = "server")]
    pub server_key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// How many seconds to wait for the connection, and for the answer.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = argument::seconds)]
    pub timeout: core::time::Duration,
    /// Keep this client's key in a file, so that it is the same client each time; made if it is not there.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// `cohnect call`
#[derive(Debug, Args)]
pub struct Call {
    /// The module.
    #[arg(value_parser = argument::name)]
    pub module: String,
    /// Its action.
    #[arg(value_parser = argument::name)]
    pub action: String,
    /// The input: text, `@FILE`, or `-` for standard input.
    #[arg(default_value = "")]
    pub input: String,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "the flattened group documents itself on the command line"
    )]
    pub connection: Connection,
}

/// `cohnect send`
#[derive(Debug, Args)]
pub struct Send {
    /// The opcode, such as `0x0123` or `291`; modules have those from 0x0100 on.
    #[arg(value_parser = argument::opcode)]
    pub opcode: u16,
    /// The body: text, `@FILE`, or `-` for standard input.
    #[arg(default_value = "")]
    pub payload: String,
    /// The command version.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = argument::command_version)]
    pub command_version: u8,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "the flattened group documents itself on the command line"
    )]
    pub connection: Connection,
}

/// `cohnect get`
#[derive(Debug, Args)]
pub struct Get {
    /// The key.
    #[arg(value_parser = argument::name)]
    pub key: String,
    /// `shared`, `mine` (ends with the command's session), or the name of a scope.
    #[arg(long, default_value = "shared", value_parser = argument::name)]
    pub scope: String,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "the flattened group documents itself on the command line"
    )]
    pub connection: Connection,
}

/// `cohnect set`
#[derive(Debug, Args)]
pub struct Set {
    /// The key.
    #[arg(value_parser = argument::name)]
    pub key: String,
    /// The value: text, `@FILE`, or `-` for standard input.
    #[arg(required_unless_present = "delete", conflicts_with = "delete")]
    pub value: Option<String>,
    /// Delete the key instead.
    #[arg(long)]
    pub delete: bool,
    /// Only if the version is this one; 0: only if the key is absent.
    #[arg(long, value_name = "VERSION", value_parser = argument::version)]
    pub expected: Option<u64>,
    /// `shared`, `mine` (ends with the command's session), or the name of a scope.
    #[arg(long, default_value = "shared", value_parser = argument::name)]
    pub scope: String,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "the flattened group documents itself on the command line"
    )]
    pub connection: Connection,
}

/// What to do with tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TagsMode {
    /// Add these.
    Add,
    /// Remove these.
    Remove,
    /// Have these and no others.
    Replace,
}

/// `cohnect tags`
#[derive(Debug, Args)]
pub struct Tags {
    /// What to do.
    #[arg(value_enum)]
    pub mode: TagsMode,
    /// The tags; as many at once as a client gives itself.
    #[arg(value_parser = argument::tag, num_args = ..=OWN_TAGS_MAX)]
    pub tags: Vec<String>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "the flattened group documents itself on the command line"
    )]
    pub connection: Connection,
}

/// `cohnect stream`
#[derive(Debug, Args)]
pub struct Stream {
    /// The topic.
    #[arg(value_parser = argument::name)]
    pub topic: String,
    /// What to say when opening it: text, `@FILE`, or `-` for standard input.
    #[arg(default_value = "")]
    pub arguments: String,
    /// End after this many items or broadcasts.
    #[arg(long, value_parser = argument::count)]
    pub count: Option<u64>,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "the flattened group documents itself on the command line"
    )]
    pub connection: Connection,
}

/// `cohnect broadcast`
#[derive(Debug, Args)]
pub struct Broadcast {
    /// The topic.
    #[arg(value_parser = argument::name)]
    pub topic: String,
    /// The payload: text, `@FILE`, or `-` for standard input.
    pub payload: String,
    /// To every client instead of the topic's subscribers.
    #[arg(long, conflicts_with = "tagged")]
    pub everyone: bool,
    /// To the clients that match this tag expression.
    #[arg(long, value_name = "EXPR", value_parser = argument::tag_expression)]
    pub tagged: Option<String>,
    /// Not to this client itself.
    #[arg(long)]
    pub not_me: bool,
    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "the flattened group documents itself on the command line"
    )]
    pub connection: Connection,
}

/// `cohnect bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// Shards of the server that is measured.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(HOMES))]
    pub shards: u16,
    /// Clients of the loaded rows.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Requests that each client has under way; by default a row with 2 and a row with 16.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub in_flight: Option<u32>,
    /// How many seconds each row is measured.
    #[arg(long, default_value = "3", value_parser = argument::row_time)]
    pub seconds: core::time::Duration,
    /// Only these rows, with commas between them.
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(cohnect_benches::ROWS))]
    pub only: Vec<String>,
    /// What the clients' keys are drawn from; by default a fresh number, which is printed.
    #[arg(long, value_parser = argument::count)]
    pub seed: Option<u64>,
    /// Measure a server that runs already on this machine and has the modules of `benches/modules`; rows that need another one are left out.
    #[arg(long, value_name = "READY_FILE")]
    pub server: Option<PathBuf>,
}

/// Carries a command out; the exit code is 0, 1 for the no of a server, a module or the system, 2 for usage, 3 for no connection.
#[must_use]
pub fn carry_out(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Dev(dev) => run::dev(&dev),
        Command::Serve(serve) => run::serve(&serve),
        Command::New(new) => make::new(&new),
        Command::Build(build) => make::build(&build),
        Command::Check(check) => check::check(&check),
        Command::Keygen(keygen) => make::keygen(&keygen),
        Command::Call(call) => client::call(&call),
        Command::Get(get) => client::get(&get),
        Command::Set(set) => client::set(&set),
        Command::Tags(tags) => client::tags(&tags),
        Command::Stream(stream) => client::stream(&stream),
        Command::Broadcast(broadcast) => client::broadcast(&broadcast),
        Command::Send(send) => client::send(&send),
        Command::Bench(bench) => bench::bench(&bench),
        Command::Doctor => doctor::doctor(),
    }
}
