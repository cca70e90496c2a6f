"""Where a lane's API is: the root that paths are appended to, the header of the key, the time limits."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.api.endpoint import Auth, Endpoint, Server, WireAPI
from laneway.rules.endpoint import PATHS, SPOKEN, auth_of, path_of, root_url, spoken


@pytest.mark.parametrize(
    ("url", "root"),
    [
        pytest.param("http://ollama:11434", "http://ollama.models.svc:11434", id="one label is a Service of the lane"),
        pytest.param("http://ollama", "http://ollama.models.svc", id="one label without a port"),
        pytest.param("http://vllm.gpu.svc:8000", "http://vllm.gpu.svc:8000", id="a Service with its namespace stays"),
        pytest.param("https://api.example.com", "https://api.example.com", id="a host of the internet stays"),
        pytest.param("https://api.example.com/v1", "https://api.example.com", id="a /v1 at the end is not doubled"),
        pytest.param("https://api.example.com/v1/", "https://api.example.com", id="nor with a slash after it"),
        pytest.param("https://h.example.com/openai/v1", "https://h.example.com/openai", id="a prefix stays before /v1"),
        pytest.param("https://h.example.com/api/", "https://h.example.com/api", id="a slash at the end goes"),
        pytest.param("https://h.example.com/v1/x", "https://h.example.com/v1/x", id="a /v1 inside the path stays"),
        pytest.param("http://10.0.0.7:8000", "http://10.0.0.7:8000", id="an IPv4 address stays"),
        pytest.param("http://[fd00::7]:8000/v1", "http://[fd00::7]:8000", id="an IPv6 address stays"),
        pytest.param("http://localhost:8000", "http://localhost:8000", id="localhost is no Service"),
    ],
)
def test_root(url: str, root: str) -> None:
    assert root_url(Endpoint(url=url), lane_namespace="models") == root


@pytest.mark.parametrize(
    ("server", "root"),
    [
        pytest.param("Gemini", "https://g.example.com", id="Gemini's version is not doubled"),
        pytest.param("Other", "https://g.example.com/v1beta", id="for others it is a part of the path"),
    ],
)
def test_root_of_a_version_that_is_geminis(server: str, root: str) -> None:
    assert root_url(endpoint(url="https://g.example.com/v1beta/", server=server), lane_namespace="models") == root


def endpoint(**changes: Any) -> Endpoint:
    return Endpoint.model_validate({"url": "https://api.example.com", **changes})


KEY = {"credentialRef": {"name": "key"}}


@pytest.mark.parametrize(
    ("given", "auth"),
    [
        pytest.param(endpoint(), Auth.NONE, id="without a key no header is sent"),
        pytest.param(endpoint(**KEY), Auth.BEARER, id="a key is a bearer token"),
        pytest.param(endpoint(server="Anthropic", **KEY), Auth.X_API_KEY, id="Anthropic has its own header"),
        pytest.param(endpoint(server="Gemini", **KEY), Auth.X_GOOG_API_KEY, id="and so has Gemini"),
        pytest.param(endpoint(server="Anthropic", auth="Bearer", **KEY), Auth.BEARER, id="what the lane says wins"),
        pytest.param(endpoint(auth="None", **KEY), Auth.NONE, id="a lane may keep its key to itself"),
    ],
)
def test_auth(given: Endpoint, auth: Auth) -> None:
    assert auth_of(given) is auth


def test_every_server_speaks_some_api_and_every_api_has_a_path() -> None:
    assert set(SPOKEN) == set(Server)
    assert all(apis and apis <= set(PATHS) for apis in SPOKEN.values())


GENERATE, CHAT = WireAPI.GENERATE_CONTENT, WireAPI.CHAT_COMPLETIONS


@pytest.mark.parametrize(
    ("given", "apis"),
    [
        pytest.param(endpoint(server="Anthropic"), {WireAPI.MESSAGES}, id="a kind of server has its own"),
        pytest.param(endpoint(), {CHAT, WireAPI.EMBEDDINGS}, id="an unknown server speaks as most do"),
        pytest.param(endpoint(server="vLLM", apis=[{"name": "Messages"}]), {WireAPI.MESSAGES}, id="what the lane names"),
        pytest.param(
            endpoint(server="Gemini", apis=[{"name": "GenerateContent"}, {"name": "ChatCompletions", "path": "/openai"}]),
            {GENERATE, CHAT},
            id="a lane may name more",
        ),
    ],
)  # fmt: skip
def test_what_a_lane_speaks(given: Endpoint, apis: set[WireAPI]) -> None:
    assert spoken(given) == apis


@pytest.mark.parametrize(
    ("api", "own", "path", "found"),
    [
        pytest.param(CHAT, None, PATHS[CHAT], PATHS[CHAT], id="the usual place"),
        pytest.param(CHAT, "/chat", PATHS[CHAT], "/chat", id="another place"),
        pytest.param(WireAPI.OLLAMA_CHAT, "/o", "/api/generate", "/o/generate", id="what is below moves along"),
        pytest.param(GENERATE, "/g", "/v1beta/models/{model}:x", "/g/{model}:x", id="Gemini"),
        pytest.param(GENERATE, "/g", "/v1/models/{model}:x", "/g/{model}:x", id="Gemini without beta"),
        pytest.param(GENERATE, None, "/v1/models/{model}:x", "/v1/models/{model}:x", id="the client's version stays"),
    ],
)
def test_paths(api: WireAPI, own: str | None, path: str, found: str) -> None:
    apis = [{"name": api, **({"path": own} if own else {})}]
    assert path_of(endpoint(apis=apis), api, path) == found
