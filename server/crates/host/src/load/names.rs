//! Whose a name is, and which names nobody can read: the files and folders of the modules folder are called as people and tools please. It reads no file.

use std::path::Path;
use std::sync::Arc;

use super::Look;
use crate::escaped::OneLine;
use crate::replica::LoadError;

impl Look<'_> {
    /// Nobody gets a module's name by writing it into his own manifest: where the name is one file's or folder's own, that one has it, and the others are
    /// refused.
    pub(super) fn give_names_to_their_owners(&mut self) {
        // Whoever is refused has his own name after that, and refuses whoever took it; each is so once.
        loop {
            let mut refused = Vec::new();
            for (name, found) in &mut self.found {
                let owns = |path: &Path| own_name(path) == *name;
                let owner = found.iter().find(|(path, _)| owns(path));
                let Some(owner) = owner.map(|(path, _)| path.clone()) else {
                    continue;
                };
                let others = found.extract_if(.., |(path, _)| !owns(path));
                refused.extend(others.map(|(path, other)| {
                    let problem = other.files.err().unwrap_or_else(|| {
                        LoadError::new(format!(
                            "{}: its manifest names it `{name}`, which is the name of {}",
                            OneLine(path.display()),
                            OneLine(owner.display())
                        ))
                    });
                    (path, other.manifests, problem)
                }));
            }
            if refused.is_empty() {
                return;
            }
            for (path, manifests, problem) in refused {
                for manifest in manifests {
                    let name = own_name(&path);
                    self.add(name, manifest, path.clone(), Err(problem.clone()));
                }
            }
        }
    }
}

/// What a file or folder is called, for people to read: the name of its module, unless a manifest gives it another.
pub(super) fn own_name(path: &Path) -> Arc<str> {
    let name = if path.is_dir() {
        path.file_name()
    } else {
        path.file_stem()
    };
    OneLine(name.unwrap_or_default().to_string_lossy())
        .to_string()
        .into()
}

/// Why a file or folder with such a name is not read.
pub(super) fn hidden(path: &Path) -> LoadError {
    LoadError::new(format!(
        "{}: a line break, or another character that is not shown, is in its name; rename it",
        OneLine(path.display())
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::look;
    use super::super::{Scan, scan, walk};
    use super::*;
    use crate::escaped::is_hidden;
    use crate::replica::Language;
    use crate::testing::ScriptLanguage;

    #[test]
    fn what_is_no_module_and_no_code_is_not_counted() {
        let root = tempfile::tempdir().unwrap();
        let languages: [Arc<dyn Language>; 1] = [Arc::new(ScriptLanguage)];
        let folder = root.path().join("a/pictures");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(root.path().join("a/a.script"), "").unwrap();
        for n in 0..=walk::ENTRIES_MAX {
            std::fs::write(folder.join(format!("{n}.png")), "").unwrap();
            std::fs::write(root.path().join(format!(".{n}")), "").unwrap();
            std::fs::write(root.path().join(format!("{n}.txt")), "").unwrap();
        }
        let found = scan(root.path(), &languages, &Scan::default())
            .unwrap()
            .modules;
        assert!(found["a"].files.is_ok(), "{:?}", found["a"].files);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_name_belongs_to_the_file_or_folder_that_is_called_so() {
        let found = look(&[
            ("good.script", ""),
            ("evil/module.toml", "name = \"good\""),
            ("evil/evil.script", ""),
            ("sly.script", ""),
            ("sly.toml", "name = \"evil\""),
            ("good.too/module.toml", "name = \"good\""),
            ("good.too/good.script", ""),
        ]);
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["evil", "good", "good.too", "sly"]
        );
        assert!(found["good"].is_ok());
        assert_eq!(
            found["evil"].as_ref().unwrap_err(),
            "evil: its manifest names it `good`, which is the name of good.script"
        );
    }

    #[test]
    fn a_files_name_forges_no_line() {
        let forged = "x\n   0.5s  INFO loaded, generation 1\n\u{1b}[31m";
        let found = look(&[
            (&format!("{forged}.script"), ""),
            (&format!("y{forged}/x.script"), ""),
            (&format!("{forged}.png"), ""),
            ("a/a.script", ""),
            (&format!("a/{forged}.script"), ""),
            (&format!("b/{forged}/c.script"), ""),
            ("b/b.script", ""),
        ]);
        assert_eq!(found.len(), 4);
        for (name, files) in found {
            let problem = files.unwrap_err();
            for text in [&name, &problem] {
                assert!(!text.contains(is_hidden), "{text:?}");
            }
            assert!(problem.contains("a line break"), "{problem}");
        }
    }
}
