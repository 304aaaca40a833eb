"""The domain and the slices of a request. Pure: a function of the request, and of the domains seen before it.

Names are untrusted input, and each domain opens state in the agent; so they are cleaned, and allowed or bounded in
number. No name is made from a credential: an API key is only compared by its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from driftgauge.connectors.base import Record
from driftgauge.connectors.decoding.embedding import EmbeddingRules
from driftgauge.connectors.decoding.lookup import Lookup, Path, Sources
from driftgauge.connectors.decoding.names import clean

DOMAIN_HEADER = "driftgauge-domain"
"""Header that names the domain. It is not sent upstream."""

METADATA: Path = ("payload", "metadata", "domain")
"""Where the domain is found in the body, without other rules."""

PROMPTS: tuple[Path, ...] = (("payload", "messages"), ("payload", "prompt"), ("payload", "input"))
"""Where the prompt is found in the body."""

PREFIX = "/d/"
PROMPT_SLICE = "prompt"
CREDENTIALS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key", "x-goog-api-key", "x-amz-security-token"}
)
"""Headers that names are never taken from, and that a function never sees."""

_KEY_HEADERS = ("authorization", "api-key", "x-api-key")
_HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class Request:
    """What a name can be taken from.

    Attributes
    ----------
    headers : by name in lower case, of several with one name the first; a function sees them without credentials
    prefix_domain : the domain in the path, from `split_prefix`; "" where there is none
    model : as the request names it
    body : the JSON document; "" where there is none
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    prefix_domain: str = ""
    model: str = ""
    body: bytes = b""


DomainFunction: TypeAlias = Callable[[Request], str | None]


@dataclass(frozen=True)
class NamingRules:
    """Where names come from, beside header and path.

    Attributes
    ----------
    domain : where the domain is found in the body or the headers; by default in the body's ``metadata.domain``
    keys : domain by the SHA-256 of the API key, in hexadecimal digits
    models : domain by model
    function : names the domain of a request; what it raises is counted, and then it names none
    slices : by name of the slice
    allowed : domains that may be named; empty: any, up to ``max_domains``
    prompt_hash_key : key of the hash of the prompt; empty: no hash
    embeddings : how prompts of requests without a domain are encoded
    """

    domain: Lookup = field(default_factory=lambda: Lookup((METADATA,)))
    keys: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    function: DomainFunction | None = None
    slices: Mapping[str, Lookup] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()
    max_domains: int = 1_000
    prompt_hash_key: bytes = b""
    embeddings: EmbeddingRules = field(default_factory=EmbeddingRules)


class RequestNames(NamedTuple):
    """The names of a request.

    ``domain`` is empty where nothing names one: the agent then uses its default. ``problem`` is why a name was not
    used (``domain_not_allowed``, ``too_many_domains``, ``domain_function_failed``); empty if there was none.
    ``embedding`` is the direction of the prompt, 64 little-endian float32; empty where it was not encoded.
    """

    domain: str = ""
    slices: Mapping[str, str] = {}
    problem: str = ""
    embedding: bytes = b""


