//! `clients`: packets to clients, and who is connected.

use cohnect_capabilities::clients::{Addressed, ClientInfo, SendOptions};
use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::clients as wit;
use crate::contract::types::{Audience, ClientId, CloseReason, Error, Opcode, Payload, all};
use crate::store::Host;

impl wit::Host for Host {
    fn send(
        &mut self,
        to: ClientId,
        opcode: Opcode,
        payload: Payload,
        options: wit::SendOptions,
    ) -> Call<Result<(), Error>> {
        self.answer(F::ClientsSend, |c| {
            c.clients_send(to.into(), opcode, payload, options.into())
        })
    }

    fn send_to(
        &mut self,
        to: Audience,
        opcode: Opcode,
        payload: Payload,
        options: wit::SendOptions,
        except: Option<ClientId>,
    ) -> Call<Result<u32, Error>> {
        self.answer(F::ClientsSendTo, |c| {
            c.clients_send_to(
                to.into(),
                opcode,
                payload,
                options.into(),
                except.map(Into::into),
            )
        })
    }

    fn send_each(
        &mut self,
        items: Vec<wit::Addressed>,
        opcode: Opcode,
        options: wit::SendOptions,
    ) -> Call<Result<u32, Error>> {
        self.answer(F::ClientsSendEach, |c| {
            c.clients_send_each(all(items), opcode, options.into())
        })
    }

    fn broadcast(
        &mut self,
        topic: String,
        to: Audience,
        payload: Payload,
        options: wit::SendOptions,
    ) -> Call<Result<u32, Error>> {
        self.answer(F::ClientsBroadcast, |c| {
            c.clients_broadcast(&topic, to.into(), payload, options.into())
        })
    }

    fn online(&mut self, id: ClientId) -> Call<bool> {
        self.plain(F::ClientsOnline, |c| c.clients_online(id.into()))
    }

    fn online_users(&mut self, users: Vec<String>) -> Call<Vec<String>> {
        self.plain(F::ClientsOnlineUsers, |c| c.clients_online_users(&users))
    }

    fn info(&mut self, id: ClientId) -> Call<Result<wit::ClientInfo, Error>> {
        self.answer(F::ClientsInfo, |c| {
            c.clients_info(id.into()).map(Into::into)
        })
    }

    fn ids(
        &mut self,
        who: Audience,
        after: Option<ClientId>,
        limit: u32,
    ) -> Call<Result<Vec<ClientId>, Error>> {
        self.answer(F::ClientsIds, |c| {
            c.clients_ids(&who.into(), after.map(Into::into), limit)
                .map(all)
        })
    }

    fn infos(
        &mut self,
        who: Audience,
        after: Option<ClientId>,
        limit: u32,
    ) -> Call<Result<Vec<wit::ClientInfo>, Error>> {
        self.answer(F::ClientsInfos, |c| {
            c.clients_infos(&who.into(), after.map(Into::into), limit)
                .map(all)
        })
    }

    fn count(&mut self, who: Audience) -> Call<Result<u32, Error>> {
        self.answer(F::ClientsCount, |c| c.clients_count(&who.into()))
    }

    fn disconnect(
        &mut self,
        id: ClientId,
        reason: CloseReason,
        message: String,
    ) -> Call<Result<(), Error>> {
        self.answer(F::ClientsDisconnect, |c| {
            c.clients_disconnect(id.into(), reason.into(), &message)
        })
    }
}

impl From<wit::SendOptions> for SendOptions {
    fn from(value: wit::SendOptions) -> Self {
        Self {
            delivery: value.delivery.into(),
            channel: value.channel,
            version: value.version,
        }
    }
}

impl From<wit::Addressed> for Addressed {
    fn from(value: wit::Addressed) -> Self {
        Self {
            to: value.to.into(),
            payload: value.payload,
        }
    }
}

impl From<ClientInfo> for wit::ClientInfo {
    fn from(value: ClientInfo) -> Self {
        Self {
            id: value.id.into(),
            user: value.user,
            tags: value.tags,
            address: value.address,
            connected_at: value.connected_at,
            last_seen_at: value.last_seen_at,
            rtt: value.rtt,
            protocol_version: value.protocol_version,
        }
    }
}
