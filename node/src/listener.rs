//! What a listener accepts: a bounded number of connections at a time, and no haste when the system has no more.
//!
//! Laws:
//! - at most [`CONNECTIONS_MAX`] connections of one listener are open. Others wait in the system's queue until one closes;
//! - an accept that fails (most often: the process has no file descriptor left) is tried again after a pause, since it
//!   would fail again at once, and trying without one takes a whole core.

use std::{
    convert::Infallible,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

/// Connections at a time, of one listener.
const CONNECTIONS_MAX: usize = 1024;

/// Between an accept that failed and the next.
const PAUSE: Duration = Duration::from_millis(50);

/// The connections of a listener, for tonic to serve.
pub(crate) fn connections(listener: TcpListener) -> impl Stream<Item = Result<Connection, Infallible>> {
    connections_up_to(CONNECTIONS_MAX, listener)
}

fn connections_up_to(limit: usize, listener: TcpListener) -> impl Stream<Item = Result<Connection, Infallible>> {
    stream::unfold((listener, Arc::new(Semaphore::new(limit))), |(listener, room)| async move {
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        let stream = accept(&listener).await;
        Some((Ok(Connection { stream, _permit: permit }), (listener, room)))
    })
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let mut failed = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true); // Fails for one that is closed already, which will show itself.
                return stream;
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    warn!("no connection is accepted for now: {error}");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// A connection, and its place among those of its listener, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use raftdeck_shared::client::channel;
    use tokio::{task::JoinHandle, time::timeout};
    use tonic::transport::Server;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    /// A client on a connection of its own, once it was answered; closes it when it is dropped.
    fn ask(address: &str) -> JoinHandle<HealthClient<tonic::transport::Channel>> {
        let mut client = HealthClient::new(channel(address).unwrap());
        tokio::spawn(async move {
            client.check(HealthCheckRequest::default()).await.unwrap();
            client
        })
    }

    #[tokio::test]
    async fn one_connection_too_many_is_served_when_another_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (_reporter, health) = tonic_health::server::health_reporter();
        tokio::spawn(Server::builder().add_service(health).serve_with_incoming(connections_up_to(2, listener)));
        let first = timeout(BOUND, ask(&address)).await.unwrap().unwrap();
        let _second = timeout(BOUND, ask(&address)).await.unwrap().unwrap();
        let mut third = ask(&address);
        // It has its connection to the system's queue, and would be answered within a millisecond.
        assert!(timeout(Duration::from_millis(100), &mut third).await.is_err(), "two are open");
        drop(first);
        timeout(BOUND, third).await.unwrap().unwrap();
    }
}
