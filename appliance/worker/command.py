"""One command: forked behind the launch gate, exec'd when the gate opens, its output in a pipe (5.6, 5.7)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
from collections.abc import Mapping

from appliance.worker.control_group import Group
from appliance.worker.tree import die_with_parent

_PIPE_SIZE = 1 << 20  # bytes; best effort, the kernel limits what an account may have
_OPEN_MOST = os.sysconf("SC_OPEN_MAX")
# All that an executor takes or ignores, and Python on its own: the starter has given the others back to the kernel.
SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)


class Child:
    """A forked child that waits at the gate. ``output`` is the reading end of its stdout and stderr, non-blocking.

    ``status`` becomes readable when it has exec'd (end of file) or could not (``refusal``); close it after that.
    """

    def __init__(self, pid: int, output: int, status: int, gate: int) -> None:
        self.pid = pid
        self.output = output
        self.status = status
        self._gate = gate

    def open_gate(self) -> None:
        """Let it exec. Before this, its end or ours means that nothing was executed."""
        with contextlib.suppress(BrokenPipeError):  # it is dead already; its status tells
            os.write(self._gate, b"g")
        os.close(self._gate)

    def refusal(self) -> tuple[str, int] | None:
        """(where, errno) if the exec failed, ``where`` being ``workspace`` or ``exec``; None if it went well."""
        raw = b""
        while part := os.read(self.status, 4096):
            raw += part
        if not raw:
            return None
        where, number = json.loads(raw)
        return str(where), int(number)


def fork(
    arguments: list[str], environment: Mapping[str, str], workspace: str, umask: int, group: Group | None = None
) -> Child:
    """Fork a child that will exec ``arguments`` in ``workspace``, looking on its PATH. Raises OSError (EAGAIN, ENOMEM).

    ``group``: it belongs to it before the gate opens. Call it in the main thread: the parent-death signal follows the
    thread that forks.
    """
    output, output_in = os.pipe()
    status, status_in = os.pipe()
    gate_out, gate = os.pipe()
    ours, theirs = (output, status, gate), (output_in, status_in, gate_out)
    parent = os.getpid()
    # A signal between fork and the reset below would end in our handler, in the child, and be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _become(arguments, environment, workspace, umask, parent, theirs, group)
    except OSError:
        for descriptor in ours + theirs:
            os.close(descriptor)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for descriptor in theirs:
        os.close(descriptor)
    os.set_blocking(output, False)
    with contextlib.suppress(OSError):
        fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    return Child(pid, output, status, gate)


def _become(
    arguments: list[str],
    environment: Mapping[str, str],
    workspace: str,
    umask: int,
    parent: int,
    descriptors: tuple[int, int, int],
    group: Group | None,
) -> None:
    """The child's part: never returns."""
    output, status, gate = descriptors
    where = "exec"
    try:
        os.setsid()
        die_with_parent()
        if os.getppid() != parent:
            os._exit(127)  # it died before the signal was set
        if group is not None:  # here, while the executor waits for its disk: the kernel may take milliseconds for it
            with contextlib.suppress(OSError):  # without it the executor finds them all the same, as their subreaper
                group.join()
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        for old, new in ((null, 0), (output, 1), (output, 2)):
            os.dup2(old, new)
        low, high = sorted((status, gate))
        os.closerange(3, low)
        os.closerange(low + 1, high)
        os.closerange(high + 1, _OPEN_MOST)
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)  # an ignored SIGCHLD or SIGPIPE would be inherited (measured)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if os.read(gate, 1) != b"g":
            os._exit(127)
        os.umask(umask)
        where = "workspace"
        os.chdir(workspace)
        where = "exec"
        os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - an argument list; a shell only if the job says so
    except OSError as error:
        os.write(status, json.dumps([where, error.errno]).encode())
    except ValueError:  # NUL in an argument or a variable, a '=' in a name, half a surrogate pair
        os.write(status, json.dumps([where, errno.EINVAL]).encode())
    finally:
        os._exit(127)


def explain(where: str, number: int, program: str, workspace: str, path: str) -> str:
    """Why a command could not start, for people; it names the file."""
    if where == "workspace":
        return f"its workspace cannot be entered: {os.strerror(number)}"
    shown = f"{program[:200]!r}"
    match number:
        case errno.ENOENT | errno.ENOTDIR:
            found = _find(program, workspace, path)
            if found:
                return f"the interpreter that {shown} names in its first line does not exist"
            return f"no such file {shown}" if "/" in program else f"no program {shown} on the PATH"
        case errno.EACCES | errno.EPERM:
            return f"{shown} may not be executed ({os.strerror(number)})"
        case errno.ENOEXEC:
            return f"{shown} is no program, and names no interpreter in its first line"
        case errno.E2BIG:
            return f"the arguments and variables of {shown} are longer than the system allows"
        case errno.EINVAL:
            return f"an argument or a variable of {shown} holds a character that the system does not allow"
    return f"{shown}: {os.strerror(number)}"


def _find(program: str, workspace: str, path: str) -> bool:
    if "\0" in program:
        return False
    if "/" in program:
        return os.path.isfile(os.path.join(workspace, program))
    return any(os.path.isfile(os.path.join(workspace, folder, program)) for folder in path.split(":"))
