//! `cohnect new`, `build` and `keygen`: what makes files.

use std::path::Path;
use std::process::ExitCode;

use cohnect_build::{BuildError, NewError};

use crate::cli::exit::{Usage, code_of};
use crate::cli::{Build, Keygen, Language, New};
use crate::{keys, output};

/// `cohnect new`
pub(crate) fn new(new: &New) -> ExitCode {
    let language = match new.lang {
        Language::Luau => cohnect_build::Language::Luau,
        Language::Rust => cohnect_build::Language::Rust,
    };
    let modules = Path::new("modules");
    let into = new.into.as_deref().unwrap_or_else(|| {
        if modules.is_dir() {
            modules
        } else {
            Path::new(".")
        }
    });
    let made = cohnect_build::new_module(&new.name, language, into).map_err(|e| match e {
        NewError::Name(_) => Usage(e.to_string()).into(),
        NewError::Exists(_) | NewError::File { .. } => anyhow::Error::from(e),
    });
    report(made.map(|folder| {
        let inside = folder.parent().is_some_and(|parent| parent.ends_with("modules"));
        let next = match new.lang {
            _ if !inside => "Move it into the `modules` folder that `cohnect dev` serves.".to_owned(),
            Language::Luau => format!("`cohnect dev` runs it, and loads it again whenever you save. Try: cohnect call {} greet Ada", new.name),
            Language::Rust => format!("`cohnect build {}` makes the component that `cohnect dev` runs.", folder.display()),
        };
        format!("{} is there. {next}", folder.display())
    }))
}

/// `cohnect build`
pub(crate) fn build(build: &Build) -> ExitCode {
    let built = cohnect_build::build(&build.dir).map_err(|e| {
        if let BuildError::NoCrate(_) = e {
            return Usage(e.to_string()).into();
        }
        anyhow::Error::from(e)
    });
    report(built.map(|component| component.display().to_string()))
}

/// `cohnect keygen`
pub(crate) fn keygen(keygen: &Keygen) -> ExitCode {
    report(keys::make(&keygen.file).map(|keys| {
        format!(
            "{}\nThe secret key is in {}; clients pin the key above.",
            keys.public(),
            keygen.file.display()
        )
    }))
}

fn report(done: anyhow::Result<String>) -> ExitCode {
    match done {
        Ok(text) => {
            output::line(text);
            ExitCode::SUCCESS
        }
        Err(e) => {
            output::note(format!("{e:#}"));
            code_of(&e)
        }
    }
}
