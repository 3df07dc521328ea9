//! What the wire needs of cryptography, each piece behind one file: the packet key, the derivation of keys and cookies, the hasher of maps.
//! The key exchange itself is in `handshake`.

mod keyed_hash;
mod packet_key;

pub use keyed_hash::KeyedState;
pub use packet_key::{AesPacketKey, PacketKey};
