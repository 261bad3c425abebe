"""Between sshd and sftp-server: cuts the session before or after the answer to one request, chosen by a file.

sftp_shim.py CHOICE SFTP_SERVER [ARGUMENTS]: CHOICE holds "before N" or "after N"; it is removed when the cut was made.
"""
import os
import struct
import subprocess
import sys

choice, *server = sys.argv[1:]
when, wanted = None, 0
if os.path.exists(choice):
    when, wanted = open(choice).read().split()
    wanted = int(wanted)
child = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def packet(stream):
    head = b""
    while len(head) < 4:
        part = stream.read(4 - len(head))
        if not part:
            return None
        head += part
    size = struct.unpack(">I", head)[0]
    body = b""
    while len(body) < size:
        part = stream.read(size - len(body))
        if not part:
            return None
        body += part
    return head + body


def cut():
    os.remove(choice)
    child.stdin.close()
    child.wait()
    os._exit(0)


count = 0
source, sink = sys.stdin.buffer.raw, sys.stdout.buffer.raw
while True:
    request = packet(source)
    if request is None:
        break
    count += 1
    if (when, wanted) == ("before", count):
        cut()
    child.stdin.write(request)
    child.stdin.flush()
    answer = packet(child.stdout)
    if (when, wanted) == ("after", count):
        cut()
    if answer is None:
        break
    sink.write(answer)
child.stdin.close()
child.wait()
