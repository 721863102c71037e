"""Stores that are missing, refuse, or are out of reach: the exact line, for each call and each command."""

import re

import pytest
import s3
from conftest import FLAGS, Run, error_of, run
from s3 import MB, buffer, parts, upload, use

import ncagen
from ncagen.dataset import s3 as client
from ncagen.dataset.folder import Folder

pytest_plugins = ["s3_fixtures"]


def test_a_bucket_that_there_is_not(store, place):
    line = "s3://nowhere/x cannot be used: there is no bucket nowhere: make it first or use another"
    folder = Folder("s3://nowhere/x")
    for call in (
        lambda: folder.has("a"),
        lambda: folder.read("a", 9),
        lambda: folder.write("a", buffer(9)),
        lambda: folder.write("a", buffer(12 * MB)),
        lambda: folder.create("a", buffer(9)),
        lambda: folder.remove("a"),
        lambda: folder.names(),
        lambda: ncagen.open("s3://nowhere/x"),
    ):
        assert error_of(call) == line
    for command in (["build", *FLAGS, "--out"], ["verify"]):
        assert run(*command, "s3://nowhere/x", env=store.environment()) == Run(2, "", f"ncagen: {line}\n")


INSTEAD = "put the key into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead of the URL"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://AKIAME:hush/hush@bucket/x", f"the s3:// URL holds a secret: {INSTEAD}"),
        ("s3a://bucket/x?aws_secret_access_key=hush", f"the s3a:// URL holds a secret: {INSTEAD}"),
        ("sftp://me:hush@host/x", "the sftp:// URL holds a secret: leave it out, and let the environment hold it"),
        (
            "s3://bucket/x?a=1",
            "s3://bucket/x?a=1 has an option a, which is not known: use endpoint_override, region, scheme",
        ),
        ("s3:///x", "s3:///x has no bucket: use s3://bucket/folder"),
        (
            "s3://bucket/x?scheme=http",
            "s3://bucket/x?scheme=http has a scheme without an endpoint_override: use both, or AWS_ENDPOINT_URL",
        ),
    ],
)
def test_urls_that_are_refused(url, line):
    assert error_of(lambda: Folder(url)) == line


def test_a_secret_in_a_url_is_not_printed(store):
    done = run("build", *FLAGS, "--out", "s3://AKIAME:hush/hush@bucket/x", env=store.environment())
    assert done.status == 2 and "hush" not in done.err + done.out and "AKIAME" not in done.err + done.out


def test_options_in_a_url_come_before_the_environment(store, place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    folder = Folder(f"{place}?endpoint_override=127.0.0.1:{store.port}&scheme=http&region=eu-north-1")
    folder.write("a", buffer(9))
    assert folder.names() == ["a"] and folder.path("a") == f"{place}/a"


def test_wrong_keys(store, place, guarded, monkeypatch):
    known = guarded["reads"]
    for keys, why in (
        (s3.KEYS, "the access key is not known there: check AWS_ACCESS_KEY_ID or AWS_PROFILE"),
        (
            known | {"AWS_SECRET_ACCESS_KEY": "hush"},
            "the secret key is not the access key's: check AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
        ),
    ):
        use(store.environment(**keys), monkeypatch)
        for call in (
            lambda: Folder(place).has("a"),
            lambda: Folder(place).read("a", 9),
            lambda: Folder(place).write("a", buffer(9)),
            lambda: Folder(place).names(),
            lambda: ncagen.open(place),
        ):
            assert error_of(call) == f"{place} cannot be used: {why}"


def test_what_is_not_allowed(store, place, guarded, monkeypatch):
    denied = "access denied: use credentials with access, or another URL"
    use(store.environment(**guarded["reads"]), monkeypatch)
    folder = Folder(place)
    assert not folder.has("a") and folder.names() == []
    assert error_of(lambda: folder.write("a", buffer(9))) == f"{place}/a cannot be written: {denied}"
    assert error_of(lambda: folder.write("a", buffer(12 * MB))) == f"{place}/a cannot be written: {denied}"
    done = run("build", *FLAGS, "--out", place, env=store.environment(**guarded["reads"]))
    assert done == Run(2, "", f"ncagen: {place}/building.json cannot be written: {denied}\n")
    use(store.environment(**guarded["nothing"]), monkeypatch)
    line = f"{place} holds no dataset: there is no manifest.json in it, or none that these credentials may read"
    assert error_of(lambda: ncagen.open(place)) == line


NOT_THERE = "http://127.0.0.1:1"
REFUSED = "127.0.0.1:1 cannot be reached (Connection refused)"


def test_a_store_that_is_not_there(place, monkeypatch):
    monkeypatch.setattr(client, "TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", NOT_THERE)
    assert error_of(lambda: ncagen.open(place)) == f"{place}/manifest.json cannot be read: {REFUSED}"
    folder = Folder(place)
    for call, name in (
        (lambda: folder.has("a"), "/a"),
        (lambda: folder.read("a", 9), "/a"),
        (lambda: folder.write("a", buffer(9)), "/a"),
        (lambda: folder.create("a", buffer(9)), "/a"),
        (lambda: folder.remove("a"), "/a"),
        (lambda: folder.names(), ""),
        (lambda: folder.listable, ""),
    ):
        with pytest.raises(ConnectionError) as raised:
            call()
        assert (raised.value.strerror, raised.value.filename) == (REFUSED, place + name)


def test_a_host_that_has_no_address(place, monkeypatch):
    monkeypatch.setattr(client, "TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no-such-host.invalid:9000")
    with pytest.raises(ConnectionError, match=r"^\[Errno 5\] no-such-host\.invalid:9000 cannot be reached \(.+\): "):
        Folder(place).has("a")


# Every command that takes a URL, and how its line about a store that cannot be reached begins.
COMMANDS = [
    (["show"], "{place}/manifest.json cannot be read: "),
    (["verify"], "{place}/manifest.json cannot be read: "),
    (["view"], "{place}/manifest.json cannot be read: "),
    (["view", "--save", "{folder}/page.html"], "{place}/manifest.json cannot be read: "),
    (["audit"], "{place}/manifest.json cannot be read: "),
    (["receipt", "--out", "{folder}/receipt"], "{place}/manifest.json cannot be read: "),
    (["export", "--to", "nanogpt", "--out", "{folder}/out"], "{place}/manifest.json cannot be read: "),
    (["build", *FLAGS, "--out"], "{place}: "),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "begins"), COMMANDS, ids=lambda value: value[0] if isinstance(value, list) else "")
