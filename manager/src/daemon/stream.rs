//! A connection, whatever it came by, and what the calls on it know of it.

use crate::api::limits::Peer;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) by: By,
    pub(super) peer: Peer,
}

/// What it came by.
#[derive(Debug)]
pub(super) enum By {
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Stream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.by {
            By::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            By::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.by {
            By::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            By::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.by {
            By::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            By::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.by {
            By::Unix(stream) => stream.is_write_vectored(),
            By::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.by {
            By::Unix(stream) => Pin::new(stream).poll_flush(cx),
            By::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.by {
            By::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            By::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
