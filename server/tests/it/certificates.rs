//! An authority of a test's own, and certificates that it signs.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// An authority.
pub(crate) struct Authority(TempDir);

/// A certificate with its key, as texts.
pub(crate) struct Certificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let make = format!("req -x509 {KEY} -days 30 -subj /CN=authority -keyout authority.key -out authority.pem");
        openssl(folder.path(), &make);
        Self(folder)
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self) -> String {
        self.0.path().join("authority.pem").to_str().unwrap().to_owned()
    }

    /// A certificate for a name, such as `IP:127.0.0.1`.
    pub(crate) fn sign(&self, name: &str) -> Certificate {
        let folder = self.0.path();
        std::fs::write(folder.join("names"), format!("subjectAltName={name}\n")).unwrap();
        openssl(folder, &format!("req {KEY} -subj /CN=server -keyout server.key -out server.csr"));
        openssl(
            folder,
            "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 30 -extfile names -out server.pem",
        );
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        Certificate { certificate: read("server.pem"), key: read("server.key") }
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

fn openssl(folder: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output =
        command.args(arguments.split(' ')).current_dir(folder).output().expect("openssl is there: ./check installs it");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
