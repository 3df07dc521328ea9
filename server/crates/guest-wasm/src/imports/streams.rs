//! `streams`: server-to-client topics.

use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::streams as wit;
use crate::contract::types::{ClientId, Delivery, Error, Payload};
use crate::store::Host;

impl wit::Host for Host {
    fn publish(
        &mut self,
        topic: String,
        payload: Payload,
        delivery: Delivery,
    ) -> Call<Result<u32, Error>> {
        self.answer(F::StreamsPublish, |c| {
            c.streams_publish(&topic, payload, delivery.into())
        })
    }

    fn publish_one(
        &mut self,
        topic: String,
        to: ClientId,
        payload: Payload,
        delivery: Delivery,
    ) -> Call<Result<(), Error>> {
        self.answer(F::StreamsPublishOne, |c| {
            c.streams_publish_one(&topic, to.into(), payload, delivery.into())
        })
    }

    fn finish(&mut self, topic: String, reason: String) -> Call<Result<u32, Error>> {
        self.answer(F::StreamsFinish, |c| c.streams_finish(&topic, &reason))
    }

    fn attach(&mut self, topic: String, client: ClientId) -> Call<Result<(), Error>> {
        self.answer(F::StreamsAttach, |c| {
            c.streams_attach(&topic, client.into())
        })
    }

    fn detach(&mut self, topic: String, client: ClientId) -> Call<Result<bool, Error>> {
        self.answer(F::StreamsDetach, |c| {
            c.streams_detach(&topic, client.into())
        })
    }
}
