//! A module's files, compiled once and run in each of its virtual machines. Text goes in; bytecode from outside never does.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use cohnect_host::replica::{LoadError, Source};
use mlua::{Function, Lua};

use crate::polls::{self, Failure};

/// Largest file. A text takes seventy times its size while it is compiled, and nobody writes a hundredth of this by hand.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// What a module's files may have together: less than half a second, and 300 MB, while they are compiled.
const MODULE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The compiled files of one module.
pub(crate) struct Code {
    pub(crate) name: Arc<str>,
    /// The path of the file that is run.
    pub(crate) entry: String,
    /// Whether the module is a folder, so that its files may require each other.
    pub(crate) in_folder: bool,
    /// Bytecode by path inside the folder, with slashes.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// What stands before a path in errors: the folder's name and a slash.
    shown: String,
    /// Bytes of text so far.
    bytes: usize,
    pub(crate) memory_bytes: usize,
}

impl Code {
    /// Compiles all files.
    pub(crate) fn compile(source: &Source) -> Result<Self, LoadError> {
        let inside = source
            .folder
            .as_deref()
            .and_then(|folder| source.entry.strip_prefix(folder).ok());
        let entry = match inside {
            Some(path) => slashes(path),
            None => source.entry.file_name().map_or_else(
                || source.name.to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        };
        let shown = match (&source.folder, inside) {
            (Some(folder), Some(_)) => folder
                .file_name()
                .map_or_else(String::new, |name| format!("{}/", name.to_string_lossy())),
            _ => String::new(),
        };
        let mut code = Self {
            name: Arc::clone(&source.name),
            entry: entry.clone(),
            in_folder: source.folder.is_some(),
            files: BTreeMap::new(),
            shown,
            bytes: 0,
            memory_bytes: source.memory_bytes,
        };
        code.add(entry, &source.code)?;
        for (path, text) in &source.files {
            let path = slashes(path);
            if !code.files.contains_key(&path) && belongs(Path::new(&path)) {
                code.add(path, text)?;
            }
        }
        Ok(code)
    }

    fn add(&mut self, path: String, text: &[u8]) -> Result<(), LoadError> {
        if text.len() > FILE_BYTES_MAX {
            return Err(LoadError::new(format!(
                "{}{path}: {} bytes; a Luau file has at most {FILE_BYTES_MAX}. Large tables belong into a database, or into JSON that is read in pieces",
                self.shown,
                text.len()
            )));
        }
        self.bytes += text.len();
        if self.bytes > MODULE_BYTES_MAX {
            return Err(LoadError::new(format!(
                "{}{path}: with this file the module has more than {MODULE_BYTES_MAX} bytes of Luau, which is the most",
                self.shown
            )));
        }
        let Ok(text) = core::str::from_utf8(text) else {
            return Err(LoadError::new(format!(
                "{}{path}: not UTF-8 text",
                self.shown
            )));
        };
        match polls::compile(text, self.memory_bytes) {
            Ok(bytecode) => {
                self.files.insert(path, bytecode);
                Ok(())
            }
            Err(Failure::Compiler(mlua::Error::SyntaxError { message, .. })) => {
                Err(LoadError::new(format!(
                    "{}{path}:{}",
                    self.shown,
                    message.trim_start_matches(':')
                )))
            }
            Err(Failure::Compiler(other)) => {
                Err(LoadError::new(format!("{}{path}: {other}", self.shown)))
            }
            Err(Failure::Endless { line }) => Err(LoadError::new(format!(
                "{}{path}:{line}: a condition or an assignment with more parts than a call may go through without a pause in which it can be ended; put some of them into a function or a statement of their own",
                self.shown
            ))),
            Err(Failure::Unknown) => Err(LoadError::new(format!(
                "{}{path}: the compiler wrote bytecode that cohnect cannot check; this is a fault of cohnect",
                self.shown
            ))),
        }
    }

    /// The body of a file as a function of this machine.
    pub(crate) fn function(&self, lua: &Lua, path: &str) -> mlua::Result<Function> {
        let bytecode = self
            .files
            .get(path)
            .ok_or_else(|| mlua::Error::runtime(format!("there is no {path}")))?;
        lua.load(bytecode.as_slice())
            .set_mode(mlua::chunk::ChunkMode::Binary)
            .set_name(format!("={}{path}", self.shown))
            .into_function()
    }

    /// The path of the file with this chunk name.
    pub(crate) fn path_of<'a>(&self, chunk: &'a str) -> Option<&'a str> {
        let path = chunk.trim_start_matches('=').strip_prefix(&self.shown)?;
        self.files.contains_key(path).then_some(path)
    }

    /// The entry as errors show it.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.shown, self.entry)
    }
}

/// Whether a file of a module's folder is code of the module; tests are not.
pub(crate) fn belongs(file: &Path) -> bool {
    let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    (name.ends_with(".luau") || name.ends_with(".lua")) && !name.ends_with(".test.luau")
}

fn slashes(path: &Path) -> String {
    let parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy()),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
        .collect();
    parts.join("/")
}
