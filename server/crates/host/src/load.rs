//! The modules folder: which modules it holds, and their files as they are at one look. It decides which file is run and says what is ambiguous; it
//! compiles nothing. Every size is bounded, since the folder is written by people and tools.

mod names;
mod walk;

use std::collections::BTreeMap;
use std::fs::FileType;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use self::names::{hidden, own_name};
use self::walk::{FILE_BYTES_MAX, Walk, is_test, read};
use crate::escaped::{OneLine, is_hidden};
use crate::manifest::Manifest;
use crate::replica::{Language, LoadError};

/// Largest manifest.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;
/// Longest name of a module in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The modules folder at one look.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The modules by name.
    pub modules: BTreeMap<Arc<str>, Found>,
}

/// One module, as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Changes when anything changes that the module is made of.
    pub hash: [u8; 32],
    /// What is there, or why it cannot be loaded.
    pub files: Result<Arc<Files>, LoadError>,
}

/// The files of one module.
#[derive(Debug)]
pub struct Files {
    /// Its name.
    pub name: Arc<str>,
    /// Which language runs it, by its place among those that the scan was given.
    pub language: usize,
    /// The file that is run.
    pub entry: PathBuf,
    /// Its bytes.
    pub code: Bytes,
    /// Its own folder; none for a lone file.
    pub folder: Option<PathBuf>,
    /// The other files that belong to the code, relative to the folder.
    pub others: BTreeMap<PathBuf, Bytes>,
    /// What its manifest says.
    pub manifest: Manifest,
}

/// Looks through a modules folder.
///
/// # Errors
/// When the folder itself cannot be read, or there is too much below it.
pub fn scan(folder: &Path, languages: &[Arc<dyn Language>]) -> Result<Scan, LoadError> {
    let walk = Walk::default();
    let mut look = Look {
        languages,
        walk: &walk,
        found: BTreeMap::new(),
    };
    let mut lone: BTreeMap<String, Lone> = BTreeMap::new();
    let mut top = walk.folder(folder);
    // Whatever else people keep here costs nobody a module.
    let matters = |name: &str, kind: FileType| {
        kind.is_dir()
            || kind.is_symlink()
            || name
                .rsplit_once('.')
                .is_some_and(|(_, ending)| ending == "toml" || look.language_of(ending).is_some())
    };
    for path in top.entries(folder, matters)? {
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        if path.is_dir() {
            look.folder(&path, name);
        } else if name.contains(is_hidden) {
            look.add(path.clone(), Err(hidden(&path)));
        } else if let Some((stem, ending)) = name.rsplit_once('.') {
            if ending == "toml" {
                lone.entry(stem.to_owned()).or_default().manifest = Some(path.clone());
            } else if look.language_of(ending).is_some() && !is_test(stem) {
                lone.entry(stem.to_owned())
                    .or_default()
                    .code
                    .push(path.clone());
            }
        }
    }
    for (stem, lone) in lone {
        look.lone(&stem, lone);
    }
    walk.check(folder)?;
    Ok(look.finish())
}

/// Lone files with one stem.
#[derive(Default)]
struct Lone {
    code: Vec<PathBuf>,
    manifest: Option<PathBuf>,
}

struct Look<'a> {
    languages: &'a [Arc<dyn Language>],
    walk: &'a Walk,
    /// By name; more than one of a name is an error that names them.
    found: BTreeMap<Arc<str>, Vec<(PathBuf, Found)>>,
}

