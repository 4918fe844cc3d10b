use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Hangups;

/// Two tokens: the first SIGTERM or SIGINT cancels the first one, a second signal the other. A SIGHUP asks for a reload.
pub(crate) fn on_signal() -> std::io::Result<(CancellationToken, CancellationToken, Hangups)> {
    let (stop, give_up) = (CancellationToken::new(), CancellationToken::new());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let hangups = Hangups::default();
    let tokens = (stop.clone(), give_up.clone(), hangups.clone());
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hangup.recv() => {
                    // By default SIGHUP would end the process with calls under way.
                    hangups.ask();
                    continue;
                }
            };
            if stop.is_cancelled() {
                tracing::warn!(
                    "{name}, the second signal: ending now, and what is not finished is given back"
                );
                give_up.cancel();
            } else {
                tracing::info!("{name}: finishing what is in flight; a second signal ends sooner");
                stop.cancel();
            }
        }
    });
    Ok(tokens)
}

/// A process's name in what it stores: host, pid and something random. In containers two processes may share host and pid, and
/// each would take the other's claims for its own.
pub fn process_name() -> String {
    format!("{}:{}:{:06x}", host(), std::process::id(), fastrand::u32(..1 << 24))
}

/// Where others may find this address. One that stands for all addresses is replaced by the host's name. One that only this
/// host can reach has the host's name behind it.
pub(crate) fn address(addr: SocketAddr) -> String {
    if addr.ip().is_unspecified() {
        return format!("http://{}:{}", host(), addr.port());
    }
    if addr.ip().is_loopback() {
        return format!("http://{addr} on {}", host());
    }
    format!("http://{addr}")
}

fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().is_empty() { "host".to_owned() } else { host.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    /// Guards promise 8: an address leads to its process from another host, or has the host on which it does.
    #[test]
    fn an_address_names_its_host() {
        let host = super::host();
        for (addr, shown) in [
            ("10.0.0.7:9465", "http://10.0.0.7:9465".to_owned()),
            ("0.0.0.0:9465", format!("http://{host}:9465")),
            ("[::]:9465", format!("http://{host}:9465")),
            ("127.0.0.1:9465", format!("http://127.0.0.1:9465 on {host}")),
            ("[::1]:9465", format!("http://[::1]:9465 on {host}")),
        ] {
            assert_eq!(super::address(addr.parse().unwrap()), shown);
        }
    }

    /// Guards promise 3: of two processes with one host name and one pid, neither takes the other's claims for its own.
    #[test]
    fn two_processes_differ_in_their_names() {
        let (one, other) = (super::process_name(), super::process_name());
        assert_ne!(one, other);
        assert!(one.split(':').nth_back(1).is_some_and(|pid| pid == std::process::id().to_string()), "{one}");
    }
}
