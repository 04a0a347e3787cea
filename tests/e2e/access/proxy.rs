//! Behind a real nginx.

use super::{key, to};
use crate::support::{Daemon, Home, PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ended when it goes out of scope.
struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// In front of `daemon`, with these lines in its location.
    fn before(daemon: &Daemon, home: &Home, lines: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (folder, upstream) = (home.path().display(), &daemon.endpoint);
        let conf = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
             events {{}}\nhttp {{\n access_log off;\n client_body_temp_path {folder}/body;\n \
             proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; \
             scgi_temp_path {folder}/s;\n server {{\n  listen 127.0.0.1:{port};\n  location / {{\n   \
             proxy_pass {upstream};\n   {lines}\n  }}\n }}\n}}\n"
        );
        let file = home.write("nginx.conf", conf);
        // Not on everybody's path.
        let debian = Path::new("/usr/sbin/nginx");
        let program = if debian.exists() {
            debian
        } else {
            Path::new("nginx")
        };
        let mut command = Command::new(program);
        command.arg("-c").arg(file).arg("-p").arg(home.path());
        command.arg("-e").arg(home.path().join("nginx.log"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .expect("nginx is installed (Debian: nginx-light)");
        let nginx = Self { child, port };
        eventually(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).ok());
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// As docs/access.md has it.
const FORWARD: &str =
    "proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";

#[test]
fn profiles_are_refused_through_nginx_and_the_rest_works() {
    let home = Home::new();
    let (reader, chief) = (
        key(&home, "reader", &[]),
        key(&home, "chief", &["--role", "admin"]),
    );
    let daemon = home.serve(&[]);
    let nginx = Nginx::before(&daemon, &home, FORWARD);
    let through = |key| {
        let mut ask = to(&daemon).with(key);
        ask.endpoint = format!("http://127.0.0.1:{}", nginx.port).parse().unwrap();
        ask
    };
    let heap = "/debug/pprof/heap";
    let got = ["", "alfred_wrong", &reader, &chief].map(|key| through(key).get(heap).status);
    assert_eq!(got, [401, 401, 403, 200]);
    assert_eq!(
        to(&daemon).get(heap).status,
        200,
        "straight from this machine"
    );
    let got = ["", &reader].map(|key| through(key).get("/v1/collections").status);
    assert_eq!(got, [401, 200]);
    drop(nginx);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn an_nginx_that_says_nothing_is_known_by_its_address() {
    let home = Home::new();
    home.write(
        "alfred.toml",
        "[server]\nlisten = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.1\"]\n",
    );
    let daemon = Daemon::start(home.command(&["serve", "--config", "alfred.toml"]));
    // No header that tells, and the Host is the daemon's own address.
    let nginx = Nginx::before(&daemon, &home, "");
    let mut ask = to(&daemon);
    ask.endpoint = format!("http://127.0.0.1:{}", nginx.port).parse().unwrap();
    let refused = ask.get("/debug/pprof/heap");
    assert_eq!((refused.status, refused.kind()), (403, "forbidden"));
    assert_eq!(ask.get("/v1/collections").status, 200);
    drop(nginx);
    assert_eq!(daemon.stop(), 0);
}
