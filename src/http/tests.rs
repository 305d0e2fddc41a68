use std::net::{IpAddr, SocketAddr};

use http::{Request, request::Parts};

use super::ClientAddress;

fn request(peer: &str, forwarded: &[&str]) -> Parts {
    let mut request = Request::new(());
    let peer: SocketAddr = peer.parse().expect("an address");
    request.extensions_mut().insert(peer);
    for value in forwarded {
        request.headers_mut().append("x-forwarded-for", value.parse().expect("a value"));
    }
    request.into_parts().0
}

#[test]
fn a_client_is_who_called_the_first_trusted_proxy() {
    let nobody = || ClientAddress::of_peer(|peer: &SocketAddr| peer.ip());
    let trusting = nobody().trust("10.0.0.0/8").and_then(|client| client.trust("fd00::1")).expect("networks");
    let forged = ["1.1.1.1, 2.2.2.2"];
    let cases: [(&ClientAddress, &str, &[&str], &str); 12] = [
        (&nobody(), "203.0.113.1:80", &forged, "203.0.113.1"),
        (&nobody(), "10.0.0.1:80", &forged, "10.0.0.1"),
        (&trusting, "203.0.113.1:80", &forged, "203.0.113.1"),
        (&trusting, "10.0.0.1:80", &forged, "2.2.2.2"),
        (&trusting, "10.0.0.1:80", &["1.1.1.1, 2.2.2.2, 10.3.0.1"], "2.2.2.2"),
        (&trusting, "10.0.0.1:80", &["1.1.1.1", "2.2.2.2, 10.3.0.1"], "2.2.2.2"),
        (&trusting, "10.0.0.1:80", &["2.2.2.2:4711"], "2.2.2.2"),
        (&trusting, "10.0.0.1:80", &["[2001:db8::1]:4711"], "2001:db8::1"),
        (&trusting, "[fd00::1]:80", &["[2001:db8::1]"], "2001:db8::1"),
        (&trusting, "[::ffff:10.0.0.1]:80", &["::ffff:2.2.2.2"], "2.2.2.2"),
        // What can't be read ends the way there.
        (&trusting, "10.0.0.1:80", &["2.2.2.2, unknown"], "10.0.0.1"),
        (&trusting, "10.0.0.1:80", &[], "10.0.0.1"),
    ];
    for (client, peer, forwarded, expected) in cases {
        let expected: IpAddr = expected.parse().expect("an address");
        assert_eq!(client.of(&request(peer, forwarded)), Some(expected), "{peer} {forwarded:?}");
    }
    assert_eq!(trusting.of(&Request::new(()).into_parts().0), None, "a server that tells no peer");
    assert!(nobody().trust("10.0.0.0/33").is_err());
    for mapped in ["::ffff:10.0.0.0/104", "::ffff:10.0.0.1"] {
        let trusting = nobody().trust(mapped).expect("a network");
        for peer in ["10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            let expected: IpAddr = "2.2.2.2".parse().expect("an address");
            assert_eq!(trusting.of(&request(peer, &["2.2.2.2"])), Some(expected), "{mapped} {peer}");
        }
    }
}

#[test]
fn an_anonymous_client_is_a_network_of_one_customer() {
    let network = |address: &str| ClientAddress::network(address.parse().expect("an address"));
    for address in ["203.0.113.7", "0.0.0.0", "255.255.255.255", "10.20.30.40", "1.22.100.99", "9.10.200.101"]
    {
        assert_eq!(network(address)[..], *address.as_bytes());
    }
    assert_eq!(network("2001:db8:1:2:3:4:5:6")[..], *b"2001:db8:1:2::/64");
    assert_eq!(network("fedc:ba98:7654:3210:f:f:f:f")[..], *b"fedc:ba98:7654:3210::/64");
    assert_eq!(network("2001:db8:1:2::9"), network("2001:db8:1:2:ffff::1"));
}
