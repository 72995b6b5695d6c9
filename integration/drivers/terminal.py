"""Runs a command on a terminal of its own, types keys and waits for what is shown.

terminal.py [--size LINESxCOLUMNS] (KEYS SHOWN)... [KEYS] -- COMMAND...
KEYS may hold escapes such as \\r and \\x10. With keys, the terminal gets its size
only before the first of them, so that the command has to notice. Ends as the command does; with 1 when something
was not shown within 20 seconds, with 2 when the command did not end by itself.
"""

import codecs
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 20


def set_size(fd, lines, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


class Terminal:
    """A command, and what it has shown since the last keys."""

    def __init__(self, command, lines, columns):
        self.shown = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            set_size(0, lines, columns)
            os.execvp(command[0], command)

    def type(self, keys):
        self.shown = b""
        for key in codecs.decode(keys, "unicode_escape").encode("latin-1"):
            # One after the other, as a person would: a pair of keys is looked for like that.
            os.write(self.master, bytes([key]))
            time.sleep(0.02)

    def read(self, seconds):
        """Whether there may be more after what came within so many seconds."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            part = os.read(self.master, 65536)
        except OSError:
            return False
        self.shown += part
        sys.stdout.write(part.decode(errors="replace").replace("\r", ""))
        sys.stdout.flush()
        return bool(part)

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text.encode() not in self.shown:
            if time.monotonic() > end or not self.read(0.2):
                sys.exit(f"failed: {text!r} was not shown in {self.shown!r}")

    def wait(self):
        """The command's exit status."""
        end = time.monotonic() + PATIENCE
        while self.read(0.2):
            if time.monotonic() > end:
                print("failed: the command did not end")
                return 2
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def main(args):
    at = args.index("--")
    args, command = args[:at], args[at + 1 :]
    lines, columns = 31, 97
    if args[:1] == ["--size"]:
        lines, columns = map(int, args[1].split("x"))
        args = args[2:]
    terminal = Terminal(command, lines - 1 if args else lines, columns)
    if args:
        # A moment to attach: the echo of earlier keys would come twice.
        end = time.monotonic() + 1
        while time.monotonic() < end and terminal.read(0.1):
            pass
        set_size(terminal.master, lines, columns)
    for index in range(0, len(args), 2):
        terminal.type(args[index])
        if index + 1 < len(args):
            terminal.wait_for(args[index + 1])
    return terminal.wait()


sys.exit(main(sys.argv[1:]))