def test_every_command_says_that_the_store_is_not_there(command, begins, store, place, tmp_path):
    arguments = [str(word).format(folder=tmp_path) for word in command]
    done = run(*arguments, place, env=store.environment(NOT_THERE))
    assert done == Run(2, "", f"ncagen: {begins.format(place=place)}{REFUSED}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_rebuild_into_a_store_that_is_not_there(store, place, smoke, tmp_path):
    assert run("receipt", smoke(), "--out", tmp_path / "receipt").status == 0
    done = run("rebuild", tmp_path / "receipt", "--out", place, env=store.environment(NOT_THERE))
    assert done == Run(2, "", f"ncagen: {place}: {REFUSED}\n")


@pytest.mark.slow
def test_a_push_from_a_store_that_is_not_there(store, place):
    done = run("push", place, "ada/nca", env=store.environment(NOT_THERE, HF_TOKEN="hf_none"))
    assert done == Run(2, "", f"ncagen: {place}/manifest.json cannot be read: {REFUSED}\n")


@pytest.mark.slow
def test_a_store_that_goes_away_meanwhile_is_one_line(store, place, smoke, tmp_path):
    """Whatever was read before: the manifest alone, or some shards, or all but the list of what else is there."""
    upload(store, place, smoke())
    for through in (0, 3_000, 12_000, 20_000):
        with s3.Proxy(store.port) as proxy:
            environment = store.environment(proxy.endpoint)
            proxy.break_after(through)
            for command in (["show"], ["verify"], ["view", "--save", tmp_path / "page.html"]):
                done = run(*command, place, env=environment)
                assert done.status in (0, 2), done
                assert done.status == 0 or re.fullmatch(rf"ncagen: {place}\S*:? .*cannot be reached.*\n", done.err), (
                    done
                )


def test_keys_of_a_profile(store, place, guarded, tmp_path, monkeypatch):
    keys = guarded["lists not"]
    (tmp_path / "keys").write_text(
        f"[other]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
    )
    environment = store.environment(AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "keys"), AWS_PROFILE="other")
    use({name: value for name, value in environment.items() if name not in s3.KEYS}, monkeypatch)
    Folder(place).write("a", buffer(9))
    assert Folder(place).read("a", 9).equals(buffer(9))
    monkeypatch.setenv("AWS_PROFILE", "none")
    line = f"{place} cannot be used: The config profile (none) could not be found"
    assert error_of(lambda: Folder(place).has("a")) == line


def test_a_public_bucket_needs_no_keys(store, place, monkeypatch):
    Folder(place).write("a", buffer(9))
    bucket, prefix = parts(place)
    store.client.put_object_acl(Bucket=bucket, Key=f"{prefix}a", ACL="public-read")
    for name in s3.KEYS:
        monkeypatch.delenv(name)
    assert Folder(place).read("a", 9).equals(buffer(9))


def test_an_endpoint_that_is_none(place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "host:9000")
    line = f"{place} cannot be used: Invalid endpoint: host:9000"
    assert error_of(lambda: Folder(place).has("a")) == line
