//! Owns asking a device anything that the protocol can say, as other programs might.

use std::future::poll_fn;

use bytes::Bytes;
use eidetica::{
    Instance,
    sync::{Answer, ChannelIdentity, Request, SecureClient},
    transport::{MemoryNetwork, MemoryTransport, PeerAddress, SyncTransport},
};

/// Every frame of the answer to a request, made with a device's key.
pub(crate) async fn ask(
    device: &Instance,
    network: &MemoryNetwork,
    to: &PeerAddress,
    request: &Request,
) -> Vec<Answer> {
    ask_over(&MemoryTransport::new(network), device, to, request.encode()).await
}

/// Every frame of the answer to any bytes at all, over any transport; QUIC must have been made with
/// the device's key.
pub(crate) async fn ask_over(
    transport: &dyn SyncTransport,
    device: &Instance,
    to: &PeerAddress,
    request: Bytes,
) -> Vec<Answer> {
    let identity = ChannelIdentity::generate(device.storage().device_key()).unwrap();
    let client = SecureClient::new(identity).with_proving_transport("quic");
    let (_, mut frames) = client.request(transport, to, request).await.unwrap();
    let mut answers = Vec::new();
    while let Some(frame) = poll_fn(|cx| frames.as_mut().poll_next(cx)).await {
        answers.push(Answer::decode(&frame.unwrap()).unwrap());
    }
    answers
}