impl Look<'_> {
    fn language_of(&self, ending: &str) -> Option<usize> {
        self.languages
            .iter()
            .position(|language| language.endings().contains(&ending))
    }

    fn add(&mut self, at: PathBuf, files: Result<Files, LoadError>) {
        let found = match files {
            Ok(files) => Found {
                hash: hash(&files),
                files: Ok(Arc::new(files)),
            },
            Err(e) => Found {
                hash: *blake3::hash(e.message.as_bytes()).as_bytes(),
                files: Err(e),
            },
        };
        let name = found
            .files
            .as_ref()
            .map_or_else(|_| own_name(&at), |files| Arc::clone(&files.name));
        self.found.entry(name).or_default().push((at, found));
    }

    fn lone(&mut self, stem: &str, lone: Lone) {
        let Some(at) = lone.code.first().or(lone.manifest.as_ref()).cloned() else {
            return;
        };
        let files = self.lone_files(stem, &lone);
        self.add(at, files);
    }

    fn lone_files(&self, stem: &str, lone: &Lone) -> Result<Files, LoadError> {
        let manifest = lone.manifest.as_deref().map_or_else(
            || Ok(Manifest::default()),
            |path| Manifest::parse(path, &manifest_text(path)?),
        )?;
        let entry = match (&manifest.entry, &lone.code[..]) {
            (Some(entry), code) => code
                .iter()
                .find(|path| path.file_name().is_some_and(|n| n == entry.as_str()))
                .ok_or_else(|| {
                    LoadError::new(format!(
                        "{}: there is no file `{entry}` beside it",
                        shown(lone.manifest.as_deref())
                    ))
                })?,
            (None, [one]) => one,
            (None, []) => {
                return Err(LoadError::new(format!(
                    "{}: there is no module `{stem}` beside it",
                    shown(lone.manifest.as_deref())
                )));
            }
            (None, many) => {
                let names: Vec<_> = many.iter().map(|p| p.display().to_string()).collect();
                let manifest = lone.code.first().map(|path| path.with_extension("toml"));
                return Err(LoadError::new(format!(
                    "two modules are named `{stem}`: {}; say in {} which is the `entry`, or rename one",
                    names.join(" and "),
                    shown(manifest.as_deref())
                )));
            }
        };
        self.files(stem, entry.clone(), None, manifest)
    }

    fn folder(&mut self, folder: &Path, name: &str) {
        let manifest_path = folder.join("module.toml");
        let is_one = if manifest_path.exists() {
            Ok(true)
        } else {
            self.has_code(folder)
        };
        let files = match is_one {
            // The folder of a guest that has not been built yet, or of something else.
            Ok(false) => return,
            _ if name.contains(is_hidden) => Err(hidden(folder)),
            Ok(true) => self.folder_files(folder, name, &manifest_path),
            Err(e) => Err(e),
        };
        self.add(folder.to_owned(), files);
    }

    fn folder_files(
        &self,
        folder: &Path,
        name: &str,
        manifest_path: &Path,
    ) -> Result<Files, LoadError> {
        let manifest = if manifest_path.exists() {
            Manifest::parse(manifest_path, &manifest_text(manifest_path)?)?
        } else {
            Manifest::default()
        };
        let entry = if let Some(entry) = &manifest.entry {
            folder.join(entry)
        } else {
            self.default_entry(folder, name)?
        };
        self.files(name, entry, Some(folder), manifest)
    }

    fn default_entry(&self, folder: &Path, name: &str) -> Result<PathBuf, LoadError> {
        let there: Vec<PathBuf> = self
            .languages
            .iter()
            .flat_map(|language| language.endings())
            .map(|ending| folder.join(format!("{name}.{ending}")))
            // What is no regular file is refused in words when it is read.
            .filter(|path| path.exists() && !path.is_dir())
            .collect();
        match &there[..] {
            [one] => Ok(one.clone()),
            [] => {
                let endings: Vec<_> = self
                    .languages
                    .iter()
                    .flat_map(|language| language.endings())
                    .map(|ending| format!("{name}.{ending}"))
                    .collect();
                let maker = self.languages.iter().find_map(|each| each.maker(folder));
                Err(LoadError::new(format!(
                    "{}: there is none of {}, and its module.toml names no `entry`{}",
                    folder.display(),
                    endings.join(", "),
                    maker.map_or_else(String::new, |maker| format!("; {maker}"))
                )))
            }
            many => {
                let names: Vec<_> = many.iter().map(|p| p.display().to_string()).collect();
                Err(LoadError::new(format!(
                    "{} are both there: say in {} which is the `entry`",
                    names.join(" and "),
                    folder.join("module.toml").display()
                )))
            }
        }
    }

    fn files(
        &self,
        fallback: &str,
        entry: PathBuf,
        folder: Option<&Path>,
        manifest: Manifest,
    ) -> Result<Files, LoadError> {
        let name = manifest.name.as_deref().unwrap_or(fallback);
        check_name(&entry, name)?;
        let ending = entry.extension().and_then(|e| e.to_str()).unwrap_or("");
        let language = self.language_of(ending).ok_or_else(|| {
            LoadError::new(format!(
                "{}: no guest language has the ending `.{ending}`",
                entry.display()
            ))
        })?;
        if let (Some(folder), Some(language), false) =
            (folder, self.languages.get(language), entry.exists())
            && let Some(maker) = language.maker(folder)
        {
            return Err(LoadError::new(format!(
                "{} is not there yet; {maker}",
                entry.display()
            )));
        }
        let code = read(&entry, FILE_BYTES_MAX)?;
        let mut others = BTreeMap::new();
        if let (Some(folder), Some(language)) = (folder, self.languages.get(language)) {
            others = self.walk.folder(folder).collect(&**language)?;
            if let Ok(relative) = entry.strip_prefix(folder) {
                others.remove(relative);
            }
        }
        Ok(Files {
            name: name.into(),
            language,
            entry,
            code,
            folder: folder.map(Path::to_owned),
            others,
            manifest,
        })
    }

    fn has_code(&self, folder: &Path) -> Result<bool, LoadError> {
        let is_code = |name: &str, _| {
            name.rsplit_once('.')
                .is_some_and(|(_, ending)| self.language_of(ending).is_some())
        };
        let found = self.walk.folder(folder).entries(folder, is_code)?;
        Ok(!found.is_empty())
    }

    fn finish(mut self) -> Scan {
        self.give_names_to_their_owners();
        let modules = self
            .found
            .into_iter()
            .filter_map(|(name, mut found)| {
                if found.len() > 1 {
                    let paths: Vec<_> = found
                        .iter()
                        .map(|(p, _)| OneLine(p.display()).to_string())
                        .collect();
                    let problem =
                        format!("two modules are named `{name}`: {}", paths.join(" and "));
                    let twice = Found {
                        hash: *blake3::hash(problem.as_bytes()).as_bytes(),
                        files: Err(LoadError::new(problem)),
                    };
                    return Some((name, twice));
                }
                found.pop().map(|(_, one)| (name, one))
            })
            .collect();
        Scan { modules }
    }
}

