"""A repository on the Hub that is made to hold certain files: in one commit, whatever goes wrong on the way. And back.

Files are uploaded first and become visible together, so that a reader sees the old state or the new one. Every step
can be repeated, so that is what happens when something fails, here and in the next call.
"""

import fnmatch
import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    get_token,
    is_offline_mode,
    snapshot_download,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import httpx, logging
from huggingface_hub.utils.sha import git_hash

from ..errors import HubError, InvalidInputError


logger = logging.get_logger(__name__)
Result = TypeVar("Result")
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # not ./name: that is a path
ATTEMPTS = 8
LONGEST_WAIT = 60.0  # seconds
TRANSIENT = {408, 409, 412, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Published:
    """
    What is on the Hub now.

    Args:
        url (`str`): Its page.
        commit (`str`): The commit that readers see.
        changed (`bool`): Whether this call made it; if not, everything was there already.
    """

    url: str
    commit: str
    changed: bool


@dataclass
class Repository:
    """
    A repository that may be written to.

    Args:
        api (`HfApi`): The client.
        repo_id (`str`): `"user/name"`.
        repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
        revision (`str`): The branch that is written to.
    """

    api: HfApi
    repo_id: str
    repo_type: str
    revision: str

    @classmethod
    def claim(
        cls,
        repo_id: str,
        repo_type: str,
        private: bool | None,
        revision: str,
        token: str | None,
        sdk: str | None = None,
    ) -> "Repository":
        """
        A repository, made if it is not there. Its visibility is never changed.

        Args:
            repo_id (`str`): `"user/name"`, or `"name"` for one's own namespace.
            repo_type (`str`): `"model"`, `"dataset"` or `"space"`.
            private (`bool`, *optional*): What it must be. None: anything.
            revision (`str`): The branch to write to.
            token (`str`, *optional*): Default: that of `hf auth login`, or `HF_TOKEN`.
            sdk (`str`, *optional*): Of a Space.

        Raises:
            InvalidInputError: No token or no right, a name that is none, or another visibility.
            HubError: The Hub kept failing.
        """
        if token is None and get_token() is None:
            raise InvalidInputError("token: there is none; log in with `hf auth login`, or set HF_TOKEN")
        api = HfApi(token=token)
        user = with_retries(api.whoami)["name"]
        self = cls(api, repo_id if "/" in repo_id else f"{user}/{repo_id}", repo_type, revision)
        if not HUB_NAME.fullmatch(self.repo_id):
            raise InvalidInputError(f"repo_id={repo_id!r} is not a name: write user/name, or name")
        try:
            info = self._ask(lambda: api.repo_info(self.repo_id, repo_type=repo_type))
        except RepositoryNotFoundError:
            self._ask(
                lambda: api.create_repo(
                    self.repo_id, repo_type=repo_type, private=private, space_sdk=sdk, exist_ok=True
                )
            )
            info = self._ask(lambda: api.repo_info(self.repo_id, repo_type=repo_type))
        if private is not None and info.private is not private:
            there = "private" if info.private else "public"
            raise InvalidInputError(
                f"private={private}: {repo_type} {self.repo_id!r} is there already and is {there}; change that in its "
                "settings, or leave private out"
            )
        return self

    def check_holds_trees(self) -> None:
        """
        Raises:
            InvalidInputError: It is a dataset of something else.
        """
        paths = [entry.path for entry in self._list(self._tip())]
        other = [path for path in paths if path not in ("README.md", ".gitattributes")]
        if other and not any(fnmatch.fnmatch(path, "trees/*.parquet") for path in paths):
            raise InvalidInputError(
                f"repo_id={self.repo_id!r} is a dataset of something else (it holds {other[0]!r}): choose another name"
            )

    def replace_files(self, files: Mapping[str, Path], ours: Iterable[str], message: str) -> Published:
        """
        Make the repository hold these files, in one commit.

        Args:
            files (`Mapping[str, Path]`): What it shall hold, by the path in it.
            ours (`Iterable[str]`): Patterns of the files that are removed if they are not among `files`.
            message (`str`): Of the commit.
        """
        additions = {path: CommitOperationAdd(path, local) for path, local in files.items()}
        changed = False

        def attempt() -> str:
            # If the commit of an earlier attempt was made and only its reply was lost, there is nothing left to do.
            nonlocal changed
            tip = self._tip()
            there = {entry.path: entry for entry in self._list(tip)}
            operations: list = [
                addition for path, addition in additions.items() if not _is_same(files[path], there.get(path))
            ]
            operations += [
                CommitOperationDelete(path)
                for path in there
                if path not in files and any(fnmatch.fnmatch(path, pattern) for pattern in ours)
            ]
            if not operations:
                return tip
            changed = True
            return self.api.create_commit(
                self.repo_id, operations, commit_message=f"Upload {message} with hf_treecot",
                repo_type=self.repo_type, revision=self.revision, parent_commit=tip,
            ).oid  # fmt: skip

        commit = self._ask(attempt)
        prefix = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return Published(f"{self.api.endpoint}/{prefix}{self.repo_id}", commit, changed)

    def _tip(self) -> str:
        return self._ask(
            lambda: self.api.repo_info(self.repo_id, repo_type=self.repo_type, revision=self.revision)
        ).sha

    def _list(self, revision: str) -> list[RepoFile]:
        def entries():
            return self.api.list_repo_tree(self.repo_id, recursive=True, revision=revision, repo_type=self.repo_type)

        return self._ask(lambda: [entry for entry in entries() if isinstance(entry, RepoFile)])

    def _ask(self, call: Callable[[], Result]) -> Result:
        """A call with retries, whose refusals name this repository."""
        try:
            return with_retries(call)
        except RevisionNotFoundError as error:
            raise InvalidInputError(
                f"revision={self.revision!r}: {self.repo_type} {self.repo_id!r} has no such branch; make it with "
                f"`hf repos branch create {self.repo_id} {self.revision} --repo-type {self.repo_type}`"
            ) from error
        except ValueError as error:
            if not str(error).startswith("Invalid metadata"):
                raise
            raise InvalidInputError(f"the Hub refuses the card: {' '.join(str(error).split())}") from error
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code == 403:
                raise InvalidInputError(
                    f"repo_id={self.repo_id!r}: the token has no right to write there; use one of role write, of a "
                    "member of that namespace"
                ) from error
            raise


def download_dataset(repo_id: str, pattern: str, revision: str | None = None) -> Path:
    """
    Files of a dataset on the Hub, all of one commit; what is in the cache is not downloaded again.

    Args:
        repo_id (`str`): `"user/name"`.
        pattern (`str`): Which files.
        revision (`str`, *optional*): Default: the tip of the main branch.

    Returns:
        `Path`: A directory that holds them.

    Raises:
        InvalidInputError: There is no such dataset, revision or file.
        HubError: The Hub kept failing.
    """
    options = {"repo_id": repo_id, "repo_type": "dataset"}
    try:
        if not is_offline_mode():
            revision = with_retries(lambda: HfApi().repo_info(**options, revision=revision)).sha
        path = Path(with_retries(lambda: snapshot_download(**options, revision=revision, allow_patterns=pattern)))
    except (RepositoryNotFoundError, RevisionNotFoundError, LocalEntryNotFoundError) as error:
        what = f"no revision {revision!r}" if isinstance(error, RevisionNotFoundError) else "no such dataset"
        what = "it is not in the cache" if is_offline_mode() else what
        raise InvalidInputError(
            f"{repo_id!r} is not a directory, and cannot be read as a dataset of the Hub ({what}): give a run's "
            "directory, or user/name of a dataset that you may read"
        ) from error
    if not any(path.glob(pattern)):
        raise InvalidInputError(f"dataset {repo_id!r} on the Hub is not one of ours: it has no {pattern}")
    return path


def with_retries(call: Callable[[], Result]) -> Result:
    """
    Call until it succeeds, with pauses that grow, or those for which the Hub asks.

    Args:
        call (`Callable`): Something that may be done twice.

    Raises:
        InvalidInputError: The token is not accepted, or the Hub may not be asked at all.
        HubError: It failed too often.
        HfHubHTTPError: The Hub refuses.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except OfflineModeIsEnabled as error:
            raise InvalidInputError("HF_HUB_OFFLINE is set: unset it to ask the Hub") from error
        except HFValidationError as error:
            raise InvalidInputError(f"repo_id: {str(error).splitlines()[0]}") from error
        # A proxy's error page is not JSON, and `create_commit` reads one reply before it looks at the status.
        except (HfHubHTTPError, httpx.TransportError, json.JSONDecodeError) as error:
            response = getattr(error, "response", None)
            status = response.status_code if response is not None else None
            if status == 401 and not isinstance(error, RepositoryNotFoundError):
                raise InvalidInputError("token: the Hub does not accept it; log in with `hf auth login`") from error
            if isinstance(error, HfHubHTTPError) and status not in TRANSIENT:
                raise
            reason = f"status {status}" if status else type(error).__name__
            if attempt == ATTEMPTS:
                raise HubError(f"the Hub failed {ATTEMPTS} times ({reason}): do the same again later") from error
            pause = _pause(attempt, response)
            logger.warning(f"The Hub failed ({reason}); again in {pause:.0f} s [{attempt}/{ATTEMPTS}]")
            time.sleep(pause)
    raise AssertionError("unreachable")


def _pause(attempt: int, response: httpx.Response | None) -> float:
    """Seconds before the next attempt, different for each of those who wait."""
    wanted = response.headers.get("Retry-After", "") if response is not None else ""
    if wanted.isdigit():
        return float(wanted) + random.random()
    return min(LONGEST_WAIT, 2.0**attempt) * random.uniform(0.5, 1)


def _is_same(local: Path, remote: RepoFile | None) -> bool:
    if remote is None or remote.size != local.stat().st_size:
        return False
    if remote.lfs is None:
        return git_hash(local.read_bytes()) == remote.blob_id
    with local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == remote.lfs.sha256
