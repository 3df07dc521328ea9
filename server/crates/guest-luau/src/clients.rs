//! `clients` for scripts: written from `wit/clients.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::{
    Audience, ClientId, CloseReason, Payload, clients::Addressed, clients::SendOptions,
};
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "send",
        HostFunction::ClientsSend,
        &["to", "opcode", "payload", "options"],
        |entered,
         (Arg(mut to), Arg(mut opcode), Arg(mut payload), Arg(mut options)): (
            Arg<ClientId>,
            Arg<u16>,
            Arg<Payload>,
            Arg<SendOptions>,
        )| {
            entered.clients_send(to.pass(), opcode.pass(), payload.pass(), options.pass())
        },
    )?;
    binder.fallible(
        "send_to",
        HostFunction::ClientsSendTo,
        &["to", "opcode", "payload", "options", "except"],
        |entered,
         (Arg(mut to), Arg(mut opcode), Arg(mut payload), Arg(mut options), Arg(mut except)): (
            Arg<Audience>,
            Arg<u16>,
            Arg<Payload>,
            Arg<SendOptions>,
            Arg<Option<ClientId>>,
        )| {
            entered.clients_send_to(
                to.pass(),
                opcode.pass(),
                payload.pass(),
                options.pass(),
                except.pass(),
            )
        },
    )?;
    binder.fallible(
        "send_each",
        HostFunction::ClientsSendEach,
        &["items", "opcode", "options"],
        |entered,
         (Arg(mut items), Arg(mut opcode), Arg(mut options)): (
            Arg<Vec<Addressed>>,
            Arg<u16>,
            Arg<SendOptions>,
        )| { entered.clients_send_each(items.pass(), opcode.pass(), options.pass()) },
    )?;
    binder.fallible(
        "broadcast",
        HostFunction::ClientsBroadcast,
        &["topic", "to", "payload", "options"],
        |entered,
         (Arg(mut topic), Arg(mut to), Arg(mut payload), Arg(mut options)): (
            Arg<String>,
            Arg<Audience>,
            Arg<Payload>,
            Arg<SendOptions>,
        )| {
            entered.clients_broadcast(topic.pass(), to.pass(), payload.pass(), options.pass())
        },
    )?;
    binder.plain(
        "online",
        HostFunction::ClientsOnline,
        &["id"],
        |entered, Arg(mut id): Arg<ClientId>| entered.clients_online(id.pass()),
    )?;
    binder.plain(
        "online_users",
        HostFunction::ClientsOnlineUsers,
        &["users"],
        |entered, Arg(mut users): Arg<Vec<String>>| entered.clients_online_users(users.pass()),
    )?;
    binder.fallible(
        "info",
        HostFunction::ClientsInfo,
        &["id"],
        |entered, Arg(mut id): Arg<ClientId>| entered.clients_info(id.pass()),
    )?;
    binder.fallible(
        "ids",
        HostFunction::ClientsIds,
        &["who", "after", "limit"],
        |entered,
         (Arg(mut who), Arg(mut after), Arg(mut limit)): (
            Arg<Audience>,
            Arg<Option<ClientId>>,
            Arg<u32>,
        )| { entered.clients_ids(who.pass(), after.pass(), limit.pass()) },
    )?;
    binder.fallible(
        "infos",
        HostFunction::ClientsInfos,
        &["who", "after", "limit"],
        |entered,
         (Arg(mut who), Arg(mut after), Arg(mut limit)): (
            Arg<Audience>,
            Arg<Option<ClientId>>,
            Arg<u32>,
        )| { entered.clients_infos(who.pass(), after.pass(), limit.pass()) },
    )?;
    binder.fallible(
        "count",
        HostFunction::ClientsCount,
        &["who"],
        |entered, Arg(mut who): Arg<Audience>| entered.clients_count(who.pass()),
    )?;
    binder.fallible(
        "disconnect",
        HostFunction::ClientsDisconnect,
        &["id", "reason", "message"],
        |entered,
         (Arg(mut id), Arg(mut reason), Arg(mut message)): (
            Arg<ClientId>,
            Arg<CloseReason>,
            Arg<String>,
        )| { entered.clients_disconnect(id.pass(), reason.pass(), message.pass()) },
    )?;
    Ok(())
}
