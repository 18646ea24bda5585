//! Owns the in-memory transport: devices of one process that reach each other by name. What a
//! request under way is and how it ends is `exchange`'s.

mod exchange;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Address, FrameStream, PeerAddress, ServerHandle, SyncHandler, SyncTransport, TransportContext,
    TransportError, TransportErrorKind, check_request,
    memory::exchange::{Exchange, Ticket},
};

/// The scheme of addresses and the transport's name.
const SCHEME: &str = "memory";
/// Starts the names that the network gives out; no device may choose one.
const GIVEN: char = '*';

/// A lock whose holders leave the value whole even when they panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the devices of one process meet. Clones are the same network; two networks never
/// touch.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    names: Arc<Mutex<Names>>,
}

#[derive(Default)]
struct Names {
    given: u64,
    listening: HashMap<String, Arc<Listener>>,
}

impl Names {
    fn give(&mut self) -> String {
        self.given += 1;
        format!("{GIVEN}{}", self.given)
    }
}

impl MemoryNetwork {
    /// A network where nobody listens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens under the name, or under a new one without it.
    fn listen(
        &self,
        name: Option<&str>,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<MemoryServer, TransportError> {
        let refused = |why: &str, name: &str| {
            let message = format!("cannot listen in memory: {why}. name=`{name}`");
            TransportError::new(TransportErrorKind::Listen, message)
        };
        let mut names = lock(&self.names);
        let name = match name {
            Some(name) if name.is_empty() || name.starts_with(GIVEN) || name.contains('@') => {
                return Err(refused(
                    "a name is not empty, has no `@` and no `*` in front",
                    name,
                ));
            }
            Some(name) if names.listening.contains_key(name) => {
                return Err(refused("the name is taken", name));
            }
            Some(name) => name.to_owned(),
            None => names.give(),
        };
        let listener = Arc::new(Listener {
            handler,
            open: Mutex::new(Some(Open::default())),
        });
        names.listening.insert(name.clone(), listener.clone());
        Ok(MemoryServer {
            network: self.clone(),
            name,
            listener,
        })
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = lock(&self.names);
        f.debug_struct("MemoryNetwork")
            .field("listening", &names.listening.keys())
            .finish()
    }
}

/// One device's end of a [`MemoryNetwork`]; proves no identities.
///
/// It needs no runtime: the handler runs in the task that asks and reads. So a stopped server
/// leaves nothing behind, and an unread answer costs nothing.
///
/// ```
/// use eidetica_transport::{MemoryNetwork, MemoryTransport, SyncTransport};
///
/// let network = MemoryNetwork::new();
/// let alice = MemoryTransport::new(&network).with_name("alice");
/// assert!(alice.can_handle_address(&"memory://bob".parse::<eidetica_transport::PeerAddress>()?.address));
/// # Ok::<(), eidetica_transport::AddressError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    name: Option<String>,
    caller: Address,
}

impl MemoryTransport {
    /// A device that listens under a new name (`memory://*1`) whenever it starts to.
    pub fn new(network: &MemoryNetwork) -> Self {
        let caller = Address::new(SCHEME, lock(&network.names).give());
        Self {
            network: network.clone(),
            name: None,
            caller,
        }
    }

    /// Listens as `memory://NAME` instead. `*` means a new name; else a name is not empty, does
    /// not start with `*` and contains no `@`, which is checked when it starts to listen.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.name = (name != "*").then_some(name);
        if let Some(name) = &self.name {
            self.caller = Address::new(SCHEME, name);
        }
        self
    }
}

#[async_trait]
impl SyncTransport for MemoryTransport {
    fn transport_type(&self) -> &'static str {
        SCHEME
    }

    fn can_handle_address(&self, address: &Address) -> bool {
        address.scheme() == SCHEME && !address.rest().is_empty()
    }

    async fn send_request(
        &self,
        to: &PeerAddress,
        request: Bytes,
    ) -> Result<FrameStream, TransportError> {
        check_request(self, &to.address, &request)?;
        let context = TransportContext {
            transport: SCHEME,
            remote_address: Some(self.caller.clone()),
            proven: None,
        };
        let listener = lock(&self.network.names)
            .listening
            .get(to.address.rest())
            .cloned();
        let ticket = listener.and_then(|listener| listener.accept(context, request));
        let ticket = ticket.ok_or_else(|| {
            let message = format!("nobody listens there: address=`{}`", to.address);
            TransportError::new(TransportErrorKind::Unreachable, message)
        })?;
        ticket.answered().await
    }

    async fn start_server(
        &self,
        handler: Arc<dyn SyncHandler>,
    ) -> Result<Box<dyn ServerHandle>, TransportError> {
        Ok(Box::new(
            self.network.listen(self.name.as_deref(), handler)?,
        ))
    }
}

/// Who answers under a name, and what is under way there.
struct Listener {
    handler: Arc<dyn SyncHandler>,
    /// `None` once stopped.
    open: Mutex<Option<Open>>,
}

#[derive(Default)]
struct Open {
    accepted: u64,
    exchanges: HashMap<u64, Arc<Exchange>>,
}

impl Listener {
    /// Begins an exchange, unless stopped.
    fn accept(self: Arc<Self>, context: TransportContext, request: Bytes) -> Option<Ticket> {
        let handler = self.handler.clone();
        let answer = async move { handler.handle_request(context, request).await };
        let exchange = Arc::new(Exchange::new(Box::pin(answer)));
        let number = {
            let mut open = lock(&self.open);
            let open = open.as_mut()?;
            open.accepted += 1;
            open.exchanges.insert(open.accepted, exchange.clone());
            open.accepted
        };
        let listener = self;
        let forget = move || {
            if let Some(open) = lock(&listener.open).as_mut() {
                open.exchanges.remove(&number);
            }
        };
        Some(Ticket::new(exchange, Box::new(forget)))
    }

    fn stop(&self) {
        let open = lock(&self.open).take();
        for exchange in open
            .into_iter()
            .flat_map(|open| open.exchanges.into_values())
        {
            exchange.stop();
        }
    }
}

/// A name that is listened on until stopped or dropped.
struct MemoryServer {
    network: MemoryNetwork,
    name: String,
    listener: Arc<Listener>,
}

impl MemoryServer {
    fn end(&self) {
        let mut names = lock(&self.network.names);
        if names
            .listening
            .get(&self.name)
            .is_some_and(|l| Arc::ptr_eq(l, &self.listener))
        {
            names.listening.remove(&self.name);
        }
        drop(names);
        self.listener.stop();
    }
}

impl fmt::Debug for MemoryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryServer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ServerHandle for MemoryServer {
    fn addresses(&self) -> Vec<Address> {
        vec![Address::new(SCHEME, &self.name)]
    }

    async fn stop(&self) {
        self.end();
    }
}

impl Drop for MemoryServer {
    fn drop(&mut self) {
        self.end();
    }
}
