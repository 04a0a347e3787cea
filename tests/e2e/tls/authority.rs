//! An authority that makes certificates, by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// What `openssl ca` is told.
const SETTINGS: &str = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nserial = serial\n\
    new_certs_dir = .\ndefault_md = sha256\npolicy = p\nunique_subject = no\n[p]\ncommonName = supplied\n";

/// An authority in a folder of its own.
pub(crate) struct Authority {
    folder: PathBuf,
    pub(crate) ca: PathBuf,
}

/// A certificate for `localhost`, and its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        let authority = Self {
            folder: folder.to_owned(),
            ca: folder.join("ca.pem"),
        };
        authority.openssl(&format!(
            "req -x509 {NEW_KEY} -days 90 -subj /CN=authority -keyout ca.key -out ca.pem"
        ));
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("settings", SETTINGS);
        write("index.txt", "");
        write("serial", "01");
        write("names", "subjectAltName=DNS:localhost,IP:127.0.0.1");
        authority
    }

    /// A certificate that is good from now on for some days.
    pub(crate) fn issue(&self, name: &str, days: u32) -> Pair {
        let pair = self.request(name);
        self.openssl(&format!(
            "x509 -req -in {name}.request -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} \
             -extfile names -out {name}.pem"
        ));
        pair
    }

    /// A certificate that is good from the beginning of one year to that of another.
    pub(crate) fn issue_for(&self, name: &str, from: u16, until: u16) -> Pair {
        let pair = self.request(name);
        self.openssl(&format!(
            "ca -batch -notext -config settings -cert ca.pem -keyfile ca.key -in {name}.request \
             -startdate {from}0101000000Z -enddate {until}0101000000Z -extfile names -out {name}.pem"
        ));
        pair
    }

    fn request(&self, name: &str) -> Pair {
        self.openssl(&format!(
            "req {NEW_KEY} -subj /CN=localhost -keyout {name}.key -out {name}.request"
        ));
        Pair {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        }
    }

    pub(crate) fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split_whitespace())
            .current_dir(&self.folder);
        let done = command.output().expect("openssl is installed");
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "openssl {arguments}: {told}");
    }
}
