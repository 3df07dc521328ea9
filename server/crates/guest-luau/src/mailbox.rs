//! `mailbox` for scripts: written from `wit/mailbox.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::Payload;
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Pass, Seconds};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "send",
        HostFunction::MailboxSend,
        &["module", "action", "input"],
        |entered,
         (Arg(mut module), Arg(mut action), Arg(mut input)): (
            Arg<String>,
            Arg<String>,
            Arg<Payload>,
        )| { entered.mailbox_send(module.pass(), action.pass(), input.pass()) },
    )?;
    binder.fallible(
        "request",
        HostFunction::MailboxRequest,
        &["module", "action", "input", "tag", "timeout"],
        |entered,
         (Arg(mut module), Arg(mut action), Arg(mut input), Arg(mut tag), Arg(mut timeout)): (
            Arg<String>,
            Arg<String>,
            Arg<Payload>,
            Arg<String>,
            Arg<Seconds>,
        )| {
            entered.mailbox_request(
                module.pass(),
                action.pass(),
                input.pass(),
                tag.pass(),
                timeout.pass(),
            )
        },
    )?;
    Ok(())
}
