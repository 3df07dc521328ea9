//! The metered table: every function that a module can call, its interface, its sort and its cost. A host function without a row here does not exist;
//! this is the one place for grants, quotas, cost and, later, recording.

/// An interface that modules import, by the name it has in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interface {
    /// `clients`
    Clients,
    /// `tags`
    Tags,
    /// `state`
    State,
    /// `mailbox`
    Mailbox,
    /// `feature-flags`
    FeatureFlags,
    /// `logging`
    Logging,
    /// `streams`
    Streams,
    /// `clock`
    Clock,
    /// `timers`
    Timers,
    /// `signals`
    Signals,
    /// `random`
    Random,
    /// `config`
    Config,
    /// `db`
    Db,
    /// `modules`
    Modules,
}

impl Interface {
    /// Whether it answers while a module's code is loaded and described, when nothing it does may have an effect yet.
    #[must_use]
    pub const fn answers_at_load(self) -> bool {
        matches!(self, Self::Logging | Self::Config | Self::FeatureFlags)
    }

    /// Every interface, in the order of the contract.
    pub const ALL: [Self; 14] = [
        Self::Clients,
        Self::Tags,
        Self::State,
        Self::Mailbox,
        Self::FeatureFlags,
        Self::Logging,
        Self::Streams,
        Self::Clock,
        Self::Timers,
        Self::Signals,
        Self::Random,
        Self::Config,
        Self::Db,
        Self::Modules,
    ];

    /// Its name in the contract: kebab-case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Tags => "tags",
            Self::State => "state",
            Self::Mailbox => "mailbox",
            Self::FeatureFlags => "feature-flags",
            Self::Logging => "logging",
            Self::Streams => "streams",
            Self::Clock => "clock",
            Self::Timers => "timers",
            Self::Signals => "signals",
            Self::Random => "random",
            Self::Config => "config",
            Self::Db => "db",
            Self::Modules => "modules",
        }
    }

    /// The interface of this name, in kebab-case or snake_case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|i| {
            i.name().len() == name.len()
                && i.name()
                    .bytes()
                    .zip(name.bytes())
                    .all(|(a, b)| a == b || (a == b'-' && b == b'_'))
        })
    }

    /// Whether importing it moves a module to a worker.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Db | Self::Modules)
    }
}

/// What a host function does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Reads a shared structure, or the call's own; returns at once.
    Query,
    /// Changes a shared structure at once.
    Write,
    /// Is checked and counted at once and carried out after the call, in order.
    Effect,
    /// Waits for a backend or another module; workers only.
    Wait,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The interface it belongs to.
    pub interface: Interface,
    /// Its name in the contract.
    pub name: &'static str,
    /// What it does to the world.
    pub sort: Sort,
    /// What it takes from a call's quota of host calls.
    pub cost: u32,
}

impl Row {
    /// Its name as people write it: of a method, the resource's and its own.
    #[must_use]
    pub fn plain_name(&self) -> &'static str {
        self.name
            .split_once(']')
            .map_or(self.name, |(_, plain)| plain)
    }
}

macro_rules! table {
    ($($variant:ident = $interface:ident, $name:literal, $sort:ident, $cost:literal;)*) => {
        /// A function of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum HostFunction {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl HostFunction {
            /// Every function, in the order of the contract.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its row.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        interface: Interface::$interface,
                        name: $name,
                        sort: Sort::$sort,
                        cost: $cost,
                    },)*
                }
            }
        }
    };
}

