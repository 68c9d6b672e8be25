"""A Hub on loopback that answers the real `huggingface_hub` client: its HTTP protocol, over repositories in memory.

Files are committed, listed and resolved as on the Hub: small ones in git, large ones by Git LFS, whose storage is
another host (`localhost`, while the Hub is `127.0.0.1`), so that a token that leaves the Hub is seen. Clients must run
with `HF_HUB_DISABLE_XET=1`, which makes them use LFS: this Hub does not speak Xet.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from huggingface_hub.utils.sha import git_hash

LARGE_SUFFIXES = (".safetensors",)
LARGE_BYTES = 10_000_000
STARTED_AT = "2026-01-01T00:00:00.000Z"
RATE_LIMIT = {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=1;w=1'}


@dataclass(frozen=True)
class Blob:
    """Content of a file, in git or in the large-file storage."""

    content: bytes
    is_large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        about = f"oid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return f"version https://git-lfs.github.com/spec/v1\n{about}".encode()

    @property
    def blob_id(self) -> str:
        return git_hash(self.pointer if self.is_large else self.content)

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_large else self.blob_id


@dataclass
class HubRepository:
    """Commits, oldest first, names that point to them, and who may read it, beside its owner, if not everybody."""

    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, Blob]) -> str:
        oid = hashlib.sha1(
            f"{len(self.commits)} {[(path, files[path].blob_id) for path in files]}".encode()
        ).hexdigest()
        self.commits[oid], self.refs["main"] = files, oid
        return oid

    @property
    def head(self) -> str:
        return self.refs["main"]

    @property
    def files(self) -> dict[str, bytes]:
        return {path: blob.content for path, blob in self.commits[self.head].items()}


class HubError(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, message: str, *, code: str = "", **body: Any) -> None:
        super().__init__(message)
        self.status, self.headers = status, {"X-Error-Message": message}
        self.body = {"error": message, **body}
        if code:
            self.headers["X-Error-Code"] = code


@dataclass(frozen=True)
class Asked:
    """A request: who asks (None without a token), and its body."""

    user: str | None
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LoopbackHub:
    """The Hub; a context manager that serves while it is open.

    Attributes:
        url: To be given to clients as `HF_ENDPOINT`.
        users: Token to user name; a user may write to the namespace of the same name.
        repositories: By id.
        collections: By slug, as the Hub's API shows them.
        requests: Method and path of everything that was asked for.
        leaked: Paths of the storage that were asked for with a token.
    """

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.repositories: dict[str, HubRepository] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.leaked: list[str] = []
        self.storage: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self._refusals: list[tuple[str, int]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def refuse(self, pattern: str, status: int = 429, *, times: int = 1) -> None:
        """Answer the next requests whose method and path have a pattern with an error."""
        self._refusals += [(pattern, status)] * times

    def asked(self, pattern: str) -> list[str]:
        """The requests so far whose method and path have a pattern."""
        return [request for request in self.requests if re.search(pattern, request)]

    def check_refusals(self, request: str) -> None:
        for refusal in self._refusals:
            if re.search(refusal[0], request):
                self._refusals.remove(refusal)
                raise HubError(refusal[1], "Refused for this test")

    # What follows answers requests: what was asked, then what its path names.

    def whoami(self, asked: Asked) -> Any:
        if asked.user is None:
            raise HubError(401, "Invalid username or password.")
        return {"type": "user", "name": asked.user, "orgs": [], "auth": {"type": "access_token"}}

    def create(self, asked: Asked) -> Any:
        content = asked.json
        repo_id = f"{self._check_namespace(asked.user, content['organization'])}/{content['name']}"
        if repo_id in self.repositories:
            raise HubError(409, "You already created this model repo", url=f"{self.url}/{repo_id}")
        self.repositories[repo_id] = HubRepository(private=content.get("visibility") == "private")
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES)
        self.repositories[repo_id].commit({".gitattributes": Blob(attributes.encode(), is_large=False)})
        return {"url": f"{self.url}/{'spaces/' * (content.get('type') == 'space')}{repo_id}", "name": repo_id}

    def validate_yaml(self, asked: Asked) -> Any:
        match = re.match(r"---\n(.*?)\n---\n", asked.json["content"], re.DOTALL)
        try:
            data = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError as error:
            raise HubError(400, "Invalid metadata", errors=[{"message": str(error)}], warnings=[]) from error
        wanted = {"license": str, "tags": list, "datasets": list, "model-index": list}
        wrong = [name for name, kind in wanted.items() if name in data and not isinstance(data[name], kind)]
        if wrong:
            raise HubError(400, "Invalid metadata", errors=[{"message": f"{name} is invalid"} for name in wrong])
        return {"errors": [], "warnings": [] if data else [{"message": "empty or missing yaml metadata in repo card"}]}

    def preupload(self, asked: Asked, repo_id: str, revision: str) -> Any:
        known = self._writable(asked.user, repo_id).commits[self._commit_of(repo_id, revision)]
        files = []
        for file in asked.json["files"]:
            path, blob = file["path"], known.get(file["path"])
            is_large = path.endswith(LARGE_SUFFIXES) or file["size"] > LARGE_BYTES
            mode = "lfs" if is_large else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": blob and blob.etag})
        return {"files": files}

    def lfs_batch(self, asked: Asked, repo_id: str) -> Any:
        self._writable(asked.user, repo_id)
        objects = []
        for wanted in asked.json["objects"]:
            upload = {"upload": {"href": f"http://localhost:{self.port}/storage/{wanted['oid']}"}}
            missing = {} if wanted["oid"] in self.storage else {"actions": upload}
            objects.append({"oid": wanted["oid"], "size": wanted["size"], **missing})
        return {"transfer": "basic", "objects": objects}

    def store(self, asked: Asked, oid: str) -> Any:
        if hashlib.sha256(asked.body).hexdigest() != oid:
            raise HubError(400, "The content has another hash")
        self.storage[oid] = asked.body
        return {}

    def commit(self, asked: Asked, repo_id: str, revision: str) -> Any:
        repository = self._writable(asked.user, repo_id)
        files = dict(repository.commits[self._commit_of(repo_id, revision)])
        for line in asked.body.splitlines():
            key, value = (part := json.loads(line))["key"], part["value"]
            if key == "header" and value.get("parentCommit", repository.head) != repository.head:
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            if key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), is_large=False)
            if key == "lfsFile":
                if value["oid"] not in self.storage:
                    raise HubError(
                        400, "Your push was rejected because an LFS pointer points to a file that is missing"
                    )
                files[value["path"]] = Blob(self.storage[value["oid"]], is_large=True)
            if key == "deletedFile":
                del files[value["path"]]
        oid = repository.commit(files)
        return {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{repo_id}/commit/{oid}"}

    def info(self, asked: Asked, repo_id: str, revision: str = "main") -> Any:
        repository = self._readable(asked.user, repo_id)
        sha = self._commit_of(repo_id, revision)
        return {
            "_id": "0" * 24, "id": repo_id, "modelId": repo_id, "author": repo_id.partition("/")[0], "sha": sha,
            "lastModified": STARTED_AT, "createdAt": STARTED_AT, "private": repository.private,
            "gated": "manual" if repository.gated else False, "disabled": False, "tags": [], "likes": 0,
            "pipeline_tag": "video-classification", "library_name": "transformers",
            "siblings": [{"rfilename": path} for path in sorted(repository.commits[sha])],
        }  # fmt: skip

    def tree(self, asked: Asked, repo_id: str, revision: str, folder: str = "") -> Any:
        files = self._readable(asked.user, repo_id).commits[self._commit_of(repo_id, revision)]
        if folder:
            raise HubError(404, f"{folder} does not exist", code="EntryNotFound")
        return [_described(path, blob) for path, blob in sorted(files.items())]

    def tag(self, asked: Asked, repo_id: str, revision: str) -> Any:
        repository, name = self._writable(asked.user, repo_id), asked.json["tag"]
        repository.refs[name] = self._commit_of(repo_id, revision)
        return {}

    def resolve(self, asked: Asked, repo_id: str, revision: str, path: str) -> Any:
        repository = self._readable(asked.user, repo_id)
        if repository.gated and asked.user not in {*repository.readers, repo_id.partition("/")[0]}:
            status = 401 if asked.user is None else 403
            raise HubError(status, f"Access to model {repo_id} is restricted.", code="GatedRepo")
        commit = self._commit_of(repo_id, revision)
        blob = repository.commits[commit].get(path)
        if blob is None:
            raise HubError(404, "Entry not found", code="EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob.etag}"'}
        if not blob.is_large:
            return 200, headers, blob.content
        headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content))}
        return 302, headers | {"Location": f"http://localhost:{self.port}/storage/{blob.sha256}"}, b""

    def stored(self, _asked: Asked, oid: str) -> Any:
        if oid not in self.storage:
            raise HubError(404, "Not found")
        return 200, {"ETag": f'"{oid}"'}, self.storage[oid]

    def create_collection(self, asked: Asked) -> Any:
        content = asked.json
        owner = self._check_namespace(asked.user, content["namespace"])
        slug = f"{owner}/{re.sub(r'[^a-z0-9]+', '-', content['title'].lower()).strip('-')}-{'0' * 24}"
        if len(content.get("description", "")) > 150:
            raise HubError(400, "The description is longer than 150 characters")
        if slug in self.collections:
            raise HubError(409, "The collection exists", slug=slug)
        self.collections[slug] = {
            "slug": slug, "title": content["title"], "owner": {"name": owner}, "items": [], "theme": "green",
            "lastUpdated": STARTED_AT, "position": 0, "private": content["private"], "upvotes": 0,
            "description": content.get("description"),
        }  # fmt: skip
        return self.collections[slug]

    def collection(self, _asked: Asked, slug: str) -> Any:
        if slug not in self.collections:
            raise HubError(404, "Collection not found")
        return self.collections[slug]

    def add_item(self, asked: Asked, slug: str) -> Any:
        self._check_namespace(asked.user, slug.partition("/")[0])
        item, items = asked.json["item"], self.collections[slug]["items"]
        self._readable(asked.user, item["id"])
        if any(known["id"] == item["id"] for known in items):
            raise HubError(409, "The item is in the collection")
        items.append({"_id": f"{len(items):024}", "position": len(items), **item})
        return self.collections[slug]

    def _check_namespace(self, user: str | None, namespace: str | None) -> str:
        if user is None:
            raise HubError(401, "Invalid username or password.")
        if namespace not in (None, user):
            raise HubError(403, f"You don't have the rights to create a model under the namespace {namespace!r}")
        return user

    def _readable(self, user: str | None, repo_id: str) -> HubRepository:
        repository = self.repositories.get(repo_id)
        if repository is None or (repository.private and user not in {*repository.readers, repo_id.partition("/")[0]}):
            raise HubError(401 if user is None else 404, "Repository not found", code="RepoNotFound")
        return repository

    def _writable(self, user: str | None, repo_id: str) -> HubRepository:
        repository = self._readable(user, repo_id)
        self._check_namespace(user, repo_id.partition("/")[0])
        return repository

    def _commit_of(self, repo_id: str, revision: str) -> str:
        repository = self.repositories[repo_id]
        commit = repository.refs.get(revision, revision)
        if commit not in repository.commits:
            raise HubError(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
        return commit


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES: dict[str, Callable[..., Any]] = {
    r"GET /api/whoami-v2": LoopbackHub.whoami,
    r"POST /api/repos/create": LoopbackHub.create,
    r"POST /api/validate-yaml": LoopbackHub.validate_yaml,
    rf"POST /api/(?:models|spaces)/{REPO}/preupload/([^/]+)": LoopbackHub.preupload,
    rf"POST /api/(?:models|spaces)/{REPO}/commit/([^/]+)": LoopbackHub.commit,
    rf"POST /api/(?:models|spaces)/{REPO}/tag/([^/]+)": LoopbackHub.tag,
    rf"GET /api/(?:models|spaces)/{REPO}/tree/([^/]+)(?:/(.+))?": LoopbackHub.tree,
    rf"GET /api/(?:models|spaces)/{REPO}/revision/([^/]+)": LoopbackHub.info,
    rf"GET /api/(?:models|spaces)/{REPO}": LoopbackHub.info,
    rf"POST (?:/spaces)?/{REPO}\.git/info/lfs/objects/batch": LoopbackHub.lfs_batch,
    rf"(?:GET|HEAD) /{REPO}/resolve/([^/]+)/(.+)": LoopbackHub.resolve,
    r"PUT /storage/(\w+)": LoopbackHub.store,
    r"(?:GET|HEAD) /storage/(\w+)": LoopbackHub.stored,
    r"POST /api/collections": LoopbackHub.create_collection,
    rf"GET /api/collections/{REPO}": LoopbackHub.collection,
    rf"POST /api/collections/{REPO}/items": LoopbackHub.add_item,
}


def _described(path: str, blob: Blob) -> dict[str, Any]:
    described = {"type": "file", "path": path, "oid": blob.blob_id, "size": len(blob.content)}
    if blob.is_large:
        described["lfs"] = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
    return described


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self) -> None:
        request = f"{self.command} {urlsplit(self.path).path}"
        body = b"".join(self._body())
        with self.hub.lock:
            self.hub.requests.append(request)
            try:
                self.hub.check_refusals(request)
                status, headers, content = self._found(request, body)
            except HubError as error:
                limit = RATE_LIMIT if error.status == 429 else {}
                status, headers, content = error.status, error.headers | limit, json.dumps(error.body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815  names that http.server looks for

    def _found(self, request: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.users:
            raise HubError(401, "Invalid credentials in Authorization header")
        for pattern, method in ROUTES.items():
            match = re.fullmatch(pattern, request)
            if match:
                if "/storage/" in request and token:
                    self.hub.leaked.append(request)
                found = method(
                    self.hub,
                    Asked(self.hub.users.get(token), body),
                    *(unquote(part) for part in match.groups() if part),
                )
                return found if isinstance(found, tuple) else (200, {}, json.dumps(found).encode())
        raise HubError(404, f"This Hub does not know {request}")

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        yield self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *unused: object) -> None: ...
