//! The HTTP side alone, with an instant answer behind it, for a load generator to aim at:
//!
//! ```text
//! cargo run --release --example http_bench -- 18080 &
//! wrk -t1 -c8 -d10s --latency http://127.0.0.1:18080/healthz
//! wrk -t1 -c8 -d10s --latency -s examples/http_bench.lua http://127.0.0.1:18080/v1/query
//! ```

#[expect(clippy::unwrap_used, reason = "fakes of the tests")]
#[path = "../tests/e2e/http/fakes.rs"]
mod fakes;

use alfred::clock::SystemClock;
use alfred::http::{self, App, Settings};
use std::sync::Arc;

#[expect(clippy::print_stdout, reason = "it is a command")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "18080".to_owned());
    let listener = http::bind(&format!("127.0.0.1:{port}").parse()?)?;
    println!("{}", listener.url(false));
    let cases = fakes::use_cases(Arc::new(fakes::instant_answer));
    let app = Arc::new(App::new(cases, Settings::default(), Arc::new(SystemClock)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let interrupt = async {
        // Without a handler there is nothing to wait for: stop at once.
        let _ = tokio::signal::ctrl_c().await;
    };
    let stopped = runtime.block_on(http::serve(
        Arc::new(http::Live::new(app)),
        vec![listener],
        interrupt,
    ))?;
    println!("{stopped:?}");
    Ok(())
}
