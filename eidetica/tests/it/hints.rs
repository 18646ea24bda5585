//! Owns the tests of addresses that peers name of themselves: whose are kept, and which.

use std::sync::Arc;

use eidetica::{
    Instance, PeerAddress,
    sync::{Answer, Hello, Request, SUPPORTED_VERSIONS},
    transport::{MemoryNetwork, MemoryTransport},
};

use crate::{
    devices::{join, shared},
    raw,
};

async fn instance(network: &MemoryNetwork) -> Instance {
    let transport = Arc::new(MemoryTransport::new(network));
    Instance::builder()
        .transport(transport)
        .open()
        .await
        .unwrap()
}

/// Says where a device pretends to listen.
async fn name(device: &Instance, network: &MemoryNetwork, to: &PeerAddress, listen: &[&str]) {
    let hello = Request::Hello(Hello {
        versions: SUPPORTED_VERSIONS,
        capabilities: Vec::new(),
        listen: listen.iter().map(ToString::to_string).collect(),
    });
    let answer = raw::ask(device, network, to, &hello).await;
    assert!(matches!(answer[..], [Answer::Hello(_)]), "{answer:?}");
}

/// The addresses that a device would try to reach a peer at.
async fn known(device: &Instance, peer: &Instance) -> Vec<String> {
    let peers = device.sync().peers().await.unwrap();
    let found = peers.iter().find(|p| p.key == peer.public_key());
    found.map_or(Vec::new(), |peer| {
        let addresses = peer.addresses.iter();
        addresses.map(|a| a.address.address.to_string()).collect()
    })
}

#[tokio::test]
async fn addresses_of_a_peer_that_is_synced_with_are_kept_if_they_can_be_another_devices() {
    let network = MemoryNetwork::new();
    let (hub, friend) = (instance(&network).await, instance(&network).await);
    let ours = shared(&friend, &hub).await;
    let at_friend = friend.sync().accept_connections("memory").await.unwrap();
    join(&hub, &ours, &at_friend).await;
    let at_hub = hub.sync().accept_connections("memory").await.unwrap();

    let reached = at_friend[0].address.to_string();
    let hostile = [
        "quic://127.0.0.1:22",
        "http://169.254.169.254:80",
        "https://[::ffff:127.0.0.1]:443",
        "http+unix:///run/docker.sock",
        "quic://localhost:1",
    ];
    name(&friend, &network, &at_hub[0], &hostile).await;
    assert_eq!(known(&hub, &friend).await, [reached.as_str()]);

    let honest = "quic://192.0.2.7:4433";
    let both = [&hostile[..], &[honest]].concat();
    name(&friend, &network, &at_hub[0], &both).await;
    assert_eq!(known(&hub, &friend).await, [reached.as_str(), honest]);

    // There is room for sixteen beside what was reached, which stays first. What it named before
    // and names no more goes.
    let many: Vec<_> = (0..16).map(|n| format!("quic://192.0.2.{n}:1")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    name(&friend, &network, &at_hub[0], &many).await;
    let known = known(&hub, &friend).await;
    assert_eq!((known.len(), &known[0]), (17, &reached));
    assert_eq!(known[1..], many);
}

#[tokio::test]
async fn addresses_of_strangers_are_not_kept() {
    let network = MemoryNetwork::new();
    let (hub, stranger) = (instance(&network).await, instance(&network).await);
    let at_hub = hub.sync().accept_connections("memory").await.unwrap();
    name(&stranger, &network, &at_hub[0], &["quic://192.0.2.7:4433"]).await;
    assert_eq!(hub.sync().peers().await.unwrap(), []);
}
