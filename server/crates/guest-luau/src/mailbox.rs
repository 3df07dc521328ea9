//! `mailbox`: generated. Do not edit.

use crate::binding::Binder;

pub(crate) fn bind(_binder: &Binder<'_>) -> mlua::Result<()> {
    Ok(())
}
