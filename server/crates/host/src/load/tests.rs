//! The look through a modules folder: what is a module and what it is called, what is refused and in which words, what changes its hash.

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
    scan(root.path(), &languages, &Scan::default())
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
    let found = scan(root.path(), &languages, &Scan::default())
        .unwrap()
        .modules;
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
    let just = scan(root.path(), &languages, &Scan::default()).unwrap();
    assert!(just.modules["crowd"].files.is_ok());
    fill(&root.path().join("crowd/c"), walk::ENTRIES_MAX / 2);
    fill(&root.path().join("scripts"), walk::ENTRIES_MAX + 1);
    let found = scan(root.path(), &languages, &Scan::default())
        .unwrap()
        .modules;
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
fn a_module_whose_manifest_is_refused_is_still_called_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let languages: [Arc<dyn Language>; 1] = [Arc::new(ScriptLanguage)];
    let write = |path: &str, text: &str| std::fs::write(root.path().join(path), text).unwrap();
    let names = |before: &Scan| {
        let scan = scan(root.path(), &languages, before).unwrap();
        let names: Vec<_> = scan.modules.keys().map(ToString::to_string).collect();
        (names.join(" "), scan)
    };
    std::fs::create_dir(root.path().join("arena")).unwrap();
    write("arena/module.toml", "name = \"game\"");
    write("arena/arena.script", "");
    write("hello.toml", "name = \"greeter\"");
    write("hello.script", "");
    let (said, well) = names(&Scan::default());
    assert_eq!(said, "game greeter");
    for (arena, alone) in [
        ("name = \"game\"\nquite = 1", "game greeter"),
        ("name = \"gam\"\nquite = 1", "gam greeter"),
        ("nam = \"game\"", "arena greeter"),
        ("name = \"ga", "arena greeter"),
    ] {
        write("arena/module.toml", arena);
        assert_eq!(names(&Scan::default()).0, alone, "{arena}");
        let (said, ill) = names(&well);
        assert_eq!(said, "game greeter", "{arena}");
        assert!(ill.modules["game"].files.is_err());
        assert_eq!(names(&ill).0, "game greeter", "{arena}");
    }
    write("arena/module.toml", "name = \"play\"");
    write("hello.toml", "=");
    std::fs::remove_file(root.path().join("hello.script")).unwrap();
    let (said, gone) = names(&well);
    assert_eq!(
        said, "play",
        "a file that is taken away is a module that goes"
    );
    assert_eq!(
        names(&gone).0,
        "hello play",
        "and its manifest lies there alone"
    );
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
        hashes.push(
            scan(root.path(), &languages, &Scan::default())
                .unwrap()
                .modules["a"]
                .hash,
        );
    }
    std::fs::write(folder.join("module.toml"), "# why\nqueue_max = 3").unwrap();
    std::fs::write(folder.join("readme.md"), "hello").unwrap();
    let same = scan(root.path(), &languages, &Scan::default())
        .unwrap()
        .modules["a"]
        .hash;
    assert_eq!(hashes.last(), Some(&same), "nothing that matters changed");
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 4);
}
