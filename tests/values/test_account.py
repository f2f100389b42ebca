"""The frozen values: what they reject and what they show."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest

from blockusers.values.account import Account, Provider, check_token
from blockusers.values.blocklist import BlockedUser, Page
from blockusers.values.outcome import Fault, Operation, Status

ID = "106540352242922"
TOKEN = "EAAGtoken0123456789"
SECRET = "appsecret0123456789"


# --------------------------------------------------------------------------- accounts


def test_an_account_has_metas_defaults() -> None:
    """Two arguments are enough to reach Meta."""
    account = Account(ID, TOKEN)

    assert account.api_version == "v25.0"
    assert account.base_url == "https://graph.facebook.com"
    assert account.app_secret is None
    assert account.allow_http is False
    assert account.provider is Provider.META


def test_settings_are_keywords() -> None:
    """Only the id and the token go without a name."""
    with pytest.raises(TypeError):
        Account(ID, TOKEN, SECRET)  # type: ignore[misc]


def test_an_account_is_frozen() -> None:
    """An account does not change under a client that uses it."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Account(ID, TOKEN).access_token = "other"  # type: ignore[misc]


@pytest.mark.parametrize("secret", [None, SECRET])
def test_no_secret_in_a_repr(secret: str | None) -> None:
    """Neither the token nor the secret is in an account's repr."""
    shown = repr(Account(ID, TOKEN, app_secret=secret))

    assert TOKEN not in shown
    assert SECRET not in shown
    assert ID in shown


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, {"phone_number_id": 106540352242922}),
        (TypeError, {"phone_number_id": None}),
        (TypeError, {"phone_number_id": b"1"}),
        (ValueError, {"phone_number_id": ""}),
        (ValueError, {"phone_number_id": "+16505551234"}),
        (ValueError, {"phone_number_id": "1065 4035"}),
        (ValueError, {"phone_number_id": "106540352242922\n"}),
        (ValueError, {"phone_number_id": "1/../2"}),
        (ValueError, {"phone_number_id": "\u0661\u0662\u0663"}),
        (TypeError, {"access_token": None}),
        (TypeError, {"access_token": b"token"}),
        (TypeError, {"access_token": 5}),
        (ValueError, {"access_token": ""}),
        (ValueError, {"access_token": " "}),
        (ValueError, {"access_token": TOKEN + "\n"}),
        (ValueError, {"access_token": "Bearer " + TOKEN}),
        (ValueError, {"access_token": TOKEN + "\r\nX-Evil: 1"}),
        (ValueError, {"access_token": TOKEN + "\x00"}),
        (ValueError, {"access_token": TOKEN + "\u00e9"}),
        (ValueError, {"app_secret": ""}),
        (ValueError, {"app_secret": " secret"}),
        (ValueError, {"app_secret": "secret\n"}),
        (ValueError, {"app_secret": b"secret"}),
        (ValueError, {"app_secret": 5}),
        (ValueError, {"api_version": ""}),
        (ValueError, {"api_version": "25.0"}),
        (ValueError, {"api_version": "v25"}),
        (ValueError, {"api_version": "V25.0"}),
        (ValueError, {"api_version": "v25.0/"}),
        (ValueError, {"api_version": "v25.0\n"}),
        (ValueError, {"api_version": "v\u0662.0"}),
        (ValueError, {"api_version": 25.0}),
        (ValueError, {"api_version": None}),
        (TypeError, {"base_url": None}),
        (TypeError, {"base_url": b"https://graph.facebook.com"}),
        (ValueError, {"base_url": ""}),
        (ValueError, {"base_url": "graph.facebook.com"}),
        (ValueError, {"base_url": "//graph.facebook.com"}),
        (ValueError, {"base_url": "https://"}),
        (ValueError, {"base_url": "https:///v25.0"}),
        (ValueError, {"base_url": "ftp://graph.facebook.com"}),
        (ValueError, {"base_url": "file:///etc/passwd"}),
        (ValueError, {"base_url": "https://graph.facebook.com?a=1"}),
        (ValueError, {"base_url": "https://graph.facebook.com#a"}),
        (ValueError, {"base_url": "https://me@graph.facebook.com"}),
        (ValueError, {"base_url": "https://me:pass@graph.facebook.com"}),
        (ValueError, {"base_url": "https://@graph.facebook.com"}),
        (ValueError, {"base_url": "https://graph.facebook.com\\@evil.example"}),
        (ValueError, {"base_url": "https://graph.facebook.com\\.evil.example"}),
        (ValueError, {"base_url": "https://graph.facebook.com\n"}),
        (ValueError, {"base_url": " https://graph.facebook.com"}),
        (ValueError, {"base_url": "https://graph face.book"}),
        (ValueError, {"base_url": "https://graph.facebook.com:https"}),
        (ValueError, {"base_url": "https://graph.facebook.com:99999"}),
        (ValueError, {"base_url": "https://graph.facebook.com:0"}),
        (ValueError, {"base_url": "https://[::1"}),
        (ValueError, {"base_url": "http://graph.facebook.com"}),
        (ValueError, {"base_url": "HTTP://graph.facebook.com"}),
        (ValueError, {"base_url": "http://192.168.0.2:8080"}),
        (ValueError, {"base_url": "http://0.0.0.0"}),
        (ValueError, {"base_url": "http://localhost.evil.example"}),
        (ValueError, {"base_url": "http://127.0.0.1.evil.example"}),
        (ValueError, {"base_url": "http://[2001:db8::1]"}),
        (ValueError, {"base_url": "http://"}),
    ],
    ids=repr,
)
def test_a_wrong_argument_is_named(error: type[Exception], arguments: dict[str, Any]) -> None:
    """An argument is checked at construction; the error begins with its name."""
    (name,) = arguments
    valid = {"phone_number_id": ID, "access_token": TOKEN}

    with pytest.raises(error, match=f"^{name}: ") as caught:
        Account(**valid | arguments)

    assert TOKEN not in str(caught.value)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://graph.facebook.com",
        "https://proxy.example:8443/meta",
        "https://[2001:db8::1]:8443",
        "http://localhost:8064",
        "HTTP://LOCALHOST",
        "http://127.0.0.1:8064",
        "http://127.8.9.1",
        "http://[::1]:8064",
    ],
)
def test_urls(url: str) -> None:
    """Encrypted it goes anywhere; plain http to this machine only, over IPv6 too."""
    assert Account(ID, TOKEN, base_url=url).base_url == url


