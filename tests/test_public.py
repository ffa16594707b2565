"""The public face: names, lightness of import and of `--help`, the wheel's cards."""

from __future__ import annotations

import subprocess
import sys

from make_datasets import make_dataset

import yolo_nanfix


def test_exported_names():
    assert yolo_nanfix.__all__ == sorted(yolo_nanfix.__all__)
    assert set(yolo_nanfix.__all__) == {
        "__version__", "bench", "diagnose", "errors", "fix", "lint", "patch", "patched", "plan", "score", "status",
        "train", "undo", "unpatch",
    }  # fmt: skip
    for name in yolo_nanfix.__all__:
        assert getattr(yolo_nanfix, name) is not None
    assert not hasattr(yolo_nanfix, "nothing_of_that_name")


def modules_after(code):
    script = f"import sys; {code}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "ultralytics", "cv2", "numpy", "rich", "wrapt"}
    assert not heavy & modules_after("import yolo_nanfix")


def test_help_imports_nothing_heavy():
    code = "import sys\nfrom yolo_nanfix.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    script = code + "\nprint(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "usage: yolo-nanfix" in done.stdout
    assert not {"torch", "ultralytics", "cv2", "numpy", "rich"} & set(done.stdout.splitlines()[-1].split())


def test_lint_imports_neither_torch_nor_ultralytics(tmp_path):
    """From the command line to the last finding."""
    data = make_dataset(tmp_path / "set", n_train=2, n_val=1, seed=0)
    found = modules_after(f"from yolo_nanfix.cli.main import main; assert main(['lint', {str(data)!r}]) == 0")
    assert "numpy" in found
    assert not {"torch", "ultralytics"} & found
