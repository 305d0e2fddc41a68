//! Whose address a request comes from, through proxies that are trusted and no others.

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr},
};

use arrayvec::{ArrayString, ArrayVec};
use http::{Extensions, request::Parts};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::NetworkError;

/// The field in which proxies say for whom they speak.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Of an IPv6 address the bits that one customer does not choose.
const CUSTOMER_BITS: u8 = 64;
/// Those before the address of IPv4 in one of IPv6 that it is mapped to.
const MAPPED_BITS: u8 = 96;

/// Text; the longest is an IPv6 address of 39 bytes, with `/64`.
pub(super) type Network = ArrayVec<u8, 48>;

type Peer = dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync;

/// Tells the address of a request's client.
///
/// It is the peer's of the connection, whatever the request says. Only where that is a proxy in a network that was named
/// with [`trust`](ClientAddress::trust), `X-Forwarded-For` is read, from its end: what a trusted proxy has put there is the
/// address it was called from. The first that is not trusted is the client's; what stands before it, anybody may have
/// written.
///
/// ```
/// # use std::net::SocketAddr;
/// use tollgate::http::ClientAddress;
///
/// // In axum: `ConnectInfo<SocketAddr>`, with `|info| info.0.ip()`.
/// let client = ClientAddress::of_peer(|peer: &SocketAddr| peer.ip()).trust("10.0.0.0/8")?;
/// # let _ = client;
/// # Ok::<(), tollgate::http::NetworkError>(())
/// ```
pub struct ClientAddress {
    peer: Box<Peer>,
    trusted: Vec<IpNet>,
}

impl ClientAddress {
    /// From what the server puts into a request's extensions about the connection.
    pub fn of_peer<T>(address: impl Fn(&T) -> IpAddr + Send + Sync + 'static) -> ClientAddress
    where
        T: Send + Sync + 'static,
    {
        let peer = move |extensions: &Extensions| extensions.get::<T>().map(&address);
        ClientAddress { peer: Box::new(peer), trusted: Vec::new() }
    }

    /// Believes what proxies in `network` say about whom they speak for: `10.0.0.0/8`, `fd00::/8`, or one address. An address of
    /// IPv4 that is written as one of IPv6 (`::ffff:10.0.0.1`) is the same.
    ///
    /// # Errors
    ///
    /// If it is no network.
    pub fn trust(mut self, network: &str) -> Result<ClientAddress, NetworkError> {
        let address = || network.parse::<IpAddr>().map(IpNet::from);
        let parsed = network.parse::<IpNet>().or_else(|_| address());
        let parsed = parsed.map_err(|_| NetworkError { text: network.to_owned() })?;
        self.trusted.push(canonical(parsed));
        Ok(self)
    }

    /// The address of the client of `request`; `None` where the server does not tell the peer's.
    pub fn of(&self, request: &Parts) -> Option<IpAddr> {
        let mut address = (self.peer)(&request.extensions)?.to_canonical();
        if !self.trusts(&address) {
            return Some(address);
        }
        let fields = request.headers.get_all(FORWARDED_FOR);
        let fields: Vec<&[u8]> = fields.iter().map(|value| value.as_bytes()).collect();
        let mut hops = fields.iter().rev().flat_map(|field| field.rsplit(|byte| *byte == b','));
        while self.trusts(&address) {
            match hops.next().and_then(hop) {
                Some(before) => address = before,
                // Nothing more is said, or nothing that can be read: the last that was believed it is.
                None => break,
            }
        }
        Some(address)
    }

    fn trusts(&self, address: &IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// The network of one customer that `address` is of, as text.
    pub(super) fn network(address: IpAddr) -> Network {
        let mut text = Network::new();
        match address {
            IpAddr::V4(address) => write_plainly(&mut text, address),
            IpAddr::V6(address) => {
                let mut display = ArrayString::<48>::new();
                let written = match Ipv6Net::new(address, CUSTOMER_BITS) {
                    Ok(network) => write!(display, "{}", network.trunc()),
                    Err(_) => write!(display, "{address}"),
                };
                // The longest fits.
                debug_assert!(written.is_ok(), "{display}");
                text.extend(display.bytes());
            }
        }
        text
    }
}

/// Writes what `Display` does, at a tenth of the instructions: it is done for each request without a credential.
fn write_plainly(text: &mut Network, address: Ipv4Addr) {
    // The longest fits.
    let mut put = |byte: u8| _ = text.try_push(byte);
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
}

/// A network of IPv4 where it is one that is written as of IPv6, as addresses are looked for in it.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let inner = mapped.prefix_len().checked_sub(MAPPED_BITS).zip(mapped.addr().to_ipv4_mapped());
    let inner = inner.and_then(|(bits, address)| Ipv4Net::new(address, bits).ok());
    inner.map_or(network, IpNet::V4)
}

/// An address, perhaps in brackets, perhaps with a port.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim();
    let address = text.parse().or_else(|_| text.parse().map(|peer: std::net::SocketAddr| peer.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.ok().or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientAddress").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}
