# SPDX-License-Identifier: MIT
"""The files of the tree that are ours: what git knows or would add, else everything but build folders."""
import pathlib
import subprocess

# The texts that ktstr promises to compile and run, to the letter: they are quoted, not ours to lay out.
QUOTED = {"examples/01_steal.cpp", "examples/03_scheduler/03_scheduler.cpp"}
SKIPPED = ("build", ".git", ".cache")


def files(root):
    root = pathlib.Path(root)
    try:
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
        names = [name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):  # a tarball, or no git
        names = []
    if not names:
        names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
        names = [name for name in names if not name.startswith(SKIPPED)]
    return [root / name for name in sorted(set(names)) if (root / name).is_file()]
