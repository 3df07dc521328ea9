//! `mailbox` for scripts: written from `wit/mailbox.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::Payload;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass, Seconds};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "send",
        HostFunction::MailboxSend,
        &["module", "action", "input"],
        |entered,
         (Need(mut module), Need(mut action), Arg(mut input)): (
            Need<String>,
            Need<String>,
            Arg<Payload>,
        )| { entered.mailbox_send(module.pass(), action.pass(), input.pass()) },
    )?;
    binder.fallible("request", HostFunction::MailboxRequest, &["module", "action", "input", "tag", "timeout"], |entered, (Need(mut module), Need(mut action), Need(mut input), Need(mut tag), Arg(mut timeout)): (Need<String>, Need<String>, Need<Payload>, Need<String>, Arg<Seconds>)| { entered.mailbox_request(module.pass(), action.pass(), input.pass(), tag.pass(), timeout.pass(), ) })?;
    Ok(())
}