@pytest.mark.parametrize(
    "url", ["http://192.168.0.2:8080", "http://gateway", "http://[2001:db8::1]"]
)
def test_plain_http_where_allowed(url: str) -> None:
    """Plain http to another machine has to be asked for."""
    assert Account(ID, TOKEN, base_url=url, allow_http=True).base_url == url


def test_allow_http_allows_http_only() -> None:
    """The permission for http does not reach further."""
    with pytest.raises(ValueError, match="^base_url: must start with https://"):
        Account(ID, TOKEN, base_url="ftp://gateway", allow_http=True)


@pytest.mark.parametrize("url", ["https://proxy.example/meta/", "https://proxy.example/meta//"])
def test_a_trailing_slash_is_dropped(url: str) -> None:
    """A slash at the end of the URL makes no difference."""
    account = Account(ID, TOKEN, base_url=url)

    assert account.base_url == "https://proxy.example/meta"
    assert account == Account(ID, TOKEN, base_url="https://proxy.example/meta")


async def current() -> str:
    return TOKEN


@pytest.mark.parametrize("source", [lambda: TOKEN, current])
def test_a_function_may_give_the_token(source: Any) -> None:
    """A function in place of the token is kept, not called, and not shown."""
    account = Account(ID, source)

    assert account.access_token is source
    assert "function" not in repr(account)


def test_a_good_token_is_returned() -> None:
    """What can stand in a header is returned as it is."""
    assert check_token(TOKEN + "|~!") == TOKEN + "|~!"