fn manifest_text(path: &Path) -> Result<String, LoadError> {
    String::from_utf8(read(path, MANIFEST_BYTES_MAX)?.into())
        .map_err(|_| LoadError::new(format!("{}: not UTF-8", path.display())))
}

/// Whether a module can be called so.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn check_name(entry: &Path, name: &str) -> Result<(), LoadError> {
    if is_name(name) {
        return Ok(());
    }
    Err(LoadError::new(format!(
        "{}: a module's name has 1 to {NAME_BYTES_MAX} letters, digits, `-` or `_`, `{name}` has not",
        entry.display()
    )))
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

/// Over the parsed manifest instead of its bytes: a comment is no swap.
fn hash(files: &Files) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(files.entry.as_os_str().as_encoded_bytes());
    part(&files.code);
    for (path, bytes) in &files.others {
        part(path.as_os_str().as_encoded_bytes());
        part(bytes);
    }
    part(format!("{:?}", files.manifest).as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ScriptLanguage;

    /// A second language, so that one module can be there twice.
    struct Other;

    impl Language for Other {
        fn name(&self) -> &'static str {
            "other"
        }
        fn endings(&self) -> &'static [&'static str] {
            &["other"]
        }
        fn memory_mib(&self) -> u32 {
            1
        }
        fn belongs(&self, _file: &Path) -> bool {
            false
        }
        fn maker(&self, folder: &Path) -> Option<String> {
            let known = folder.join("recipe").is_file();
            known.then(|| format!("`cook {}/` makes it", folder.display()))
        }
        fn prepare(
            &self,
            _source: &crate::replica::Source,
            _probe: crate::context::Context,
        ) -> Result<Arc<dyn crate::replica::Prepared>, LoadError> {
            Err(LoadError::new("never"))
        }
    }

    pub(super) fn look(files: &[(&str, &str)]) -> BTreeMap<String, Result<Arc<Files>, String>> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let languages: [Arc<dyn Language>; 2] = [Arc::new(ScriptLanguage), Arc::new(Other)];
        let prefix = format!("{}/", root.path().display());
        scan(root.path(), &languages)
            .unwrap()
            .modules
            .into_iter()
            .map(|(name, found)| {
                let files = found.files.map_err(|e| e.message.replace(&prefix, ""));
                (name.to_string(), files)
            })
            .collect()
    }

    fn problem(files: &[(&str, &str)], name: &str) -> String {
        look(files)[name].clone().unwrap_err()
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_never_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let fifo = |name: &str| {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, root.path().join(name), kind, mode, 0).unwrap();
        };
        std::fs::create_dir(root.path().join("arena")).unwrap();
        for name in ["pipe.script", "hello.toml", "arena/arena.script"] {
            fifo(name);
        }
        let _socket =
            std::os::unix::net::UnixListener::bind(root.path().join("listens.script")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", root.path().join("zero.script")).unwrap();
        let real = root.path().join("real.txt");
        std::fs::write(root.path().join("hello.script"), "").unwrap();
        std::fs::write(&real, "action a echo").unwrap();
        std::os::unix::fs::symlink(&real, root.path().join("linked.script")).unwrap();
        let languages: [Arc<dyn Language>; 1] = [Arc::new(ScriptLanguage)];
        let found = scan(root.path(), &languages).unwrap().modules;
        for (name, what) in [
            ("pipe", "a FIFO"),
            ("hello", "a FIFO"),
            ("arena", "a FIFO"),
            ("listens", "a socket"),
            ("zero", "a device"),
        ] {
            let refused = found[name].files.as_ref().unwrap_err();
            assert!(
                refused.message.contains(what),
                "{name}: {}",
                refused.message
            );
        }
        assert!(found["linked"].files.is_ok(), "a link to a regular file");
    }

    #[test]
    fn a_folder_with_too_much_in_it_is_refused_by_its_name_and_its_neighbours_are_not() {
        let root = tempfile::tempdir().unwrap();
        let languages: [Arc<dyn Language>; 1] = [Arc::new(ScriptLanguage)];
        let fill = |folder: &Path, number: usize| {
            std::fs::create_dir_all(folder).unwrap();
            for n in 0..number {
                std::fs::write(folder.join(format!("{n}.script")), "").unwrap();
            }
        };
        let write = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        write("crowd/crowd.script");
        write("small.script");
        fill(&root.path().join("crowd/a/b"), walk::ENTRIES_MAX / 2);
        let just = scan(root.path(), &languages).unwrap();
        assert!(just.modules["crowd"].files.is_ok());
        fill(&root.path().join("crowd/c"), walk::ENTRIES_MAX / 2);
        fill(&root.path().join("scripts"), walk::ENTRIES_MAX + 1);
        let found = scan(root.path(), &languages).unwrap().modules;
        for name in ["crowd", "scripts"] {
            let refused = &found[name].files.as_ref().unwrap_err().message;
            let begin = format!(
                "{}: more than 4096 files and folders",
                root.path().join(name).display()
            );
            assert!(refused.starts_with(&begin), "{refused}");
        }
        assert!(found["small"].files.is_ok());
    }

    #[test]
    fn lone_files_and_folders_are_modules() {
        let found = look(&[
            ("hello.script", "action a echo"),
            ("hello.toml", "queue_max = 7"),
            ("arena/arena.script", ""),
            ("arena/rules/shots.script", ""),
            ("arena/target/deep.script", ""),
            ("arena/readme.md", ""),
            (
                "deep/module.toml",
                "name = \"room\"\nentry = \"src/main.script\"",
            ),
            ("deep/src/main.script", ""),
            ("notes/readme.md", ""),
            ("unbuilt/Cargo.toml", ""),
            ("hello.test.script", ""),
            (".hidden.script", ""),
            ("backup.script~", ""),
            ("readme.md", ""),
        ]);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["arena", "hello", "room"]);
        let hello = found["hello"].as_ref().unwrap();
        assert_eq!(hello.manifest.queue_max, Some(7));
        assert!(hello.folder.is_none());
        let arena = found["arena"].as_ref().unwrap();
        let others: Vec<_> = arena.others.keys().collect();
        assert_eq!(others, [Path::new("rules/shots.script")]);
    }

    #[test]
    fn what_is_ambiguous_or_missing_is_named() {
        assert_eq!(
            problem(&[("a.script", ""), ("a.other", "")], "a"),
            "two modules are named `a`: a.other and a.script; say in a.toml which is the `entry`, or rename one"
        );
        assert_eq!(
            problem(&[("a.script", ""), ("a/a.script", "")], "a"),
            "two modules are named `a`: a and a.script"
        );
        assert_eq!(
            problem(&[("a/a.script", ""), ("a/a.other", "")], "a"),
            "a/a.script and a/a.other are both there: say in a/module.toml which is the `entry`"
        );
        assert_eq!(
            problem(&[("a/module.toml", "")], "a"),
            "a: there is none of a.script, a.other, and its module.toml names no `entry`"
        );
        assert_eq!(
            problem(&[("a.toml", "")], "a"),
            "a.toml: there is no module `a` beside it"
        );
        assert_eq!(
            problem(
                &[("a/module.toml", "entry = \"b.other\""), ("a/recipe", "")],
                "a"
            ),
            "a/b.other is not there yet; `cook a/` makes it"
        );
        assert_eq!(
            problem(&[("a/module.toml", ""), ("a/recipe", "")], "a"),
            "a: there is none of a.script, a.other, and its module.toml names no `entry`; `cook a/` makes it"
        );
        assert_eq!(
            problem(&[("a/module.toml", "entry = \"../b.script\"")], "a"),
            "a/module.toml:1: `entry` stays inside the module's folder, `../b.script` does not"
        );
        assert_eq!(
            problem(&[("a b.script", "")], "a b"),
            "a b.script: a module's name has 1 to 64 letters, digits, `-` or `_`, `a b` has not"
        );
        assert!(problem(&[("a.script", ""), ("a.toml", "x = 1")], "a").starts_with("a.toml:1: "));
    }

    #[test]
    fn the_manifest_says_which_of_two_is_run() {
        let found = look(&[
            ("a.script", ""),
            ("a.other", ""),
            ("a.toml", "entry = \"a.other\""),
        ]);
        assert_eq!(found["a"].as_ref().unwrap().language, 1);
    }

    #[test]
    fn the_hash_changes_with_whatever_the_module_is_made_of() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a");
        std::fs::create_dir(&folder).unwrap();
        let languages: [Arc<dyn Language>; 1] = [Arc::new(ScriptLanguage)];
        let mut hashes = Vec::new();
        for (file, text) in [
            ("a.script", "action a echo"),
            ("b.script", "# other"),
            ("module.toml", "queue_max = 3"),
            ("a.script", "action b echo"),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
            hashes.push(scan(root.path(), &languages).unwrap().modules["a"].hash);
        }
        std::fs::write(folder.join("module.toml"), "# why\nqueue_max = 3").unwrap();
        std::fs::write(folder.join("readme.md"), "hello").unwrap();
        let same = scan(root.path(), &languages).unwrap().modules["a"].hash;
        assert_eq!(hashes.last(), Some(&same), "nothing that matters changed");
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 4);
    }
}
