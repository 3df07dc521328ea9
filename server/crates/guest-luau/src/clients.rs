//! `clients` for scripts: written from `wit/clients.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::{
    Audience, ClientId, CloseReason, Payload, clients::Addressed, clients::SendOptions,
};
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "send",
        HostFunction::ClientsSend,
        &["to", "opcode", "payload", "options"],
        |entered,
         (Need(mut to), Need(mut opcode), Need(mut payload), Arg(mut options)): (
            Need<ClientId>,
            Need<u16>,
            Need<Payload>,
            Arg<SendOptions>,
        )| {
            entered.clients_send(to.pass(), opcode.pass(), payload.pass(), options.pass())
        },
    )?;
    binder.fallible("send_to", HostFunction::ClientsSendTo, &["to", "opcode", "payload", "options", "except"], |entered, (Need(mut to), Need(mut opcode), Need(mut payload), Arg(mut options), Arg(mut except)): (Need<Audience>, Need<u16>, Need<Payload>, Arg<SendOptions>, Arg<Option<ClientId>>)| { entered.clients_send_to(to.pass(), opcode.pass(), payload.pass(), options.pass(), except.pass(), ) })?;
    binder.fallible(
        "send_each",
        HostFunction::ClientsSendEach,
        &["items", "opcode", "options"],
        |entered,
         (Need(mut items), Need(mut opcode), Arg(mut options)): (
            Need<Vec<Addressed>>,
            Need<u16>,
            Arg<SendOptions>,
        )| { entered.clients_send_each(items.pass(), opcode.pass(), options.pass()) },
    )?;
    binder.fallible(
        "broadcast",
        HostFunction::ClientsBroadcast,
        &["topic", "to", "payload", "options"],
        |entered,
         (Need(mut topic), Need(mut to), Need(mut payload), Arg(mut options)): (
            Need<String>,
            Need<Audience>,
            Need<Payload>,
            Arg<SendOptions>,
        )| {
            entered.clients_broadcast(topic.pass(), to.pass(), payload.pass(), options.pass())
        },
    )?;
    binder.plain(
        "online",
        HostFunction::ClientsOnline,
        &["id"],
        |entered, Need(mut id): Need<ClientId>| entered.clients_online(id.pass()),
    )?;
    binder.plain(
        "online_users",
        HostFunction::ClientsOnlineUsers,
        &["users"],
        |entered, Need(mut users): Need<Vec<String>>| entered.clients_online_users(users.pass()),
    )?;
    binder.fallible(
        "info",
        HostFunction::ClientsInfo,
        &["id"],
        |entered, Need(mut id): Need<ClientId>| entered.clients_info(id.pass()),
    )?;
    binder.fallible(
        "ids",
        HostFunction::ClientsIds,
        &["who", "after", "limit"],
        |entered,
         (Need(mut who), Arg(mut after), Arg(mut limit)): (
            Need<Audience>,
            Arg<Option<ClientId>>,
            Arg<u32>,
        )| { entered.clients_ids(who.pass(), after.pass(), limit.pass()) },
    )?;
    binder.fallible(
        "infos",
        HostFunction::ClientsInfos,
        &["who", "after", "limit"],
        |entered,
         (Need(mut who), Arg(mut after), Arg(mut limit)): (
            Need<Audience>,
            Arg<Option<ClientId>>,
            Arg<u32>,
        )| { entered.clients_infos(who.pass(), after.pass(), limit.pass()) },
    )?;
    binder.fallible(
        "count",
        HostFunction::ClientsCount,
        &["who"],
        |entered, Need(mut who): Need<Audience>| entered.clients_count(who.pass()),
    )?;
    binder.fallible(
        "disconnect",
        HostFunction::ClientsDisconnect,
        &["id", "reason", "message"],
        |entered,
         (Need(mut id), Need(mut reason), Arg(mut message)): (
            Need<ClientId>,
            Need<CloseReason>,
            Arg<String>,
        )| { entered.clients_disconnect(id.pass(), reason.pass(), message.pass()) },
    )?;
    Ok(())
}
