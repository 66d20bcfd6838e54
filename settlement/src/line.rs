//! Lines that come over a socket, bounded while they are read.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The lines of a socket.
pub(crate) struct Lines<R> {
    from: R,
    bytes: Vec<u8>,
    /// Up to here no line ends.
    seen: usize,
    len_max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(from: R, len_max: usize) -> Self {
        Self { from, bytes: Vec::new(), seen: 0, len_max }
    }

    /// The next line without its end; `None` where the socket ends. May be dropped while it waits.
    ///
    /// # Errors
    ///
    /// As the socket says, or when a line is too long.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let end = self.bytes[self.seen..].iter().position(|byte| *byte == b'\n');
            let end = end.map(|end| self.seen + end);
            // Also where all of a long line came at once.
            if end.unwrap_or(self.bytes.len()) > self.len_max {
                let text = format!("a line has at most {} bytes", self.len_max);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            if let Some(end) = end {
                let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
                line.pop();
                self.seen = 0;
                return Ok(Some(line));
            }
            self.seen = self.bytes.len();
            if self.from.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_in_whatever_pieces_and_none_too_long() {
        let (mut to, from) = tokio::io::duplex(3);
        let write = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut to, b"one\n\ntwelve bytes\nrest").await
        });
        let mut lines = Lines::new(from, 12);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(&b"twelve bytes"[..]));
        assert_eq!(lines.next().await.unwrap(), None, "what has no end is no line");
        write.await.unwrap().unwrap();

        for long in [&[b'x'; 40][..], b"a line of 21 bytes ..\n"] {
            let (mut to, from) = tokio::io::duplex(64);
            tokio::io::AsyncWriteExt::write_all(&mut to, long).await.unwrap();
            let error = Lines::new(from, 12).next().await.unwrap_err();
            assert!(error.to_string().contains("at most 12 bytes"), "{error}");
        }
    }
}
