//! ProFTPD (FTPS, and SFTP by mod_sftp) and Apache with WebDAV: what many hosters have.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::{Ca, files, free_port, program, spawn, stop, user, wait_for};

/// ProFTPD with one user, `user` with the password `secret`, who lands beside the folder `in`.
pub struct ProFtpd {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl ProFtpd {
    /// FTP over TLS, which data connections must resume, as is its default.
    pub fn tls(ca: &Ca, more: &str) -> Self {
        let d = ca.dir.path().display();
        Self::start(&format!(
            "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSProtocol TLSv1.2 TLSv1.3\nTLSRSACertificateFile {d}/server.pem\nTLSRSACertificateKeyFile {d}/server.key\n{more}"
        ))
    }
    /// SFTP.
    pub fn sftp(more: &str) -> Self {
        Self::start(&format!("LoadModule mod_sftp.c\nSFTPEngine on\nSFTPHostKey DIR/host\nSFTPAuthMethods password\n{more}"))
    }
    fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (d, port) = (dir.path().display().to_string(), free_port());
        fs::create_dir(dir.path().join("in")).unwrap();
        let key = Command::new(program(&["/usr/bin/ssh-keygen"])).args(["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f"]).arg(dir.path().join("host")).status();
        assert!(key.unwrap().success());
        let hash = Command::new("openssl").args(["passwd", "-5", "secret"]).output().unwrap();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let passwords = dir.path().join("passwords");
        fs::write(&passwords, format!("user:{}:{uid}:{gid}::{d}:/bin/sh\n", String::from_utf8(hash.stdout).unwrap().trim())).unwrap();
        fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
        let group = String::from_utf8(Command::new("id").arg("-gn").output().unwrap().stdout).unwrap();
        let (server, modules) = proftpd();
        let config = format!(
            "ServerType standalone\nDefaultAddress 127.0.0.1\nPort {port}\nUseIPv6 off\nUseReverseDNS off\nUser {}\nGroup {}\nRootLogin on\nModulePath {}\nAuthOrder mod_auth_file.c\nAuthUserFile {d}/passwords\nRequireValidShell off\nPidFile {d}/pid\nScoreboardFile {d}/score\nDelayEngine off\nWtmpLog off\nAllowOverwrite on\nSystemLog {d}/system.log\nExtendedLog {d}/commands.log AUTH\n{}\n",
            user(),
            group.trim(),
            modules.display(),
            more.replace("DIR", &d)
        );
        let file = dir.path().join("proftpd.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(server);
        command.arg("-n").arg("-c").arg(&file);
        let log = dir.path().join("proftpd.log");
        let mut child = spawn(command, &log);
        wait_for(port, &mut child, &log);
        Self { dir, port, child }
    }
    /// The endpoint as TOML.
    pub fn endpoint(&self, name: &str, scheme: &str) -> String {
        let d = self.dir.path().display();
        let (folder, known) = match scheme {
            "sftp" => (format!("{d}/in"), known_hosts(self.dir.path(), self.port)),
            _ => ("/in".to_owned(), String::new()),
        };
        format!("[endpoints.{name}]\nurl = \"{scheme}://user@localhost:{}{folder}\"\npassword = \"secret\"\n{known}", self.port)
    }
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.dir.path().join("in"))
    }
}

impl Drop for ProFtpd {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// Makes a server's key known, which lies in its folder as `host.pub`. As TOML.
fn known_hosts(dir: &Path, port: u16) -> String {
    let key = fs::read_to_string(dir.join("host.pub")).unwrap();
    fs::write(dir.join("known_hosts"), format!("[localhost]:{port} {key}")).unwrap();
    format!("known_hosts = \"{}\"\n", dir.join("known_hosts").display())
}

/// The program and its modules: Debian lets it not be installed beside vsftpd, so `scripts/servers` unpacks it.
fn proftpd() -> (PathBuf, PathBuf) {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/proftpd");
    let server = program(&[&unpacked.join("usr/sbin/proftpd").to_string_lossy(), "/usr/sbin/proftpd"]);
    let modules = server.parent().and_then(Path::parent).unwrap().join("lib/proftpd");
    (server, modules)
}

/// Apache with WebDAV below /dav: `user` with the password `secret`, by digest.
pub struct Apache {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Apache {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (d, port) = (dir.path().display(), free_port());
        // Apache refuses to serve as root: its own user must come everywhere.
        for folder in ["", "www", "www/dav", "run"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::set_permissions(dir.path().join(folder), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let digest = openssl::hash::hash(openssl::hash::MessageDigest::md5(), b"user:x:secret").unwrap();
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        fs::write(dir.path().join("digest"), format!("user:x:{hex}\n")).unwrap();
        let who = if user() == "root" { "User www-data\nGroup www-data\n" } else { "" };
        let modules: String = ["mpm_event", "authz_core", "authn_core", "authn_file", "authz_user", "auth_digest", "dav", "dav_fs"]
            .iter()
            .map(|m| format!("LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n"))
            .collect();
        let config = format!(
            "ServerRoot {d}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {d}/run/pid\nErrorLog {d}/run/error.log\n{modules}DefaultRuntimeDir {d}/run\nDavLockDB {d}/run/locks\nDocumentRoot {d}/www\n{who}<Location /dav>\nDav On\nAuthType Digest\nAuthName x\nAuthUserFile {d}/digest\nRequire valid-user\n</Location>\n"
        );
        let file = dir.path().join("httpd.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program(&["/usr/sbin/apache2"]));
        command.arg("-d").arg(dir.path()).arg("-f").arg(&file).arg("-DFOREGROUND");
        let log = dir.path().join("apache.log");
        let mut child = spawn(command, &log);
        wait_for(port, &mut child, &log);
        Self { dir, port, child }
    }
    /// The endpoint as TOML.
    pub fn endpoint(&self, name: &str, more: &str) -> String {
        format!("[endpoints.{name}]\nurl = \"http://user@localhost:{}/dav/\"\npassword = \"secret\"\nauth = \"digest\"\n{more}", self.port)
    }
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.dir.path().join("www/dav"))
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// `rclone serve sftp`, which keeps files elsewhere and takes writes in order alone: `user` with the password `secret`.
pub struct Rclone {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Rclone {
    pub fn sftp() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        fs::create_dir(dir.path().join("in")).unwrap();
        let key = Command::new(program(&["/usr/bin/ssh-keygen"])).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.path().join("host")).status();
        assert!(key.unwrap().success());
        let mut command = Command::new(program(&["/usr/bin/rclone", "/usr/local/bin/rclone"]));
        command.args(["serve", "sftp", "--user", "user", "--pass", "secret", "--addr", &format!("127.0.0.1:{port}"), "--key"]);
        command.arg(dir.path().join("host")).arg(dir.path().join("in")).env("HOME", dir.path());
        let log = dir.path().join("rclone.log");
        let mut child = spawn(command, &log);
        wait_for(port, &mut child, &log);
        Self { dir, port, child }
    }
    /// The endpoint as TOML.
    pub fn endpoint(&self, name: &str) -> String {
        let known = known_hosts(self.dir.path(), self.port);
        format!("[endpoints.{name}]\nurl = \"sftp://user@localhost:{}/\"\npassword = \"secret\"\n{known}", self.port)
    }
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.dir.path().join("in"))
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}
