"""Settings are read from file, environment and flags; one error lists all their problems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.config.load import ConfigError, load_settings
from driftgauge.config.plain_yaml import MAX_BYTES
from driftgauge.config.settings import Settings


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DRIFTGAUGE_")]:
        monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    path = folder / "driftgauge.yaml"
    path.write_text(text)
    return path


def problems(path: Path | None = None, **overrides: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {name.replace("__", "."): value for name, value in overrides.items()})
    return str(caught.value)


def test_without_any_source_the_settings_are_the_defaults() -> None:
    assert load_settings() == Settings()


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "windows: {hop_s: 1, window_events: 11, window_s: 100}\nserver: {port: 1}")
    monkeypatch.setenv("DRIFTGAUGE_WINDOWS__HOP_S", "2")
    monkeypatch.setenv("DRIFTGAUGE_WINDOWS__WINDOW_EVENTS", "22")
    settings = load_settings(path, {"windows.hop_s": "3"})
    assert (settings.windows.hop_s, settings.windows.window_events, settings.windows.window_s) == (3, 22, 100)
    assert settings.server.port == 1


def test_the_environment_names_the_file_when_no_path_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTGAUGE_CONFIG", str(written(tmp_path, "server: {port: 7}")))
    assert load_settings().server.port == 7


def test_environment_and_flags_can_set_lists_and_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTGAUGE_KAFKA__BOOTSTRAP_SERVERS", "a:9092, b:9092")
    monkeypatch.setenv("DRIFTGAUGE_TARGETS__DOMAINS__MATH", "0.9")
    monkeypatch.setenv("DRIFTGAUGE_CLASSIFIER__CHALLENGERS", '["neural_network"]')
    settings = load_settings(overrides={"targets.domains": "{law: 0.7}", "report.formats": "json"})
    assert settings.kafka.bootstrap_servers == ("a:9092", "b:9092")
    assert settings.targets.domains == {"law": 0.7}
    assert settings.classifier.challengers == ("neural_network",)
    assert settings.report.formats == ("json",)


def test_one_message_lists_every_problem_of_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "kafka: {bootstrap_server: a, on_lost: panic, max_records: yes}\nwindows: {hop_s: -5}")
    monkeypatch.setenv("DRIFTGAUGE_SERVER__PORT", "many")
    monkeypatch.setenv("DRIFTGAUGE_WIDOWS__HOP_S", "2")
    message = problems(path, labels__polcy="mean", drift__features="entropy_men")
    for problem in (
        "8 problems",
        f"kafka.bootstrap_server ({path}): no such setting; did you mean bootstrap_servers?",
        f"kafka.on_lost ({path}): must be 'fail' or 'earliest'",
        f"kafka.max_records ({path}): must be a number, not a switch",
        f"windows.hop_s ({path}): must be greater than 0",
        "server.port (environment): must be a valid integer",
        "widows (environment): no such setting; did you mean windows?",
        "labels.polcy (flag): no such setting; did you mean policy?",
        "drift (flag): features has unknown names entropy_men",
    ):
        assert problem in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("targets:\n  domains:\n    de: 0.9\n    no: 0.9", "YAML reads no as false: write it in quotes (line 4)"),
        ("targets: {domains: {Off: 0.9}}", "YAML reads Off as false: write it in quotes (line 1)"),
        ("targets:\n  domains: {42: 0.9}", "YAML reads it as a number: write it in quotes (line 2)"),
        ("targets: {domains: {2026-01-01: 0.9}}", "YAML reads it as a date: write it in quotes (line 1)"),
        ("targets: {domains: {null: 0.9}}", "YAML reads null as null: write it in quotes (line 1)"),
        ("kafka:\n  client_id: no", "kafka.client_id (FILE): must be a valid string; YAML reads no as false"),
        ("kafka:\n  topics:\n    labels: [a, yes]", "YAML reads yes as true: write it in quotes (line 3)"),
        ("kafka:\n  topics:\n    labels: on", "YAML reads on as true: write it in quotes (line 3)"),
        ("kafka:\n\n  sasl_username: 0123", "YAML reads it as a number: write it in quotes (line 3)"),
        ("kafka: {on_lost: off}", "YAML reads off as false: write it in quotes (line 1)"),
    ],
)
def test_a_word_that_yaml_reads_as_something_else_is_reported_with_its_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = written(tmp_path, text)
    message = problems(path)
    assert problem.replace("FILE", str(path)) in message
    assert "0123" not in message
    quoted = text.replace("no:", '"no":').replace("Off", '"Off"')
    if quoted != text:
        assert load_settings(written(tmp_path, quoted)).targets.domains


def test_wrong_keys_are_listed_with_all_other_problems(tmp_path: Path) -> None:
    text = "targets:\n  domains:\n    no: 0.9\n    42: 7\nwindows:\n  hop_s: 60\n  hop_s: 61\nserver:\n  port: many"
    message = problems(written(tmp_path, text), labels__polcy="mean")
    for problem in ("6 problems", "(line 3)", "(line 4)", "a key is given twice (line 7)", "targets.domains.42",
                    "server.port", "did you mean policy?"):  # fmt: skip
        assert problem in message


def test_a_group_whose_lines_are_all_comments_is_that_of_the_defaults(tmp_path: Path) -> None:
    text = "windows:\n  # hop_s: 60\nkafka:\n  topics:\ndecode:\n  domain:\n"
    assert load_settings(written(tmp_path, text)) == Settings()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("windows: hop_s=60", "windows (FILE): must be a group of settings"),
        ("windows:\n  hop_s:60", "windows (FILE): must be a group of settings"),
        ("targets:\n  domains: [a]", "targets.domains (FILE): must be a mapping"),
        ("windows:\n  hop_s:", "windows.hop_s (FILE): must be a valid number; it has no value"),
        ("decode:\n  slices: {language: no}", "decode.slices.language (FILE): must be a path or a list of paths"),
        ("labels:\n  scale: {Good: 1, 'good ': 0}", "two of the words differ only in case or white space"),
    ],
)
def test_a_value_of_another_shape_is_refused_in_plain_words(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)
    assert problem.replace("FILE", str(path)) in problems(path)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"windows__hop_s": 200_000}, "hop_s (200000) must not exceed window_s (86400)"),
        ({"windows__hop_s": 1}, "at most 10,000 times hop_s"),
        ({"kafka__topics__alerts": "labels"}, "labels would be both read and written"),
        ({"kafka__topics__labels": "bad topic!"}, "Kafka allows no topic named 'bad topic!'"),
        ({"kafka__topics__generations": ""}, "generations must name at least one topic"),
        ({"kafka__bootstrap_servers": ""}, "bootstrap_servers must name at least one broker"),
        ({"kafka__security_protocol": "SASL_SSL"}, "needs sasl_username"),
        ({"kafka__ssl_certfile": "a.pem"}, "ssl_certfile and ssl_keyfile belong together"),
        ({"store__url": "gauge.db"}, "must be sqlite:///file.db or postgresql://user@host/name"),
        ({"store__url": "sqlite://gauge.db"}, "must be sqlite:///file.db"),
        ({"store__url": "sqlite:///:memory:"}, "must be sqlite:///file.db"),
        ({"store__url": "mysql://db/gauge"}, "must be sqlite:///file.db"),
        ({"report__timezone": "Europe/Bonn"}, "must be a name of the IANA time zone database"),
        ({"report__timezone": "../../etc/passwd"}, "must be a name of the IANA time zone database"),
        ({"report__timezone": ""}, "must be a name of the IANA time zone database"),
        ({"report__cron": "61 * * * *"}, "cron is not a crontab line"),
        ({"report__cron": "0 6 * * *", "report__interval_s": 60}, "cron and interval_s exclude each other"),
        ({"classifier__challengers": "random_forest"}, "kind and challengers must all be different"),
        ({"store__retention_s": 60}, "store.retention_s must be 0 or at least 2592000"),
        ({"targets__domains": "{math: 1.5}"}, "targets.domains.math (flag): must be less than or equal to 1"),
        ({"targets__domains": "{math"}, "not valid YAML"),
        ({"estimates__confidence_level": "nan"}, "must be a finite number"),
    ],
)
def test_settings_that_are_invalid_or_contradict_each_other_are_refused(
    overrides: dict[str, object], problem: str
) -> None:
    assert problem in problems(None, **overrides)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().windows.hop_s = 1  # type: ignore[misc]  # the assignment must be refused


BILLION_LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", None),
        ("- a", "must be a mapping of sections"),
        ("a: [", "not valid YAML"),
        ("\0", "not valid YAML"),
        ("[" * 100_000, "nested deeper than 10 levels (line 1)"),
        (BILLION_LAUGHS, "more than 16 aliases"),
        ("a: &a\n  b: *a", "a (", ),
        ("#" * MAX_BYTES + "\n", f"larger than {MAX_BYTES} bytes"),
        ("a: " + "1:" * 3_000 + "1", "a value longer than 4096 characters (line 1)"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("? [a, b]\n: 1", "not valid YAML"),
        ("server: {port: 1}\nwindows: {}\nserver: {}", "a key is given twice (line 3)"),
        ("".join(f"k{i}: 1\n" for i in range(5_000)), "and 4900 more"),
        ("k" * 500 + ": 1", "k" * 60 + "…"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_with_a_short_message(tmp_path: Path, text: str, problem: str | None) -> None:
    path = written(tmp_path, text)
    if problem is None:
        assert load_settings(path) == Settings()
    else:
        message = problems(path)
        assert problem in message
        assert len(message) < 20_000


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert "cannot be read: No such file or directory" in problems(tmp_path / "none.yaml")
    assert "cannot be read: Is a directory" in problems(tmp_path)


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"kafka: {{sasl_password: {SECRET}, sasl_pasword: {SECRET}, security_protocol: SASL_SSL}}",
        f"kafka: {{sasl_password: *{SECRET}}}",
        f"kafka: {{sasl_password: !{SECRET}}}",
        f"kafka: {{sasl_password: %{SECRET}}}",
        f"kafka: {{sasl_password: [{SECRET}]}}",
        f"kafka: {{sasl_password: {{{SECRET}: 1}}}}",
        f"kafka:\n  sasl_password: '{SECRET}\n",
        f"store: {{url: [{SECRET}]}}\nserver: {{port: {SECRET}, host: [{SECRET}]}}",
        f"kafka: {SECRET}",
        f"store: {{url: '{SECRET} {SECRET}'}}",
    ],
)
def test_no_error_contains_a_secret(tmp_path: Path, text: str) -> None:
    message = problems(written(tmp_path, text))
    assert SECRET not in message
    assert "kafka" in message or "server" in message or "store" in message or "YAML" in message


def test_printed_settings_contain_no_secret() -> None:
    settings = load_settings(overrides={"kafka.sasl_password": SECRET, "store.url": f"postgresql://u:{SECRET}@h/d"})
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert settings.kafka.sasl_password.get_secret_value() == SECRET


def test_a_token_of_the_gateway_has_no_line_feed_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTGAUGE_GATEWAY__LABELS_TOKEN", "token\n")
    monkeypatch.setenv("DRIFTGAUGE_GATEWAY__EVENTS_TOKEN", " ")
    gateway = load_settings().gateway
    assert (gateway.labels_token.get_secret_value(), gateway.events_token.get_secret_value()) == ("token", "")


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab1.:-*&!%{[#\n é", max_size=8)
trees = st.recursive(
    values, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abc"), inner), max_leaves=8
)


def gives_settings_or_one_error(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        return isinstance(load_settings(path), Settings)
    except ConfigError as error:
        return "with the settings:\n  " in str(error)


@given(tree=st.dictionaries(st.sampled_from(list(Settings.model_fields)), trees, max_size=4))
def test_a_file_with_any_values_gives_settings_or_one_error(
    tree: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "values.yaml"
    assert gives_settings_or_one_error(path, yaml.safe_dump(tree).encode())


@given(content=st.binary(max_size=200))
def test_a_file_with_any_bytes_gives_settings_or_one_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert gives_settings_or_one_error(tmp_path_factory.getbasetemp() / "bytes.yaml", content)


def test_a_watched_feature_that_is_not_computed_is_an_error() -> None:
    for name, flags in (("varentropy_sum", {"features__set": "published"}), ("answer_entropy_sum", {})):
        message = problems(None, drift__features=name, **flags)
        assert f"drift.features has names that are not computed: {name}; see `features`" in message
    load_settings(overrides={"drift.features": "answer_varentropy_sum", "features.segments": "true"})


@pytest.mark.parametrize("name", ["only", "leave_out"])
def test_a_name_in_a_selection_is_a_model_a_domain_or_a_slice(tmp_path: Path, name: str) -> None:
    selection = f"select: {{{name}: {{tenant: [acme], model: [m]}}}}"
    assert f"select.{name} has tenant; known are domain, model" in problems(written(tmp_path, selection))
    settings = load_settings(written(tmp_path, f"decode: {{slices: {{tenant: header.x-tenant}}}}\n{selection}"))
    assert getattr(settings.select, name) == {"tenant": ("acme",), "model": ("m",)}
