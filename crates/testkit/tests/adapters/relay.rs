//! A bad network between a CoAP client and a server: it loses or doubles the datagrams that a plan names.

use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// What happens to the n-th datagram of a direction, from 0.
pub(crate) type Plan = fn(usize) -> usize;

/// Nothing is lost.
pub(crate) fn fair(_: usize) -> usize {
    1
}

/// Starts a relay to `server`: each plan says how many copies of a datagram arrive. Ends with the runtime.
pub(crate) async fn start(server: &str, to_server: Plan, to_client: Plan) -> String {
    let server: SocketAddr = server.parse().expect("an address");
    let front = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let back = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    back.connect(server).await.expect("loopback");
    let address = front.local_addr().expect("it is bound").to_string();
    tokio::spawn(async move {
        let (mut there, mut here) = ([0; 2048], [0; 2048]);
        let (mut sent, mut answered, mut client) = (0, 0, None);
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut there) => {
                    client = Some(from);
                    for _ in 0..to_server(sent) {
                        let _ = back.send(&there[..length]).await;
                    }
                    sent += 1;
                }
                Ok(length) = back.recv(&mut here) => {
                    let Some(client) = client else { continue };
                    for _ in 0..to_client(answered) {
                        let _ = front.send_to(&here[..length], client).await;
                    }
                    answered += 1;
                }
            }
        }
    });
    address
}
