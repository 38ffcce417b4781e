"""What can be said of README.md without running it: its tables, its links, its examples of files."""

import re
import subprocess
from pathlib import Path

import pytest

from archroute import ModelMap, Outcome
from archroute_server.access.access_file import load_access_rules
from archroute_server.access.scope import Scope
from archroute_server.router.policy_file import load_policy_sets
from archroute_server.rpc.status import INTERNAL, STATUS_RULES
from support.clone import ROOT
from support.markdown import Block, code_blocks
from support.readme_tables import README, REASONS, with_tables

BLOCKS = code_blocks(README)


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {block.language for block in BLOCKS} <= {"sh", "python", "yaml", "json", "text"}


def test_the_tables_are_those_of_the_code() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == with_tables(text), "run `make docs`"


def test_every_error_has_its_advice() -> None:
    assert REASONS.keys() == {rule.reason for rule in (*STATUS_RULES.values(), INTERNAL)}


def test_every_outcome_is_explained() -> None:
    text = README.read_text(encoding="utf-8")
    for outcome in Outcome:
        assert f"| `{outcome.name}` | " in text


FILES = [block for block in BLOCKS if block.language == "yaml"]


@pytest.mark.parametrize("block", [block for block in FILES if "policy_sets:" in block.text], ids=str)
def test_a_policies_file(tmp_path: Path, block: Block) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert load_policy_sets(path).names()


@pytest.mark.parametrize("block", [block for block in FILES if "tokens:" in block.text], ids=str)
def test_an_access_file(tmp_path: Path, block: Block) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert load_access_rules(path).tokens


def test_every_scope_is_explained() -> None:
    text = README.read_text(encoding="utf-8")
    for scope in Scope:
        assert f"| `{scope}` | " in text


@pytest.mark.parametrize(
    "block",
    [block for block in FILES if not ("policy_sets:" in block.text or "tokens:" in block.text)],
    ids=str,
)
def test_a_model_map(tmp_path: Path, block: Block) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(block.text, encoding="utf-8")
    assert ModelMap.load(path).models


def test_the_example_of_a_model_map_fits_that_of_policies() -> None:
    policy_set = load_policy_sets(ROOT / "examples/policies.yaml").get("")
    models = ModelMap.load(ROOT / "examples/models.yaml")
    described = {model.name for model in models.models}
    assert {model.name for model in models.default} <= described
    ours = {policy.name: policy for policy in policy_set.policies}
    for name in ("code_generation", "sql_queries"):
        assert models.entry(name).strategy is not None
        assert {model.name for model in models.models_of(name, ours[name].models)} <= described


def test_every_link_leads_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target.removeprefix("#") in headings
        elif not target.startswith("https://"):
            assert (ROOT / target).exists()


def test_every_make_target_exists() -> None:
    named = set(re.findall(r"`make ([a-z-]+)", README.read_text(encoding="utf-8")))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^  make ([a-z-]+)", shown, re.MULTILINE))
    assert named
    assert named <= listed
