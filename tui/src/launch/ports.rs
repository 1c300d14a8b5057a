//! Addresses for a new cluster.
//!
//! A node keeps its ports for life, and is away from them now and then. So they must not be ephemeral ports: the kernel
//! gives those to outgoing connections, and while a node is down its peers dial it all the time; sooner or later one
//! such connection takes the port (it may even connect to itself), and the node cannot come back. Port 0 would give
//! nothing but ephemeral ports. Free ones are therefore looked for below them, from a random place on, so that clusters
//! started side by side do not meet.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

/// Below the ephemeral range of Linux (32768 and up), macOS and Windows (49152 and up), above well known services.
const RANGE: std::ops::Range<u16> = 17_000..32_000;

/// Between a node's api port and its peer port when ports are counted from a base.
const PEER_STEP: u16 = 100;

/// The two listeners of one node.
pub type Pair = (SocketAddr, SocketAddr);

fn loopback(port: u16) -> SocketAddr {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
}

/// Free addresses for so many nodes.
///
/// # Errors
/// There are not enough.
pub fn free(nodes: usize) -> Result<Vec<Pair>, String> {
    let seed = uuid::Uuid::new_v4().as_u128() % u128::from(RANGE.end - RANGE.start);
    let start = RANGE.start + u16::try_from(seed).unwrap_or(0);
    // The listeners stay open until all are found: no port is found twice.
    let listeners: Vec<(SocketAddr, TcpListener)> = (start..RANGE.end)
        .chain(RANGE.start..start)
        .map(loopback)
        .filter_map(|address| TcpListener::bind(address).ok().map(|listener| (address, listener)))
        .take(2 * nodes)
        .collect();
    if listeners.len() < 2 * nodes {
        let found = listeners.len();
        return Err(format!("{found} free ports in {}..{}, {} are needed", RANGE.start, RANGE.end, 2 * nodes));
    }
    Ok(listeners.chunks_exact(2).map(|pair| (pair[0].0, pair[1].0)).collect())
}

/// Addresses counted from `base`: api `base`, `base + 1`, ..; peers 100 above.
///
/// # Errors
/// One of them is in use.
pub fn from_base(base: u16, nodes: u8) -> Result<Vec<Pair>, String> {
    let pairs = (0..u16::from(nodes)).map(|place| (loopback(base + place), loopback(base + PEER_STEP + place)));
    let pairs: Vec<Pair> = pairs.collect();
    for address in pairs.iter().flat_map(|(api, peer)| [api, peer]) {
        TcpListener::bind(address).map_err(|e| format!("port {} (--base-port {base}): {e}", address.port()))?;
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_are_not_ephemeral() {
        let pairs = free(3).unwrap();
        let mut ports: Vec<u16> = pairs.iter().flat_map(|(api, peer)| [api.port(), peer.port()]).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 6);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }

    #[test]
    fn a_port_in_use_is_named() {
        let (api, _) = free(1).unwrap()[0];
        let _taken = TcpListener::bind(api).unwrap();
        let error = from_base(api.port(), 1).unwrap_err();
        assert!(error.starts_with(&format!("port {0} (--base-port {0}): ", api.port())), "{error}");
    }
}
