"""Put checkpoints on the Hub: each as the folder that `export_repository` writes, checked before anything is sent."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import logging, validate_repo_id
from yaml import YAMLError

from ..checkpoints import find_checkpoint, load_checkpoint
from .card import MARKED, RESULTS, render_card
from .export import CARD, export_repository
from .metadata import address_card
from .space import SpaceError, files_of_space
from .space_start import MANIFEST

COLLECTION = "Dynamic facial expression recognition with dfer_hf"
DESCRIPTION = "Checkpoints that read facial expressions in video, frame by frame and as a whole."
TRIES = 6
SENTINELS = {"model": "hub_code.py", "space": MANIFEST}
"""A file that every repository has that was pushed from here."""
REPLACEABLE = {"model": re.compile(r"[\w.-]+\.(py|png)"), "space": re.compile(r"(page|examples)/.+|[\w.-]+\.(py|whl)")}
"""Names that an earlier version may have pushed, and that are deleted when this one has no such file."""

logger = logging.get_logger(__name__)

Answer = TypeVar("Answer")


class PushError(ValueError):
    """A checkpoint is not pushed: it, its card or the place where it is to go is not fit for it."""


class CardMissingError(PushError):
    """There is no card to go along with the weights."""


class CardInvalidError(PushError):
    """The card or the results beside it cannot be read, or say what makes no sense."""


class LicenceMissingError(PushError):
    """The card's metadata does not say under which licence the weights are."""


class StaleCardError(PushError):
    """The card shows other figures than those that were measured, or they are of other weights."""


class RepositoryTakenError(PushError):
    """There is a repository of that name which is something else, or which more people can see than is wished."""


class TokenMissingError(PushError):
    """Nobody is logged in."""


class HubRefusedError(PushError):
    """The Hub cannot be reached, or does not take what it was sent."""


@dataclass(frozen=True)
class PreparedRepository:
    """A folder that holds exactly what its repository should hold.

    Args:
        repo_id: Namespace and name.
        files: All of them.
        folder: In which they are.
        kind: `model` or `space`, as the Hub calls it.
    """

    repo_id: str
    files: list[Path]
    folder: Path
    kind: str = "model"

    @property
    def num_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.stat().st_size for file in self.files)


@dataclass(frozen=True)
class PushedRepository:
    """Where a repository is, and what had to change there."""

    url: str
    sent: list[str]
    deleted: list[str]
    left_alone: list[str]
    """Files that somebody else put there."""


def prepare_repository(source: str, target: str, folder: Path) -> PreparedRepository:
    """Write the folder of a repository, without touching the network.

    Args:
        source: A checkpoint that ships with the package, or the folder of one's own.
        target: A namespace of the Hub, which the name of the checkpoint is added to, or a namespace and a name.
        folder: Where the files go; made if missing.

    Raises:
        CheckpointError: If weights are not finite, or not those of the configuration.
        PushError: If the card is missing or stale or names no licence, or the target makes no name.
    """
    checkpoint = Path(find_checkpoint(source))
    if not checkpoint.is_dir():
        raise PushError(f"Expected a checkpoint of this machine, got the Hub id {source!r}. Download it first.")
    resolved = checkpoint.resolve()
    # A run of training is named after its folder, in which `hub` is what there is to upload.
    name = resolved.parent.name if resolved.name == "hub" else resolved.name
    repo_id = _valid(target if "/" in target else f"{target}/{name}")
    loaded = load_checkpoint(checkpoint)
    names = {resolved.name, name, repo_id.partition("/")[2]}
    card = checked_card(checkpoint, loaded.model.num_parameters(), names=names)
    files = export_repository(loaded.model, loaded.processor, folder, card=checkpoint / CARD)
    (folder / CARD).write_text(address_card(card, repo_id), encoding="utf-8")
    return PreparedRepository(repo_id, files, folder)


