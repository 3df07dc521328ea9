//! How a converted argument is handed to the host: lent or given, as the host's function asks for it. The bindings say `pass()` everywhere and leave the rest
//! to the types.

use bytes::Bytes;
use cohnect_capabilities::ClientId;

use super::Seconds;

/// Lends or gives an argument in the form that the host's function asks for.
pub(crate) trait Pass<'a, T> {
    fn pass(&'a mut self) -> T;
}

macro_rules! pass_copies {
    ($($type:ty),*) => {$(
        impl Pass<'_, $type> for $type {
            fn pass(&mut self) -> $type {
                *self
            }
        }
    )*};
}

pass_copies!(
    bool,
    u8,
    u16,
    u32,
    u64,
    i32,
    i64,
    f64,
    ClientId,
    Option<ClientId>,
    cohnect_capabilities::clients::SendOptions,
    cohnect_capabilities::CloseReason,
    cohnect_capabilities::Delivery,
    cohnect_capabilities::logging::Level,
    cohnect_capabilities::db::Isolation
);

macro_rules! pass_owned {
    ($($type:ty),*) => {$(
        impl Pass<'_, $type> for $type {
            fn pass(&mut self) -> $type {
                core::mem::take(self)
            }
        }
        impl<'a> Pass<'a, &'a $type> for $type {
            fn pass(&'a mut self) -> &'a $type {
                self
            }
        }
    )*};
}

pass_owned!(Bytes, String, cohnect_capabilities::feature_flags::Subject);

impl Pass<'_, u64> for Seconds {
    fn pass(&mut self) -> u64 {
        self.0
    }
}

impl<'a> Pass<'a, &'a str> for String {
    fn pass(&'a mut self) -> &'a str {
        self
    }
}

impl<'a> Pass<'a, Option<&'a str>> for Option<String> {
    fn pass(&'a mut self) -> Option<&'a str> {
        self.as_deref()
    }
}

impl<T> Pass<'_, Self> for Vec<T> {
    fn pass(&mut self) -> Self {
        core::mem::take(self)
    }
}

impl<'a, T> Pass<'a, &'a [T]> for Vec<T> {
    fn pass(&'a mut self) -> &'a [T] {
        self
    }
}

impl<'a> Pass<'a, &'a Self> for cohnect_capabilities::Scope {
    fn pass(&'a mut self) -> &'a Self {
        self
    }
}

impl<'a> Pass<'a, &'a Self> for cohnect_capabilities::Audience {
    fn pass(&'a mut self) -> &'a Self {
        self
    }
}

impl Pass<'_, Self> for cohnect_capabilities::Audience {
    fn pass(&mut self) -> Self {
        core::mem::replace(self, Self::Everyone)
    }
}
