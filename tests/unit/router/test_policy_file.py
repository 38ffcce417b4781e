from pathlib import Path

import pytest

from archroute_server.router.policy import Policy
from archroute_server.router.policy_file import PolicyFileError, load_policy_sets

EXAMPLE = Path(__file__).parents[3] / "examples" / "policies.yaml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policies.yaml"


def problems(file: Path, content: str | bytes) -> list[str]:
    """Return the problems as `line:column: reason`."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(PolicyFileError) as caught:
        load_policy_sets(file)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{file}:") for line in lines)
    return [line.removeprefix(f"{file}:").strip() for line in lines]


def test_the_example_is_a_gateway_with_ten_policies() -> None:
    sets = load_policy_sets(EXAMPLE)
    assert sets.names() == ("llm-gateway",)
    policies = sets.get("").policies
    assert len(policies) == 10
    assert all("/" in model for policy in policies for model in policy.models)
    assert all(policy.models for policy in policies)


def test_everything_a_file_can_say(file: Path) -> None:
    file.write_text(
        """\
        default: second
        policy_sets:
          - name: first
            policies:
              - {name: "a \\"quoted\\" 🚀", description: "yes", models: [x/1, y/2]}
          - name: second
            policies: &shared
              - name: multi
                description: |
                  two
                  lines
          - {name: third, policies: *shared}
        """,
        encoding="utf-8",
    )
    sets = load_policy_sets(file)
    assert sets.names() == ("first", "second", "third")
    assert sets.default_name == "second"
    assert sets.get("first").policies == (Policy('a "quoted" 🚀', "yes", ("x/1", "y/2")),)
    assert sets.get("").policies == (Policy("multi", "two\nlines\n", ()),)
    assert sets.get("third").revision == sets.get("second").revision


def test_a_byte_order_mark_is_accepted(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.read_bytes())
    assert load_policy_sets(file).names() == ("llm-gateway",)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"none\.yaml: cannot be read: No such file"):
        load_policy_sets(tmp_path / "none.yaml")
    with pytest.raises(PolicyFileError, match=f"{tmp_path}: is a folder without policies files"):
        load_policy_sets(tmp_path)


SET = "policy_sets:\n- name: s\n  policies:\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty; it needs `policy_sets`"),
        ("# nothing\n", "is empty; it needs `policy_sets`"),
        (b"policy_sets:\n- \xff", "2:1: is not UTF-8 text"),
        ("policy_sets:\n- a\x07b", "2:4: holds the character U+0007, which YAML allows only as an escape"),
        ("policy_sets: [", "1:15: is not valid YAML: while parsing a flow node, expected the node content, "),
        ("policy_sets: []\n---\n", "2:1: is not valid YAML: expected a single document"),
        ("- a", "1:1: the file must be a mapping with `policy_sets`, `default`, not a list"),
        ("policies: []", "1:1: the file has the unknown key `policies`; did you mean `policy_sets`?"),
        ("version: 1", "1:1: the file has the unknown key `version`; it is a mapping with `policy_sets`, "),
        ("[" * 5000, "is nested too deeply"),
        ('"\\UFFFFFFFF": 1', "is not valid YAML: it holds a number that is too large"),
        (f"%YAML {'9' * 5000}.1\n---\n", "is not valid YAML: it holds a number that is too large"),
        ('"\\ud800": 1', "1:1: the file has the unknown key `\\ud800`; "),
        ("1: []", "1:1: a key of the file must be text, not the int 1; put it in quotes"),
        ("default: a", "1:1: the file has no `policy_sets`"),
        ("policy_sets:", "1:13: policy_sets must be a list, not empty"),
        ("policy_sets: []", "1:14: policy_sets is empty; give at least one policy set"),
        (
            "policy_sets: [a]",
            "1:15: policy_sets[0] must be a mapping with `name`, `policies`, `default_policy`, not text",
        ),
        ("policy_sets:\n- name: a", "2:3: policy_sets[0] has no `policies`"),
        ("policy_sets:\n- policies: []", "2:3: policy_sets[0] has no `name`"),
        ("policy_sets:\n- {name: '', policies: []}", "2:10: policy_sets[0].name: is empty"),
        ("policy_sets:\n- {name: a, policies: []}", "2:23: policy_sets[0].policies: is empty; give at least"),
        (
            "policy_sets:\n- {name: no, policies: []}",
            "2:10: policy_sets[0].name must be text, not the bool no",
        ),
        ("policy_sets:\n- name: a\n  name: b", "3:3: policy_sets[0] has the key `name` twice"),
        (SET + "  - name: a", "4:5: policy_sets[0].policies[0] has no `description`"),
        (
            SET + "  - {name: a, description: }",
            "4:27: policy_sets[0].policies[0].description must be text, not ",
        ),
        (
            SET + "  - {name: a, descripton: b}",
            "4:15: policy_sets[0].policies[0] has the unknown key `descripton`; ",
        ),
        (
            SET + "  - {name: a, description: b, models: x/1}",
            "4:39: policy_sets[0].policies[0].models must be a list",
        ),
        (
            SET + "  - {name: a, description: b, models: [1.5]}",
            "4:40: policy_sets[0].policies[0].models[0] must be ",
        ),
        (
            SET + "  - {name: a, description: b}\n- {name: s, policies: [{name: a, description: b}]}",
            "5:10: policy_sets[1].name: 's' is already taken",
        ),
        (
            SET + "  - {name: a, description: b}\n- {name: t, policies: [{name: a, description: b}]}",
            "1:1: holds several policy sets, so `default` must name one of them: 's', 't'",
        ),
        (
            "default: t\n" + SET + "  - {name: a, description: b}",
            "1:10: default: 't' is not among the sets 's'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_column(
    file: Path, content: str | bytes, expected: str
) -> None:
    (problem,) = problems(file, content)
    assert problem.startswith(expected)


def test_all_wrong_policies_of_a_set_are_named_at_once(file: Path) -> None:
    content = SET + (
        "  - name: other\n"
        "    description: ''\n"
        "  - name: a\n"
        "    description: first\n"
        "  - name: a\n"
        '    description: "\\ud83d"\n'
        "    models:\n"
        "      - x/1\n"
        "      - ''\n"
    )
    found = problems(file, content)
    assert [problem.split(": ")[:2] for problem in found] == [
        ["4:11", "policy_sets[0].policies[0].name"],
        ["5:18", "policy_sets[0].policies[0].description"],
        ["8:11", "policy_sets[0].policies[2].name"],
        ["9:18", "policy_sets[0].policies[2].description"],
        ["12:9", "policy_sets[0].policies[2].models[1]"],
    ]


def test_the_error_carries_the_places_for_programs(file: Path) -> None:
    file.write_text(SET + "  - name: other\n    description: b", encoding="utf-8")
    with pytest.raises(PolicyFileError) as caught:
        load_policy_sets(file)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(4, 11)]


DEFAULTING = "policy_sets:\n- name: a\n  default_policy: {}\n  policies: [{{name: b, description: c}}]"


def test_a_set_may_declare_a_default_policy(file: Path) -> None:
    file.write_text(DEFAULTING.format("b"))
    assert load_policy_sets(file).get("a").default_policy == "b"


def test_a_default_policy_that_is_not_there_is_shown_where_it_stands(file: Path) -> None:
    (problem,) = problems(file, DEFAULTING.format("z"))
    assert problem == "3:19: policy_sets[0].default_policy: 'z' is not the name of a policy of the set"
    (problem,) = problems(file, DEFAULTING.format("7"))
    assert problem.startswith("3:19: policy_sets[0].default_policy must be text")


def write_set(path: Path, name: str, *, default: str = "") -> Path:
    head = f"default: {default}\n" if default else ""
    path.write_text(
        f"{head}policy_sets:\n  - name: {name}\n    policies: [{{name: a, description: b}}]\n",
        encoding="utf-8",
    )
    return path


def test_the_files_of_a_folder_are_held_together(tmp_path: Path) -> None:
    write_set(tmp_path / "b.yaml", "talking")
    write_set(tmp_path / "a.yml", "coding", default="talking")
    write_set(tmp_path / ".hidden.yaml", "hidden")
    (tmp_path / "notes.txt").write_text("not a policies file")
    (tmp_path / "older.yaml").mkdir()
    sets = load_policy_sets(tmp_path)
    assert (sets.names(), sets.default_name) == (("coding", "talking"), "talking")


def test_every_file_with_a_mistake_is_named(tmp_path: Path) -> None:
    write_set(tmp_path / "good.yaml", "good")
    first, second = tmp_path / "a.yaml", tmp_path / "z.yaml"
    first.write_text("policy_sets: [")
    second.write_text("policy_sets: []")
    with pytest.raises(PolicyFileError) as caught:
        load_policy_sets(tmp_path)
    assert [problem.path for problem in caught.value.problems] == [first, second]
    assert f"{first}:1:15: is not valid YAML" in str(caught.value)
    assert f"{second}:1:14: policy_sets is empty" in str(caught.value)


def test_a_name_is_taken_once_in_a_folder(tmp_path: Path) -> None:
    first = write_set(tmp_path / "a.yaml", "coding", default="coding")
    second = write_set(tmp_path / "b.yaml", "coding")
    with pytest.raises(PolicyFileError) as caught:
        load_policy_sets(tmp_path)
    assert str(caught.value) == f"{second}:2:11: policy_sets[0].name: 'coding' is already taken in {first}"


def test_a_folder_of_several_sets_needs_one_default(tmp_path: Path) -> None:
    first = write_set(tmp_path / "a.yaml", "coding")
    second = write_set(tmp_path / "b.yaml", "talking")
    with pytest.raises(PolicyFileError, match=f"{tmp_path}: holds several policy sets, so `default` must"):
        load_policy_sets(tmp_path)
    for path, name in ((first, "coding"), (second, "talking")):
        write_set(path, name, default=name)
    with pytest.raises(PolicyFileError) as caught:
        load_policy_sets(tmp_path)
    assert str(caught.value) == f"{second}:1:10: default: {first} names one already; keep one of the two"
