//! A proxy in front of a peer that answers HTTP: it delays, cuts, drops answers after delivery, and delivers twice. Which
//! exchange suffers what follows from a seed and the exchange's number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A longer head of a message is refused.
const MAX_HEAD: usize = 16 * 1_024;
/// How long a delayed request waits.
const DELAY: Duration = Duration::from_millis(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The request waits before it is delivered.
    Delays,
    /// The connection ends before the request is delivered.
    Cuts,
    /// The request is delivered, and its answer never comes.
    DropsAnswer,
    /// The request is delivered twice, and the second answer comes.
    Doubles,
}

/// What the proxy does to whom.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// The same seed, the same faults.
    pub seed: u64,
    /// Each kind comes once in so many exchanges, on average. At least 4.
    pub one_in: u64,
}

impl Faults {
    pub(crate) fn of(self, exchange: u64) -> Fault {
        match mixed(self.seed.wrapping_mul(1 << 32).wrapping_add(exchange)) % self.one_in {
            0 => Fault::Delays,
            1 => Fault::Cuts,
            2 => Fault::DropsAnswer,
            3 => Fault::Doubles,
            _ => Fault::None,
        }
    }
}

/// SplitMix64's output function (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mixed(number: u64) -> u64 {
    let step = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let step = (step ^ (step >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let step = (step ^ (step >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    step ^ (step >> 31)
}

/// Forwards to the peer until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it answers.
    pub at: SocketAddr,
    task: tokio::task::JoinHandle<()>,
    suffered: Arc<[AtomicU64; 4]>,
}

impl Proxy {
    /// One before the peer at this port of this machine.
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn start(peer: u16, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("it is bound");
        let suffered: Arc<[AtomicU64; 4]> = Arc::default();
        let counts = Arc::clone(&suffered);
        let task = tokio::spawn(async move {
            let exchanges = Arc::new(AtomicU64::new(0));
            while let Ok((client, _)) = listener.accept().await {
                let (exchanges, counts) = (Arc::clone(&exchanges), Arc::clone(&counts));
                tokio::spawn(async move {
                    // A cut is no error of the test's.
                    let _ = serve(client, peer, faults, &exchanges, &counts).await;
                });
            }
        });
        Self { at, task, suffered }
    }

    /// How many exchanges were delayed, cut, left without an answer, and doubled.
    #[must_use]
    pub fn suffered(&self) -> [u64; 4] {
        self.suffered.each_ref().map(|count| count.load(Ordering::SeqCst))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    peer: u16,
    faults: Faults,
    exchanges: &AtomicU64,
    counts: &[AtomicU64; 4],
) -> std::io::Result<()> {
    loop {
        let request = message(&mut client).await?;
        let fault = faults.of(exchanges.fetch_add(1, Ordering::SeqCst));
        if fault != Fault::None {
            counts[fault as usize - 1].fetch_add(1, Ordering::SeqCst);
        }
        match fault {
            Fault::Cuts => return Ok(()),
            Fault::Delays => tokio::time::sleep(DELAY).await,
            Fault::Doubles => drop(deliver(peer, &request).await?),
            Fault::None | Fault::DropsAnswer => {}
        }
        let answer = deliver(peer, &request).await?;
        if fault == Fault::DropsAnswer {
            return Ok(());
        }
        client.write_all(&answer).await?;
    }
}

/// What the server at this port of this machine answers.
///
/// # Errors
/// That the connection fails, and as [`message`].
pub async fn deliver(port: u16, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).await?;
    upstream.write_all(request).await?;
    message(&mut upstream).await
}

/// One HTTP/1.1 message whose length its head tells (RFC 9112, section 6.2); nodes and their clients send no other.
///
/// # Errors
/// That the connection ends before it, or that it is another one.
pub async fn message(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let broken = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let mut bytes = Vec::new();
    let end = loop {
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if bytes.len() > MAX_HEAD {
            return Err(broken());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|text| text.trim().parse().ok()).ok_or_else(broken)?;
    while bytes.len() < end + length {
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}
