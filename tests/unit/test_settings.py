"""Settings: sources and their order, what is refused and how, secrets, and the documentation."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.pretty import pretty_repr

from app.matchmaker.policy import POLICIES, Weights
from app.settings import Settings, SettingsError, WeightSettings, describe, load
from app.settings.document import updated
from app.settings.leaves import ENVIRONMENT, LEAVES, LEGACY

SECRET = "tops3cret"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: object, name: str = "engine.json") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def refusal(config_file: Path | None = None, **env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config_file, env)
    message = str(caught.value)
    assert "\n" not in message
    assert SECRET not in message
    assert caught.value.__cause__ is None
    return message


def value_at(settings: Settings, path: str) -> Any:
    found: Any = settings
    for name in path.split("."):
        found = getattr(found, name)
    return found


def test_nothing_given_is_the_defaults() -> None:
    assert load(env={}) == Settings()


def test_each_source_wins_over_the_one_before(write: Write, tmp_path: Path) -> None:
    config = write({"server": {"port": 1}, "webhooks": {"timeout_s": 2}})
    (tmp_path / "port").write_text("4\n")
    assert load(config, {}).server.port == 1
    assert load(config, {"PORT": "2"}).server.port == 2
    assert load(config, {"HAE_SERVER_PORT": "3", "PORT": "2"}).server.port == 3
    secret = {"PORT_FILE": str(tmp_path / "port")}
    assert load(config, {"HAE_SERVER_PORT": "3", **secret}).server.port == 4
    assert load(config, secret).webhooks.timeout_s == 2.0


def test_hae_config_names_the_file_and_the_argument_wins(write: Write) -> None:
    named = write("[log]\nlevel = 'debug'\n", "named.toml")
    assert load(env={"HAE_CONFIG": str(named)}).log.level == "debug"
    assert load(write({}), {"HAE_CONFIG": str(named)}).log.level == "info"


def test_json_and_toml_say_the_same(write: Write) -> None:
    as_json = write(
        {
            "matchmaker": {"weights": {"price": 50}, "topN": 7},
            "webhooks": {"allowNetworks": ["10.0.0.0/8"], "endpoints": [ENDPOINT]},
        }
    )
    as_toml = write(
        """
        [matchmaker]
        top_n = 7
        weights = { price = 50 }
        [webhooks]
        allow_networks = ["10.0.0.0/8"]
        [[webhooks.endpoints]]
        name = "a"
        kind = "custom"
        url = "https://a.example/hook"
        secret = "whsec_tops3cret"
        events = ["job_completed"]
        """,
        "engine.toml",
    )
    assert load(as_json, {}) == load(as_toml, {})
    assert load(as_json, {}).webhooks.endpoints[0].events == ["job_completed"]
    assert load(as_json, {}).matchmaker.weights == WeightSettings(price=50)


ENDPOINT = {
    "name": "a",
    "kind": "custom",
    "url": "https://a.example/hook",
    "secret": f"whsec_{SECRET}",
    "events": ["job_completed"],
}


def test_the_legacy_engines_file_is_understood(write: Write) -> None:
    settings = load(
        write(
            {
                "solana": {
                    "rpcUrl": "https://rpc.example",
                    "programIds": {"nodeRegistry": "N", "jobReceipt": "J", "paymentSplitter": "P"},
                },
                "database": {
                    "host": "db",
                    "port": 5433,
                    "database": "hy/per",
                    "user": "u",
                    "password": "p@:/ %",
                },
                "redis": {"host": "cache", "port": 6380},
                "matchmaker": {"algorithm": "reputation_weighted", "minReputation": 50, "maxRetries": 4},
                "webhooks": {"discord": "https://discord.com/api/webhooks/1/a", "slack": ""},
            }
        ),
        {},
    )
    assert settings.database.url == "postgresql://u:p%40%3A%2F%20%25@db:5433/hy%2Fper"
    assert settings.redis.url == "redis://cache:6380/0"
    assert (settings.matchmaker.min_reputation, settings.jobs.max_retries) == (50, 4)
    assert settings.webhooks.discord.endswith("/1/a")
    solana = settings.solana
    assert (solana.rpc_url, solana.node_registry_program_id) == ("https://rpc.example", "N")
    assert (solana.job_receipt_program_id, solana.payment_splitter_program_id) == ("J", "P")


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({"host": "::1"}, "postgresql://[::1]/"),
        (
            {"host": "/run/pg", "port": 5433, "user": "u", "database": "d"},
            "postgresql://u@/d?host=/run/pg&port=5433",
        ),
        ({"user": "u", "password": "p"}, "postgresql://u:p@localhost/"),
    ],
)
def test_the_legacy_database_parts_make_a_url(write: Write, parts: dict[str, Any], url: str) -> None:
    assert load(write({"database": parts}), {}).database.url == url


@pytest.mark.parametrize("name", sorted(LEGACY))
def test_every_legacy_variable_sets_its_field(name: str, tmp_path: Path) -> None:
    values = {"DATABASE_URL": "postgres://h/d", "REDIS_URL": "unix:///run/v.sock", "LOG_LEVEL": "warn"}
    numbers = {"PORT": "17", "MIN_REPUTATION": "17", "MAX_RETRIES": "17"}
    default = "wss://x.example" if name == "SOLANA_WS_URL" else "https://x.example"
    raw = (values | numbers).get(name, default)
    expected: Any = 17 if name in numbers else "warning" if name == "LOG_LEVEL" else raw
    path = ".".join(LEGACY[name])
    assert value_at(load(env={name: raw}), path) == expected
    (tmp_path / "secret").write_text(raw + "\r\n")
    assert value_at(load(env={f"{name}_FILE": str(tmp_path / "secret")}), path) == expected


def test_every_leaf_is_set_by_its_variable_to_its_default() -> None:
    env = {}
    for leaf in LEAVES.values():
        plain = msgspec.to_builtins(leaf.default)
        env[leaf.env] = plain if isinstance(plain, str) else json.dumps(plain)
    assert load(env=env) == Settings()
    assert len({leaf.env for leaf in LEAVES.values()} | LEGACY.keys()) == len(LEAVES) + len(LEGACY)
    assert not [name for name in ENVIRONMENT if name.endswith("_FILE")]


def test_the_more_precise_variable_wins_in_any_order() -> None:
    whole, single = (
        ("HAE_MATCHMAKER_WEIGHTS", '{"price": 1, "load": 2}'),
        ("HAE_MATCHMAKER_WEIGHTS_PRICE", "3"),
    )
    expected = WeightSettings(load=2, price=3)
    assert load(env=dict([whole, single])).matchmaker.weights == expected
    assert load(env=dict([single, whole])).matchmaker.weights == expected


def test_lists_come_as_json() -> None:
    env = {"HAE_WEBHOOKS_ENDPOINTS": json.dumps([ENDPOINT]), "HAE_WEBHOOKS_ALLOW_NETWORKS": '["fd00::/8"]'}
    webhooks = load(env=env).webhooks
    assert (webhooks.endpoints[0].name, webhooks.allow_networks) == ("a", ["fd00::/8"])


def test_empty_and_foreign_variables_do_not_count() -> None:
    foreign = {
        "HAE_DATA_DIR": "/d",
        "HAE_API_KEY": "k",
        "HAE_API_URL": "u",
        "HAE_CONFIG": "",
        "HOME_FILE": "x",
    }
    assert load(env={"PORT": "", "HAE_LOG_LEVEL": "", "DATABASE_URL_FILE": "", **foreign}) == Settings()


@pytest.mark.parametrize("text", ["true", "1", "YES", "on"])
def test_switches(text: str) -> None:
    assert load(env={"HAE_DATABASE_PGBOUNCER": text}).database.pgbouncer is True


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "65536", "PORT: must be a whole number from 0 to 65535, not 65536"),
        ("PORT", "-1", "not -1"),
        ("PORT", "30.5", "not text"),
        ("PORT", SECRET, "not text"),
        ("PORT", "9" * 5000, "not text"),
        ("HAE_SERVER_GRACE_S", "nan", "HAE_SERVER_GRACE_S: must be a number from 0 to 3600, not text"),
        ("HAE_SERVER_GRACE_S", "inf", "not text"),
        ("HAE_SERVER_GRACE_S", "1e999", "not inf"),
        ("HAE_WORKER_POLL_S", "0", "above 0 and up to 60, not 0"),
        ("HAE_WORKER_POLL_S", "-0.5", "not -0.5"),
        ("HAE_DATABASE_PGBOUNCER", "maybe", "must be true or false, not text"),
        ("LOG_LEVEL", "inof", "must be one of critical, debug, error, info, warning"),
        ("LOG_LEVEL", "inof", "did you mean info?"),
        ("DATABASE_URL", f"mysql://u:{SECRET}@h/d", "begins with postgresql:// or postgres://"),
        ("DATABASE_URL", SECRET, "not other text"),
        ("REDIS_URL", f"redis://:{SECRET}@h:99999", "a port up to 65535"),
        ("REDIS_URL", "redis://", "names a host"),
        ("DISCORD_WEBHOOK_URL", f"ftp://{SECRET}", "https:// or http://"),
        ("SOLANA_WS_URL", f"https://{SECRET}", "wss:// or ws://"),
        ("API_KEY", f"{SECRET}\x00", "control characters"),
        ("API_KEY", f"{SECRET}\udcff", "not UTF-8"),
        ("API_KEY", SECRET * 1000, "text of 0 to 4096 characters, not of 9000"),
        ("HAE_NODES_DEFAULT_PRICE_HYPER", "0", "a decimal of HYPER above 0"),
        ("HAE_NODES_DEFAULT_PRICE_HYPER", "-1", "a decimal of HYPER above 0"),
        (
            "HAE_NODES_OFFLINE_AFTER_S",
            "60",
            "HAE_NODES_HEARTBEAT_INTERVAL_S: must be less than HAE_NODES_OFFLINE",
        ),
        ("HAE_MATCHMAKER_WEIGHTS", "[1]", "HAE_MATCHMAKER_WEIGHTS: must be an object, not a list"),
        (
            "HAE_MATCHMAKER_WEIGHTS",
            '{"prize": 1}',
            "HAE_MATCHMAKER_WEIGHTS.prize: unknown key; did you mean price?",
        ),
        ("HAE_MATCHMAKER_WEIGHTS", '{"load": 1, "load": 2}', "not valid JSON"),
        ("HAE_MATCHMAKER_WEIGHTS_PRICE", "101", "from 0 to 100, not 101"),
        (
            "HAE_WEBHOOKS_ALLOW_NETWORKS",
            '["10.0.0.1/8"]',
            "HAE_WEBHOOKS_ALLOW_NETWORKS[0]: must be a network",
        ),
        ("HAE_WEBHOOKS_ALLOW_NETWORKS", "10.0.0.0/8", "must be a JSON list, not text that is not valid JSON"),
        ("HAE_WEBHOOKS_ALLOW_NETWORKS", "[" * 100_000, "not valid JSON"),
        (
            "HAE_WEBHOOKS_ENDPOINTS",
            '[{"name": "a", "kind": "custom"}]',
            "HAE_WEBHOOKS_ENDPOINTS[0]: url is missing",
        ),
        ("HAE_WEBHOOKS_ENDPOINTS", json.dumps([ENDPOINT, ENDPOINT]), "ENDPOINTS[1].name: the same as in [0]"),
        (
            "HAE_WEBHOOKS_ENDPOINTS",
            json.dumps([ENDPOINT | {"url": ""}]),
            "[0].url: must be text of 1 to 4096",
        ),
        ("HAE_WEBHOOKS_ENDPOINTS", json.dumps([ENDPOINT | {"kind": "sms"}]), "[0].kind: must be one of"),
        ("HAE_WEBHOOKS_ENDPOINTS", f'[{{"secret": {SECRET}', "not valid JSON"),
        ("HAE_SERVER_PROT", "1", "HAE_SERVER_PROT: unknown setting; did you mean HAE_SERVER_PORT?"),
        ("HAE_DATABASE_URL_FLIE", "x", "did you mean HAE_DATABASE_URL_FILE?"),
        ("HAE_QUITE_ELSE", "", "HAE_QUITE_ELSE: unknown setting"),
        ("HAE_SERVER", "{}", "HAE_SERVER: unknown setting"),
    ],
)
def test_bad_variables_are_refused_in_one_clear_line(name: str, value: str, said: str) -> None:
    assert said in refusal(None, **{name: value})


def test_the_five_weights_may_not_all_be_zero() -> None:
    none = dict.fromkeys(("reputation", "stake", "completion", "load", "response"), 0)
    assert "must be more than 0" in refusal(HAE_MATCHMAKER_WEIGHTS=json.dumps(none))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"server": {"prot": 1}}, "engine.json: server.prot: unknown key; did you mean port?"),
        ({"sever": {}}, "engine.json: sever: unknown key; did you mean server?"),
        ({"zzz": {}}, "engine.json: zzz: unknown key; known are server, database"),
        ({"a\nb": {}}, "engine.json: 'a\\nb'"),
        (
            {"server": {"port": "3002"}},
            "engine.json: server.port: must be a whole number from 0 to 65535, not text",
        ),
        ({"server": {"port": True}}, "not true or false"),
        ({"server": {"port": 1.0}}, "not one with a fraction"),
        ({"server": {"port": 10**400}}, "not a larger one"),
        ({"server": {"grace_s": 10**400}}, "not a larger one"),
        (
            {"server": {"graceS": None}},
            "engine.json: server.graceS: must be a number from 0 to 3600, not null",
        ),
        ({"server": {"host": ""}}, "not empty"),
        ({"server": {"api_key": 12345678}}, "server.api_key: must be text, not a number"),
        ({"server": []}, "engine.json: server: must be an object, not a list"),
        (
            {"matchmaker": {"minReputation": 1, "min_reputation": 2}},
            "the same setting as engine.json: matchmaker.min",
        ),
        (
            {"matchmaker": {"maxRetries": 1}, "jobs": {"max_retries": 2}},
            "matchmaker.maxRetries: sets the same as",
        ),
        (
            {"database": {"url": "postgres://h", "host": "h"}},
            "database.host: sets the same as engine.json: database.url",
        ),
        ({"database": {"password": 1234}}, "database.password: must be text, not a number"),
        ({"redis": {"port": 0}}, "redis.port: must be a whole number from 1 to 65535, not 0"),
        (
            {"solana": {"programIds": {"jobRecipe": "x"}}},
            "programIds.jobRecipe: unknown key; did you mean job_receipt?",
        ),
        ([], "engine.json: must be an object, not a list"),
        (
            f'{{"database": {{"password": "{SECRET}" "x"}}}}',
            "not valid JSON: Expecting ',' delimiter: line 1",
        ),
        ('{"log": {}, "log": {}}', "not valid JSON: key log is given twice"),
        ('{"server": {"grace_s": NaN}}', "not valid JSON: NaN"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
        ("", "not valid JSON"),
    ],
)
def test_bad_json_files_are_refused_in_one_clear_line(write: Write, content: object, said: str) -> None:
    assert said in refusal(write(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[server]\ngrace_s = nan", "engine.toml: server.grace_s: must be a number from 0 to 3600, not nan"),
        ("[server]\ngrace_s = inf", "not inf"),
        ("[server]\nport = 1979-05-27", "not a date or time"),
        ("[server]\nport = 1\nport = 2", "not valid TOML"),
        (f"[server]\napi_key = {SECRET}", "not valid TOML"),
        ("x = " + "[" * 100_000, "not valid TOML"),
    ],
)
def test_bad_toml_files_are_refused_in_one_clear_line(write: Write, content: str, said: str) -> None:
    assert said in refusal(write(content, "engine.toml"))


def test_unreadable_files_are_refused(write: Write, tmp_path: Path) -> None:
    assert "must end in .json or .toml" in refusal(write("", "engine.yaml"))
    assert "cannot be read (No such file" in refusal(tmp_path / "none.json")
    directory = tmp_path / "dir.json"
    directory.mkdir()
    assert "cannot be read (Is a directory)" in refusal(directory)
    (tmp_path / "latin.json").write_bytes(b'{"log": "\xe9"}')
    assert "is not UTF-8" in refusal(tmp_path / "latin.json")
    assert "is larger than 1048576 bytes" in refusal(write(" " * 1_048_577))


def test_unusable_secret_files_are_refused_without_their_path(write: Write, tmp_path: Path) -> None:
    said = refusal(API_KEY_FILE=SECRET)
    assert said == "API_KEY_FILE: the file it names cannot be read (No such file or directory)"
    assert "is empty" in refusal(API_KEY_FILE=str(write("\n", "empty")))
    assert "cannot be read (Is a directory)" in refusal(HAE_SERVER_API_KEY_FILE=str(tmp_path))
    assert "PORT_FILE: must be a whole number" in refusal(PORT_FILE=str(write(SECRET, "port")))
    assert "not a path" in refusal(API_KEY_FILE=f"{SECRET}\x00")


def test_a_byte_order_mark_is_no_error(write: Write) -> None:
    assert load(write('\ufeff{"server": {"port": 7}}'), {}).server.port == 7


SECRETS = {
    "API_KEY": SECRET,
    "DATABASE_URL": f"postgresql://hae:{SECRET}@db.example:5432/hae?password={SECRET}",
    "REDIS_URL": f"rediss://:{SECRET}@cache.example/0",
    "DISCORD_WEBHOOK_URL": f"https://discord.com/api/webhooks/1/{SECRET}",
    "SLACK_WEBHOOK_URL": f"https://hooks.slack.com/services/T/B/{SECRET}",
    "SOLANA_RPC_URL": f"https://rpc.example/?api-key={SECRET}",
    "SOLANA_WS_URL": f"wss://rpc.example/{SECRET}",
    "HAE_WEBHOOKS_ENDPOINTS": json.dumps([ENDPOINT | {"url": f"https://a.example/{SECRET}"}]),
}


def test_no_repr_shows_a_secret() -> None:
    settings = load(env=SECRETS)
    terminal = io.StringIO()
    Console(file=terminal, width=200).print(settings, settings.webhooks.endpoints)
    shown = [repr(settings), str(settings), f"{settings.database!r}", repr(settings.webhooks.endpoints)]
    for text in [*shown, pretty_repr(settings), terminal.getvalue(), json.dumps(settings.redacted())]:
        assert SECRET not in text
        assert "***" in text
    assert settings.redacted()["database"]["url"] == "postgresql://***@db.example:5432/***"
    assert settings.redacted()["webhooks"]["endpoints"][0]["url"] == "https://a.example/***"
    assert load(env={}).redacted()["server"]["api_key"] == ""


@pytest.mark.parametrize(
    "password", [f"{SECRET}/x", f"/{SECRET}", f"a@{SECRET}", f"{SECRET}#", f"?{SECRET}", f"1:{SECRET}"]
)
def test_an_ill_formed_url_shows_no_part_of_its_password(password: str) -> None:
    assert SECRET not in repr(load(env={"DATABASE_URL": f"postgresql://hae:{password}@db/hae"}))


def test_a_url_whose_host_was_forgotten_shows_no_password() -> None:
    assert SECRET not in repr(load(env={"DATABASE_URL": f"postgresql://hae:{SECRET}"}))


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        load(env={}).server.port = 1  # type: ignore[misc]


def test_the_matchmakers_own_defaults_are_those_of_the_settings() -> None:
    assert Weights(**msgspec.structs.asdict(WeightSettings())) == Weights()
    assert Settings().matchmaker.algorithm in POLICIES


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers())
def test_a_number_is_taken_exactly_if_it_is_in_range(value: float) -> None:
    fits = math.isfinite(value) and 0 <= value <= 3600
    for text in {str(value), repr(value)}:
        if fits:
            assert load(env={"HAE_SERVER_GRACE_S": text}).server.grace_s == float(value)
        else:
            refusal(HAE_SERVER_GRACE_S=text)


@given(st.sampled_from(sorted(ENVIRONMENT)), st.text(min_size=1))
def test_any_text_is_taken_or_refused_by_name(name: str, text: str) -> None:
    try:
        assert load(env={name: text}).redacted()
    except SettingsError as error:
        said = str(error)
    else:
        return
    assert name in said
    assert "\n" not in said


def test_every_setting_is_described() -> None:
    rows = describe()
    assert [row.path for row in rows] == [".".join(path) for path in LEAVES]
    assert all(row.meaning for row in rows)
    port = next(row for row in rows if row.path == "server.port")
    assert port == ("server.port", "HAE_SERVER_PORT, PORT", "3002", "Port to listen on; 0 takes a free one")


def test_the_documentation_is_current_and_its_example_works(write: Write) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert updated(page) == page, "run: python -m app.settings docs/configuration.md"
    example = page.split("```toml\n")[1].split("```")[0]
    assert load(write(example, "example.toml"), {}).webhooks.endpoints[0].name == "billing"
    with pytest.raises(ValueError, match="needs the marks"):
        updated("no marks")
