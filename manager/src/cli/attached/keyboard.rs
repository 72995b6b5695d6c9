//! Our stdin, in pieces. A thread reads it: not every file can be polled, and a
//! read that waits must not keep this program from ending.

use std::io::Read;
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// What comes from stdin.
#[derive(Debug)]
pub(in crate::cli) struct Keyboard(mpsc::Receiver<Vec<u8>>);

impl Keyboard {
    /// Begins to read.
    pub(in crate::cli) fn new() -> Self {
        let (pieces, keyboard) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut bytes = vec![0; PIECE];
            let mut stdin = std::io::stdin().lock();
            // A stdin that cannot be read has ended.
            while let Ok(read @ 1..) = stdin.read(&mut bytes) {
                let piece = bytes.get(..read).unwrap_or_default().to_vec();
                if pieces.blocking_send(piece).is_err() {
                    return;
                }
            }
        });
        Self(keyboard)
    }

    /// The next piece; `None` at the end.
    pub(in crate::cli) async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.recv().await
    }
}

impl Default for Keyboard {
    fn default() -> Self {
        Self::new()
    }
}
