//! A real server in a process of its own, and the real command line as its client.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use cohnect_client::Config;

use crate::eventually;

/// The `cohnect` that was built with these tests.
///
/// # Panics
/// When it was not built: `cargo build --package cohnect-server` comes first.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a file");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/PROFILE/deps");
    let binary = folder.join("cohnect");
    assert!(
        binary.is_file(),
        "{} is not there: run `cargo build --package cohnect-server` first, or `make test`",
        binary.display()
    );
    binary
}

/// What a command said.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A server for development with a folder of its own.
#[derive(Debug)]
pub struct Server {
    folder: tempfile::TempDir,
    process: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts `cohnect dev` on these modules (path below `modules/`, content) and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn dev(modules: &[(&str, &str)], arguments: &[&str]) -> Self {
        let bytes: Vec<_> = modules
            .iter()
            .map(|(name, content)| (*name, content.as_bytes()))
            .collect();
        Self::dev_of(&bytes, arguments)
    }

    /// As [`Self::dev`], with content that need not be text.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn dev_of(modules: &[(&str, &[u8])], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let (mut own, log) = Self::start(folder, modules, arguments);
        own.listen(log);
        own.wait_until_ready();
        own
    }

    /// As [`Self::dev`], but nobody reads its log: what is returned is the pipe's other end, for [`Self::listen`].
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn dev_unread(modules: &[(&str, &str)], arguments: &[&str]) -> (Self, ChildStderr) {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let bytes: Vec<_> = modules
            .iter()
            .map(|(name, content)| (*name, content.as_bytes()))
            .collect();
        let (mut own, log) = Self::start(folder, &bytes, arguments);
        own.wait_until_ready();
        (own, log)
    }

    fn wait_until_ready(&mut self) {
        let file = self.ready_file();
        eventually("the ready file", || {
            if let Some(status) = self.process.try_wait().expect("the process is ours") {
                panic!("the server ended with {status}:\n{}", self.log());
            }
            file.is_file().then_some(())
        });
    }

    /// Reads its log from now on.
    pub fn listen(&mut self, mut log: ChildStderr) {
        let shared = Arc::clone(&self.log);
        self.reader = Some(std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = log.read(&mut bytes) {
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        }));
    }

    fn start(
        folder: tempfile::TempDir,
        modules: &[(&str, &[u8])],
        arguments: &[&str],
    ) -> (Self, ChildStderr) {
        std::fs::create_dir_all(folder.path().join("modules")).expect("a folder can be made");
        for (name, content) in modules {
            write(&folder.path().join("modules").join(name), content);
        }
        let mut process = Command::new(binary())
            .args([
                "dev",
                ".",
                "--listen",
                "127.0.0.1:0",
                "--ready-file",
                "ready.json",
            ])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server can be started");
        let log = process.stderr.take().expect("it is piped");
        let own = Self {
            folder,
            process,
            log: Arc::default(),
            reader: None,
        };
        (own, log)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it says that it is ready.
    #[must_use]
    pub fn ready_file(&self) -> PathBuf {
        self.folder.path().join("ready.json")
    }

    /// How a client reaches it; whatever is asked of it has as long as these tests wait for anything.
    ///
    /// # Panics
    /// When its ready file is not what it should be.
    #[must_use]
    pub fn client(&self) -> Config {
        let text = std::fs::read_to_string(self.ready_file()).expect("it is ready");
        let ready: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let field = |name: &str| ready[name].as_str().expect("it is text");
        let server = field("udp").parse().expect("it is an address");
        let pin = field("server_key").parse().expect("it is a key");
        Config::new(server, pin)
            .patience(crate::PATIENCE)
            .timeout(crate::PATIENCE)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until the log contains this.
    ///
    /// # Panics
    /// When it never does; with the log.
    pub fn logs(&self, text: &str) {
        let began = std::time::Instant::now();
        while !self.log().contains(text) {
            assert!(
                began.elapsed() < crate::PATIENCE,
                "`{text}` is not in the log:\n{}",
                self.log()
            );
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// Writes a file of a module, as an editor would.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn save(&self, name: &str, content: &str) {
        self.save_of(name, content.as_bytes());
    }

    /// As [`Self::save`], with content that need not be text.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn save_of(&self, name: &str, content: &[u8]) {
        write(&self.folder.path().join("modules").join(name), content);
    }

    /// Runs a client command against this server and waits for its end.
    ///
    /// # Panics
    /// When the command cannot be run.
    #[must_use]
    pub fn cohnect(&self, arguments: &[&str]) -> Said {
        self.command(arguments)
            .output()
            .expect("the command runs")
            .into()
    }

    /// A client command against this server, to be run by the caller.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Calls an action until it answers this: what a save does shows a moment later.
    ///
    /// # Panics
    /// When it never does.
    pub fn answers(&self, module: &str, action: &str, input: &str, wanted: &str) {
        let mut last = None;
        let began = std::time::Instant::now();
        loop {
            let said = self.cohnect(&["call", module, action, input]);
            if said.out == wanted {
                return;
            }
            last = Some(said).or(last);
            assert!(
                began.elapsed() < crate::PATIENCE,
                "{module} {action} never answered {wanted:?}; last {last:?}\n{}",
                self.log()
            );
        }
    }

    /// Sends SIGTERM and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn terminate(mut self) -> (Said, String) {
        let killed = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(killed.success());
        let status = eventually("the server's end", || {
            self.process.try_wait().expect("the process is ours")
        });
        // What it said last may still stand in the pipe.
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading does not panic");
        }
        (
            Said {
                code: status.code().unwrap_or(-1),
                out: String::new(),
                err: String::new(),
            },
            self.log(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn write(file: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(file.parent().expect("a file lies in a folder"))
        .expect("a folder can be made");
    std::fs::write(file, bytes).expect("a file can be written");
}
