"""Files around the code that machines and people read: version, citation, workflow, templates."""

import re
import sys
from pathlib import Path

import pytest
import yaml

import dfer_hf

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(read("pyproject.toml"))["project"]


@pytest.fixture(scope="module")
def jobs():
    return yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]


def test_the_citation_has_what_the_format_asks_for(project):
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert all(isinstance(citation[key], str) and citation[key] for key in ("message", "title", "abstract"))
    assert (citation["version"], citation["license"]) == (dfer_hf.__version__, project["license"])
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]
    for reference in citation["references"]:
        assert reference.keys() >= {"type", "title", "authors"}
        assert all(author.keys() & {"family-names", "name"} for author in reference["authors"])


def test_the_changelog_begins_with_this_version_and_says_how_to_move_to_it():
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[:2] == [dfer_hf.__version__, "0.1.0"]
    newest = read("CHANGELOG.md").partition("\n## ")[2].partition("\n## ")[0]
    assert "### Moving from 0.1.0" in newest


def test_ci_runs_the_targets_of_the_makefile_on_every_python_that_is_promised(project, jobs):
    matrix = jobs["test"]["strategy"]["matrix"]
    promised = [name.rpartition(" ")[2] for name in project["classifiers"] if ":: Python :: 3." in name]
    assert matrix["python"] == promised == ["3.10", "3.11", "3.12", "3.13"]
    typed = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = {*matrix["target"], *re.findall(r"^make (\w+)", "\n".join(typed), re.MULTILINE)}
    assert targets == {"check", "test", "test-oldest", "slow"}
    assert targets <= set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))


def test_ci_may_only_read_and_names_no_index_of_packages():
    text = read(".github/workflows/ci.yml")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert "://" not in text
    assert "secrets." not in text


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_form_for_issues_is_one(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    if form.name == "config.yml":
        assert content.keys() <= {"blank_issues_enabled", "contact_links"}
        return
    assert content.keys() >= {"name", "description", "body"}
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in content["body"]} <= FIELDS
    assert all("label" in field["attributes"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


@pytest.mark.parametrize("name", ["SECURITY.md", "CODE_OF_CONDUCT.md", ".github/pull_request_template.md"])
def test_a_page_for_people_is_there(name):
    assert len(read(name).split()) > 50
