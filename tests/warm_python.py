"""Programs that start warm: `run` is subprocess.run for a program of this Python, in a quarter of the time.

Of the 4.6 s that a program takes to load our models 3.3 s go to torch and astropy. A server of this process has
imported these, and forks for every program, which then runs as `python SCRIPT`, `-c` or `-m` does: in the environment,
the folder and with the files it is given. The Hugging Face stack and chandraclip are not among what is imported
before: they read the environment as they load, and what a fresh process is asked for is theirs. All programs have one
hash seed; what must not depend on it is asked of cold ones.
"""

from __future__ import annotations

import functools
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MODULES = (
    *("numpy", "scipy.sparse", "scipy.stats", "astropy.table", "astropy.wcs"),
    *("torch", "torch._dynamo", "torch.distributed.tensor", "torch.nn.attention.flex_attention"),
)
# What Python and the modules above read when they load: a program that has others starts cold.
READ_EARLY = ("PYTHON", "OMP_", "MKL_", "OPENBLAS_", "TORCH")
MAX_MESSAGE = 1 << 20


def run(
    command: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float = 300.0,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """A program to its end, its output captured as text.

    Args:
        command: sys.executable and what follows it.
        env, cwd, check: as of subprocess.run.
        timeout: s, after which it is killed.

    Raises:
        CalledProcessError: with `check`, a status that is not 0.
        TimeoutExpired: it took longer.
    """
    (done,) = run_together([command], [env], cwd=cwd, timeout=timeout)
    if check:
        done.check_returncode()
    return done


def run_ranks(
    command: Sequence[object], number: int, *, env: Mapping[str, str] | None = None, timeout: float = 300.0
) -> list[subprocess.CompletedProcess[str]]:
    """The ranks of a distributed run of one machine, as torchrun starts them, each checked."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**(os.environ if env is None else env), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number)}
    ranks = [{**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(number)]
    done = run_together([command] * number, ranks, timeout=timeout)
    for process in done:
        assert process.returncode == 0, process.stderr[-5000:]
    return done


def run_together(
    commands: Sequence[Sequence[object]],
    environments: Sequence[Mapping[str, str] | None],
    *,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float,
) -> list[subprocess.CompletedProcess[str]]:
    words = [[str(word) for word in command] for command in commands]
    outputs = [(tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")) for _ in commands]  # noqa: SIM115
    started = []
    try:
        for command, environment, (out, err) in zip(words, environments, outputs):
            started.append(start(command, dict(os.environ if environment is None else environment), cwd, out, err))
        statuses = [process.wait(timeout) for process in started]
    except subprocess.TimeoutExpired:
        for process in started:
            process.kill()
        raise
    texts = [[(file.seek(0), file.read())[1] for file in pair] for pair in outputs]
    for pair in outputs:
        for file in pair:
            file.close()
    return [subprocess.CompletedProcess(*parts, *pair) for *parts, pair in zip(words, statuses, texts)]


def start(command: list[str], environment: dict[str, str], cwd: Any, out: Any, err: Any) -> Any:
    """A warm process or, where its environment, its interpreter or the system is another one, a cold one."""
    is_ours = command[0] == sys.executable and read_early(environment) == read_early(os.environ)
    if is_ours and sys.platform == "linux":
        return WarmProcess(command, environment, cwd, out, err)
    return subprocess.Popen(command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err)


def read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_EARLY)}


class WarmProcess:
    """What `run_together` needs of a Popen."""

    def __init__(self, command: list[str], environment: dict[str, str], cwd: Any, out: Any, err: Any):
        self.command = command
        request = {"words": command[1:], "environment": environment, "cwd": os.getcwd() if cwd is None else str(cwd)}
        # Of each program its own end of a pair: two can be waited for at once.
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(os.devnull) as nothing:
            files = [theirs.fileno(), nothing.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(server(), [json.dumps(request).encode()], files)
        self.pid = int(self._connection.recv(MAX_MESSAGE))

    def wait(self, timeout: float) -> int:
        self._connection.settimeout(timeout)
        try:
            return int(self._connection.recv(MAX_MESSAGE))
        except TimeoutError:
            raise subprocess.TimeoutExpired(self.command, timeout) from None
        finally:
            self._connection.close()

    def kill(self) -> None:
        os.kill(self.pid, 9)


@functools.cache
def server() -> socket.socket:
    """Our end of the one server of this process; it ends when this process does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        theirs.set_inheritable(True)
        command = [sys.executable, __file__, str(theirs.fileno())]
        subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    return ours


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. In the child: the request; in the server, when nobody can ask any more: None."""
    for module in MODULES:
        __import__(module)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose a thread"
    while True:
        message, files, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 4)
        if not message:
            return None
        watcher = os.fork()  # waits for one program
        if not watcher:
            connection.close()
            return watch(json.loads(message), files)
        for file in files:
            os.close(file)
        reap()


def watch(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """In the program: the request. In its watcher: tells its number and its status, and ends."""
    told, *streams = files
    program = os.fork()
    if not program:
        os.close(told)
        for number, file in enumerate(streams):
            os.dup2(file, number)
            os.close(file)
        return request
    with socket.socket(fileno=told) as connection:
        connection.send(str(program).encode())
        status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
        connection.send(str(status).encode())
    os._exit(0)


def reap() -> None:
    """Watchers that have ended."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def become(request: dict[str, Any]) -> None:
    """Run the program of a request as this process."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    first, *arguments = request["words"]
    if first == "-m":
        sys.argv, sys.path[0] = arguments, os.getcwd()
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        return
    module = types.ModuleType("__main__")
    if first == "-c":
        code, *arguments = arguments
        sys.argv, sys.path[0] = ["-c", *arguments], ""
        compiled = compile(code, "<string>", "exec")
    else:
        sys.argv, sys.path[0] = [first, *arguments], str(Path(first).resolve().parent)
        module.__file__ = first
        compiled = compile(Path(first).read_bytes(), first, "exec")
    sys.modules["__main__"] = module
    exec(compiled, module.__dict__)


if __name__ == "__main__":
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        become(asked)