def prepare_space(folder: Path, repo_id: str) -> PreparedRepository:
    """Find the files of a Space that `dfer space` wrote.

    Args:
        folder: With the Space.
        repo_id: Namespace and name of the Space on the Hub.

    Raises:
        SpaceError: If the folder is no such Space, or lacks one of its files.
        PushError: If the id is none.
    """
    files = [folder / name for name in files_of_space(folder)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise SpaceError(f"Expected every file that was written, but {', '.join(missing)} is gone. Write it again.")
    return PreparedRepository(_valid(repo_id), files, folder, kind="space")


def _valid(repo_id: str) -> str:
    try:
        validate_repo_id(repo_id)
    except ValueError as error:
        raise PushError(f"Expected a namespace such as me, or me/name, got {repo_id!r}: {error}") from error
    if "/" not in repo_id:
        raise PushError(f"Expected a namespace and a name, such as me/name, got {repo_id!r}.")
    return repo_id


def checked_card(checkpoint: Path, num_parameters: int, *, names: Collection[str]) -> str:
    """Read the card of a checkpoint's folder, and refuse one that must not be published.

    Args:
        checkpoint: The folder.
        num_parameters: Of the model in it.
        names: What the checkpoint is called here and where it goes to; figures of any other are not its own.

    Raises:
        CardMissingError: If there is none.
        CardInvalidError: If it or its `results.json` cannot be read.
        LicenceMissingError: If its metadata names no licence.
        StaleCardError: If it does not show the figures of the `results.json` beside it, or these are of another model.
    """
    file, measured = checkpoint / CARD, checkpoint / RESULTS
    if not file.is_file():
        raise CardMissingError(f"Expected a card in {str(file)!r}, found none. Write one.")
    try:
        text = file.read_text(encoding="utf-8")
        licence = ModelCard(text).data.get("license")
        results = json.loads(measured.read_text(encoding="utf-8")) if measured.is_file() else None
        rendered = text if results is None else render_card(text, results)
        counted = num_parameters if results is None else results["benches"].get("cost", {}).get("parameters")
    except (KeyError, TypeError, ValueError, YAMLError) as error:
        raise CardInvalidError(f"{str(file)!r} or the {RESULTS} beside it makes no sense: {error}. Fix it.") from error
    if not licence:
        raise LicenceMissingError(f"Expected a `license:` in the metadata of {str(file)!r}, found none. Name it.")
    if results is None and MARKED.search(text):
        raise StaleCardError(f"Expected a {RESULTS} beside {str(file)!r}, which shows its figures. Measure it again.")
    if counted not in (None, num_parameters):
        raise StaleCardError(
            f"Expected figures of a model with {num_parameters} parameters in {str(measured)!r}, got those of one "
            f"with {counted}. Measure it again."
        )
    if results is not None and (came := results["checkpoint"]) not in names:
        called = " or ".join(map(repr, sorted(names)))
        raise StaleCardError(
            f"Expected figures of {called} in {str(measured)!r}, got those of {came!r}. "
            f"If the weights are those of {came!r}, push them as NAMESPACE/{came} or call the folder so; "
            "if they are others, measure them again."
        )
    if rendered != text:
        raise StaleCardError(f"{str(file)!r} does not show what was measured last. Run `make cards`.")
    return text


def upload_repository(prepared: PreparedRepository, *, private: bool = False) -> PushedRepository:
    """Create a repository if need be, and bring it to what was prepared, in one commit.

    What is there already is not sent again, be it committed or only stored, so a push that was interrupted goes on.
    The token is the one of HF_TOKEN or of `hf auth login`.

    Args:
        prepared: What it should hold.
        private: Whether only its owner may see it.

    Raises:
        PushError: If nobody is logged in, the repository is something else or public, or the Hub refuses it.
    """
    if get_token() is None:
        raise TokenMissingError("Expected somebody to be logged in. Run `hf auth login`, or set HF_TOKEN.")
    api, repo_id, kind = HfApi(), prepared.repo_id, prepared.kind
    options = {"space_sdk": "gradio"} if kind == "space" else {}
    url = str(_asked(api.create_repo, repo_id, repo_type=kind, private=private or None, exist_ok=True, **options))
    info = _asked(api.repo_info, repo_id, repo_type=kind)
    if private and not info.private:
        raise RepositoryTakenError(f"Expected a private repository, but {repo_id} is public. Change that on the Hub.")
    tree = _asked(lambda: [*api.list_repo_tree(repo_id, recursive=True, repo_type=kind, revision=info.sha)])
    remote = {entry.path: entry for entry in tree if isinstance(entry, RepoFile) and not entry.path.startswith(".")}
    # A new Space may have been given a card by the Hub.
    if SENTINELS[kind] not in remote and remote.keys() - ({CARD} if kind == "space" else set()):
        raise RepositoryTakenError(
            f"Expected a new repository, or one that was pushed from here, but {repo_id} holds "
            f"{', '.join(sorted(remote)[:5])}. Choose another name, as in {repo_id.partition('/')[0]}/name."
        )
    local = {file.relative_to(prepared.folder).as_posix(): file for file in prepared.files}
    sent = [name for name, file in local.items() if not _is_same(file, remote.get(name))]
    strangers = sorted(remote.keys() - local.keys())
    deleted = [name for name in strangers if REPLACEABLE[kind].fullmatch(name)]
    if sent or deleted:
        _asked(
            api.create_commit,
            repo_id,
            [*(CommitOperationAdd(name, local[name]) for name in sent), *map(CommitOperationDelete, deleted)],
            repo_type=kind,
            commit_message=f"Push {repo_id.partition('/')[2]}",
            parent_commit=info.sha,
        )
    return PushedRepository(url, sent, deleted, [name for name in strangers if name not in deleted])


def collect(repo_ids: Iterable[str], namespace: str, *, private: bool = False) -> str:
    """Put repositories into the collection of the package, which is made if missing; its address.

    Raises:
        HubRefusedError: If the Hub cannot be reached or refuses it.
    """
    api = HfApi()
    options = {"namespace": namespace, "description": DESCRIPTION, "private": private, "exists_ok": True}
    collection = _asked(api.create_collection, COLLECTION, **options)
    for repo_id in repo_ids:
        _asked(api.add_collection_item, collection.slug, repo_id, "model", exists_ok=True)
    return collection.url


def _is_same(file: Path, known: RepoFile | None) -> bool:
    """Whether a file of the Hub has the content of a file of this machine."""
    if known is None:
        return False
    content = file.read_bytes()
    if known.lfs is not None:
        return known.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return known.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _asked(call: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
    """Call the Hub, and call it again after as long as it asks to wait."""
    tried = 0
    while True:
        try:
            return call(*arguments, **options)
        # A large file that is not taken is a RuntimeError, and metadata that is not taken a ValueError.
        except (HTTPError, OSError, RuntimeError, ValueError) as error:  # noqa: PERF203  it waits anyway
            tried += 1
            if not (isinstance(error, HfHubHTTPError) and error.response.status_code == 429) or tried == TRIES:
                raise HubRefusedError(
                    f"The Hub did not take it: {error}. Run the command again; what is there is not sent twice."
                ) from error
            said = re.search(r"\bt\s*=\s*(\d+)", error.response.headers.get("RateLimit", ""))
            seconds = int(said[1]) + 1 if said else 2**tried
            logger.warning(f"The Hub takes no more for now. Waiting {seconds} seconds.")
            time.sleep(seconds)
