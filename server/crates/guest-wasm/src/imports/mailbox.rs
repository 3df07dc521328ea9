//! `mailbox`: messages to other modules, without waiting.

use cohnect_host::function::HostFunction as F;
use wasmtime::Result as Call;

use crate::contract::bindings::cohnect::module::mailbox as wit;
use crate::contract::types::{DurationUs, Error, Payload};
use crate::store::Host;

impl wit::Host for Host {
    fn send(&mut self, module: String, action: String, input: Payload) -> Call<Result<(), Error>> {
        self.answer(F::MailboxSend, |c| c.mailbox_send(&module, &action, input))
    }

    fn request(
        &mut self,
        module: String,
        action: String,
        input: Payload,
        tag: String,
        timeout: DurationUs,
    ) -> Call<Result<(), Error>> {
        self.answer(F::MailboxRequest, |c| {
            c.mailbox_request(&module, &action, input, tag, timeout)
        })
    }
}