# --------------------------------------------------------------------------- from elsewhere

NAMES = ("PHONE_NUMBER_ID", "ACCESS_TOKEN", "APP_SECRET", "API_VERSION", "BASE_URL")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the `WHATSAPP_…` variables, these and no others."""

    def set_them(**values: str) -> None:
        for name in NAMES:
            monkeypatch.delenv(f"WHATSAPP_{name}", raising=False)
        for name, value in values.items():
            monkeypatch.setenv(f"WHATSAPP_{name}", value)

    return set_them


def test_from_env_reads_every_variable(environment: Any) -> None:
    """The environment can hold all that an account needs."""
    environment(
        PHONE_NUMBER_ID=ID,
        ACCESS_TOKEN=TOKEN,
        APP_SECRET=SECRET,
        API_VERSION="v26.0",
        BASE_URL="https://proxy.example/",
    )

    assert Account.from_env() == Account(
        ID,
        TOKEN,
        app_secret=SECRET,
        api_version="v26.0",
        base_url="https://proxy.example",
    )


def test_from_env_needs_two_variables(environment: Any) -> None:
    """What is not set, or set to nothing, has its default."""
    environment(PHONE_NUMBER_ID=ID, ACCESS_TOKEN=TOKEN, APP_SECRET="", API_VERSION="", BASE_URL="")

    assert Account.from_env() == Account(ID, TOKEN)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, "variables WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN"),
        ({"PHONE_NUMBER_ID": ID}, "variable WHATSAPP_ACCESS_TOKEN"),
        ({"ACCESS_TOKEN": TOKEN}, "variable WHATSAPP_PHONE_NUMBER_ID"),
        ({"ACCESS_TOKEN": TOKEN, "PHONE_NUMBER_ID": ""}, "variable WHATSAPP_PHONE_NUMBER_ID"),
    ],
    ids=repr,
)
def test_from_env_names_what_is_missing(
    environment: Any, values: dict[str, str], missing: str
) -> None:
    """The error names the variables that are to be set."""
    environment(**values)

    with pytest.raises(ValueError, match=f"^set the environment {missing}$"):
        Account.from_env()


def test_from_env_takes_a_token(environment: Any) -> None:
    """A token, or a function that returns it, may stand in for the environment's."""
    environment(PHONE_NUMBER_ID=ID, ACCESS_TOKEN="unused")
    assert Account.from_env(access_token=TOKEN) == Account(ID, TOKEN)
    environment(PHONE_NUMBER_ID=ID)
    assert Account.from_env(access_token=current).access_token is current


def test_from_env_checks_what_it_reads(environment: Any) -> None:
    """A variable's value is checked like an argument."""
    environment(PHONE_NUMBER_ID=ID, ACCESS_TOKEN=TOKEN, BASE_URL="http://graph.facebook.com")

    with pytest.raises(ValueError, match="^WHATSAPP_BASE_URL: plain http would show") as caught:
        Account.from_env()
    assert str(caught.value).endswith("; use https")


def test_from_env_names_an_argument(environment: Any) -> None:
    """A token that is passed is none of a variable's."""
    environment(PHONE_NUMBER_ID=ID)

    with pytest.raises(ValueError, match="^access_token: "):
        Account.from_env(access_token="Bearer x")


def test_dialog360() -> None:
    """An account at 360dialog has a name of the caller's in place of the id."""
    account = Account.dialog360("key", name="main_line-1.de")

    assert account.provider is Provider.DIALOG360
    assert account.base_url == "https://waba-v2.360dialog.io"
    assert account.phone_number_id == "main_line-1.de"
    assert "'key'" not in repr(account)


def test_dialog360_may_be_elsewhere() -> None:
    """360dialog's address can be replaced, under the same rules."""
    account = Account.dialog360("key", name="a", base_url="http://gateway", allow_http=True)

    assert account.base_url == "http://gateway"
    with pytest.raises(ValueError, match="^base_url: "):
        Account.dialog360("key", name="a", base_url="http://gateway")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a\n", "../a?b"])
