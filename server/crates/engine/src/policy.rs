//! Who may do what (PROTOCOL.md 6.3), as far as it does not hang on tags. It is asked by the operations, and enforces nothing itself.

use cohnect_host::export::Access;
use cohnect_protocol::ops::Scope;
use cohnect_protocol::ops::broadcast::Audience;

/// What clients may do without a further word of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everything, internal actions too: a server for development.
    Dev,
    /// What a game in the open needs.
    Serve,
}

/// Whether a client may call an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Admitted,
    /// Only because this is a server for development, which says so in its log.
    AdmittedInDev,
    Denied,
}

/// What clients may do only because a server is one for development.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leniency {
    Get,
    Set,
    Open,
    Broadcast,
}

impl Leniency {
    /// What a client did, and what would admit it elsewhere.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Get => {
                "a client read a scope that is neither `shared` nor its own; `serve` would refuse it"
            }
            Self::Set => {
                "a client wrote to a scope that is not its own; `serve` would refuse it, and modules may"
            }
            Self::Open => {
                "a client listens on a topic that no `stream_handler` claims; `serve` would refuse it"
            }
            Self::Broadcast => {
                "a client sent a BROADCAST to everyone, to tags or to a topic on which no stage runs; `serve` would refuse it"
            }
        }
    }
}

impl Policy {
    pub(crate) const fn may_get(self, scope: &Scope<'_>) -> bool {
        match (self, scope) {
            (Self::Dev, _) | (Self::Serve, Scope::Shared | Scope::Mine) => true,
            (Self::Serve, Scope::Named(_)) => false,
        }
    }

    pub(crate) const fn may_set(self, scope: &Scope<'_>) -> bool {
        match (self, scope) {
            (Self::Dev, _) | (Self::Serve, Scope::Mine) => true,
            (Self::Serve, Scope::Shared | Scope::Named(_)) => false,
        }
    }

    pub(crate) const fn entry(self, access: Access) -> Entry {
        match (self, access) {
            (_, Access::Clients) => Entry::Admitted,
            (Self::Dev, Access::Internal) => Entry::AdmittedInDev,
            // Nobody is a member of an instance or has a user yet.
            (Self::Serve, Access::Internal) | (_, Access::Members | Access::Users) => Entry::Denied,
        }
    }

    /// `claimed`: a module answers for the topic.
    pub(crate) const fn may_open(self, claimed: bool) -> bool {
        matches!(self, Self::Dev) || claimed
    }

    /// `claimed`: a stage runs on the topic.
    pub(crate) const fn may_broadcast(self, audience: &Audience<'_>, claimed: bool) -> bool {
        match (self, audience) {
            (Self::Dev, _) => true,
            (Self::Serve, Audience::Subscribers) => claimed,
            (Self::Serve, Audience::Everyone | Audience::Tagged(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use cohnect_protocol::ops::Name8;

    use super::*;

    #[test]
    fn the_table_of_section_6_3_holds() {
        let named = Scope::Named(Name8::new("x").unwrap());
        for scope in [Scope::Shared, Scope::Mine, named] {
            assert!(Policy::Dev.may_get(&scope) && Policy::Dev.may_set(&scope));
        }
        let serve = Policy::Serve;
        assert!(serve.may_get(&Scope::Shared) && serve.may_get(&Scope::Mine));
        assert!(serve.may_set(&Scope::Mine));
        assert!(!serve.may_get(&named) && !serve.may_set(&named));
        assert!(!serve.may_set(&Scope::Shared));
        assert_eq!(serve.entry(Access::Internal), Entry::Denied);
        assert_eq!(Policy::Dev.entry(Access::Internal), Entry::AdmittedInDev);
        for policy in [Policy::Dev, serve] {
            assert_eq!(policy.entry(Access::Clients), Entry::Admitted);
            assert_eq!(policy.entry(Access::Users), Entry::Denied);
            assert_eq!(policy.entry(Access::Members), Entry::Denied);
        }
        assert!(serve.may_open(true) && !serve.may_open(false) && Policy::Dev.may_open(false));
        assert!(serve.may_broadcast(&Audience::Subscribers, true));
        assert!(!serve.may_broadcast(&Audience::Subscribers, false));
        assert!(!serve.may_broadcast(&Audience::Everyone, true));
        assert!(Policy::Dev.may_broadcast(&Audience::Everyone, false));
    }
}
