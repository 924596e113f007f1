"""Secret params and credentials in URIs, which must not be stored."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackmllib.support.redaction import (
    HIDDEN,
    Redaction,
    looks_secret,
    redact_credentials,
    redact_traceback,
    redact_value,
    redacted,
    strip_credentials,
)


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password", "PASSWORD", "passwd", "pwd", "passphrase", "userPassword"),
        *("dbPassword", "db_password", "db-password", "db.password", "DB_PASSWORD", "password2"),
        *("passwordHash", "spark.ssl.keyPassword", "dbPASSWORD", "dbPwd"),
        *("api_key", "apiKey", "APIKey", "API_KEY", "api-key", "ApiKey", "apiKeys", "key"),
        *("accessToken", "access_token", "authToken", "token", "bearerToken", "OAuthToken"),
        *("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key", "secretKey", "secret_key", "secret"),
        *("clientSecret", "client_secret", "secrets", "secretName", "mySecretValue"),
        *("credential", "credentials", "awsCredentials", "credentialsFile", "gcp_credentials"),
        *("fs.azure.account.key", "spark.hadoop.fs.s3a.access.key", "privateKey", "encryptionKey"),
        *("token1", "apiKey2"),
    ],
)
def test_name_looks_secret(name):
    assert looks_secret(name)
    assert Redaction().hides(name)


@pytest.mark.parametrize(
    "name", ["apikey", "authtoken", "accesskey", "secretkey", "dbpassword", "mypassword"]
)
def test_name_without_word_boundaries_looks_secret(name):
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("keyCol", "keyColumn", "key_col", "tokenCol", "tokensCol", "tokenColumns", "passwordCol"),
        *("minTokenLength", "numTokens", "tokenizer", "Tokenizer", "toLowercase", "tokens"),
        *("maxDepth", "featuresCol", "labelCol", "regParam", "seed", "numFolds", "parallelism"),
        *("monkey", "turkey", "keyframes", "keyword", "keywords", "donkey", "keyboard", "hockey"),
        *("foreignKeyCol", "keyspace", "keyType", "tokenPattern", "secretaryCol", "compass"),
        *("passes", "numPasses", "bypass", "passThrough", "keep", "estimator", "", "_", "123"),
    ],
)
def test_name_looks_harmless(name):
    assert not looks_secret(name)
    assert not Redaction().hides(name)


def test_user_patterns_hide_names():
    redaction = Redaction(["^internal", "Url$", "(?i)host"])
    for name in ("internalId", "serviceUrl", "dbHOST", "password"):
        assert redaction.hides(name)
    for name in ("myinternal", "urlService", "maxDepth"):
        assert not redaction.hides(name)


def test_user_patterns_hide_secret_names_too():
    assert Redaction(["^$"]).hides("password")
    assert not Redaction([]).hides("maxDepth")


@pytest.mark.parametrize(
    ("uri", "short"),
    [
        ("https://user:pass@server", "https://server"),
        ("https://user:pass@server:8080/path", "https://server:8080/path"),
        ("https://token@server/path", "https://server/path"),
        ("http://user:@server/", "http://server/"),
        ("postgresql://user:p@ss:w@rd@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        (
            "postgresql+psycopg2://user:pass@db/mlflow?sslmode=require",
            "postgresql+psycopg2://db/mlflow?sslmode=require",
        ),
        (
            "postgresql://db/mlflow?user=me&password=secret&sslmode=require",
            "postgresql://db/mlflow?user=me&sslmode=require",
        ),
        ("mysql://u:p@db/m?ssl_key=x", "mysql://db/m"),
        ("https://server/?token=abc", "https://server/"),
        ("https://server/p?access_token=abc&a=1&apikey=x", "https://server/p?a=1"),
        ("https://server/p?sig=abc&sv=2", "https://server/p?sv=2"),
        ("https://server/p?a=1&b=2", "https://server/p?a=1&b=2"),
        ("https://server?password=x", "https://server"),
        ("https://user:pass@server?password=x", "https://server"),
        ("https://[::1]:5000/x", "https://[::1]:5000/x"),
        ("https://u:p@[::1]:5000/x", "https://[::1]:5000/x"),
    ],
)
def test_stored_uri_has_no_credentials(uri, short):
    assert strip_credentials(uri) == short
    assert strip_credentials(short) == short


@pytest.mark.parametrize(
    "uri",
    [
        *("sqlite:////home/me/mlflow.db", "sqlite:///C:/me/mlflow.db", "sqlite:///rel.db"),
        *("sqlite:////home/me@work/mlflow.db", "file:///home/me@work/mlruns"),
        *("sqlite:////data/run#1/mlflow.db", "sqlite:///50%/mlflow.db?timeout=9"),
        *("databricks", "databricks://profile", "databricks-uc", "databricks://scope:prefix"),
        *("file:///home/me/mlruns", "/home/me/mlruns", "mlruns", "./mlruns", "", "C:\\mlruns"),
        *("http://localhost:5000", "https://server/a@b", "uc:https://server"),
        "postgresql://db/mlflow?sslmode=require",
    ],
)
def test_uri_without_credentials_is_unchanged(uri):
    assert strip_credentials(uri) == uri


def test_password_with_slash_is_not_stored():
    """People write such invalid URIs, and SQLAlchemy accepts them."""
    assert "s3cr3t" not in strip_credentials("postgresql://user:a/s3cr3t@db:5432/mlflow")


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://user:a?s3cr3t@db:5432/mlflow",
        "postgresql://user:a#s3cr3t@db:5432/mlflow",
        "https://server/p#access_token=s3cr3t",
        "https://server/p?a=1;password=s3cr3t",
        "https://server/p?PASSWORD=s3cr3t",
        "https://server/p?pass%77ord=s3cr3t",
        "https://server/p?a=1&amp;password=s3cr3t",
        "https://user:pa/s3cr3t@server/p",
        "https://user:p@ss/s3cr3t@server/p",
        "https://server/p?X-Amz-Signature=s3cr3t",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BUID%3Dsa%3BPWD%3Ds3cr3t",
    ],
)
def test_secret_in_unusual_place_is_not_stored(uri):
    assert "s3cr3t" not in strip_credentials(uri)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("no URI here: user:pass@server", "no URI here: user:pass@server"),
        (
            "cannot reach https://me:s3cr3t@server/x, try later",
            f"cannot reach https://{HIDDEN}@server/x, try later",
        ),
        (
            "https://a:b@one and postgresql://c:d@two/m failed",
            f"https://{HIDDEN}@one and postgresql://{HIDDEN}@two/m failed",
        ),
        ("(postgresql://u:p@ss@db/m)", f"(postgresql://{HIDDEN}@db/m)"),
        (
            "GET https://server/p?token=s3cr3t&a=1 gave 401",
            f"GET https://server/p?token={HIDDEN}&a=1 gave 401",
        ),
        ("see https://server/p?a=1.", "see https://server/p?a=1."),
        ("https://server/docs and me@example.org", "https://server/docs and me@example.org"),
        ("'https://u:p@server/p?sig=x'", f"'https://{HIDDEN}@server/p?sig={HIDDEN}'"),
        ("postgresql://u:pa/ss@host/db failed", f"postgresql://{HIDDEN}@host/db failed"),
        ("jdbc:mysql://u:p@a/ss@host/db", f"jdbc:mysql://{HIDDEN}@host/db"),
        ("http://u:pa/ss@host/x and more", f"http://{HIDDEN}@host/x and more"),
        ("https://u:p@a/ss@host/x", f"https://{HIDDEN}@host/x"),
        ("hdfs://name:8020/a@b/c", "hdfs://name:8020/a@b/c"),
        ("docker://image/name@v1", "docker://image/name@v1"),
        *(
            (f"s3://b/k?{name}=s3cr3t%2F&Expires=9", f"s3://b/k?{name}={HIDDEN}&Expires=9")
            for name in (
                "X-Amz-Signature",
                "X-Amz-Credential",
                "X-Amz-Security-Token",
                "X-Goog-Signature",
                "X-Goog-Credential",
                "AWSAccessKeyId",
                "GoogleAccessId",
                "Signature",
            )
        ),
        ("connect(user='me', password='s3c\\'r3t')", f"connect(user='me', password='{HIDDEN}')"),
        ('{"password": "s3cr3t", "a": 1}', f'{{"password": "{HIDDEN}", "a": 1}}'),
        (r'"{\"api_key\": \"s3cr3t\"}"', rf'"{{\"api_key\": \"{HIDDEN}\"}}"'),
        ("user=me;password=s3cr3t;x=1", f"user=me;password={HIDDEN};x=1"),
        ("Authorization: Bearer s3cr3t", f"Authorization: {HIDDEN}"),
        ("sent Bearer s3cr3ts3cr3t to it", f"sent Bearer {HIDDEN} to it"),
        ("unexpected token: 'x', key = 'y'", f"unexpected token: '{HIDDEN}', key = 'y'"),
    ],
)
def test_credentials_in_text_are_hidden(text, clean):
    assert redact_credentials(text) == clean
    assert redact_credentials(clean) == clean


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ({"password": "s3cr3t", "host": "h"}, {"password": HIDDEN, "host": "h"}),
        ({"Authorization": "Bearer s3cr3t"}, {"Authorization": HIDDEN}),
        ([{"a": ({"api_key": 5},)}], [{"a": ({"api_key": HIDDEN},)}]),
        ([("password", "s3cr3t"), ("user", "me")], [("password", HIDDEN), ("user", "me")]),
        ({"headers": '{"token": "s3cr3t"}'}, {"headers": f'{{"token": "{HIDDEN}"}}'}),
        ('[{"x": {"secret": ["s3cr3t"]}}]', f'[{{"x": {{"secret": "{HIDDEN}"}}}}]'),
        ('{"a":  1}', '{"a":  1}'),
        ({"key": "a", "keys": ["b"], "password": None}, None),
        ([1, 2.5, (True, None)], None),
    ],
)
def test_secrets_in_values_are_hidden(value, hidden):
    assert redact_value(value) == (value if hidden is None else hidden)


def test_user_patterns_hide_secrets_in_values():
    assert redact_value({"internalId": 3, "a": 1}, Redaction(["^internal"]).hides) == {
        "internalId": HIDDEN,
        "a": 1,
    }


@pytest.mark.parametrize(
    "statement",
    [
        'connect(password="s3cr3t")',
        'connect("host", "me", "s3cr3t")',
        'db_password = decrypt("s3cr3t")',
        'session.auth = ("me", "s3cr3t")',
        "headers = {'Authorization': f'Bearer s3cr3t'}[0]",
        'connect(\n    password=\n    "s3cr3t",\n)',
    ],
)
def test_literals_of_secret_statements_are_hidden(tmp_path, statement):
    """The source lines of a traceback, as Python prints them."""
    file = tmp_path / "job.py"
    file.write_text(f"{statement}\n")
    with pytest.raises(Exception) as raised:  # noqa: PT011 - of any kind
        exec(compile(file.read_text(), file, "exec"), {})
    text = redact_traceback("".join(traceback.format_exception(raised.value)))
    assert "s3cr3t" not in text
    assert f'File "{file}", line ' in text
    assert text.endswith(f"{raised.type.__name__}: {raised.value}\n")


def test_other_statements_are_unchanged():
    text = (
        "Traceback (most recent call last):\n"
        '  File "job.py", line 3, in <module>\n'
        '    read("data.csv", sep=";")\n'
        "    ^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "ValueError: 'data.csv'\n"
    )
    assert redact_traceback(text) == text


def test_displayed_text_has_no_queries():
    text = "https://u:p@server/p?a=1&b=2 failed, and https://server/q?x=1"
    assert redacted(text) == (
        f"https://{HIDDEN}@server/p?{HIDDEN} failed, and https://server/q?{HIDDEN}"
    )
    assert redacted("sqlite:////tmp/x.db") == "sqlite:////tmp/x.db"


PLAIN = st.text("abcXYZ019._~-:@!$&'()*+,;=", min_size=1, max_size=12)
HOSTS = st.sampled_from(["server", "db:5432", "[::1]:80", "a.b.c"])


@settings(deadline=None, database=None, derandomize=True, print_blob=True, max_examples=300)
@given(PLAIN, PLAIN, HOSTS, st.sampled_from(["", "/", "/mlflow", "/a/b?x=1"]))
def test_stored_uri_never_has_user_info(user, password, host, path):
    short = f"https://{host}{path}"
    assert strip_credentials(f"https://{user}:s3cr3t{password}@{host}{path}") == short


@settings(deadline=None, database=None, derandomize=True, print_blob=True, max_examples=300)
@given(st.text(max_size=60))
def test_stripping_credentials_is_idempotent_and_never_raises(text):
    for uri in (text, f"https://{text}", f"https://u:p@{text}?token={text}"):
        assert strip_credentials(strip_credentials(uri)) == strip_credentials(uri)
        assert isinstance(redact_credentials(uri), str)
        assert isinstance(redacted(uri), str)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:pw@host:5000/a", "http://***@host:5000/a"),
        ("https://token@host?key=abc&x=1", "https://***@host?***"),
        ("postgresql://u:p@db/mlflow", "postgresql://***@db/mlflow"),
        ("postgresql://u:p@x@db/mlflow", "postgresql://***@db/mlflow"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("databricks://profile", "databricks://profile"),
        ("cannot reach 'http://u:p@h?t=1' now", "cannot reach 'http://***@h?***' now"),
        ("What is this?", "What is this?"),
    ],
)
def test_displayed_uris_have_no_credentials(uri, shown):
    assert redacted(uri) == shown
