"""The surroundings in which the tests and every process they start run, however pytest itself was started.

Children inherit what `settle` leaves in this process: its variables, its umask and how it treats signals. So a test
that starts a process gives it `os.environ`, and adds only what it is about.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 900
"""Seconds after which what a test waits for has hung; nothing takes nearly so long, however busy the machine."""

_NAMES = (
    *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PY_COLORS", "COLORTERM", "COLUMNS", "LINES", "PAGER"),
    *(
        "TERM",
        "LANG",
        "LANGUAGE",
        "CI",
        "BUILDKITE",
        "TF_BUILD",
        "SOURCE_DATE_EPOCH",
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
    ),
    *("PYTHONWARNINGS", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE", "PYTHONUNBUFFERED", "PYTHONSTARTUP"),
    *(
        "PYTHONSAFEPATH",
        "PYTHONOPTIMIZE",
        "PYTHONDEVMODE",
        "PYTHONHASHSEED",
        "NANFIX_RUN",
        "NANFIX_STATE",
        "_ARGCOMPLETE",
    ),
)
_BEGINNINGS = (
    *("LC_", "GITHUB_", "GITLAB_", "RUNNER_", "JENKINS_", "TEAMCITY_", "XDG_", "GIT_", "YOLO_", "ULTRALYTICS_", "MPL"),
    *("PRE_COMMIT", "COVERAGE", "JUPYTER", "IPYTHON", "WANDB_", "COMET_", "MLFLOW_", "CLEARML_", "SPHINX", "COMP_"),
    *("MASTER_", "TTY_"),
)
"""Variables, and how names of more begin, that change what a program prints, where it keeps files or whom it tells."""


def settle() -> Path:
    """Give this process the same surroundings everywhere; call it before anything heavy is imported.

    Returns:
        The new, empty home of this test run, in which all programs keep their files.
    """
    import releases

    wheels = str(releases.cache())  # fetched once for all test runs, so they stay where the user's cache is
    home = Path(tempfile.mkdtemp(prefix="yolo-nanfix-tests-"))
    clear(os.environ)
    os.environ |= {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
        "COLUMNS": "80",
        "LINES": "24",
        "PYTHONPATH": os.pathsep.join(_paths(os.environ.get("PYTHONPATH", ""))),
        "PYTHONUTF8": "1",
        "YOLO_CONFIG_DIR": str(home),
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "MPLCONFIGDIR": str(home),
        "MPLBACKEND": "agg",
        "YOLO_NANFIX_CACHE": str(home),
        releases.WHEELS: wheels,
    }
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.umask(0o022)
    # ignored under nohup and behind `&`, and what is ignored stays so in children; a handler does not reach them
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return home


def clear(environ: MutableMapping[str, str]) -> None:
    """Take away what would let tests end differently on another terminal, in CI or for another user."""
    for name in [name for name in environ if foreign(name)]:
        del environ[name]


def foreign(name: str) -> bool:
    """Whether a variable is one of those that `settle` takes away or sets anew."""
    return name in _NAMES or name.startswith(_BEGINNINGS)


def _paths(given: str) -> list[str]:
    """This checkout first, so that children import the code beside these tests and no other that is installed."""
    return list(dict.fromkeys([str(ROOT), *filter(None, given.split(os.pathsep))]))
