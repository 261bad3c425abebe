//! Real servers on loopback ports of their own, stopped by their process when dropped. They run as whoever runs the tests.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

pub mod databases;
pub mod old_ftp;
pub mod others;

/// A port that nobody has now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The program, or a loud failure that says how to get it: no test is skipped in silence.
fn program(names: &[&str]) -> PathBuf {
    let found = names.iter().map(PathBuf::from).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("none of {names:?} is installed: `scripts/test` installs what the tests need"))
}

fn wait_for(port: u16, child: &mut Child, log: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < end, "the server did not start: {}", fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            out.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
        }
    }
    out
}

fn stop(child: &mut Child) {
    // Servers that fork leave children in their process group. (Not by `kill -TERM -PID`: some versions of that
    // program take the group's number for "everybody".)
    if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn(mut command: Command, log: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    let out = fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).process_group(0).spawn().unwrap()
}

/// OpenSSH with a folder of its own.
pub struct Sshd {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
    options: String,
    sftp: String,
}

impl Sshd {
    pub fn start() -> Self {
        Self::with("", "")
    }
    /// With another program for SFTP.
    pub fn with_subsystem(command: &str) -> Self {
        Self::with(&format!("#subsystem {command}"), "")
    }
    /// With further lines of sshd_config, and arguments of sftp-server.
    pub fn with(options: &str, sftp: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        for key in ["host", "user", "other"] {
            let status =
                Command::new(program(&["/usr/bin/ssh-keygen"])).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.path().join(key)).status().unwrap();
            assert!(status.success());
        }
        fs::copy(dir.path().join("user.pub"), dir.path().join("authorized")).unwrap();
        // sshd as root wants its privilege separation folder.
        let _ = fs::create_dir_all("/run/sshd");
        let port = free_port();
        let child = Self::spawn(dir.path(), port, options, sftp);
        let server = Self { dir, port, child, options: options.into(), sftp: sftp.into() };
        fs::write(server.dir.path().join("known_hosts"), server.known_hosts_line()).unwrap();
        server
    }
    fn spawn(dir: &Path, port: u16, options: &str, sftp: &str) -> Child {
        let d = dir.display();
        let server = match options.strip_prefix("#subsystem ") {
            Some(command) => command.to_owned(),
            None => program(&["/usr/lib/openssh/sftp-server"]).display().to_string(),
        };
        // A login shell of the second level (bash) reads no start-up files: they may wait for each other's locks, of shells that
        // a test has killed.
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nSetEnv SHLVL=2\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\nPerSourcePenalties no\nSubsystem sftp {server} {sftp}\n{options}\n"
        );
        // Older versions do not know penalties for repeated failures.
        let file = dir.join("sshd_config");
        fs::write(&file, &config).unwrap();
        let sshd = program(&["/usr/sbin/sshd"]);
        if !Command::new(&sshd).arg("-t").arg("-f").arg(&file).stderr(Stdio::null()).status().unwrap().success() {
            fs::write(&file, config.replace("PerSourcePenalties no\n", "")).unwrap();
        }
        let mut command = Command::new(sshd);
        command.arg("-D").arg("-e").arg("-f").arg(&file);
        let log = dir.join("sshd.log");
        let mut child = spawn(command, &log);
        wait_for(port, &mut child, &log);
        child
    }
    pub fn known_hosts_line(&self) -> String {
        let key = fs::read_to_string(self.dir.path().join("host.pub")).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }
    /// The endpoint as TOML.
    pub fn endpoint(&self, name: &str) -> String {
        let d = self.dir.path().display();
        format!(
            "[endpoints.{name}]\nurl = \"sftp://{}@127.0.0.1:{}{d}/in\"\nidentity_file = \"{d}/user\"\nknown_hosts = \"{d}/known_hosts\"\n",
            user(),
            self.port
        )
    }
    /// The endpoint as TOML, with another folder.
    pub fn endpoint_at(&self, name: &str, folder: &Path) -> String {
        let d = self.dir.path().display();
        self.endpoint(name).replace(&format!("{d}/in\""), &format!("{}\"", folder.display()))
    }
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.dir.path().join("in"))
    }
    pub fn stop(&mut self) {
        stop(&mut self.child);
    }
    /// Everything of it ends at once, its sessions too, as when its host loses power.
    pub fn power_off(&mut self) {
        let parent_of = |pid: u32| -> Option<u32> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
        };
        let all: Vec<u32> = fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).collect();
        let mut ours = vec![self.child.id()];
        while let Some(more) = all.iter().find(|p| !ours.contains(p) && parent_of(**p).is_some_and(|parent| ours.contains(&parent))) {
            ours.push(*more);
        }
        for pid in ours {
            // One that has ended meanwhile is what is wanted.
            let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
    pub fn restart(&mut self) {
        self.stop();
        self.child = Self::spawn(self.dir.path(), self.port, &self.options, &self.sftp);
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Who runs the tests.
pub fn user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// vsftpd as an ordinary process, with anonymous users who may write below `in`.
pub struct Vsftpd {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Vsftpd {
    pub fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(root.join("in")).unwrap();
        fs::set_permissions(root.join("in"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o555)).unwrap();
        let d = dir.path().display();
        let port = free_port();
        let config = format!(
            "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nrun_as_launching_user=YES\nanonymous_enable=YES\nlocal_enable=NO\nwrite_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\nanon_world_readable_only=NO\nanon_umask=022\nanon_root={d}/root\nno_anon_password=YES\nallow_writeable_chroot=YES\nseccomp_sandbox=NO\none_process_model=NO\nsecure_chroot_dir={d}/root\nxferlog_enable=NO\nftp_username={}\n{more}\n",
            user()
        );
        let file = dir.path().join("vsftpd.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program(&["/usr/sbin/vsftpd"]));
        command.arg(&file);
        let log = dir.path().join("vsftpd.log");
        let mut child = spawn(command, &log);
        wait_for(port, &mut child, &log);
        Self { dir, port, child }
    }
    pub fn tls(ca: &Ca, more: &str) -> Self {
        let (cert, key) = (ca.dir.path().join("server.pem"), ca.dir.path().join("server.key"));
        Self::start(&format!(
            "ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_data_ssl=YES\nforce_anon_logins_ssl=YES\nrequire_ssl_reuse=YES\nstrict_ssl_read_eof=YES\nssl_ciphers=HIGH\nrsa_cert_file={}\nrsa_private_key_file={}\n{more}",
            cert.display(),
            key.display()
        ))
    }
    pub fn endpoint(&self, name: &str, scheme: &str) -> String {
        format!("[endpoints.{name}]\nurl = \"{scheme}://anonymous@localhost:{}/in\"\npassword = \"x@example\"\n", self.port)
    }
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.dir.path().join("root/in"))
    }
}

impl Drop for Vsftpd {
    fn drop(&mut self) {
        stop(&mut self.child);
        // tempfile can't remove what a read-only folder holds unless it may write there again.
        let _ = fs::set_permissions(self.dir.path().join("root"), fs::Permissions::from_mode(0o755));
    }
}

/// nginx with WebDAV below /dav, basic authentication below /closed, TLS if asked for.
pub struct Nginx {
    pub dir: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

impl Nginx {
    pub fn start(ca: Option<&Ca>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["www/dav", "www/closed", "tmp"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        // user:secret
        fs::write(dir.path().join("passwords"), "user:{PLAIN}secret\n").unwrap();
        let (d, port) = (dir.path().display(), free_port());
        let module = ["/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"].into_iter().find(|m| Path::new(m).exists());
        let load = module.map(|m| format!("load_module {m};")).unwrap_or_default();
        let list = if module.is_some() { "dav_ext_methods PROPFIND OPTIONS;" } else { "" };
        let tls = ca.map(|ca| format!("ssl_certificate {0}/server.pem; ssl_certificate_key {0}/server.key;", ca.dir.path().display())).unwrap_or_default();
        let ssl = if ca.is_some() { " ssl" } else { "" };
        let who = if user() == "root" { "user root;" } else { "" };
        let config = format!(
            "{load} {who} daemon off; master_process off; pid {d}/pid; error_log {d}/error.log; events {{}}\nhttp {{ access_log {d}/access.log; client_body_temp_path {d}/tmp; proxy_temp_path {d}/tmp; fastcgi_temp_path {d}/tmp; uwsgi_temp_path {d}/tmp; scgi_temp_path {d}/tmp; client_max_body_size 0;\nserver {{ listen 127.0.0.1:{port}{ssl}; {tls} root {d}/www;\nlocation /dav {{ dav_methods PUT DELETE MKCOL COPY MOVE; {list} }}\nlocation /closed {{ auth_basic x; auth_basic_user_file {d}/passwords; dav_methods PUT DELETE MKCOL MOVE; }}\nlocation /small {{ client_max_body_size 10; dav_methods PUT; }}\nlocation /readonly {{ }} }} }}\n"
        );
        let file = dir.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(program(&["/usr/sbin/nginx"]));
        command.arg("-e").arg(dir.path().join("start.log")).arg("-p").arg(dir.path()).arg("-c").arg(&file);
        let log = dir.path().join("nginx.log");
        let mut child = spawn(command, &log);
        wait_for(port, &mut child, &log);
        Self { dir, port, child }
    }
    pub fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        files(&self.dir.path().join("www").join(folder))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// An authority of its own with a certificate for localhost.
pub struct Ca {
    pub dir: tempfile::TempDir,
}

impl Ca {
    pub fn new() -> Self {
        Self::for_host("localhost", 30)
    }
    /// For another host, or with another number of days to live (negative: expired).
    pub fn for_host(host: &str, days: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ca, ca_key) = certificate("passerelle test authority", None, 3650);
        let (cert, key) = certificate(host, Some((&ca, &ca_key)), days);
        fs::write(dir.path().join("ca.pem"), ca.to_pem().unwrap()).unwrap();
        fs::write(dir.path().join("server.pem"), cert.to_pem().unwrap()).unwrap();
        fs::write(dir.path().join("server.key"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        Self { dir }
    }
    pub fn ca_file(&self) -> String {
        format!("ca_file = \"{}/ca.pem\"\n", self.dir.path().display())
    }
}

fn certificate(name: &str, signer: Option<(&X509, &PKey<Private>)>, days: i64) -> (X509, PKey<Private>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(if signer.is_some() { 2 } else { 1 }).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(signer.map_or(&subject, |(ca, _)| ca.subject_name())).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now - 864_000).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + days * 86_400).unwrap()).unwrap();
    match signer {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
        Some((ca, _)) => {
            let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(Some(ca), None)).unwrap();
            builder.append_extension(names).unwrap();
        }
    }
    builder.sign(signer.map_or(&key, |(_, k)| k), MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}
