"""Real servers on loopback, and a proxy that makes the way to them long."""
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time

from .common import free_port

USER = pwd.getpwuid(os.getuid()).pw_name


def answers(process, port):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"{process.args[0]} did not start")


class Server:
    """A process with its port; ends with the block that uses it."""

    def __init__(self, command, port, where):
        with open(f"{where}/{os.path.basename(command[0])}.log", "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = port
        answers(self.process, port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def sshd(where):
    for key in ("host", "user"):
        subprocess.check_call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{where}/{key}"])
    shutil.copy(f"{where}/user.pub", f"{where}/authorized")
    port = free_port()
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    with open(f"{where}/sshd_config", "w") as f:
        f.write(
            f"Port {port}\nListenAddress 127.0.0.1\nSetEnv SHLVL=2\nHostKey {where}/host\nAuthorizedKeysFile {where}/authorized\nPidFile none\nStrictModes no\nUsePAM no\n"
            f"PermitRootLogin yes\nMaxStartups 100\nSubsystem sftp /usr/lib/openssh/sftp-server\n"
        )
    server = Server(["/usr/sbin/sshd", "-D", "-f", f"{where}/sshd_config"], port, where)
    know(where, port)
    return server


def know(where, port):
    """The host key under one more port."""
    key = " ".join(open(f"{where}/host.pub").read().split()[:2])
    with open(f"{where}/known_hosts", "a") as f:
        f.write(f"[127.0.0.1]:{port} {key}\n")


def certificate(where):
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{where}/server.key", "-out", f"{where}/server.pem"],
        stderr=subprocess.DEVNULL,
    )


def vsftpd(where, tls):
    """Anonymous users may write below `out`; with TLS, sessions must be reused for data."""
    port = free_port()
    more = f"ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_data_ssl=YES\nforce_anon_logins_ssl=YES\nrequire_ssl_reuse=YES\nssl_ciphers=HIGH\nrsa_cert_file={where}/server.pem\nrsa_private_key_file={where}/server.key\n" if tls else ""
    file = f"{where}/vsftpd{port}.conf"
    with open(file, "w") as f:
        f.write(
            f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nrun_as_launching_user=YES\nanonymous_enable=YES\nlocal_enable=NO\nwrite_enable=YES\nanon_upload_enable=YES\n"
            f"anon_mkdir_write_enable=YES\nanon_other_write_enable=YES\nanon_world_readable_only=NO\nanon_umask=022\nanon_root={where}\nno_anon_password=YES\nallow_writeable_chroot=YES\n"
            f"seccomp_sandbox=NO\none_process_model=NO\nsecure_chroot_dir={where}\nxferlog_enable=NO\nftp_username={USER}\n{more}"
        )
    return Server(["/usr/sbin/vsftpd", file], port, where)


def nginx(where):
    """WebDAV below /out."""
    port = free_port()
    os.makedirs(f"{where}/tmp", exist_ok=True)
    who = "user root;" if os.getuid() == 0 else ""
    temps = " ".join(f"{kind}_temp_path {where}/tmp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(f"{where}/nginx.conf", "w") as f:
        f.write(
            f"load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so; {who} daemon off; pid {where}/nginx.pid; error_log {where}/error.log; events {{}}\n"
            f"http {{ access_log off; {temps} client_max_body_size 0;\n"
            f"server {{ listen 127.0.0.1:{port}; root {where}; location /out {{ dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS; }} }} }}\n"
        )
    return Server(["/usr/sbin/nginx", "-e", f"{where}/error.log", "-p", where, "-c", f"{where}/nginx.conf"], port, where)


def far(target, where):
    """A way to a port that takes 25 ms in each direction."""
    port = free_port()
    return Server([sys.executable, os.path.join(os.path.dirname(__file__), "far.py"), str(port), str(target), "0.025"], port, where)
