//! The modules folder: which modules it holds, and their files as they are at one look. It decides which file is run and says what is ambiguous; it
//! compiles nothing. Every size is bounded, since the folder is written by people and tools.

mod names;
#[cfg(test)]
mod tests;
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
    /// Where its manifest lies, or would lie; more than one when several modules are named alike.
    pub manifests: Vec<PathBuf>,
}

impl Scan {
    /// What the module with its manifest at this place is called. While one is renamed, both names are there; the one that can be loaded is the newer one
    /// or has been well all along.
    fn name_at(&self, manifest: &Path) -> Option<&Arc<str>> {
        let here = || {
            self.modules
                .iter()
                .filter(|(_, found)| found.manifests.iter().any(|path| path == manifest))
        };
        let well = here().find(|(_, found)| found.files.is_ok());
        well.or_else(|| here().next()).map(|(name, _)| name)
    }

    /// Whether a module with its manifest at this place can be loaded.
    fn is_well_at(&self, manifest: &Path) -> bool {
        let found = |name| self.modules.get(name);
        self.name_at(manifest)
            .and_then(found)
            .is_some_and(|found| found.files.is_ok())
    }
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

impl Files {
    /// Where its manifest lies, or would lie.
    #[must_use]
    pub fn manifest_path(&self) -> PathBuf {
        self.folder.as_ref().map_or_else(
            || self.entry.with_extension("toml"),
            |folder| folder.join("module.toml"),
        )
    }
}

/// Looks through a modules folder, of which `before` is known: a module whose manifest cannot be read now is still called as it was.
///
/// # Errors
/// When the folder itself cannot be read, or there is too much below it.
pub fn scan(
    folder: &Path,
    languages: &[Arc<dyn Language>],
    before: &Scan,
) -> Result<Scan, LoadError> {
    let walk = Walk::default();
    let mut look = Look {
        languages,
        walk: &walk,
        before,
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
            let manifest = path.with_extension("toml");
            look.add(own_name(&path), manifest, path.clone(), Err(hidden(&path)));
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

/// A manifest, or what stands for one that is not there.
struct Said {
    /// Where it lies, or would lie.
    path: PathBuf,
    /// What it says.
    manifest: Result<Manifest, LoadError>,
    /// What its module is called.
    name: Arc<str>,
}

struct Look<'a> {
    languages: &'a [Arc<dyn Language>],
    walk: &'a Walk,
    before: &'a Scan,
    /// By name; more than one of a name is an error that names them.
    found: BTreeMap<Arc<str>, Vec<(PathBuf, Found)>>,
}

impl Look<'_> {
    fn language_of(&self, ending: &str) -> Option<usize> {
        self.languages
            .iter()
            .position(|language| language.endings().contains(&ending))
    }

    /// The manifest at a place. One that is refused changes nothing, the name neither: what runs by it is not gone, only because a key in it is wrong.
    fn said(&self, path: PathBuf, is_there: bool, fallback: &str) -> Said {
        let text = if is_there {
            manifest_text(&path)
        } else {
            Ok(String::new())
        };
        let manifest = match &text {
            Ok(text) => Manifest::parse(&path, text),
            Err(e) => Err(e.clone()),
        };
        let name = match (&manifest, &text) {
            (Ok(manifest), _) => manifest.name.as_deref().map(Arc::from),
            (Err(_), text) => self.before.name_at(&path).cloned().or_else(|| {
                let text = text.as_ref().ok()?;
                Manifest::name_in(text).map(Arc::from)
            }),
        };
        Said {
            path,
            manifest,
            name: name.unwrap_or_else(|| fallback.into()),
        }
    }

    fn add(
        &mut self,
        name: Arc<str>,
        manifest: PathBuf,
        at: PathBuf,
        files: Result<Files, LoadError>,
    ) {
        let hash = match &files {
            Ok(files) => hash(files),
            Err(e) => *blake3::hash(e.message.as_bytes()).as_bytes(),
        };
        let found = Found {
            hash,
            files: files.map(Arc::new),
            manifests: vec![manifest],
        };
        self.found.entry(name).or_default().push((at, found));
    }

    fn lone(&mut self, stem: &str, lone: Lone) {
        let Some(at) = lone.code.first().or(lone.manifest.as_ref()).cloned() else {
            return;
        };
        let path = at.with_extension("toml");
        // Its code is taken away, which is how a module goes; of a manifest that lies there alone from the beginning its author hears.
        if lone.code.is_empty() && self.before.is_well_at(&path) {
            return;
        }
        let Said {
            path,
            manifest,
            name,
        } = self.said(path, lone.manifest.is_some(), stem);
        let files = manifest.and_then(|manifest| self.lone_files(stem, &name, &lone, manifest));
        self.add(name, path, at, files);
    }

    fn lone_files(
        &self,
        stem: &str,
        name: &Arc<str>,
        lone: &Lone,
        manifest: Manifest,
    ) -> Result<Files, LoadError> {
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
        self.files(name, entry.clone(), None, manifest)
    }

    fn folder(&mut self, folder: &Path, own_name: &str) {
        let path = folder.join("module.toml");
        let is_there = path.exists();
        let is_one = if is_there {
            Ok(true)
        } else {
            self.has_code(folder)
        };
        let problem = match is_one {
            // The folder of a guest that has not been built yet, or of something else.
            Ok(false) => return,
            _ if own_name.contains(is_hidden) => Some(hidden(folder)),
            Ok(true) => None,
            Err(e) => Some(e),
        };
        if let Some(problem) = problem {
            self.add(
                names::own_name(folder),
                path,
                folder.to_owned(),
                Err(problem),
            );
            return;
        }
        let Said {
            path,
            manifest,
            name,
        } = self.said(path, is_there, own_name);
        let files = manifest.and_then(|manifest| {
            let entry = match &manifest.entry {
                Some(entry) => folder.join(entry),
                None => self.default_entry(folder, own_name)?,
            };
            self.files(&name, entry, Some(folder), manifest)
        });
        self.add(name, path, folder.to_owned(), files);
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
        name: &Arc<str>,
        entry: PathBuf,
        folder: Option<&Path>,
        manifest: Manifest,
    ) -> Result<Files, LoadError> {
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
            name: Arc::clone(name),
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
                        manifests: found.into_iter().flat_map(|(_, f)| f.manifests).collect(),
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
