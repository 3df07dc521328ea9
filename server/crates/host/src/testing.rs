//! For tests, here and in the crates above: a world behind the contract that keeps everything in memory, and a language whose programs are a few lines
//! of text. Both are fakes with the least that makes a test say something; nothing here is part of a server.

mod database;
pub mod script;
pub mod world;

pub use script::ScriptLanguage;
pub use world::World;
