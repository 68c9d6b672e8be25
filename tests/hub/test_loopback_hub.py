"""The Hub on loopback answers the real client as the Hub does."""

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

FILES = {"README.md": b"---\nlicense: mit\n---\n# Mine\n", "model.safetensors": b"weights", "config.json": b"{}"}


def additions(files):
    return [CommitOperationAdd(path, content) for path, content in files.items()]


@pytest.fixture
def api(hub):  # noqa: ARG001  the client talks to it
    return HfApi()


@pytest.fixture
def uploaded(api):
    """The repository `me/mine` with three files, and its commit."""
    api.create_repo("me/mine")
    return api.create_commit("me/mine", additions(FILES), commit_message="Files").oid


def test_files_come_back_as_they_were_committed(hub, uploaded):
    folder = Path(snapshot_download("me/mine"))
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert folder.name == uploaded
    assert hub.asked("PUT /storage/")
    assert hub.asked("GET /storage/")
    assert not hub.leaked, "the storage is another host, which must not see the token"


@pytest.mark.usefixtures("uploaded")
def test_the_tree_has_the_hashes_of_git_and_of_large_files(api):
    tree = {file.path: file for file in api.list_repo_tree("me/mine")}
    assert tree["config.json"].blob_id == "9e26dfeeb6e641a33dae4961196235bdb965b21b"
    assert tree["config.json"].lfs is None
    assert tree["model.safetensors"].lfs.size == 7
    assert tree["model.safetensors"].lfs.sha256 == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.usefixtures("uploaded")
def test_a_large_file_is_stored_once(hub, api):
    api.create_repo("me/other")
    api.create_commit("me/other", additions({"same.safetensors": b"weights"}), commit_message="Again")
    assert len(hub.asked("PUT /storage/")) == 1
    assert hub.repositories["me/other"].files["same.safetensors"] == b"weights"


def test_revisions_are_kept(api, uploaded):
    api.create_tag("me/mine", tag="v1")
    operations = [CommitOperationDelete("config.json"), *additions({"README.md": b"# Other\n"})]
    api.create_commit("me/mine", operations, commit_message="Change", parent_commit=uploaded)
    for revision in (uploaded, "v1"):
        assert Path(hf_hub_download("me/mine", "config.json", revision=revision)).read_bytes() == b"{}"
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("me/mine", "config.json")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("me/mine", "config.json", revision="v2")
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit("me/mine", additions(FILES), commit_message="Late", parent_commit=uploaded)


@pytest.mark.usefixtures("uploaded")
def test_a_token_opens_what_is_its_owner_s(hub, api):
    assert api.whoami()["name"] == "me"
    hub.repositories["me/mine"].private = True
    assert api.model_info("me/mine").private is True
    for token in (False, "hf_secretofguest"):
        with pytest.raises(RepositoryNotFoundError):
            api.model_info("me/mine", token=token)
    with pytest.raises(HfHubHTTPError, match="403"):
        api.create_repo("you/theirs")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_unknown")


@pytest.mark.usefixtures("uploaded")
def test_a_gated_repository_opens_to_readers(hub):
    hub.repositories["me/mine"].gated = True
    for token in (False, "hf_secretofguest"):
        with pytest.raises(GatedRepoError):
            hf_hub_download("me/mine", "config.json", token=token)
    hub.repositories["me/mine"].readers.add("guest")
    assert hf_hub_download("me/mine", "config.json", token="hf_secretofguest")


@pytest.mark.usefixtures("uploaded")
def test_a_card_whose_metadata_makes_no_sense_is_refused(api):
    for metadata in ("license: [mit]", "license: {"):
        with pytest.raises((BadRequestError, ValueError), match="Invalid metadata"):
            api.create_commit(
                "me/mine", additions({"README.md": f"---\n{metadata}\n---\n".encode()}), commit_message="Card"
            )


@pytest.mark.usefixtures("uploaded")
def test_the_client_waits_and_tries_again_where_it_is_rate_limited(hub, api, waits):
    hub.refuse("GET .*/tree/", 429, times=2)
    hub.refuse("POST /api/collections", 429)
    assert len(list(api.list_repo_tree("me/mine"))) == 4
    assert waits == [2.0, 2.0]
    with pytest.raises(HfHubHTTPError, match="Retry after 1 seconds"):
        api.create_collection("Mine", namespace="me")


@pytest.mark.usefixtures("uploaded")
def test_collections_hold_each_item_once(api):
    collection = api.create_collection("All of mine", namespace="me", description="Everything")
    assert collection.slug.startswith("me/all-of-mine-")
    for _ in range(2):
        assert api.create_collection("All of mine", namespace="me", exists_ok=True).slug == collection.slug
        items = api.add_collection_item(collection.slug, "me/mine", "model", exists_ok=True).items
    assert [item.item_id for item in items] == ["me/mine"]
