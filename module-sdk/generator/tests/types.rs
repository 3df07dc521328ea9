//! The types in `module-sdk/luau` as Luau's own type checker sees them: they hold together, modules of every kind pass, and mistakes are found.

use std::path::{Path, PathBuf};

use luau_analysis::frontend::resolver::ModuleInfo;
use luau_analysis::{
    DefinitionEnvironment, FileResolver, Frontend, FrontendOptions, ModuleName, NullConfigResolver,
    SourceCode, SourceCodeType, TypeCheckLimits,
};
use luau_common::BString;
use luau_syntax::ast::Expression;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads files, and one text under a name of its own. `@cohnect/…` are the types.
struct Files {
    text: Option<&'static str>,
}

/// What a text of a test is called.
const TEXT: &str = "text.luau";

fn path_of(name: &ModuleName) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(name.as_ref()).into_owned())
}

impl FileResolver for Files {
    fn read_source(&mut self, name: &ModuleName) -> Option<SourceCode> {
        let path = path_of(name);
        let source = match self.text {
            Some(text) if path == Path::new(TEXT) => text.as_bytes().to_vec(),
            _ => std::fs::read(path).ok()?,
        };
        Some(SourceCode {
            source: BString::from(source),
            kind: SourceCodeType::Module,
        })
    }

    fn resolve_module(
        &mut self,
        context: Option<&ModuleInfo>,
        expression: Expression<'_>,
        _limits: &TypeCheckLimits,
    ) -> Option<ModuleInfo> {
        let wanted = String::from_utf8_lossy(expression.as_string()?.value.as_bytes()).into_owned();
        let path = match wanted.strip_prefix("@cohnect/") {
            Some(interface) => top().join("module-sdk/luau").join(interface),
            None => path_of(&context?.name)
                .parent()?
                .join(wanted.strip_prefix("./")?),
        };
        let path = path.with_extension("luau");
        path.exists().then(|| ModuleInfo {
            name: BString::from(path.to_string_lossy().as_bytes()),
            optional: false,
        })
    }
}

/// What the checker says: the line, counted from 1, and the sentence.
fn complaints(file: &Path, text: Option<&'static str>) -> Vec<(u32, String)> {
    let mut config = NullConfigResolver::default();
    config.default_config.mode = luau_config::Mode::Strict;
    let options = FrontendOptions {
        retain_full_type_graphs: true,
        ..FrontendOptions::default()
    };
    let mut frontend = Frontend::new(Files { text }, config, options);
    frontend
        .register_builtin_globals(DefinitionEnvironment::Globals)
        .expect("Luau has its own types");
    let name = BString::from(file.to_string_lossy().as_bytes());
    let result = frontend.check(&name, None).expect("the file is checked");
    let model = frontend.semantic_model(&name);
    result
        .errors
        .iter()
        .map(|error| {
            let said = match &model {
                Some(model) if error.module_name == name => model.error_message(error).to_string(),
                _ => format!("{:?}: {:?}", error.module_name, error.data),
            };
            (error.location.begin.line + 1, said)
        })
        .collect()
}

fn luau_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it is read").path();
        if path.is_dir() && !path.ends_with("target") {
            luau_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "luau") {
            found.push(path);
        }
    }
}

#[test]
fn the_types_and_all_modules_of_ours_pass_in_strict_mode() {
    let mut files = Vec::new();
    for folder in [
        "module-sdk/luau",
        "module-sdk/templates",
        "module-sdk/generator/tests/types",
        "modules",
        "examples",
    ] {
        luau_files(&top().join(folder), &mut files);
    }
    assert!(files.len() > 35, "{files:?}");
    for file in files {
        let complaints = complaints(&file, None);
        assert!(complaints.is_empty(), "{}: {complaints:#?}", file.display());
    }
}

#[test]
fn mistakes_are_found_where_they_are() {
    for (text, part) in [
        (
            "local define = require('@cohnect/define')\nreturn define.module({\naction = { a = function(request)\nreturn request.inptu\nend } })",
            "inptu",
        ),
        (
            "local define = require('@cohnect/define')\nreturn define.action({\n\naccess = 'client' }, function(request)\nreturn request.input end)",
            "client",
        ),
        (
            "local state = require('@cohnect/state')\n\n\nstate.ad('shared', 'n', 1)\nreturn {}",
            "'ad'",
        ),
        (
            "local state = require('@cohnect/state')\n\n\nstate.add('shared', 'n', 'one')\nreturn {}",
            "number",
        ),
        (
            "local clients = require('@cohnect/clients')\nlocal id = '0'\n\nclients.send(id, 0x0100, 'x', { delivery = 'reliable' })\nreturn {}",
            "reliable",
        ),
        (
            "local define = require('@cohnect/define')\nreturn define.module({ broadcast = {\n\n['chat/*'] = function(message) return 'dorp' end\n} })",
            "dorp",
        ),
        (
            "local define = require('@cohnect/define')\nreturn define.module({\n\nticker = { hz = 20, on_tick = function(tick) print(tick.numbre) end },\n})",
            "numbre",
        ),
    ] {
        let complaints = complaints(Path::new(TEXT), Some(text));
        let found = complaints
            .iter()
            .any(|(line, said)| *line == 4 && said.contains(part));
        assert!(found, "{text}\n{complaints:#?}");
    }
}
