"""The process guard: runs a PostgreSQL program as another user and ends it with the starter.

A separate program, run with `python -I -S -c`. When its standard input ends, because the starter
closed it or was killed, it ends the program by a fast shutdown. When the guard itself is killed,
the kernel does so. Its exit status is the program's.

It imports only the standard library, nothing of forge_min. Arguments: the mode of the launch
strategy, the program and the program's arguments.
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
# prctl(2)
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
# capset(2), capabilities(7)
CAPABILITY_VERSION = 0x20080522
CAP_DAC_OVERRIDE = 1
NOBODY = 65534
# Signals for a fast shutdown, an immediate shutdown and a kill, with seconds to wait after each.
ENDS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
libc = ctypes.CDLL(None, use_errno=True)


def main(mode: str, *command: str) -> int:
    """Run the command and return its exit status."""
    if mode == "namespace":
        enter_namespace()
    elif mode == "nobody":
        change_user()
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


def change_user() -> None:
    """Become user 65534. Raises OSError.

    On Linux it keeps root's right to enter folders, if root has it: the data and the programs may
    be below a folder of root only.
    """
    is_linux = sys.platform == "linux"
    if is_linux:
        libc.prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if is_linux:
        kept = 1 << CAP_DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        # The low words of the effective, permitted and inheritable set; the high words are 0.
        libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, kept))
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


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
