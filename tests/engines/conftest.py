"""A checkpoint as ONNX graphs, written by the command."""

import pytest

import dfer_cli


@pytest.fixture(scope="session")
def onnx_folder(tiny_checkpoint, tmp_path_factory):
    """Folder that `dfer export --onnx` wrote for the tiny checkpoint."""
    folder = tmp_path_factory.mktemp("graphs") / "tiny"
    assert dfer_cli.main(["export", "--onnx", str(tiny_checkpoint), str(folder)]) == 0
    return folder
