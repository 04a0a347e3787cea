//! What the network costs: a few connections to the target once the load is over, the slowest of which
//! counts. The kernel accepts a connection, not the target, so it is the way there and back and not how
//! busy the target is; over TLS the handshake is in it.

use crate::client::{Connector, Target, Trust};
use crate::soak::monotonic::monotonic_ns;
use crate::soak::units::seconds;
use std::time::Duration;

/// Connections that are made.
const TRIES: u32 = 5;
/// Longest that one may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The time of the slowest connection in milliseconds; `None` when one could not be made.
pub(super) fn connect_ms(target: &Target, trust: &Trust) -> Option<f64> {
    let connector = Connector::new(target.endpoint.clone(), trust).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let mut slowest_ms = 0.0_f64;
    for _ in 0..TRIES {
        let from_ns = monotonic_ns();
        let opened = runtime.block_on(async {
            // Boxed: it carries room for a TLS handshake.
            tokio::time::timeout(TIMEOUT, Box::pin(connector.open())).await
        });
        let Ok(Ok(_)) = opened else {
            runtime.shutdown_background();
            return None;
        };
        let took_ms = seconds(monotonic_ns().saturating_sub(from_ns)) * 1e3;
        slowest_ms = slowest_ms.max(took_ms);
    }
    // A name lookup may still hang in its thread; do not wait for it.
    runtime.shutdown_background();
    Some((slowest_ms * 1e3).round() / 1e3)
}
