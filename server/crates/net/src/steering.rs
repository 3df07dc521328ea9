//! The kernel's half of the steering: a classic BPF program that computes [`cohnect_protocol::shard_of`] from a datagram, so that a client's datagrams
//! reach its shard whatever address they come from.

use std::os::fd::AsFd;

use cohnect_protocol::SteeringKeys;
use nix::libc::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LEN, BPF_MISC, BPF_MOD,
    BPF_MUL, BPF_RET, BPF_RSH, BPF_TAX, BPF_W, BPF_X, sock_filter, sock_fprog,
};
use nix::sys::socket::{setsockopt, sockopt};

/// Shorter datagrams are no datagrams of this protocol; the kernel's own hash sends them anywhere.
const LEN_MIN: u32 = 64;
/// Where the words of the UUID's text begin that are hashed: its bytes 28 and 32, behind the version's byte.
const FIRST_WORD: u32 = 29;
const SECOND_WORD: u32 = 33;
/// No socket has this number, which makes the kernel choose by its own hash.
const BY_HASH: u32 = u32::MAX;

/// Makes a group of sockets choose by the client. `member` is any socket of the group; they count in the order in which they were bound.
pub(crate) fn attach(member: &impl AsFd, keys: SteeringKeys, shards: u16) -> nix::Result<()> {
    let mut program = program(keys, u32::from(shards.max(1)));
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    setsockopt(member, sockopt::AttachReusePortCbpf, &program)
}

fn program(keys: SteeringKeys, shards: u32) -> [sock_filter; 12] {
    let (k1, k2) = keys.factors();
    [
        step(BPF_LD | BPF_W | BPF_LEN, 0),
        // At least that long: one step further, over the way out.
        sock_filter {
            jt: 1,
            ..step(BPF_JMP | BPF_JGE | BPF_K, LEN_MIN)
        },
        step(BPF_RET | BPF_K, BY_HASH),
        step(BPF_LD | BPF_W | BPF_ABS, FIRST_WORD),
        step(BPF_ALU | BPF_MUL | BPF_K, k1),
        step(BPF_MISC | BPF_TAX, 0),
        step(BPF_LD | BPF_W | BPF_ABS, SECOND_WORD),
        step(BPF_ALU | BPF_ADD | BPF_X, 0),
        step(BPF_ALU | BPF_MUL | BPF_K, k2),
        step(BPF_ALU | BPF_RSH | BPF_K, 16),
        step(BPF_ALU | BPF_MOD | BPF_K, shards),
        step(BPF_RET | BPF_A, 0),
    ]
}

const fn step(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use cohnect_protocol::{PeerId, shard_of};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use crate::Door;

    use super::*;

    /// The socket of the group that gets the datagram.
    fn receiver(sockets: &[UdpSocket]) -> usize {
        let ready = |timeout| {
            let mut fds: Vec<_> = sockets
                .iter()
                .map(|socket| PollFd::new(socket, PollFlags::IN))
                .collect();
            poll(&mut fds, Some(&timeout)).unwrap();
            (0..fds.len())
                .filter(|n| !fds[*n].revents().is_empty())
                .collect::<Vec<_>>()
        };
        let got = ready(FIVE_SECONDS);
        assert_eq!(got.len(), 1);
        sockets[got[0]].recv(&mut [0; 2_048]).unwrap();
        assert!(ready(Timespec::default()).is_empty(), "one got it, once");
        got[0]
    }

    const FIVE_SECONDS: Timespec = Timespec {
        tv_sec: 5,
        tv_nsec: 0,
    };

    #[test]
    fn the_kernel_and_the_server_agree_for_1_to_16_shards() {
        let keys = SteeringKeys::new(0x9e37_79b9, 0x85eb_ca6b);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for shards in 1..=16_u16 {
            let door = Door::open("127.0.0.1:0".parse().unwrap(), shards, keys).unwrap();
            assert_eq!(door.shards(), shards);
            for n in 0..48_u128 {
                let id =
                    PeerId::from_u128(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
                let mut datagram = vec![1_u8];
                datagram.extend_from_slice(&id.text());
                datagram.resize(64 + n as usize * 20, 0);
                client.send_to(&datagram, door.address()).unwrap();
                let expected = shard_of(&id.text(), keys, u32::from(shards));
                assert_eq!(receiver(door.sockets()), expected as usize, "{shards}");
            }
        }
    }

    #[test]
    fn short_datagrams_are_nobodys_and_harm_nobody() {
        let keys = SteeringKeys::new(3, 5);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let door = Door::open("127.0.0.1:0".parse().unwrap(), 4, keys).unwrap();
        for len in [0, 1, 28, 29, 32, 33, 36, 37, 63] {
            let datagram = vec![7_u8; len];
            client.send_to(&datagram, door.address()).unwrap();
            receiver(door.sockets());
        }
    }
}