def test_dialog360_checks_the_name(name: str) -> None:
    """The name becomes part of file names and keys, so it has no blanks or slashes."""
    with pytest.raises(ValueError, match="^name: must be letters, digits"):
        Account.dialog360("key", name=name)


@pytest.mark.parametrize(
    ("account", "key"),
    [
        (Account(ID, TOKEN), f"graph.facebook.com/{ID}"),
        (Account(ID, TOKEN, base_url="HTTP://LOCALHOST:80/x/"), f"localhost:80/x/{ID}"),
        (Account.dialog360("key", name="main"), "waba-v2.360dialog.io/main"),
    ],
    ids=["meta", "loopback", "360dialog"],
)
def test_the_name_of_a_blocklist(account: Account, key: str) -> None:
    """A blocklist is named by where it is reached and its phone number id."""
    assert account.blocklist_key == key


def test_the_name_of_a_blocklist_survives_new_secrets() -> None:
    """Another token, secret or version reaches the same list."""
    other = Account(ID, lambda: "b", app_secret=SECRET, api_version="v26.0")

    assert other.blocklist_key == Account(ID, TOKEN).blocklist_key


# --------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(131021, "own", "that is you"), "is the business's own number (131021)"),
        (
            Fault(131047, "Re-engagement message"),
            "has not written to you within 24 hours, or is not on WhatsApp (131047)",
        ),
        (Fault(100, "no", "bad user"), "a parameter of the request is wrong: bad user (100)"),
        (Fault(None, "has 3 digits"), "has 3 digits"),
        (Fault(7, "no +16505551234", "16505551234?"), "no +1650…34: 1650…34? (code 7)"),
    ],
)
def test_a_fault_as_text(fault: Fault, text: str) -> None:
    """A fault reads as what its code means, else in the server's words; numbers are masked."""
    assert str(fault) == text


@pytest.mark.parametrize("code", [None, 131047])
def test_a_fault_keeps_no_number(code: int | None) -> None:
    """Numbers in the texts of a fault are masked when it is made, whoever wrote them."""
    fault = Fault(code, "no +1\u00a0650\u00a0555\u00a01234", "16505551234?")

    assert (fault.message, fault.details) == ("no +1?65…34", "1650…34?")
    assert attrs.evolve(fault) == fault


@pytest.mark.parametrize(
    "value",
    [
        Fault(1, "+16505551234", "16505551234"),
        BlockedUser("16505551234", "US.13491208655302741918", "US.ENT.11815799212886844830"),
        Page((BlockedUser("16505551234"),), None, "after"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_reprs_are_masked(value: object) -> None:
    """No repr shows a whole number or id."""
    shown = repr(value)

    assert "1650" in shown
    for name in ("16505551234", "13491208655302741918", "11815799212886844830"):
        assert name not in shown


def test_the_repr_of_what_is_missing() -> None:
    """What a user does not have is shown as missing, not masked."""
    assert repr(BlockedUser("16505551234")) == (
        "BlockedUser(wa_id='1650…34', user_id=None, parent_user_id=None)"
    )


@pytest.mark.parametrize(
    "value",
    [
        Fault(1, "message", "details"),
        BlockedUser("16505551234"),
        Page((BlockedUser("16505551234"),), "before", None),
        Account(ID, TOKEN, app_secret=SECRET),
        *Operation,
        *Status,
    ],
    ids=lambda value: repr(value)[:12] if isinstance(value, Account | Page) else repr(value),
)
def test_values_are_values(value: Any) -> None:
    """Values are equal, hashable and can be pickled."""
    copy = pickle.loads(pickle.dumps(value))

    assert copy == value
    assert hash(copy) == hash(value)


def test_the_names_of_statuses_and_operations() -> None:
    """The values of the enums are what reports and files hold."""
    assert [status.value for status in Status] == ["done", "failed", "unknown", "remaining"]
    assert [operation.value for operation in Operation] == ["block", "unblock"]
