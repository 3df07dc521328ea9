//! `streams` for scripts: written from `wit/streams.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::{ClientId, Delivery, Payload};
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "publish",
        HostFunction::StreamsPublish,
        &["topic", "payload", "delivery"],
        |entered,
         (Arg(mut topic), Arg(mut payload), Arg(mut delivery)): (
            Arg<String>,
            Arg<Payload>,
            Arg<Delivery>,
        )| { entered.streams_publish(topic.pass(), payload.pass(), delivery.pass()) },
    )?;
    binder.fallible(
        "publish_one",
        HostFunction::StreamsPublishOne,
        &["topic", "to", "payload", "delivery"],
        |entered,
         (Arg(mut topic), Arg(mut to), Arg(mut payload), Arg(mut delivery)): (
            Arg<String>,
            Arg<ClientId>,
            Arg<Payload>,
            Arg<Delivery>,
        )| {
            entered.streams_publish_one(topic.pass(), to.pass(), payload.pass(), delivery.pass())
        },
    )?;
    binder.fallible(
        "finish",
        HostFunction::StreamsFinish,
        &["topic", "reason"],
        |entered, (Arg(mut topic), Arg(mut reason)): (Arg<String>, Arg<String>)| {
            entered.streams_finish(topic.pass(), reason.pass())
        },
    )?;
    binder.fallible(
        "attach",
        HostFunction::StreamsAttach,
        &["topic", "client"],
        |entered, (Arg(mut topic), Arg(mut client)): (Arg<String>, Arg<ClientId>)| {
            entered.streams_attach(topic.pass(), client.pass())
        },
    )?;
    binder.fallible(
        "detach",
        HostFunction::StreamsDetach,
        &["topic", "client"],
        |entered, (Arg(mut topic), Arg(mut client)): (Arg<String>, Arg<ClientId>)| {
            entered.streams_detach(topic.pass(), client.pass())
        },
    )?;
    Ok(())
}
