"""The process guard: runs a PostgreSQL program as another user and ends it with the starter.

A separate program, run with `python -I -S -c`. When its standard input ends, because the starter
closed it or was killed, it ends the program by a fast shutdown. When the guard itself is killed,
the kernel does so. Its exit status is the program's.

It imports only the standard library, nothing of forge_min. Arguments: the user ("", "namespace" or
"uid:gid"), the program and the program's arguments.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

CLONE_NEWUSER = 0x10000000  # unshare(2)
PR_SET_PDEATHSIG = 1  # prctl(2)
NOBODY = 65534
# Signals for a fast shutdown, an immediate shutdown and a kill, with seconds to wait after each.
ENDS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
libc = ctypes.CDLL(None, use_errno=True)


def main(user: str, *command: str) -> int:
    """Run the command as `user` and return its exit status."""
    if user == "namespace":
        enter_namespace()
    elif user:
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, close_fds=False, preexec_fn=end_with_parent
    )
    threading.Thread(target=end_with_starter, args=[child.pid], daemon=True).start()
    return child.wait()


def enter_namespace() -> None:
    """Become user 65534 in a new user namespace, with the same files. Raises OSError.

    Source: user_namespaces(7).
    """
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespaces")
    identity = f"{NOBODY} 0 1"
    for name, text in (("setgroups", "deny"), ("uid_map", identity), ("gid_map", identity)):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def end_with_parent() -> None:
    """Request SIGINT, a fast shutdown, for when the process guard dies. Linux only."""
    if sys.platform == "linux":
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT))


def end_with_starter(child: int) -> None:
    """Wait for the end of standard input, then end the program, and the process guard with it."""
    while os.read(0, 4096):
        pass
    for number, seconds in ENDS:
        os.kill(child, number)
        time.sleep(seconds)  # for PostgreSQL to react; when it ends, this process ends


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
