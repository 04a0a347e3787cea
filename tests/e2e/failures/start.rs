//! Nothing there when the daemon starts.

use super::load::Kind;
use super::postgres::is_ready;
use super::watch::{Pace, Promise, RECOVERY, Seen, Watch, fill};
use crate::failures::cases;
use crate::postgres_server::Server;
use crate::provider::Standin;
use crate::support::{Daemon, Home};

cases! {
    nothing_there: "PostgreSQL and the provider down when the daemon starts",
}

const EVERYTHING: &[&str] = &[
    "503 `search_error`",
    "503 `openai_error`",
    "503 `overloaded`",
];

fn serve(home: &Home, standin: &Standin, server: &Server, pace: &Pace) -> Daemon {
    let mut command = standin.alfred(home, &["serve", "--listen", "127.0.0.1:0"]);
    command.envs(pace.environment());
    command.env("POSTGRES_DSN", server.dsn().reveal());
    Daemon::start(command)
}

fn nothing_there(pace: &Pace) -> Seen {
    let (home, mut standin, mut server) = (Home::new(), Standin::start(&[]), Server::new());
    let first = serve(&home, &standin, &server, pace);
    is_ready(&first);
    fill(&first.endpoint);
    assert_eq!(first.stop(), 0);

    server.shut_down();
    standin.kill();
    let daemon = serve(&home, &standin, &server, pace);
    let mut watch = Watch::begin_broken(&daemon.endpoint, Some(daemon.log.clone()), pace);
    assert_eq!(daemon.request("GET", "/readyz", None).0, 503);
    pace.wait();
    standin.start_again(&[]);
    server.start();
    watch.mended();
    watch.end(&Promise {
        may_say: &[
            (Kind::NewQuestion, EVERYTHING),
            (Kind::KnownQuestion, EVERYTHING),
            (Kind::Words, EVERYTHING),
            (Kind::Write, EVERYTHING),
        ],
        recovery: RECOVERY,
    })
}
