"""Runs the client tests: python run.py --lacuna PROGRAM [pytest's arguments]. Ends with `N passed, N failed`."""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent

# Before any client is imported: nothing is fetched; one thread, because the networks are tiny.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TRANSFORMERS_VERBOSITY="error",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
)


class Count:
    """What pytest reports, as numbers."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def pytest_runtest_logreport(self, report):
        self.failed += report.failed
        self.passed += report.passed and report.when == "call"
        self.skipped += report.skipped

    def pytest_collectreport(self, report):
        self.failed += report.failed


def main(arguments):
    if len(arguments) < 2 or arguments[0] != "--lacuna":
        sys.exit("usage: run.py --lacuna PROGRAM [pytest's arguments]")
    os.environ["LACUNA"] = str(pathlib.Path(arguments[1]).resolve())
    import pytest

    import torchvision_on_cpu  # noqa: F401  before timm and OpenCLIP

    count = Count()
    words = ["-q", "--tb=short", "-p", "no:cacheprovider", "-W", "ignore", "--durations=5", "--rootdir", str(HERE)]
    where = [] if any(".py" in word for word in arguments[2:]) else [str(HERE)]
    code = pytest.main([*words, *arguments[2:], *where], plugins=[count])
    print(f"{count.passed} passed, {count.failed} failed" + (f", {count.skipped} skipped" if count.skipped else ""))
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
