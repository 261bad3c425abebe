"""Files over the wires, beside the tools that only copy: everything on here (temporary name, check, sync, rename, journal, archive)."""
import os
import shutil
import subprocess
import sys

from . import common, servers
from .common import BINARY, table
from .servers import USER

RELAY = '[routes.r.source]\npath = "a"\nsettle = "0s"\n[routes.r.destination]\nendpoint = "b"\n'


class Wire:
    """Files to send, and the folder `out` of the servers."""

    def __init__(self, where, count, size):
        self.where, self.count, self.size = where, count, size
        os.makedirs(f"{where}/files")
        for i in range(count):
            with open(f"{where}/files/f{i:05d}.dat", "wb") as f:
                for _ in range(-(-size // (1 << 20))):
                    f.write(os.urandom(min(size, 1 << 20)))

    def fresh(self):
        for folder in ("out", "a", "relay"):
            shutil.rmtree(f"{self.where}/{folder}", ignore_errors=True)
        os.makedirs(f"{self.where}/out")
        os.chmod(f"{self.where}/out", 0o777)
        shutil.copytree(f"{self.where}/files", f"{self.where}/a")
        os.sync()

    def arrived(self):
        names = os.listdir(f"{self.where}/files")
        assert sorted(n for n in os.listdir(f"{self.where}/out")) == sorted(names)
        for name in names:
            if subprocess.call(["cmp", "-s", f"{self.where}/files/{name}", f"{self.where}/out/{name}"]) != 0:
                sys.exit(f"{name} differs")

    def configure(self, endpoint):
        with open(f"{self.where}/passerelle.toml", "w") as f:
            f.write(f'home = "relay"\n[endpoints.b]\n{endpoint}{RELAY}')

    def measure(self, title, peers, ours="passerelle run --once"):
        """Files a second, or megabytes for a single file."""
        unit, amount = ("files", self.count) if self.count > 1 else ("MB", self.size / 1e6)
        runs = [(name, self.fresh, command, self.where, self.arrived) for name, command in peers if shutil.which(command[0])]
        missing = [name for name, command in peers if not shutil.which(command[0])]
        runs.append((ours, self.fresh, [BINARY, "run", "--once"], self.where, self.arrived))
        table(title, unit, amount, runs)
        if missing:
            print(f"  not installed: {', '.join(missing)}")


def ssh_options(where, port):
    return f"-oPort={port} -oIdentityFile={where}/user -oUserKnownHostsFile={where}/known_hosts -oIdentitiesOnly=yes"


def sftp_endpoint(where, port):
    return f'url = "sftp://{USER}@127.0.0.1:{port}{where}/out"\nidentity_file = "user"\nknown_hosts = "known_hosts"\n'


def lftp_sftp(where, port, parallel):
    mirror = f"mirror -R --parallel={parallel} {where}/files {where}/out"
    return ["lftp", "-c", f'set sftp:connect-program "ssh -a -x {ssh_options(where, port)}"; open sftp://{USER}:x@127.0.0.1:{port}; {mirror}']


def sftp_batch(where, port):
    with open(f"{where}/batch", "w") as f:
        f.write(f"put files/* {where}/out/\n")
    return ["sftp", "-q", *ssh_options(where, port).split(), "-b", "batch", f"{USER}@127.0.0.1"]


def rclone_sftp(where, port, transfers):
    remote = f":sftp,host=127.0.0.1,port={port},user={USER},key_file={where}/user,known_hosts_file={where}/known_hosts,shell_type=none:{where}/out"
    return ["rclone", "copy", "--config", "", "--transfers", str(transfers), "--sftp-disable-hashcheck", f"{where}/files", remote]


def sftp_peers(where, port, transfers):
    # scp takes a folder as a whole: its files go into `out` by the folder's content.
    scp = ["sh", "-c", f"scp -q -r {ssh_options(where, port)} files/* {USER}@127.0.0.1:{where}/out/"]
    return [
        ("sftp -b", sftp_batch(where, port)),
        ("lftp mirror -P4", lftp_sftp(where, port, 4)),
        ("lftp mirror -P8", lftp_sftp(where, port, 8)),
        (f"rclone copy --transfers {transfers}", rclone_sftp(where, port, transfers)),
        ("scp -r", scp),
    ]


def sftp(where):
    """One large file and many small ones by SFTP; the peers neither sync nor rename."""
    for name, count, size in (("large", 1, common.args.large << 20), ("small", common.args.small, 4096)):
        os.mkdir(f"{where}/{name}")
        wire = Wire(f"{where}/{name}", count, size)
        with servers.sshd(wire.where) as server:
            wire.configure(sftp_endpoint(wire.where, server.port))
            peers = sftp_peers(wire.where, server.port, 8)
            if count == 1:
                wire.measure(f"SFTP, one file of {common.args.large} MiB", [p for p in peers if p[0].startswith(("sftp", "rclone"))])
            else:
                wire.measure(f"SFTP, {count:,} files of 4 KiB; ours with 4 connections", peers)
        shutil.rmtree(wire.where)


def far_sftp(where):
    """The same over a way of 50 ms there and back."""
    for name, count, size in (("large", 1, 256 << 20), ("small", 200, 4096)):
        os.mkdir(f"{where}/{name}")
        wire = Wire(f"{where}/{name}", count, size)
        with servers.sshd(wire.where) as server, servers.far(server.port, wire.where) as far:
            servers.know(wire.where, far.port)
            wire.configure(sftp_endpoint(wire.where, far.port))
            peers = sftp_peers(wire.where, far.port, 4)
            if count == 1:
                wire.measure("SFTP with a round trip of 50 ms, one file of 256 MiB", [p for p in peers if p[0].startswith("sftp")])
            else:
                wire.measure("SFTP with a round trip of 50 ms, 200 files of 4 KiB; ours with 4 connections", [p for p in peers if "P8" not in p[0]])
        shutil.rmtree(wire.where)


def ftp(where):
    """One large file and many small ones by FTP, one large one by FTPS."""
    os.chmod(where, 0o755)
    for name, count, size, tls in (("large", 1, common.args.large << 20, False), ("small", common.args.small, 4096, False), ("tls", 1, common.args.large << 20, True)):
        os.mkdir(f"{where}/{name}")
        wire = Wire(f"{where}/{name}", count, size)
        if tls:
            servers.certificate(wire.where)
        with servers.vsftpd(wire.where, tls) as server:
            scheme, how = ("ftps", f'ca_file = "server.pem"\n') if tls else ("ftp", "")
            wire.configure(f'url = "{scheme}://anonymous@localhost:{server.port}/out"\npassword = "x@example"\n{how}')
            secure = f"set ssl:ca-file {wire.where}/server.pem; set ftp:ssl-force true; set ftp:ssl-protect-data true; " if tls else "set ftp:ssl-allow false; "
            lftp = ["lftp", "-c", f"{secure}open -u anonymous,x@example -p {server.port} localhost; mirror -R --no-perms --parallel=4 {wire.where}/files/ out/"]
            what = f"one file of {common.args.large} MiB" if count == 1 else f"{count:,} files of 4 KiB; ours with 4 connections"
            wire.measure(f"{'FTPS' if tls else 'FTP'}, {what}", [("lftp mirror -P4", lftp)])
        shutil.rmtree(wire.where)


def http(where):
    """One large file by PUT, many small ones by WebDAV."""
    os.chmod(where, 0o755)
    for name, count, size in (("large", 1, common.args.large << 20), ("small", common.args.small, 4096)):
        os.mkdir(f"{where}/{name}")
        wire = Wire(f"{where}/{name}", count, size)
        with servers.nginx(wire.where) as server:
            url = f"http://localhost:{server.port}/out"
            if count == 1:
                wire.configure(f'url = "{url}/"\n')
                curl = ["curl", "-sf", "-T", f"{wire.where}/files/f00000.dat", f"{url}/f00000.dat"]
                wire.measure(f"HTTP PUT, one file of {common.args.large} MiB", [("curl -T", curl)])
            else:
                wire.configure(f'url = "{url}/"\npublish = "move"\n')
                rclone = ["rclone", "copy", "--config", "", "--transfers", "8", f"{wire.where}/files", f':webdav,url="{url}":']
                wire.measure(f"WebDAV with MOVE, {count:,} files of 4 KiB; ours with 4 connections", [("rclone copy --transfers 8", rclone)])
        shutil.rmtree(wire.where)
