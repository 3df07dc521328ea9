//! The parsed contract, with the few questions that the writers ask of it.

use std::path::Path;

use anyhow::{Context as _, Result};
use wit_parser::{
    Function, Interface, InterfaceId, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeId,
    TypeOwner, WorldItem,
};

/// The contract.
#[derive(Debug)]
pub struct Contract {
    pub(crate) resolve: Resolve,
    package: PackageId,
}

impl Contract {
    /// Parses the folder.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn load(folder: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(folder)?;
        Ok(Self { resolve, package })
    }

    /// All interfaces, by name.
    pub(crate) fn interfaces(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.resolve.packages[self.package]
            .interfaces
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names
    }

    /// The interfaces that modules import and that have functions.
    pub(crate) fn imports(&self) -> Vec<&str> {
        self.of_world("imports")
    }

    /// Whether the functions of this interface that can fail wait.
    pub(crate) fn waits(&self, interface: &str) -> bool {
        self.of_world("io-imports").contains(&interface)
    }

    fn of_world(&self, world: &str) -> Vec<&str> {
        let Some(id) = self.resolve.packages[self.package].worlds.get(world) else {
            return Vec::new();
        };
        let mut names: Vec<_> = self.resolve.worlds[*id]
            .imports
            .values()
            .filter_map(|item| {
                let WorldItem::Interface { id, .. } = item else {
                    return None;
                };
                let interface = &self.resolve.interfaces[*id];
                (!interface.functions.is_empty()).then_some(interface.name.as_deref()?)
            })
            .collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn interface(&self, name: &str) -> Result<&Interface> {
        let id: InterfaceId = *self.resolve.packages[self.package]
            .interfaces
            .get(name)
            .with_context(|| format!("there is no interface `{name}`"))?;
        Ok(&self.resolve.interfaces[id])
    }

    pub(crate) fn functions<'a>(
        &'a self,
        interface: &'a str,
    ) -> Result<impl Iterator<Item = &'a Function>> {
        Ok(self.interface(interface)?.functions.values())
    }

    pub(crate) fn def(&self, id: TypeId) -> &TypeDef {
        &self.resolve.types[id]
    }

    /// The type behind the aliases that `use` makes, up to the one that was named where it was defined.
    pub(crate) fn origin(&self, id: TypeId) -> TypeId {
        match &self.def(id).kind {
            TypeDefKind::Type(Type::Id(inner)) if self.def(*inner).name == self.def(id).name => {
                self.origin(*inner)
            }
            TypeDefKind::Type(Type::Id(inner)) if self.def(id).name.is_none() => {
                self.origin(*inner)
            }
            _ => id,
        }
    }

    /// The interface in which a type was defined, and its name.
    pub(crate) fn home(&self, id: TypeId) -> Option<(&str, &str)> {
        let def = self.def(id);
        let TypeOwner::Interface(owner) = def.owner else {
            return None;
        };
        Some((
            self.resolve.interfaces[owner].name.as_deref()?,
            def.name.as_deref()?,
        ))
    }
}

impl Contract {
    /// Which parameters a script may leave out, by their places: what has a sensible zero, up to the last one that has none.
    pub(crate) fn left_out(&self, function: &Function, skip: usize) -> Vec<bool> {
        let count = function.params.len();
        let mut may = vec![false; count];
        let mut open = true;
        for (n, parameter) in function.params.iter().enumerate().skip(skip).rev() {
            let last = n + 1 == count;
            // The parameters of a statement are all further arguments.
            open = open
                && (last && self.is_values(&parameter.ty)
                    || self.has_sensible_zero(&parameter.name, &parameter.ty, last));
            may[n] = open || self.is_option(&parameter.ty);
        }
        may
    }

    /// Whether leaving this parameter out reads well.
    fn has_sensible_zero(&self, name: &str, ty: &Type, last: bool) -> bool {
        if matches!(
            name,
            "limit" | "ttl" | "timeout" | "fallback" | "zone" | "message"
        ) {
            return true;
        }
        let Type::Id(id) = ty else {
            return false;
        };
        let id = self.origin(*id);
        if self.name_of(ty) == Some("payload") {
            return last && name != "value";
        }
        match &self.def(id).kind {
            TypeDefKind::Option(_) | TypeDefKind::Record(_) | TypeDefKind::Flags(_) => {
                !matches!(self.name_of(ty), Some("client-id" | "instance-id"))
            }
            TypeDefKind::Enum(_) => last,
            TypeDefKind::List(inner) => self.name_of(inner) == Some("field"),
            _ => false,
        }
    }

    fn is_option(&self, ty: &Type) -> bool {
        matches!(ty, Type::Id(id) if matches!(self.def(self.origin(*id)).kind, TypeDefKind::Option(_)))
    }

    /// The name of a type where it was defined.
    pub(crate) fn name_of(&self, ty: &Type) -> Option<&str> {
        let Type::Id(id) = ty else {
            return None;
        };
        Some(self.home(self.origin(*id))?.1)
    }

    /// Whether a type is a list of database values: a row without its columns.
    pub(crate) fn is_values(&self, ty: &Type) -> bool {
        let Type::Id(id) = ty else {
            return false;
        };
        matches!(&self.def(self.origin(*id)).kind, TypeDefKind::List(inner) if self.name_of(inner) == Some("value"))
    }
}

/// `feature-flags` as `feature_flags`.
pub(crate) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// `feature-flags` as `FeatureFlags`.
pub(crate) fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().collect::<String>() + letters.as_str()
            })
        })
        .collect()
}