table! {
    ClientsSend = Clients, "send", Effect, 1;
    ClientsSendTo = Clients, "send-to", Effect, 4;
    ClientsSendEach = Clients, "send-each", Effect, 4;
    ClientsBroadcast = Clients, "broadcast", Effect, 4;
    ClientsOnline = Clients, "online", Query, 1;
    ClientsOnlineUsers = Clients, "online-users", Query, 2;
    ClientsInfo = Clients, "info", Query, 1;
    ClientsIds = Clients, "ids", Query, 8;
    ClientsInfos = Clients, "infos", Query, 16;
    ClientsCount = Clients, "count", Query, 4;
    ClientsDisconnect = Clients, "disconnect", Effect, 1;
    TagsAdd = Tags, "add", Write, 1;
    TagsRemove = Tags, "remove", Write, 1;
    TagsReplace = Tags, "replace", Write, 2;
    TagsHas = Tags, "has", Query, 1;
    TagsOf = Tags, "of", Query, 1;
    StateGet = State, "get", Query, 1;
    StateGetMany = State, "get-many", Query, 4;
    StateScan = State, "scan", Query, 16;
    StateSet = State, "set", Write, 1;
    StateCompareAndSet = State, "compare-and-set", Write, 1;
    StateAdd = State, "add", Write, 1;
    StateRemove = State, "remove", Write, 1;
    StateApply = State, "apply", Write, 4;
    MailboxSend = Mailbox, "send", Effect, 1;
    MailboxRequest = Mailbox, "request", Effect, 1;
    FeatureFlagsEnabled = FeatureFlags, "enabled", Query, 1;
    FeatureFlagsEnabledFor = FeatureFlags, "enabled-for", Query, 1;
    FeatureFlagsValue = FeatureFlags, "value", Query, 1;
    LoggingEnabled = Logging, "enabled", Query, 1;
    LoggingLog = Logging, "log", Effect, 4;
    StreamsPublish = Streams, "publish", Effect, 4;
    StreamsPublishOne = Streams, "publish-one", Effect, 1;
    StreamsFinish = Streams, "finish", Effect, 4;
    StreamsAttach = Streams, "attach", Effect, 1;
    StreamsDetach = Streams, "detach", Effect, 1;
    ClockNow = Clock, "now", Query, 1;
    ClockMonotonic = Clock, "monotonic", Query, 1;
    ClockRemaining = Clock, "remaining", Query, 1;
    ClockCivil = Clock, "civil", Query, 2;
    ClockNextDue = Clock, "next-due", Query, 8;
    TimersSet = Timers, "set", Effect, 1;
    TimersEvery = Timers, "every", Effect, 1;
    TimersCancel = Timers, "cancel", Effect, 1;
    TimersDue = Timers, "due", Query, 1;
    TimersSetTickRate = Timers, "set-tick-rate", Effect, 1;
    SignalsRaise = Signals, "raise", Effect, 1;
    RandomNext = Random, "next", Query, 1;
    RandomNumber = Random, "number", Query, 1;
    RandomInteger = Random, "integer", Query, 1;
    RandomBytes = Random, "bytes", Query, 1;
    ConfigGet = Config, "get", Query, 1;
    ConfigSecret = Config, "secret", Query, 1;
    DbQuery = Db, "query", Wait, 16;
    DbExecute = Db, "execute", Wait, 16;
    DbExecuteBatch = Db, "execute-batch", Wait, 64;
    DbBegin = Db, "begin", Wait, 16;
    DbOpen = Db, "open", Wait, 16;
    DbTransactionQuery = Db, "[method]transaction.query", Wait, 16;
    DbTransactionExecute = Db, "[method]transaction.execute", Wait, 16;
    DbTransactionCommit = Db, "[static]transaction.commit", Wait, 16;
    DbTransactionRollback = Db, "[static]transaction.rollback", Wait, 16;
    DbCursorColumns = Db, "[method]cursor.columns", Query, 1;
    DbCursorNext = Db, "[method]cursor.next", Wait, 16;
    ModulesCall = Modules, "call", Wait, 16;
    ModulesLoaded = Modules, "loaded", Query, 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_that_wait_have_functions_that_wait() {
        for function in HostFunction::ALL {
            let row = function.row();
            assert!(
                row.sort != Sort::Wait || row.interface.waits(),
                "{function:?}"
            );
            assert!(
                row.cost > 0,
                "{function:?} must cost something, or a loop over it is free"
            );
        }
    }

    #[test]
    fn an_interface_is_found_by_either_spelling() {
        assert_eq!(
            Interface::named("feature-flags"),
            Some(Interface::FeatureFlags)
        );
        assert_eq!(
            Interface::named("feature_flags"),
            Some(Interface::FeatureFlags)
        );
        assert_eq!(Interface::named("feature flags"), None);
        assert_eq!(Interface::named("sockets"), None);
    }
}