class Naming:
    """Names requests by rules, and remembers the domains, to bound their number.

    Examples
    --------
    >>> naming = Naming(NamingRules(max_domains=1))
    >>> naming.names(Request({"driftgauge-domain": "billing"}, body=b'{"metadata": {"domain": "law"}}')).domain
    'billing'
    >>> naming.names(Request(body=b'{"metadata": {"domain": "law"}}'))
    RequestNames(domain='', slices={}, problem='too_many_domains', embedding=b'')
    """

    def __init__(self, rules: NamingRules | None = None) -> None:
        self.rules = rules or NamingRules()
        self._seen: set[str] = set()

    def names(self, request: Request) -> RequestNames:
        """The names of a request. Raises no error: what cannot be read names nothing."""
        rules, problem = self.rules, ""
        sources = _sources(request)
        domain = clean(request.headers.get(DOMAIN_HEADER, "")) or clean(request.prefix_domain)
        domain = domain or rules.domain.name(sources) or self._by_table(request)
        if not domain and rules.function is not None:
            domain, problem = _of_function(rules.function, request)
        if domain:
            domain, problem = self._admitted(domain)
        slices = {name: value for name, lookup in rules.slices.items() if (value := lookup.name(sources))}
        if rules.prompt_hash_key and (digest := prompt_hash(request.body, rules.prompt_hash_key)):
            slices[PROMPT_SLICE] = digest
        direction = None if domain else rules.embeddings.of_prompt(sources)
        embedding = b"" if direction is None else direction.astype("<f4").tobytes()
        return RequestNames(domain, slices, problem, embedding)

    def _by_table(self, request: Request) -> str:
        if self.rules.keys and (key := _api_key(request.headers)):
            found = self.rules.keys.get(hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest())
            if found:
                return clean(found)
        return clean(self.rules.models.get(request.model, ""))

    def _admitted(self, domain: str) -> tuple[str, str]:
        if self.rules.allowed:
            return (domain, "") if domain in self.rules.allowed else ("", "domain_not_allowed")
        if domain not in self._seen:
            if len(self._seen) >= self.rules.max_domains:
                return "", "too_many_domains"
            self._seen.add(domain)
        return domain, ""


def split_prefix(path: str) -> tuple[str, str]:
    """The domain in a path, and the path that is sent upstream; "" and the same path where there is no domain.

    >>> split_prefix("/d/billing%20eu/v1/chat/completions"), split_prefix("/v1/models")
    (('billing eu', '/v1/chat/completions'), ('', '/v1/models'))
    """
    if not path.startswith(PREFIX):
        return "", path
    domain, slash, rest = path[len(PREFIX) :].partition("/")
    return (unquote(domain), f"/{rest}") if domain and slash else ("", path)


def prompt_hash(body: bytes, key: bytes) -> str:
    """A keyed BLAKE2b of the prompt as it stands in the request, in hexadecimal digits; "" where there is none.

    Equal prompts of one client have equal hashes. Without the key a prompt cannot be guessed from its hash.

    >>> a, b = (prompt_hash(b'{"messages": [{"role": "user", "content": "Hi"}], "n": %d}' % n, b"key") for n in (1, 2))
    >>> len(a), a == b, prompt_hash(b'{"model": "m"}', b"key")
    (32, True, '')
    """
    try:
        prompt = _PROMPTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    parts = [bytes(part) for part in (prompt.instructions, prompt.messages, prompt.prompt, prompt.input)]
    if not any(parts):
        return ""
    return hashlib.blake2b(b"\0".join(parts), key=key[:64], digest_size=_HASH_BYTES).hexdigest()


class _Prompt(msgspec.Struct):
    instructions: Raw = Raw()
    messages: Raw = Raw()
    prompt: Raw = Raw()
    input: Raw = Raw()


_PROMPTS = msgspec.json.Decoder(_Prompt)


def public_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name in lower case, of several with one name the first, without credentials.

    >>> public_headers([("X-Team", "law"), ("Authorization", "Bearer secret"), ("x-team", "tax")])
    {'x-team': 'law'}
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name.lower() not in CREDENTIALS:
            found.setdefault(name.lower(), value)
    return found


def _sources(request: Request) -> Sources:
    headers = public_headers(request.headers.items()).items()
    encoded = tuple((name, value.encode("utf-8", "surrogateescape")) for name, value in headers)
    return Sources(Record("", 0, 0, None, None, encoded), [request.body] if request.body else [])


def _of_function(function: DomainFunction, request: Request) -> tuple[str, str]:
    visible = Request(public_headers(request.headers.items()), request.prefix_domain, request.model, request.body)
    try:
        return clean(function(visible) or ""), ""
    except Exception:  # the function is the user's: whatever it does, the request is served
        return "", "domain_function_failed"


def _api_key(headers: Mapping[str, str]) -> str:
    value = next((headers[name] for name in _KEY_HEADERS if headers.get(name)), "")
    scheme, _, rest = value.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else value.strip()
