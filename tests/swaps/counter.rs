//! The versions of the module that counts: the same rules as a script and as a component.

use std::path::Path;

use cohnect_tests::top;

/// What becomes of a version when it is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It takes over.
    Fine,
    /// It does not load.
    Broken,
    /// Its `restore` fails.
    Refusing,
    /// It takes over, and is told to end its replica 100 ms later.
    Trapping,
}

/// One version of the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) kind: Kind,
}

impl Version {
    pub(crate) const fn first() -> Self {
        Self {
            number: 0,
            kind: Kind::Fine,
        }
    }
}

const SCRIPT: &str = r#"local clock = require("@cohnect/clock")
local errors = require("@cohnect/errors")
local state = require("@cohnect/state")

local kept = { count = 0 }
local since = 0

return {
    keep = kept,
    --MIGRATION
    lifecycle = {
        start = function()
            since = clock.now()
        end,
    },
    action = {
        add = function()
            kept.count += 1
            local total = errors.need(state.add("shared", "total", 1))
            return `VERSION {total} {kept.count}`
        end,
        trap = function()
            if clock.now() - since < 0.1 then
                return nil, { code = 1, message = "not yet" }
            end
            while true do
            end
        end,
    },
}
"#;

/// The script of a version.
pub(crate) struct Script(String);

impl Script {
    pub(crate) fn of(version: Version) -> Self {
        let text = SCRIPT.replace("VERSION", &version.number.to_string());
        Self(match version.kind {
            Kind::Fine | Kind::Trapping => text,
            // A text that is no Luau, one that fails while it runs, and one that never ends.
            Kind::Broken => match version.number % 3 {
                0 => text.replace("return {", "return { {"),
                1 => format!("{text}\n-- {}", version.number)
                    .replace("return {", "error('broken')\nreturn {"),
                _ => text.replace("return {", "while true do end\nreturn {"),
            },
            // Older data that nobody brings into the new shape, and a `restore` that says no.
            Kind::Refusing if version.number % 8 == 2 => {
                text.replace("--MIGRATION", "schema = 2,")
            }
            Kind::Refusing => text.replace("keep = kept,", "").replace(
                "--MIGRATION",
                "migration = { save = function() return '' end, restore = function() return nil, { code = 2, message = 'no' } end },",
            ),
        })
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// The component of `tests/modules/counter`, whose versions differ in a label that it carries.
pub(crate) struct Component(Vec<u8>);

const LABEL: &str = "counter-version-0000-fine";

impl Component {
    /// Builds it, out of the way of every other target.
    pub(crate) fn build() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        let folder = top().join("tests/modules/counter");
        let code = cohnect_build::component_of(&folder, &target).expect("it compiles");
        Self(code)
    }

    pub(crate) fn of(&self, version: Version) -> Vec<u8> {
        let manner = match version.kind {
            Kind::Refusing => "poor",
            Kind::Fine | Kind::Broken | Kind::Trapping => "fine",
        };
        let label = format!("counter-version-{:04}-{manner}", version.number);
        assert_eq!(label.len(), LABEL.len());
        let mut code = self.0.clone();
        let at = code
            .windows(LABEL.len())
            .position(|window| window == LABEL.as_bytes())
            .expect("the component carries its label");
        code[at..at + label.len()].copy_from_slice(label.as_bytes());
        if version.kind == Kind::Broken {
            code.truncate(code.len() / 2);
        }
        code
    }
}
