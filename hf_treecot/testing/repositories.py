"""Repositories as the loopback Hub keeps them: blobs, commits, branches. Knows nothing of HTTP."""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import yaml


LFS_SUFFIXES = {".parquet", ".safetensors", ".bin", ".pt", ".png", ".arrow", ".sqlite"}
LFS_SIZE = 10 * 2**20
GITATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in sorted(LFS_SUFFIXES))


class Refusal(Exception):
    """A reply that is an error, as the Hub words it."""

    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(path: str, size: int) -> bool:
    return Path(path).suffix in LFS_SUFFIXES or size > LFS_SIZE


def check_yaml(text: str) -> list[str]:
    """What is wrong with the metadata of a card."""
    if not text.startswith("---\n"):
        return []
    header, end, _ = text[4:].partition("\n---\n")
    if not end:
        return ["the metadata has no end"]
    try:
        data = yaml.safe_load(header)
    except yaml.YAMLError as error:
        return [str(error)]
    return [] if data is None or isinstance(data, dict) else ["the metadata is not a mapping"]


@dataclass(frozen=True)
class File:
    """A file of a commit: git's id of it (of its pointer, for LFS), and the hash of its content."""

    oid: str
    sha256: str
    size: int
    lfs: bool


@dataclass(frozen=True)
class Commit:
    """A whole state of a repository."""

    oid: str
    parent: str | None
    title: str
    author: str
    files: dict[str, File]


class Blobs:
    """Contents by their SHA-256, on disk."""

    def __init__(self, directory: Path):
        self.directory = directory

    def clear(self) -> None:
        for path in self.directory.iterdir():
            path.unlink()

    def path(self, sha256: str) -> Path:
        return self.directory / sha256

    def add(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        unfinished = self.path(f"{sha256}.{threading.get_ident()}")
        unfinished.write_bytes(content)
        unfinished.rename(self.path(sha256))
        return sha256

    def file(self, path: str, content: bytes) -> File:
        """The file that a content becomes in a commit."""
        sha256, lfs = self.add(content), is_lfs(path, len(content))
        oid = git_oid(lfs_pointer(sha256, len(content)) if lfs else content)
        return File(oid, sha256, len(content), lfs)

    def lfs_file(self, sha256: str) -> File:
        if not self.path(sha256).is_file():
            raise Refusal(400, f"LFS object {sha256} was not uploaded")
        size = self.path(sha256).stat().st_size
        return File(git_oid(lfs_pointer(sha256, size)), sha256, size, True)


def lfs_pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass
class Repository:
    """A repository: its commits and branches."""

    kind: str
    repo_id: str
    blobs: Blobs
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self):
        self.append("main", "initial commit", {".gitattributes": self.blobs.file("", GITATTRIBUTES.encode())}, "hub")

    def append(self, branch: str, title: str, files: dict[str, File], author: str) -> Commit:
        parent = self.branches.get(branch)
        text = f"{parent} {title} {len(self.commits)} {sorted((path, file.oid) for path, file in files.items())}"
        commit = Commit(hashlib.sha1(text.encode()).hexdigest(), parent, title, author, files)
        self.commits[commit.oid] = commit
        self.branches[branch] = commit.oid
        return commit

    def find(self, revision: str) -> Commit:
        revision = unquote(revision)
        oid = self.branches.get(revision, revision)
        if oid not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def commit(self, branch: str, header: dict, operations: list[tuple[str, dict, bytes]], author: str) -> Commit:
        """Apply the operations of a commit, all of them or none."""
        branch = unquote(branch)
        with self.lock:
            if branch not in self.branches:
                raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
            tip = self.find(branch)
            if header.get("parentCommit") not in (None, tip.oid):
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            files = dict(tip.files)
            for key, value, content in operations:
                path = value["path"]
                if key == "file":
                    files[path] = self.blobs.file(path, content)
                    if path == "README.md" and (errors := check_yaml(content.decode())):
                        raise Refusal(400, f"Invalid metadata in README.md: {errors[0]}")
                elif key == "lfsFile":
                    files[path] = self.blobs.lfs_file(value["oid"])
                elif key == "deletedFile" and path in files:
                    del files[path]
                elif key == "deletedFolder" and any(name.startswith(path) for name in files):
                    files = {name: file for name, file in files.items() if not name.startswith(path)}
                else:
                    raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            return self.append(branch, header["summary"], files, author)

    def history(self, revision: str = "main") -> list[Commit]:
        """Commits of a revision, the newest first."""
        commits = [self.find(revision)]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits
