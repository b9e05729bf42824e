"""The keeper of a PostgreSQL program: runs it as the right user, and no longer than its starter.

A program of its own, run with `python -I -S -c`. When its standard input ends, because the starter
closed it or was killed, it ends the program by a fast shutdown. When it is killed itself, the
kernel does so. Its exit status is the program's.

Only the standard library, and nothing of forge_min, may be imported here. Arguments: the user
("", "namespace" or "uid:gid") and the program with its own arguments.
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
# A fast shutdown, an immediate one, the end: each with the seconds it gets.
ENDS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
libc = ctypes.CDLL(None, use_errno=True)


def main(user: str, *command: str) -> int:
    """Run the command as `user`; its exit status."""
    if user == "namespace":
        enter_namespace()
    elif user:
        become(*map(int, user.split(":")))
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, close_fds=False, preexec_fn=end_with_parent
    )
    threading.Thread(target=end_with_starter, args=[child.pid], daemon=True).start()
    return child.wait()


def enter_namespace() -> None:
    """Become user 65534 of a new user namespace: the same files, and root for nobody (man 7
    user_namespaces). Raises OSError.
    """
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "no user namespaces")
    identity = f"{NOBODY} 0 1"
    for name, text in (("setgroups", "deny"), ("uid_map", identity), ("gid_map", identity)):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def become(uid: int, gid: int) -> None:
    """Become that user, for good. Raises OSError."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def end_with_parent() -> None:
    """Ask the kernel for SIGINT, a fast shutdown, when the keeper dies. Linux only."""
    if sys.platform == "linux":
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT))


def end_with_starter(child: int) -> None:
    """Wait for the end of standard input, then end the program. The keeper ends with it."""
    while os.read(0, 4096):
        pass
    for number, seconds in ENDS:
        os.kill(child, number)
        time.sleep(seconds)  # PostgreSQL's time to react; the keeper is killed with it


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
