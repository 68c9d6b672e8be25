"""What the Dockerfile promises, without Docker: a user without rights, and one folder that can be written to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .visits import APP, files_in, serving, wait_until

pytest.importorskip("gradio", reason="the app needs gradio")
from gradio_client import Client, handle_file

from page.guards import example_clip

USER = "10001"
READ_ONLY = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=1777,size=1g tmpfs /mnt
for place in /dev/shm /dev /; do mount -o remount,bind,ro $place; done
# Python and the checkout may lie where only their owner may look; to look is all that is allowed.
look=dac_read_search
exec setpriv --reuid $0 --regid $0 --clear-groups --no-new-privs --bounding-set -all,+$look --inh-caps -all,+$look \
    --ambient-caps -all,+$look "$@"
"""
CONFINED = ["unshare", "--mount", "sh", "-c", READ_ONLY, USER]
# As the Dockerfile has them, with /mnt in the place of /tmp.
VARIABLES = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": "/mnt",
    "TMPDIR": "/mnt",
    "HF_HOME": "/mnt/huggingface",
    "HF_HUB_OFFLINE": "1",
    "GRADIO_TEMP_DIR": "/mnt",
}


def can_be_confined():
    return (
        sys.platform == "linux"
        and os.geteuid() == 0
        and shutil.which("setpriv")
        and not subprocess.run([*CONFINED, "true"], check=False, capture_output=True).returncode
    )


def files_of_visitors(folder):
    """All files but what libraries keep for the next start, such as a list of fonts."""
    return {path for path in files_in(folder) if ".cache" not in path.parts}


@pytest.mark.slow
@pytest.mark.skipif(not can_be_confined(), reason="needs root, and a kernel that lets it mount")
def test_the_page_answers_without_rights_where_it_may_write_to_one_folder(tmp_path):
    for place in (tmp_path, APP.parent, Path("/dev/shm"), Path("/var/tmp")):
        wrote = subprocess.run([*CONFINED, "touch", str(place / "written")], check=False, capture_output=True)
        assert wrote.returncode != 0, f"the test would prove nothing: {place} can be written to"
    command = [*CONFINED, sys.executable, str(APP)]
    with serving(tmp_path / "stored", command, **VARIABLES) as (process, address, _):
        inside = Path(f"/proc/{process.pid}/root/mnt")
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        assert f"Uid:\t{USER}\t{USER}" in status
        before = files_of_visitors(inside)
        client = Client(address, verbose=False, download_files=str(tmp_path / "got"))
        overlay, note, fine, *_ = client.predict(
            handle_file(example_clip()), "dfer-frame-resnet-small", True, api_name="/analyse"
        )
        assert "140 frames" in note
        assert len(fine["confidences"]) == 7
        assert Path(overlay).stat().st_size > 10_000
        assert {"astronaut.webm", "overlay.webm"} <= {path.name for path in files_of_visitors(inside) - before}
        client.close()
        wait_until(lambda: files_of_visitors(inside) <= before)
        assert sorted(files_of_visitors(inside) - before) == []
    assert list((tmp_path / "stored").iterdir()) == []
