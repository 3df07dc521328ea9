//! `streams` for scripts: written from `wit/streams.wit` by `module-sdk/generator`. Do not edit.

use cohnect_capabilities::{ClientId, Delivery, Payload};
use cohnect_host::function::HostFunction;

use crate::binding::Binder;
use crate::convert::{Arg, Need, Pass};

pub(crate) fn bind(binder: &Binder<'_>) -> mlua::Result<()> {
    binder.fallible(
        "publish",
        HostFunction::StreamsPublish,
        &["topic", "payload", "delivery"],
        |entered,
         (Need(mut topic), Need(mut payload), Arg(mut delivery)): (
            Need<String>,
            Need<Payload>,
            Arg<Delivery>,
        )| { entered.streams_publish(topic.pass(), payload.pass(), delivery.pass()) },
    )?;
    binder.fallible(
        "publish_one",
        HostFunction::StreamsPublishOne,
        &["topic", "to", "payload", "delivery"],
        |entered,
         (Need(mut topic), Need(mut to), Need(mut payload), Arg(mut delivery)): (
            Need<String>,
            Need<ClientId>,
            Need<Payload>,
            Arg<Delivery>,
        )| {
            entered.streams_publish_one(topic.pass(), to.pass(), payload.pass(), delivery.pass())
        },
    )?;
    binder.fallible(
        "finish",
        HostFunction::StreamsFinish,
        &["topic", "reason"],
        |entered, (Need(mut topic), Need(mut reason)): (Need<String>, Need<String>)| {
            entered.streams_finish(topic.pass(), reason.pass())
        },
    )?;
    binder.fallible(
        "attach",
        HostFunction::StreamsAttach,
        &["topic", "client"],
        |entered, (Need(mut topic), Need(mut client)): (Need<String>, Need<ClientId>)| {
            entered.streams_attach(topic.pass(), client.pass())
        },
    )?;
    binder.fallible(
        "detach",
        HostFunction::StreamsDetach,
        &["topic", "client"],
        |entered, (Need(mut topic), Need(mut client)): (Need<String>, Need<ClientId>)| {
            entered.streams_detach(topic.pass(), client.pass())
        },
    )?;
    Ok(())
}
